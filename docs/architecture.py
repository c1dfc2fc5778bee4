"""Write docs/architecture.md and its picture of the rooms from the imports.

``python docs/architecture.py`` writes both, and a test asserts that the committed ones are these.
A room is a folder of a package; an arrow is an import that loading its modules makes.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGE, PICTURE = DOCS / "architecture.md", DOCS / "pictures" / "rooms.svg"
TEMPLATE = DOCS / "templates" / "architecture.md"
FLOORS = ("benchmarks", "baselines", "lambo_agents", "lambo_env")  # from the top down
WIDTH, BOX, GAP, MARGIN = 1000, (112, 30), (24, 26), 14  # pixels: page, room, between rooms
STYLE = (
    "text{font:12px sans-serif;fill:#22303c;text-anchor:middle}"
    ".floor{font-weight:bold;font-size:13px;text-anchor:start}"
    ".band{fill:#f3f6f8}.room{fill:#fff;stroke:#1f5f99}path{fill:none;stroke:#8fa8bf}"
)

Room = tuple[str, str]  # floor and folder; "" is what stands in the floor itself


def rooms() -> dict[Room, list[Path]]:
    """Return the modules of every room, packages' ``__init__`` included, in the order of names."""
    found: dict[Room, list[Path]] = defaultdict(list)
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            inside = path.relative_to(ROOT / floor).parts
            if "templates" not in inside:
                found[floor, inside[0] if len(inside) > 1 else ""].append(path)
    return dict(sorted(found.items(), key=lambda item: (FLOORS.index(item[0][0]), item[0][1])))


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names, in parts, that a file imports when it is loaded itself."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((*node.module.split("."), alias.name) for alias in node.names)


def arrows(found: dict[Room, list[Path]]) -> set[tuple[Room, Room]]:
    """Return who imports whom among the rooms of one floor; an ``__init__`` does not count."""
    met = set()
    for room, paths in found.items():
        for path in paths:
            for parts in imports(path) if path.name != "__init__.py" else ():
                other = (parts[0], parts[1] if len(parts) > 1 else "")
                if parts[0] == room[0] and "" not in (room[1], other[1]):
                    met.add((room, other))
    return {(room, other) for room, other in met if other in found and room != other}


def reach(found: dict[Room, list[Path]], met: set[tuple[Room, Room]]) -> dict[Room, set[Room]]:
    """Return what every room imports, by way of others too."""
    below = {room: {other for one, other in met if one == room} for room in found}
    for _ in found:
        for rest in below.values():
            rest.update(*(below[other] for other in rest))
    return below


def levels(below: dict[Room, set[Room]]) -> dict[Room, int]:
    """Return the row of every room: one above the highest that it imports."""
    level = dict.fromkeys(below, 0)
    for _ in below:
        for room, rest in below.items():  # rooms that import each other share a row
            level[room] = max(
                (level[other] + 1 for other in rest if room not in below[other]), default=0
            )
    return level


def picture(found: dict[Room, list[Path]]) -> str:
    """Return the SVG: a band per floor, in it a row per level, a line per import not implied."""
    met = arrows(found)
    below = reach(found, met)
    level = levels(below)
    place: dict[Room, tuple[int, int]] = {}
    bands, top = [], MARGIN
    for floor in FLOORS:
        rows: dict[int, list[Room]] = defaultdict(list)
        for room in found:
            if room[0] == floor and room[1]:
                rows[level[room]].append(room)
        bottom = top + 28
        for row in sorted(rows, reverse=True):
            wide = len(rows[row]) * (BOX[0] + GAP[0]) - GAP[0]
            for i, room in enumerate(rows[row]):
                place[room] = (WIDTH - wide) // 2 + i * (BOX[0] + GAP[0]), bottom
            bottom += BOX[1] + GAP[1]
        bands.append(
            f'<rect class="band" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" '
            f'height="{bottom - top - 8}" rx="6"/>'
            f'<text class="floor" x="{MARGIN + 12}" y="{top + 20}">{floor}</text>'
        )
        top = bottom + 4
    lines = [
        _line(place[room], place[other])
        for room, other in sorted(met)
        if not any(other in below[via] for one, via in met if one == room and via != other)
    ]
    boxes = [
        f'<rect class="room" x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="4"/>'
        f'<text x="{x + BOX[0] // 2}" y="{y + 20}">{room[1]}</text>'
        for room, (x, y) in place.items()
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + MARGIN}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *bands, *lines, *boxes, "</svg>\n"])


def _line(upper: tuple[int, int], lower: tuple[int, int]) -> str:
    x, y = upper[0] + BOX[0] // 2, upper[1] + BOX[1]
    end_x, end_y = lower[0] + BOX[0] // 2, lower[1]
    bend = max((end_y - y) // 2, 12)
    return f'<path d="M{x} {y}C{x} {y + bend} {end_x} {end_y - bend} {end_x} {end_y}"/>'


def page(found: dict[Room, list[Path]]) -> str:
    """Return the page: the template with a table of rooms per floor."""
    tables = []
    for floor in reversed(FLOORS):
        lines = [f"### `{floor}`\n", "| room | what it holds | modules |", "|---|---|---|"]
        for (owner, folder), paths in found.items():
            if owner == floor:
                home = ROOT / floor / folder
                names = [path.relative_to(home).with_suffix("").as_posix() for path in paths]
                listed = ", ".join(f"`{name}`" for name in names if not name.endswith("__init__"))
                lines.append(f"| `{folder or floor}` | {_summary(home)} | {listed} |")
        tables.append("\n".join(lines))
    text = TEMPLATE.read_text(encoding="utf-8").replace("[[rooms]]", "\n\n".join(tables))
    return f"<!-- written by docs/architecture.py from docs/templates/architecture.md -->\n\n{text}"


def _summary(home: Path) -> str:
    """Return the first line of a package's docstring."""
    tree = ast.parse((home / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(rooms()), encoding="utf-8")
    PICTURE.write_text(picture(rooms()), encoding="utf-8")
