"""A slot as text: the map in characters, the servers' load, the running cost.

Plain ASCII, no terminal codes, no pygame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lambo_env.offloading.instances import LOCAL
from lambo_env.rendering.frame import Floats, Frame, positions

_COLUMNS, _ROWS, _BAR = 64, 18, 24


def text(frame: Frame) -> str:
    """Return ``frame`` in lines of at most 80 characters (a long prompt's line runs on).

    On the map a UE is ``.`` while undecided, ``@`` when it is its turn, ``o`` local, the letter of
    its server where offloaded (``a`` is server 1) and ``x`` where late; servers are capital
    letters.
    """
    return "\n".join([*_head(frame), *_map(frame), *_servers(frame), _foot(frame)])


def plain(values: Mapping[str, Any]) -> str:
    """Return names and values, one per line: the text of a world that brings no frame."""
    return "\n".join(f"{name}: {np.array2string(np.asarray(v))}" for name, v in values.items())


def _head(frame: Frame) -> list[str]:
    done = f"{int(frame.decided.sum())} of {frame.decided.size} UEs decided"
    where = f"slot {frame.slot + 1} of {frame.num_slots}, {done}"
    return [f"{frame.title}: {where}" if frame.title else where, f'prompt "{frame.prompt}"']


def _map(frame: Frame) -> list[str]:
    ue_xy, server_xy, side_m = positions(frame)
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    order = sorted(
        range(frame.place.size), key=lambda ue: (frame.current == ue, bool(frame.decided[ue]))
    )
    for ue in order:  # what matters most is written last
        _put(grid, ue_xy[ue] / side_m, _symbol(frame, ue))
    for server, xy in enumerate(server_xy):
        _put(grid, xy / side_m, _letter(server).upper())
    rule = "+" + "-" * _COLUMNS + "+"
    return [rule, *(f"|{''.join(row)}|" for row in grid), rule]


def _put(grid: list[list[str]], xy: Floats, symbol: str) -> None:
    column, row = (
        min(max(math.floor(part * size), 0), size - 1)
        for part, size in zip(xy, (_COLUMNS, _ROWS), strict=True)
    )
    grid[_ROWS - 1 - row][column] = symbol


def _symbol(frame: Frame, ue: int) -> str:
    if not frame.decided[ue]:
        return "@" if ue == frame.current else "."
    if frame.late[ue]:
        return "x"
    place = int(frame.place[ue])
    return "o" if place == LOCAL else _letter(place - 1)


def _letter(number: int) -> str:
    """Return a letter other than ``o`` and ``x``, which say local and late.

    24 servers have one of their own.
    """
    letters = "abcdefghijklmnpqrstuvwyz"
    return letters[number % len(letters)]


def _servers(frame: Frame) -> list[str]:
    out = []
    for server, share in enumerate(frame.used):
        filled = round(share * _BAR)
        total = frame.instances.server_cpu_hz[0, server] / 1e9
        amount = f"{share * total:7.3g} of {total:.3g} Gcycles/s"
        count = frame.ues_on(server + 1)
        out.append(f"{_letter(server).upper()} [{'#' * filled:.<{_BAR}}]{amount}, {count} UEs")
    return out


def _foot(frame: Frame) -> str:
    parts = [
        f"cost {frame.cost:#.4g} {frame.unit}".rstrip(),
        f"{frame.ues_on(LOCAL)} local",
        f"{int(frame.late.sum())} late",
    ]
    if frame.optimum is not None:
        parts.insert(1, f"certified optimum {frame.optimum:#.4g} {frame.unit}".rstrip())
    if frame.gap is not None:
        parts.insert(2, f"{100 * frame.gap:+.2f} %")
    return ", ".join(parts)
