"""The board: one picture of a slot.

``draw(surface, frame)`` on any pygame-ce Surface of ``SIZE`` or larger; no display needed.

Left the map, right the running cost, the servers' load and the legend. Positions in pixels; y runs
downwards.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pygame

from lambo_env.offloading.instances import LOCAL
from lambo_env.rendering import shapes
from lambo_env.rendering.frame import Floats, Frame, positions
from lambo_env.rendering.shapes import FIELD, INK, MUTED, PAPER, RULE, Point

SIZE = (800, 600)
_MAP = pygame.Rect(24, 86, 490, 490)
_PANEL = pygame.Rect(540, 86, 236, 490)
_INSET = 22  # between the map's border and the area's: marks at the edge stay whole
_SERVERS_TOP, _LEGEND_TOP = 196, 474
_BADGE, _BADGE_REACH = 30, 24  # side of a server's mark; how near to its centre a UE is drawn
_WIDEST_LINK = 4
_WAITING_EDGE = shapes.blend(MUTED, PAPER, 0.35)  # of a UE that is to decide
_LINKS_OFFERED = 4  # of the UE whose turn it is: its best


def draw_text(surface: pygame.Surface, text: str) -> None:
    """Write lines on a blank ground: the picture of a world that draws none of its own."""
    surface.fill("white")
    for number, line in enumerate(text.splitlines()):
        shapes.write(surface, line, (24, 24 + 22 * number), 18, INK)


def draw(surface: pygame.Surface, frame: Frame) -> None:
    """Draw ``frame`` into the upper left ``SIZE`` of ``surface``."""
    surface.blit(_ground(), (0, 0))
    _header(surface, frame)
    _map(surface, frame)
    _cost(surface, frame)
    _servers(surface, frame)
    _legend_numbers(surface, frame)


# ---- what never changes --------------------------------------------------------------------------


@functools.cache
def _ground() -> pygame.Surface:
    """Return the picture that every frame starts from: panels and the legend's marks."""
    out = pygame.Surface(SIZE, 0, 32)
    out.fill(PAPER)
    pygame.draw.rect(out, FIELD, _MAP, border_radius=10)
    for k in range(1, 5):
        x, y = (
            edge + _INSET + k * (length - 2 * _INSET) / 5
            for edge, length in zip(_MAP.topleft, _MAP.size, strict=True)
        )
        pygame.draw.line(out, RULE, (x, _MAP.top), (x, _MAP.bottom - 1))
        pygame.draw.line(out, RULE, (_MAP.left, y), (_MAP.right - 1, y))
    pygame.draw.rect(out, RULE, _MAP, width=1, border_radius=10)
    _legend(out)
    return out


def _legend(surface: pygame.Surface) -> None:
    left, top = _PANEL.left, _LEGEND_TOP
    pygame.draw.line(surface, RULE, (left, top - 14), (_PANEL.right, top - 14))
    shapes.write(surface, "latency / deadline", (left, top), 17, MUTED)
    width = 150
    for x in range(width):
        pygame.draw.line(
            surface, shapes.ramp(x / (width - 1)), (left + x, top + 13), (left + x, top + 23)
        )
    for x, label, anchor in (
        (0, "0", "midleft"),
        (width // 2, "0.5", "center"),
        (width, "1", "midright"),
    ):
        shapes.write(surface, label, (left + x, top + 33), 15, MUTED, anchor)
    shapes.blit_centred(
        surface, shapes.mark("circle", 7, shapes.LATE, INK, True), (left + width + 24, top + 18)
    )
    shapes.write(surface, "late", (left + width + 37, top + 19), 17, MUTED)
    rows = (
        (0, "to decide", ("circle", 6, PAPER, _WAITING_EDGE)),
        (88, "local", ("circle", 7, shapes.ramp(0.2), INK)),
    )
    for offset, label, mark in (
        *rows,
        (150, "on server", ("square", 7, shapes.ramp(0.2), shapes.server_colour(0))),
    ):
        shapes.blit_centred(surface, shapes.mark(*mark), (left + offset + 7, top + 59))
        shapes.write(surface, label, (left + offset + 19, top + 60), 17, MUTED)
    for k, width in enumerate((1, 2, 4)):
        y = top + 83 + 7 * k
        shapes.line(surface, shapes.server_colour(3), (left, y), (left + 30, y), width)


# ---- header, cost, servers -----------------------------------------------------------------------


def _header(surface: pygame.Surface, frame: Frame) -> None:
    left, right = _MAP.left, _PANEL.right
    done = int(frame.decided.sum())
    step = f"{done} of {frame.decided.size} UEs decided"
    if frame.num_slots > 1:
        step = f"slot {frame.slot + 1} of {frame.num_slots}   {step}"
    taken = shapes.write(surface, step, (right, 32), 20, MUTED, "midright")
    heading = frame.title or "LAMBO"
    shapes.write(surface, shapes.fit(heading, 32, taken.left - left - 20), (left, 32), 32)
    shapes.write(surface, shapes.fit(f'"{frame.prompt}"', 20, right - left), (left, 62), 20, MUTED)


def _number(value: float, unit: str) -> str:
    return f"{value:#.4g} {unit}".strip().rstrip(".")


def _cost(surface: pygame.Surface, frame: Frame) -> None:
    left, right, top = _PANEL.left, _PANEL.right, _PANEL.top
    late = int(frame.late.sum())
    shapes.write(
        surface,
        "running cost" if frame.current is not None else "cost of the slot",
        (left, top + 6),
        17,
        MUTED,
    )
    shapes.write(surface, f"{late} late", (right, top + 6), 17, INK if late else MUTED, "midright")
    shapes.write(surface, _number(frame.cost, frame.unit), (left, top + 32), 38)
    if frame.optimum is None:
        return
    if frame.gap is not None:
        shapes.write(
            surface, f"{100 * max(frame.gap, 0.0):+.2f} %", (right, top + 33), 24, MUTED, "midright"
        )
    span = max(frame.cost, frame.optimum) * 1.02 or 1.0
    line = pygame.Rect(left, top + 54, _PANEL.width, 6)
    x = line.left + round(line.width * frame.optimum / span)
    beyond = frame.cost > frame.optimum
    shapes.bar(
        surface,
        line,
        frame.cost / span,
        shapes.blend(shapes.ramp(1.0), PAPER, 0.5) if beyond else INK,
    )
    if beyond:
        within = (line.left, line.top, x - line.left, line.height)
        pygame.draw.rect(
            surface, INK, within, border_top_left_radius=3, border_bottom_left_radius=3
        )
    pygame.draw.rect(surface, shapes.ramp(1.0), (x - 1, line.top - 3, 3, line.height + 6))
    label = f"certified optimum {_number(frame.optimum, frame.unit)}"
    shapes.write(surface, label, (right, top + 74), 17, shapes.ramp(1.0), "midright")


def _servers(surface: pygame.Surface, frame: Frame) -> None:
    local = frame.ues_on(LOCAL)
    shapes.write(surface, "server CPU committed", (_PANEL.left, _SERVERS_TOP), 17, MUTED)
    shapes.write(surface, f"{local} local", (_PANEL.right, _SERVERS_TOP), 17, MUTED, "midright")
    shown = min(frame.left_hz.size, 16)
    height = min((_LEGEND_TOP - 26 - _SERVERS_TOP - 10) / shown, 54)
    for server in range(shown):
        _server_row(surface, frame, server, _SERVERS_TOP + 12 + height * (server + 0.5), height)


def _server_row(
    surface: pygame.Surface, frame: Frame, server: int, middle: float, height: float
) -> None:
    left, right, colour = _PANEL.left, _PANEL.right, shapes.server_colour(server)
    total, used, count = (
        frame.instances.server_cpu_hz[0, server],
        frame.used[server],
        frame.ues_on(server + 1),
    )
    side = int(min(26, height - 1)) if height >= 18 else 14
    if height >= 18:
        shapes.blit_centred(
            surface, shapes.badge(server + 1, side, colour), (left + side / 2, middle)
        )
    else:
        shapes.write(surface, str(server + 1), (left + side, middle), 16, colour, "midright")
    start = left + side + 10
    ues, amount = (
        f"{count} UE{'s' * (count != 1)}",
        f"{_giga(used * total)} of {_giga(total)} Gcycles/s",
    )
    if height >= 36:
        shapes.write(surface, amount, (start, middle - 8), 17)
        shapes.write(surface, ues, (right, middle - 8), 17, MUTED, "midright")
        shapes.bar(surface, pygame.Rect(start, round(middle + 3), right - start, 9), used, colour)
        return
    size = 15 if height < 18 else 17
    shapes.write(surface, f"{_giga(total)} G/s", (right, middle), size, MUTED, "midright")
    shapes.write(surface, ues, (right - 55, middle), size, INK, "midright")
    shapes.bar(surface, pygame.Rect(start, round(middle - 3), right - 108 - start, 7), used, colour)


def _giga(value_hz: float) -> str:
    return f"{value_hz / 1e9:.3g}"


def _legend_numbers(surface: pygame.Surface, frame: Frame) -> None:
    low, high = (f"{rate / 1e6:.3g}" for rate in _rates(frame))
    shapes.write(
        surface, f"uplink {low} to {high} Mbit/s", (_PANEL.left + 40, _LEGEND_TOP + 91), 17, MUTED
    )


# ---- the map -------------------------------------------------------------------------------------


def _rates(frame: Frame) -> tuple[float, float]:
    rates = frame.instances.uplink_bps[0]
    return float(rates.min()), float(rates.max())


def _map(surface: pygame.Surface, frame: Frame) -> None:
    ues, servers = _pixels(frame)
    if frame.current is not None:
        for server in np.argsort(-frame.instances.uplink_bps[0, frame.current])[:_LINKS_OFFERED]:
            shapes.dashes(
                surface, shapes.blend(MUTED, PAPER, 0.3), ues[frame.current], servers[server]
            )
    _links(surface, frame, ues, servers)
    radius = 7 if len(ues) <= 80 else 5
    if frame.current is not None:
        shapes.blit_centred(surface, shapes.halo(radius + 7), ues[frame.current])
    ratio = np.where(np.isfinite(frame.ratio), frame.ratio, 1.0)
    for ue, at in enumerate(ues):
        place = frame.place[ue]
        if not frame.decided[ue]:
            mark = shapes.mark(
                "circle", radius - 1, PAPER, INK if ue == frame.current else _WAITING_EDGE
            )
        else:
            fill = shapes.LATE if frame.late[ue] else shapes.ramp(float(ratio[ue]))
            edge = INK if place == LOCAL else shapes.server_colour(int(place) - 1)
            mark = shapes.mark(
                "circle" if place == LOCAL else "square", radius, fill, edge, bool(frame.late[ue])
            )
        shapes.blit_centred(surface, mark, at)
    for server, at in enumerate(servers):
        shapes.blit_centred(
            surface, shapes.badge(server + 1, _BADGE, shapes.server_colour(server)), at
        )
    if frame.current is not None:
        _callout(surface, f"UE {frame.current + 1}", ues[frame.current], radius + 12, servers)
    _scale(surface, frame)


def _links(surface: pygame.Surface, frame: Frame, ues: list[Point], servers: list[Point]) -> None:
    """Draw each offloaded UE's uplink in its server's colour, stronger where the rate is higher."""
    low, high = (math.log(rate) for rate in _rates(frame))
    rates = np.log(frame.instances.uplink_bps[0])
    for server, at in enumerate(servers):
        for ue in np.flatnonzero(frame.decided & (frame.place == server + 1)):
            strength = float((rates[ue, server] - low) / max(high - low, 1e-9))
            colour = shapes.blend(shapes.server_colour(server), FIELD, 0.65 - 0.45 * strength)
            shapes.line(surface, colour, ues[ue], at, 1 + round((_WIDEST_LINK - 1) * strength))


def _callout(surface: pygame.Surface, text: str, at: Point, gap: int, servers: list[Point]) -> None:
    """Write on a dark tag beside a point.

    On the side with more room, but rather where no server is hidden.
    """
    tag = pygame.Rect(0, 0, shapes.text_width(text, 18) + 14, 22)
    right, left = tag.copy(), tag.copy()
    right.midleft, left.midright = (
        (round(at[0] + gap), round(at[1])),
        (round(at[0] - gap), round(at[1])),
    )
    sides = [right, left] if at[0] < _MAP.centerx else [left, right]
    tag = min(sides, key=lambda side: (not _MAP.contains(side), _hides(side, servers)))
    surface.blit(shapes.pill(*tag.size, 6, INK), tag)
    shapes.write(surface, text, (tag.centerx, tag.centery + 1), 18, PAPER, "center")


def _hides(tag: pygame.Rect, servers: list[Point]) -> bool:
    room = tag.inflate(_BADGE, _BADGE)
    return any(room.collidepoint(at) for at in servers)


def _scale(surface: pygame.Surface, frame: Frame) -> None:
    """Draw a fifth of the side as a scale, or say that the places are made up."""
    foot = (_MAP.left + _INSET, _MAP.bottom - 12)
    if frame.ue_xy is None or frame.side_m is None:
        shapes.write(surface, "no positions: UEs are drawn near their best server", foot, 16, MUTED)
        return
    width = (_MAP.width - 2 * _INSET) / 5
    pygame.draw.line(surface, MUTED, foot, (foot[0] + width, foot[1]), 2)
    shapes.write(surface, f"{frame.side_m / 5:.3g} m", (foot[0] + width + 8, foot[1]), 16, MUTED)


def _pixels(frame: Frame) -> tuple[list[Point], list[Point]]:
    """Return where UEs and servers are drawn."""
    ue_xy, server_xy, side = positions(frame)
    span = _MAP.width - 2 * _INSET

    def place(xy: Floats) -> list[Point]:
        x, y = (
            _MAP.left + _INSET + span * xy[:, 0] / side,
            _MAP.bottom - _INSET - span * xy[:, 1] / side,
        )
        return list(zip(x.tolist(), y.tolist(), strict=True))

    ues, servers = place(ue_xy), place(server_xy)
    return [_beside(at, servers) for at in ues], servers


def _beside(at: Point, servers: list[Point]) -> Point:
    """Return where a UE is drawn: pushed out to the edge of the badge that would cover it."""
    for x, y in servers:
        if math.dist(at, (x, y)) < _BADGE_REACH:
            angle = math.atan2(at[1] - y, at[0] - x)
            at = (x + _BADGE_REACH * math.cos(angle), y + _BADGE_REACH * math.sin(angle))
    room = _MAP.inflate(-20, -20)
    return min(max(at[0], room.left), room.right), min(max(at[1], room.top), room.bottom)
