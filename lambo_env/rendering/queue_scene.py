"""The picture of waiting tasks: UEs' queues on the left, servers and cost on the right.

Positions in pixels; y runs downwards. Needs pygame-ce.
"""

from __future__ import annotations

import functools

import pygame

from lambo_env.rendering import shapes
from lambo_env.rendering.queues import QueueFrame
from lambo_env.rendering.shapes import ACCENT, FIELD, INK, LATE, MUTED, PAPER, RULE

_SIZE = (800, 600)
_CHART = pygame.Rect(24, 86, 490, 490)
_PANEL = pygame.Rect(540, 86, 236, 490)
_MIDDLE, _REACH = _CHART.centery, 200  # the axis; how far a queue of one deadline reaches
_SERVERS_TOP = 196


def draw(surface: pygame.Surface, frame: QueueFrame) -> None:
    """Draw ``frame`` into the upper left 800 x 600 of ``surface``."""
    surface.blit(_ground(), (0, 0))
    right = _PANEL.right
    step = f"slot {min(frame.slot, frame.num_slots - 1) + 1} of {frame.num_slots}"
    taken = shapes.write(surface, step, (right, 32), 20, MUTED, "midright")
    heading = shapes.fit(frame.title or "LAMBO", 32, taken.left - _CHART.left - 20)
    shapes.write(surface, heading, (_CHART.left, 32), 32)
    width = right - _CHART.left
    shapes.write(surface, shapes.fit(f'"{frame.prompt}"', 20, width), (_CHART.left, 62), 20, MUTED)
    _queues(surface, frame)
    _cost(surface, frame)
    _servers(surface, frame)


@functools.cache
def _ground() -> pygame.Surface:
    out = pygame.Surface(_SIZE, 0, 32)
    out.fill(PAPER)
    pygame.draw.rect(out, FIELD, _CHART, border_radius=10)
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        y = _MIDDLE - round(share * _REACH)
        pygame.draw.line(out, RULE, (_CHART.left, y), (_CHART.right - 1, y))
    pygame.draw.rect(out, RULE, _CHART, width=1, border_radius=10)
    for y, label in ((_CHART.top + 14, "CPU queues"), (_CHART.bottom - 14, "uplink queues")):
        shapes.write(out, label, (_CHART.left + 12, y), 17, MUTED)
        shapes.write(out, "1 deadline", (_CHART.right - 12, y), 15, MUTED, "midright")
    shapes.write(
        out, "(pale: under way), in deadlines", (_PANEL.left + 38, _SERVERS_TOP), 17, MUTED
    )
    return out


def _queues(surface: pygame.Surface, frame: QueueFrame) -> None:
    step = (_CHART.width - 24) / frame.cpu_queue.size
    width = max(round(step) - 2, 1)
    for ue in range(frame.cpu_queue.size):
        left = round(_CHART.left + 12 + ue * step)
        up, down = (
            round(min(queue[ue], 1.1) * _REACH) for queue in (frame.cpu_queue, frame.uplink_queue)
        )
        for top, height, ratio in (
            (_MIDDLE - up, up, frame.cpu_queue[ue]),
            (_MIDDLE + 1, down, frame.uplink_queue[ue]),
        ):
            if height:
                pygame.draw.rect(surface, shapes.ramp(ratio), (left, top, width, height))
        if frame.has_task[ue]:
            now = ue == frame.current
            rect = (left, _MIDDLE - 3, width, 7)
            pygame.draw.rect(surface, ACCENT if now else INK, rect)
        if frame.dropped[ue]:
            mark = shapes.mark("circle", 5, LATE, INK, True)
            shapes.blit_centred(surface, mark, (left + width / 2, _CHART.top + 34))


def _cost(surface: pygame.Surface, frame: QueueFrame) -> None:
    left, right, top = _PANEL.left, _PANEL.right, _PANEL.top
    shapes.write(surface, f"mean cost of {frame.tasks} tasks", (left, top + 6), 17, MUTED)
    said, colour = f"{frame.late} late", INK if frame.late else MUTED
    shapes.write(surface, said, (right, top + 6), 17, colour, "midright")
    shapes.write(surface, f"{frame.cost:#.4g} {frame.unit}".rstrip(), (left, top + 36), 38)


def _servers(surface: pygame.Surface, frame: QueueFrame) -> None:
    shown = min(frame.waiting.size, 16)
    height = min((_PANEL.bottom - _SERVERS_TOP - 20) / shown, 54)
    for server in range(shown):
        middle, colour = _SERVERS_TOP + 20 + height * (server + 0.5), shapes.server_colour(server)
        shapes.write(surface, str(server + 1), (_PANEL.left + 14, middle), 20, colour, "midright")
        start, thick = _PANEL.left + 24, max(int(height) - 26, 6)
        rect = pygame.Rect(start, round(middle - thick / 2), _PANEL.right - start, thick)
        pygame.draw.rect(surface, RULE, rect, border_radius=3)
        both = min(frame.waiting[server] + frame.coming[server], 1.0)
        pale = shapes.blend(colour, PAPER, 0.6)
        for share, shade in ((both, pale), (min(frame.waiting[server], 1.0), colour)):
            filled = rect.copy()
            filled.width = round(rect.width * share)
            if filled.width:
                pygame.draw.rect(surface, shade, filled, border_radius=3)
        said = f"{frame.server_cpu_hz[server] / 1e9:.3g} Gcycles/s, {frame.users[server]} UEs"
        if height >= 36:
            at = (_PANEL.right, rect.bottom + 9)
            shapes.write(surface, said, at, 15, MUTED, "midright")
