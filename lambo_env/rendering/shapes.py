"""What a board is made of: colours, texts, marks.

Small surfaces, drawn once and kept; needs pygame-ce.

Nothing here opens a display. Marks are drawn eight times too large and smoothed down, so that edges
are soft at any size.
"""

from __future__ import annotations

import functools
import itertools
import math
import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame greets on stdout otherwise

import pygame

Colour = tuple[int, int, int]
Point = tuple[float, float]

PAPER: Colour = (255, 255, 255)
FIELD: Colour = (246, 247, 249)  # the map's ground
RULE: Colour = (226, 230, 235)
INK: Colour = (24, 32, 44)
MUTED: Colour = (104, 116, 132)
ACCENT: Colour = (255, 196, 0)  # the UE whose turn it is
LATE: Colour = (58, 12, 24)

# Blue over sand to red (ColorBrewer's RdYlBu reversed): its ends are told apart with any colour
# vision.
RAMP: tuple[tuple[float, Colour], ...] = (
    (0.0, (49, 96, 170)),
    (0.25, (116, 173, 214)),
    (0.45, (196, 226, 240)),
    (0.6, (254, 224, 144)),
    (0.8, (250, 141, 84)),
    (1.0, (200, 40, 38)),
)
LEVELS = 48  # steps of the ramp: as many different marks are kept
SERVERS: tuple[Colour, ...] = ((112, 72, 168), (12, 128, 96), (176, 58, 132), (64, 76, 92))
_OVERSAMPLE = 8
_LETTERS = 4


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """Return ``colour`` with ``share`` of ``other`` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def ramp(ratio: float) -> Colour:
    """Return the colour of latency over deadline, quantised; 1 and more is the last one."""
    ratio = round(min(max(ratio, 0.0), 1.0) * LEVELS) / LEVELS
    for (low, first), (high, second) in itertools.pairwise(RAMP):
        if ratio <= high:
            return blend(first, second, (ratio - low) / (high - low))
    return RAMP[-1][1]


def server_colour(server: int) -> Colour:
    """Return the colour of a server, counted from 0; colours repeat after four, numbers do not."""
    return SERVERS[server % len(SERVERS)]


@functools.cache
def _font(size: int) -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(
        None, size
    )  # the font that pygame carries: the same picture on every machine


@functools.lru_cache(maxsize=2048)
def _text(text: str, size: int, colour: Colour) -> pygame.Surface:
    """Return a line of text.

    Smoothed down from four times its size, small letters keep their shape and spacing.
    """
    large = pygame.Surface(_font(_LETTERS * size).size(text), pygame.SRCALPHA, 32)
    large.fill((*colour, 0))
    large.blit(
        _font(_LETTERS * size).render(text, True, colour),
        (0, 0),
        special_flags=pygame.BLEND_RGBA_MAX,
    )
    width, height = large.get_size()
    return pygame.transform.smoothscale(
        large, (max(width // _LETTERS, 1), max(height // _LETTERS, 1))
    )


def text_width(text: str, size: int) -> int:
    """Return the width of a text in pixels."""
    return _font(_LETTERS * size).size(text)[0] // _LETTERS


def write(
    surface: pygame.Surface,
    text: str,
    at: Point,
    size: int = 18,
    colour: Colour = INK,
    anchor: str = "midleft",
) -> pygame.Rect:
    """Write one line with its ``anchor`` (of pygame's Rect, such as "midright") at a point."""
    picture = _text(text, size, colour)
    rect = picture.get_rect(**{anchor: (round(at[0]), round(at[1]))})
    surface.blit(picture, rect)
    return rect


@functools.lru_cache(maxsize=512)
def fit(text: str, size: int, width: int) -> str:
    """Return the text, cut with an ellipsis where it is wider than ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text.rstrip() + "...", size) > width:
        text = text[:-1]
    return text.rstrip() + "..."


@functools.lru_cache(maxsize=512)
def lines(text: str, size: int, width: int, most: int) -> tuple[str, ...]:
    """Return the text broken at spaces into at most ``most`` lines of ``width`` pixels.

    The last is cut where need be.
    """
    out: list[str] = []
    words = text.split(" ")
    while words and len(out) < most - 1:
        count = next(
            (k for k in range(len(words), 0, -1) if text_width(" ".join(words[:k]), size) <= width),
            1,
        )
        out.append(" ".join(words[:count]))
        words = words[count:]
    return (*out, fit(" ".join(words), size, width)) if words else tuple(out)


@functools.lru_cache(maxsize=4096)
def mark(
    shape: str, radius: int, fill: Colour, edge: Colour, crossed: bool = False
) -> pygame.Surface:
    """Return the mark of a UE: ``shape`` "circle" or "square", about ``2 radius`` wide.

    ``crossed`` where it is late.
    """
    big = radius * _OVERSAMPLE
    side = 2 * big + 4 * _OVERSAMPLE
    canvas = pygame.Surface((side, side), pygame.SRCALPHA, 32)
    canvas.fill(
        (*edge, 0)
    )  # transparent in the edge's own colour: smoothing then leaves no dark fringe
    middle, rim = side // 2, round(0.24 * big)
    if shape == "circle":
        pygame.draw.circle(canvas, edge, (middle, middle), big)
        pygame.draw.circle(canvas, fill, (middle, middle), big - rim)
    else:
        half = round(0.92 * big)
        for inset, colour in ((0, edge), (rim, fill)):
            box = pygame.Rect(0, 0, 2 * (half - inset), 2 * (half - inset))
            box.center = (middle, middle)
            pygame.draw.rect(canvas, colour, box, border_radius=round(0.35 * (big - inset)))
    if crossed:
        arm = round(0.38 * big)
        for sign in (-1, 1):
            ends = (middle - arm, middle - sign * arm), (middle + arm, middle + sign * arm)
            pygame.draw.line(canvas, PAPER, *ends, width=round(0.3 * big))
    return pygame.transform.smoothscale(canvas, (side // _OVERSAMPLE, side // _OVERSAMPLE))


@functools.cache
def halo(radius: int) -> pygame.Surface:
    """Return the glow around the UE whose turn it is."""
    side = 2 * (radius + 2)
    canvas = pygame.Surface((side * _OVERSAMPLE, side * _OVERSAMPLE), pygame.SRCALPHA, 32)
    canvas.fill((*ACCENT, 0))
    middle = (side * _OVERSAMPLE // 2,) * 2
    pygame.draw.circle(canvas, (*ACCENT, 110), middle, radius * _OVERSAMPLE)
    pygame.draw.circle(canvas, ACCENT, middle, radius * _OVERSAMPLE, width=2 * _OVERSAMPLE)
    return pygame.transform.smoothscale(canvas, (side, side))


@functools.lru_cache(maxsize=256)
def badge(number: int, side: int, colour: Colour) -> pygame.Surface:
    """Return a server's mark: its number, white on a rounded square of its colour."""
    big = side * _OVERSAMPLE
    canvas = pygame.Surface((big, big), pygame.SRCALPHA, 32)
    canvas.fill((*PAPER, 0))
    pygame.draw.rect(canvas, PAPER, canvas.get_rect(), border_radius=big // 4)
    rim = big // 12
    pygame.draw.rect(
        canvas, colour, canvas.get_rect().inflate(-2 * rim, -2 * rim), border_radius=big // 5
    )
    small = pygame.transform.smoothscale(canvas, (side, side))
    write(small, str(number), (side / 2, side / 2 + 1), round(0.82 * side), PAPER, "center")
    return small


def blit_centred(surface: pygame.Surface, picture: pygame.Surface, at: Point) -> None:
    """Blit a picture with its middle at a point."""
    width, height = picture.get_size()
    surface.blit(picture, (round(at[0] - width / 2), round(at[1] - height / 2)))


def line(surface: pygame.Surface, colour: Colour, start: Point, end: Point, width: int = 1) -> None:
    """Draw a soft-edged line."""
    pygame.draw.aaline(surface, colour, start, end, width)


def dashes(
    surface: pygame.Surface, colour: Colour, start: Point, end: Point, dash: float = 5.0
) -> None:
    """Draw a thin dashed line."""
    length = math.dist(start, end)
    for k in range(int(length / (2 * dash)) + 1):
        ends = [min((2 * k + offset) * dash, length) / max(length, 1e-9) for offset in (0, 1)]
        first, last = (
            (start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t) for t in ends
        )
        pygame.draw.aaline(surface, colour, first, last)


@functools.lru_cache(maxsize=256)
def pill(width: int, height: int, radius: int, colour: Colour) -> pygame.Surface:
    """Return a filled rectangle with soft round corners."""
    scale = 4
    canvas = pygame.Surface((width * scale, height * scale), pygame.SRCALPHA, 32)
    canvas.fill((*colour, 0))
    pygame.draw.rect(canvas, colour, canvas.get_rect(), border_radius=radius * scale)
    return pygame.transform.smoothscale(canvas, (width, height))


def bar(surface: pygame.Surface, rect: pygame.Rect, share: float, colour: Colour) -> None:
    """Draw a horizontal bar, ``share`` of it filled."""
    surface.blit(pill(rect.width, rect.height, rect.height // 2, RULE), rect)
    if share > 0:
        filled = max(round(rect.width * min(share, 1.0)), rect.height)
        surface.blit(pill(filled, rect.height, rect.height // 2, colour), rect)
