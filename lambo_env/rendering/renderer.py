"""What an environment's ``render`` returns or shows: ``rgb_array``, ``human`` and ``ansi``.

Pictures need pygame-ce (the extra ``render``), which is imported at the first picture; only
``human`` opens a display.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.logger import warn
from numpy.typing import NDArray

from lambo_env.rendering import ansi
from lambo_env.rendering.frame import Frame
from lambo_env.utils import validate

Picture = NDArray[np.uint8]  # [height, width, 3] RGB
MODES = ("human", "rgb_array", "ansi")
FPS = 10
TILES = 4  # environments that one window shows


def draw(surface: Any, frame: Any) -> None:
    """Draw ``frame`` on a pygame-ce Surface of 800 x 600 or larger; no display is needed."""
    if isinstance(frame, Frame):
        _scene().draw(surface, frame)
    elif hasattr(frame, "draw"):
        frame.draw(surface)
    else:
        _scene().draw_text(surface, text(frame))


def picture(frame: Any) -> Picture:
    """Return ``frame`` drawn, uint8 [600, 800, 3]; neither a display nor a window is opened."""
    scene = _scene()
    surface = scene.pygame.Surface(scene.SIZE, 0, 32)
    draw(surface, frame)
    pixels = bytearray(scene.pygame.image.tobytes(surface, "RGB"))
    return np.frombuffer(pixels, np.uint8).reshape(*scene.SIZE[::-1], 3)


def text(frame: Any) -> str:
    """Return ``frame`` in plain ASCII; a world without a frame of its own in lines of values."""
    if isinstance(frame, Frame):
        return ansi.text(frame)
    return str(frame.text()) if hasattr(frame, "text") else ansi.plain(frame)


def tile(pictures: Sequence[Picture], columns: int | None = None) -> Picture:
    """Return pictures of one size side by side, row after row, in ``columns`` (None.

    Nearly square); empty places are white.
    """
    validate.check("tile(pictures)", len(pictures), len(pictures) > 0, "at least one picture")
    columns = validate.integer(
        "tile(columns)", math.ceil(math.sqrt(len(pictures))) if columns is None else columns
    )
    height, width, _ = pictures[0].shape
    out = np.full(
        (math.ceil(len(pictures) / columns) * height, columns * width, 3), 255, dtype=np.uint8
    )
    for k, one in enumerate(pictures):
        row, column = divmod(k, columns)
        out[row * height : (row + 1) * height, column * width : (column + 1) * width] = one
    return out


class PygameMissingError(DependencyNotInstalled, ImportError):
    """Pictures were asked for and pygame-ce is missing, too old, or another pygame.

    The text says what to install.
    """


class Renderer:
    """What an environment keeps to render itself: the mode and, for ``human``, the window.

    Args:
        mode: one of MODES, or None: nothing is rendered.
        fps: pictures a second that a window shows at most.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(self, mode: str | None, fps: int = FPS) -> None:
        """Check the mode; pygame is not needed yet."""
        self.mode = None if mode is None else validate.known(mode, MODES, "render_mode")
        self._fps = fps
        self._window: Any = None
        self._clock: Any = None
        self._dismissed = False

    def render(self, frame: Any) -> Picture | str | None:
        """Return the picture or the text of one environment.

        In ``human`` mode show it and return None.
        """
        if self.mode == "human":
            self._show([frame])
            return None
        return self._one(frame)

    def render_all(self, frames: Sequence[Any]) -> tuple[Picture | str, ...] | None:
        """Return one picture or text an environment, as Gymnasium wants it.

        In ``human`` mode show the first TILES as tiles.
        """
        if self.mode == "human":
            self._show(frames[:TILES])
            return None
        return tuple(one for one in map(self._one, frames) if one is not None)

    def _one(self, frame: Any) -> Picture | str | None:
        if self.mode == "ansi":
            return text(frame)
        return None if self.mode is None else picture(frame)

    def _show(self, frames: Sequence[Any]) -> None:
        """Show frames in the window, in time.

        A window that its user closed stays closed, and the play goes on.
        """
        if self._dismissed:
            return
        pygame = _scene().pygame
        tiles = tile([picture(frame) for frame in frames])
        height, width, _ = tiles.shape
        scale = 1.0 if len(frames) == 1 else 0.7
        if self._window is None:
            pygame.display.init()
            driver = pygame.display.get_driver()
            unseen = driver in ("dummy", "offscreen")
            if unseen and os.environ.get("SDL_VIDEODRIVER") != driver:  # nobody asked for that
                warn("there is no display to show a window on; take render_mode='rgb_array'")
            self._window = pygame.display.set_mode((round(width * scale), round(height * scale)))
            pygame.display.set_caption("LAMBO")
            self._clock = pygame.time.Clock()
        image = pygame.image.frombuffer(tiles, (width, height), "RGB")
        if scale != 1.0:
            image = pygame.transform.smoothscale(image, self._window.get_size())
        self._window.blit(image, (0, 0))
        pygame.display.flip()
        self._clock.tick(self._fps)
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
            self._dismissed = True

    def close(self) -> None:
        """Close the window, if there is one; a second call does nothing."""
        if self._window is not None:
            self._window = None
            _scene().pygame.display.quit()


def _scene() -> Any:
    """Return the module that draws.

    Raises:
        PygameMissingError: it is missing, or another pygame is there; the text says what to
            install.
    """
    try:
        scene = importlib.import_module("lambo_env.rendering.scene")
    except ImportError as error:
        raise PygameMissingError(
            f'pictures need pygame-ce ({error}); pip install "lambo-mec[render]"'
        ) from error
    if not getattr(
        scene.pygame, "IS_CE", False
    ):  # pygame's other branch installs the same package name
        raise PygameMissingError(
            "pictures need pygame-ce, found pygame; "
            'pip uninstall pygame, then pip install "lambo-mec[render]"'
        )
    return scene
