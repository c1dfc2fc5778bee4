"""Films of played slots: frames in, one .mp4, .gif, .png or .txt out, whole or absent."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lambo_env.rendering import renderer
from lambo_env.rendering.frame import Frame
from lambo_env.rendering.renderer import Picture
from lambo_env.utils import files, validate

SUFFIXES = (".mp4", ".gif", ".png", ".txt")
HOLD_S = 1.5  # a finished slot stands this long
_GIF_COLOURS = 128

Shot = Sequence[Frame]  # what one picture shows: a board, or two side by side


def check_out(out: str | os.PathLike[str]) -> Path:
    """Return the path of a film if its suffix is known and what writes it is installed, before hours of play are lost.

    Raises:
        ValueError: another suffix.
        ImportError: a package is missing; the text has the command that installs it.
    """
    path = Path(out)
    validate.check(
        "--out",
        str(path),
        path.suffix.lower() in SUFFIXES,
        f"a name that ends in {', '.join(SUFFIXES)}",
    )
    validate.check("--out", str(path), not path.is_dir(), "a file, not a folder")
    for module, package in _needs(path.suffix.lower()):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(
                f'{path.suffix} needs {package} ({error}); pip install "lambo-mec[render]", or take .txt'
            ) from error
    return path


def _needs(suffix: str) -> list[tuple[str, str]]:
    coders = {
        ".mp4": [("imageio_ffmpeg", "imageio-ffmpeg")],
        ".gif": [("PIL", "Pillow")],
        ".png": [("PIL", "Pillow")],
    }
    return [] if suffix == ".txt" else [*coders[suffix], ("lambo_env.rendering.scene", "pygame-ce")]


def write_film(shots: Sequence[Shot], out: str | os.PathLike[str], fps: int = renderer.FPS) -> Path:
    """Write shots as a film (.mp4, .gif), as its last picture (.png) or as text (.txt).

    An older file is replaced at the end.

    Raises:
        ValueError: an unknown suffix, no shots, or ``fps`` below 1.
        ImportError: a package is missing; the text has the command that installs it.
    """
    path, fps = check_out(out), validate.integer("--fps", fps)
    validate.check("shots", len(shots), len(shots) > 0, "at least one")
    suffix = path.suffix.lower()
    if suffix == ".txt":
        files.write_text(
            path, "\n\n".join(renderer.text(frame) for shot in shots for frame in shot) + "\n"
        )
    elif suffix == ".mp4":
        _write_mp4(shots, path, fps)
    elif suffix == ".gif":
        _write_gif(shots, path, fps)
    else:
        with files.atomic_writer(path) as file:
            _image(_picture(shots[-1])).save(file, format="PNG", optimize=True)
    return path


def _picture(shot: Shot) -> Picture:
    return renderer.tile([renderer.picture(frame) for frame in shot], columns=len(shot))


def _hold(shot: Shot, fps: int) -> int:
    """Return for how many pictures a shot stands."""
    return round(HOLD_S * fps) if all(frame.current is None for frame in shot) else 1


def _write_mp4(shots: Sequence[Shot], path: Path, fps: int) -> None:
    """Write H.264 that every browser plays.

    Ffmpeg needs a real file, whose bytes then go to ``path`` at once.
    """
    coder: Any = importlib.import_module("imageio_ffmpeg")
    first = _picture(shots[0])
    size = (first.shape[1], first.shape[0])  # boards have even sides, as H.264 wants
    with tempfile.TemporaryDirectory() as folder:
        film = os.path.join(folder, "film.mp4")
        settings = ["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"]
        writer = coder.write_frames(
            film,
            size,
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=settings,
        )
        writer.send(None)
        try:
            for picture in _standing(shots, fps):
                writer.send(picture.tobytes())
        finally:
            writer.close()
        with files.atomic_writer(path) as file:
            file.write(Path(film).read_bytes())


def _standing(shots: Sequence[Shot], fps: int) -> Iterator[Picture]:
    for shot in shots:
        picture = _picture(shot)
        for _ in range(_hold(shot, fps)):
            yield picture


def _write_gif(shots: Sequence[Shot], path: Path, fps: int) -> None:
    samples = [_picture(shots[k]) for k in sorted({0, len(shots) // 2, len(shots) - 1})]
    palette = _image(renderer.tile(samples)).quantize(_GIF_COLOURS)
    images = [_image(_picture(shot)).quantize(palette=palette, dither=0) for shot in shots]
    durations = [round(1000 / fps) * _hold(shot, fps) for shot in shots]
    with files.atomic_writer(path) as file:
        images[0].save(
            file, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
        )


def _image(picture: Picture) -> Any:
    return importlib.import_module("PIL.Image").fromarray(picture)
