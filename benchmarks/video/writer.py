"""Films of played slots: frames in, one .mp4, .gif, .png or .txt out, whole or absent."""

from __future__ import annotations

import importlib
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lambo_env.rendering import renderer
from lambo_env.rendering.frame import Frame
from lambo_env.rendering.renderer import Picture
from lambo_env.utils import files, validate

HOLD_S = 1.5  # a finished slot stands this long
_GIF_COLOURS = 128
MARK = "lambo render"  # in each film: only such a file is replaced
_TEXT_MARK = b" UEs decided\n"  # in each text

Shot = Sequence[Frame]  # what one picture shows: a board, or two side by side


def check_out(out: str | os.PathLike[str]) -> Path:
    """Return the path of a film that can be written, or raise before anything is played.

    Raises:
        ValueError: another suffix.
        ImportError: a package is missing; the text has the command that installs it.
    """
    path = Path(out)
    suffix, allowed = path.suffix.lower(), f"a name that ends in {', '.join(WRITERS)}"
    validate.check("--out", str(path), suffix in WRITERS, allowed)
    files.check_target(path, MARK.encode(), _TEXT_MARK)
    for module, package in _NEEDS[suffix]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(
                f"{path.suffix} needs {package} ({error}); "
                'pip install "lambo-mec[render]", or take .txt'
            ) from error
    return path


def write_film(
    shots: Sequence[Shot], out: str | os.PathLike[str], fps: int = renderer.FPS, every: int = 1
) -> Path:
    """Write shots as a film (.mp4, .gif), as its last picture (.png) or as text (.txt).

    An older file is replaced at the end. Of shots that show a slot on its way one in ``every``
    stays; so a film becomes smaller.

    Raises:
        ValueError: an unknown suffix, no shots, or ``fps`` or ``every`` below 1.
        ImportError: a package is missing; the text has the command that installs it.
    """
    path, fps = check_out(out), validate.integer("--fps", fps)
    validate.check("shots", len(shots), len(shots) > 0, "at least one")
    every = validate.integer("--every", every)
    shots = [shot for k, shot in enumerate(shots) if k % every == 0 or _is_last(shot)]
    film = io.BytesIO()  # whole before the file is touched
    WRITERS[path.suffix.lower()](shots, film, fps)
    with files.atomic_writer(path, MARK.encode(), _TEXT_MARK) as file:
        file.write(film.getbuffer())
    return path


def _picture(shot: Shot) -> Picture:
    return renderer.tile([renderer.picture(frame) for frame in shot], columns=len(shot))


def _hold(shot: Shot, fps: int) -> int:
    """Return for how many pictures a shot stands."""
    return round(HOLD_S * fps) if _is_last(shot) else 1


def _is_last(shot: Shot) -> bool:
    """Return whether a shot shows a finished slot."""
    return all(frame.current is None for frame in shot)


def _write_mp4(shots: Sequence[Shot], film: io.BytesIO, fps: int) -> None:
    """Write H.264 that every browser plays; pictures have even sides, as it wants."""
    coder: Any = importlib.import_module("imageio.v3")
    pictures = (
        picture for shot in shots for picture in itertools.repeat(_picture(shot), _hold(shot, fps))
    )
    settings = ["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"]
    settings += ["-metadata", f"comment={MARK}"]
    coder.imwrite(
        film,
        pictures,
        extension=".mp4",
        plugin="FFMPEG",
        is_batch=True,
        fps=fps,
        codec="libx264",
        quality=None,
        macro_block_size=2,
        output_params=settings,
    )


def _write_gif(shots: Sequence[Shot], film: io.BytesIO, fps: int) -> None:
    """Write pictures of one palette: a third of the bytes that a palette per picture takes."""
    samples = [_picture(shots[k]) for k in sorted({0, len(shots) // 2, len(shots) - 1})]
    palette = _image(renderer.tile(samples)).quantize(_GIF_COLOURS)
    first, *others = (_image(_picture(shot)).quantize(palette=palette, dither=0) for shot in shots)
    durations_ms = [round(1000 / fps) * _hold(shot, fps) for shot in shots]
    options = {"append_images": others, "duration": durations_ms, "loop": 0, "comment": MARK}
    first.save(film, format="GIF", save_all=True, **options)


def _write_png(shots: Sequence[Shot], film: io.BytesIO, fps: int) -> None:
    note = importlib.import_module("PIL.PngImagePlugin").PngInfo()
    note.add_text("Software", MARK)
    _image(_picture(shots[-1])).save(film, format="PNG", optimize=True, pnginfo=note)


def _image(picture: Picture) -> Any:
    return importlib.import_module("PIL.Image").fromarray(picture)


def _write_txt(shots: Sequence[Shot], film: io.BytesIO, fps: int) -> None:
    text = "\n\n".join(renderer.text(frame) for shot in shots for frame in shot) + "\n"
    film.write(text.encode("ascii"))


WRITERS = {".mp4": _write_mp4, ".gif": _write_gif, ".png": _write_png, ".txt": _write_txt}
_PYGAME = ("lambo_env.rendering.scene", "pygame-ce")
_NEEDS = {  # modules that must import, and the packages that have them
    ".mp4": (("imageio.v3", "imageio"), ("imageio_ffmpeg", "imageio-ffmpeg"), _PYGAME),
    ".gif": (("PIL", "Pillow"), _PYGAME),
    ".png": (("PIL", "Pillow"), _PYGAME),
    ".txt": (),
}
