"""Write docs/environments and docs/commands.md from templates and the code.

Commands, spaces, arguments and infos of the registered ids, and their reference scores.

``python docs/generate.py`` writes the pages, and a test asserts that the committed ones are these;
with ``--measure`` the scores are measured anew first (some minutes).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks import cli
from benchmarks.report import leaderboard
from benchmarks.report.escaping import markdown
from benchmarks.report.tables import digits, gap_text
from benchmarks.studies import environment_scores
from benchmarks.studies.environment_scores import Scores
from lambo_env import registration
from lambo_env.cell.scenario import toml_value
from lambo_env.envs.vector_env import WorldVectorEnv
from lambo_env.offloading import drift, observation, scenario
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import unit_of
from lambo_env.registration import ENVIRONMENTS
from lambo_env.utils.rules import allowed_by
from lambo_env.wpmec import instances as frames
from lambo_env.wpmec.batch import GAIN_SCALE

DOCS = Path(__file__).parent
FOLDER, TEMPLATES = DOCS / "environments", DOCS / "templates"
SCORES = FOLDER / "scores.json"
MEASURE = "python docs/generate.py --measure"
VERSIONS = [("v0", "0.1.0", "first version")]
COLUMNS = (
    ("0 .. M - 1", "upload time to server m over the deadline", "yes"),
    ("M", "local latency over the deadline", "yes"),
    ("M + 1", "load: N x cycles / deadline over the sum of the servers' capacities", "yes"),
    ("M + 2", "deadline over the slot's mean deadline", "yes"),
    ("M + 3", "transmit power over local power", "yes"),
    ("M + 4", "1 for the UE to be decided now", "no"),
    ("M + 5", "its place / M, 0 where local or undecided", "no"),
    ("M + 6", "CPU that the decision took from what was left, over its server's capacity", "no"),
)


def pages(scores: Scores) -> dict[str, str]:
    """Return the text of every page by file name."""
    ids = [name for name, row in ENVIRONMENTS.items() if row.error is None]
    return {
        "index.md": _index(ids),
        "scenario-fields.md": _filled("scenario-fields.md", {"fields": _fields}),
        **{f"{name}.md": page(name, scores.get(name, {})) for name in ids},
    }


def commands() -> str:
    """Return the page of every command with its options, as ``--help`` shows them."""
    text = cli.build().generate_docs(output_format="markdown", heading_level=1)
    _, _, listed = text.partition("**Commands**:")
    # attributes' docstrings keep the indent of their lines, and RST's double backticks
    listed = re.sub(r"(?<=\S)\n +(?=[^\s*])", " ", listed)
    listed = re.sub("(?<!`)``(?!`)", "`", listed)
    return _filled("commands.md", {"commands": listed.strip()})


def examples_page() -> str:
    """Return the page of the examples, by what the first line of each says."""
    rows = []
    for path in sorted((DOCS / "examples").glob("*.py")):
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = about.partition("\n\n")[0].replace("\n", " ")
        rows.append((f"[`{path.name}`](examples/{path.name})", first))
    return _filled("examples.md", {"examples": _table(("example", "what it shows"), rows)})


def leaderboard_page() -> str:
    """Return the page of what was sent to docs/leaderboard."""
    sent = [leaderboard.read(path) for path in sorted((DOCS / "leaderboard").glob("*.json"))]
    parts = [
        f"## {title}\n\n{_table(leaderboard.HEADER, rows)}"
        for title, rows in leaderboard.tables(sent)
    ]
    made = "\n".join(f"- {markdown(one.by)}: {markdown(one.made)}" for one in sent)
    return _filled("leaderboard.md", {"tables": "\n\n".join(parts), "made": made})


def _filled(template: str, values: Mapping[str, str | Callable[[], str]]) -> str:
    """Return a template with every ``[[name]]`` replaced; a name without a value is a KeyError."""

    def value(match: re.Match[str]) -> str:
        found = values[match[1]]
        return found() if callable(found) else found

    text = (TEMPLATES / template).read_text(encoding="utf-8")
    text = re.sub(r"\[\[(\w+)\]\]", value, text)
    return f"<!-- written by docs/generate.py from docs/templates/{template} -->\n\n{text}"


def _index(ids: Sequence[str]) -> str:
    rows = [
        (
            f"[`{name}`]({name}.md)",
            f"`{gym.make(f'lambo_env:{name}').action_space}`",
            ENVIRONMENTS[name].summary,
        )
        for name in ids
    ]
    table = _table(("id", "action", "what is decided"), rows)
    return _filled("index.md", {"ids": table, "names": "\n".join(ids)})


UNITS = {"s": "s", "m": "m", "hz": "Hz", "w": "W", "db": "dB", "bits": "bit", "mps": "m/s"}
UNITS |= {"bps": "bit/s", "xy": "m", "cycles": "cycles", "dbm_per_hz": "dBm/Hz"}


def _fields() -> str:
    """Return the fields of each world's scenarios, but for those of an earlier world."""
    told: list[Any] = []
    parts = []
    for name, world in registration.WORLDS.items():
        if "scenario" not in world.offers:
            continue
        rows = [_field(field) for field in dataclasses.fields(world.get("scenario"))]
        new = [row for row in rows if row not in told]
        told += new
        header = ("field", "meaning", "unit", "default", "allowed")
        parts += [f"## World `{name}`", world.summary]
        if len(new) < len(rows):
            parts.append("Beside these it has the other fields of the worlds above.")
        parts.append(_table(header, new))
    return "\n\n".join(parts)


def _field(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    meaning = field.metadata.get("meaning", "")
    meaning = re.sub(r"equation (\d+)", r"[equation \1](../physics.md)", meaning)
    ends = [unit for end, unit in UNITS.items() if f"_{field.name}".endswith(f"_{end}")]
    default = "none" if field.default is None else f"`{_short(field.default)}`"
    rule = field.metadata.get("rule")
    allowed = "" if rule is None else allowed_by(rule)
    return f"`{field.name}`", meaning, (ends or [""])[-1], default, allowed


def _short(value: Any) -> str:
    """Return a default as it would stand in a scenario's file."""
    return toml_value(list(value) if isinstance(value, tuple) else value)


def page(env_id: str, scores: Scores) -> str:
    """Return the page of one id, from the first template that there is: its own, its world's."""
    row, env = ENVIRONMENTS[env_id], gym.make(f"lambo_env:{env_id}")
    values = {
        "id": env_id,
        "summary": row.summary,
        "world": registration.WORLDS[row.world].summary,
        "glance": _glance(env_id, env),
        "spaces": _spaces(env.observation_space),
        "action": lambda: _action(env_id),
        "arguments": _arguments(env_id),
        "infos": _infos(env),
        "versions": _table(("version", "since release", "what changed"), VERSIONS),
        "measure": MEASURE,
        "columns": _columns,
        "gains": lambda: _gains(env.observation_space.shape[0]),
        "presets": _presets,
        "drifts": _drifts,
        "instances": str(environment_scores.INSTANCES),
        "frames": str(environment_scores.FRAMES),
        "devices": str(environment_scores.DEVICES),
        "costs": lambda: "\n\n".join(_costs(scores)),
        "rates": lambda: _rates(scores),
    }
    names = (f"{env_id}.md", f"{row.world}.md", "any.md")
    return _filled(next(name for name in names if (TEMPLATES / name).is_file()), values)


def _action(env_id: str) -> str:
    return (TEMPLATES / f"{env_id}.action.md").read_text(encoding="utf-8").rstrip("\n")


def _drifts() -> str:
    rows = [(f"`{name}`", drift.describe(name)) for name in drift.list_drifts()]
    return _table(("drift", "what changes"), rows)


def _glance(env_id: str, env: gym.Env[Any, Any]) -> str:
    spec = gym.spec(env_id)
    rows = [
        ("action space", f"`{env.action_space}`"),
        ("native vector environment", f'`gym.make_vec("{env_id}", 64)`'),
        ("render modes", ", ".join(env.metadata["render_modes"]) or "none"),
        ("registered time limit", str(spec.max_episode_steps)),
        ("checked by", f"`lambo check env {env_id}`"),
    ]
    return _table(("", ""), rows)


def _spaces(space: gym.Space[Any]) -> str:
    parts: Mapping[str, Any] = (
        space.spaces if isinstance(space, gym.spaces.Dict) else {"(the array)": space}
    )
    rows = [
        (
            key,
            " x ".join(map(str, part.shape)),
            str(part.dtype),
            f"{part.low.min():g} .. {part.high.max():g}",
        )
        for key, part in parts.items()
    ]
    return _table(("key", "shape", "type", "values"), rows)


def _columns() -> str:
    """Return the columns of ``ues``; their number is checked against the code's."""
    assert len(COLUMNS) - 1 == observation.NUM_STATIC_BESIDE_SERVERS + observation.NUM_DYNAMIC
    return _table(("column", "meaning", "fixed in a slot"), COLUMNS)


def _gains(num_devices: int) -> str:
    """Return the columns of a frame: where each device stands, what is seen of it, its weight."""
    distance_m = frames.NEAREST_M + frames.SPACING_M * np.arange(num_devices)
    seen = GAIN_SCALE * frames.mean_gains(num_devices)
    numbers = zip(distance_m, seen, frames.alternating_weights(num_devices), strict=True)
    rows = [
        (f"{column}", f"gain of device {column}'s link", f"{far:.1f}", f"{mean:.3g}", f"{weight:g}")
        for column, (far, mean, weight) in enumerate(numbers)
    ]
    header = ("column", "meaning", "distance, m", "mean of generated frames", "weight of its rate")
    return _table(header, rows)


def _arguments(env_id: str) -> str:
    """Return the table of the arguments, of both environments and of the vector one alone."""
    row = ENVIRONMENTS[env_id]
    both, vector = (_documented(kind) for kind in (row.arguments_class(), WorldVectorEnv))
    defaults = {name: row.kwargs.get(name, default) for name, (default, _) in both.items()}
    rows = [(f"`{name}`", f"`{defaults[name]!r}`", text) for name, (_, text) in both.items()]
    for name in ("autoreset_mode", "copy"):
        default, text = vector[name]
        shown = getattr(default, "value", default)
        rows.append((f"`{name}`", f"`{shown!r}`", f"`make_vec` only: {text}"))
    return _table(("argument", "default", "meaning"), rows)


def _documented(kind: type) -> dict[str, tuple[Any, str]]:
    """Return default and docstring text of every constructor argument of a class."""
    text: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        listed = inspect.cleandoc(base.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
        text |= dict(re.findall(r"^    (\w+): (.*(?:\n     .*)*)", listed, re.MULTILINE))
    arguments = [p for p in inspect.signature(kind).parameters.values() if p.name != "self"]
    return {p.name: (p.default, " ".join(text.get(p.name, "").split())) for p in arguments}


def _infos(env: gym.Env[Any, Any]) -> str:
    """Play an episode and return what its infos held, where first."""
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    seen, over = {key: row for key, row in _entries(info, "reset")}, False
    while not over:
        _, _, over, _, info = env.step(env.action_space.sample())
        when = "last step of a slot" if "outcome" in info else "step"
        seen = {**{key: row for key, row in _entries(info, when)}, **seen}
    rows = sorted(
        seen.values(), key=lambda row: ("reset", "step", "last step of a slot").index(row[-1])
    )
    return _table(("key", "shape", "type", "first in"), rows)


def _entries(
    info: Mapping[str, Any], when: str, owner: str = ""
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, value in info.items():
        key = f"{owner}{name}" if not owner else f"{owner}.{name}"
        if isinstance(value, dict):
            yield from _entries(value, when, key)
        else:
            array = np.asarray(value)
            yield (
                key,
                (f"`{key}`", " x ".join(map(str, array.shape)) or "scalar", str(array.dtype), when),
            )


def _presets() -> str:
    rows = []
    for name in scenario.list_scenarios():
        preset = scenario.load_scenario(name)
        width = observation.num_static(preset.num_servers) + observation.NUM_DYNAMIC
        sizes = (str(preset.num_ues), str(preset.num_servers), f"{preset.num_ues} x {width}")
        rows.append((f"`{name}`", *sizes, f"`{preset.hash}`"))
    return _table(
        ("scenario", "UEs, steps per slot", "servers", "shape of `ues`", "content hash"), rows
    )


def _costs(scores: Scores) -> Iterator[str]:
    for name, by_prompt in scores.items():
        for text, lines in by_prompt.items():
            unit = unit_of(parse_weights(text))
            yield f"**`{name}`, “{text}”**"
            rows = [
                (
                    player,
                    _interval(line["cost"]),
                    f"{line['late_percent']:.1f}",
                    _interval(line["gap_percent"], gap_text),
                )
                for player, line in lines.items()
            ]
            yield _table(("player", f"cost, {unit}", "late %", "gap %"), rows)


def _rates(scores: Scores) -> str:
    rows = [
        (player, _interval(line["mbps"]), _interval(line["share_percent"]))
        for player, line in scores.items()
    ]
    return _table(("player", "rate, Mbit/s", "% of the optimum"), rows)


def _interval(values: list[float], text: Callable[[float], str] = digits) -> str:
    mean, low, high = (text(value) for value in values)
    return f"{mean} [{low}, {high}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: list[str]) -> None:
    """Write the pages, after measuring if asked."""
    FOLDER.mkdir(exist_ok=True)
    if "--measure" in arguments:
        SCORES.write_text(
            json.dumps(environment_scores.measure(), indent=1) + "\n", encoding="utf-8"
        )
    for name, text in pages(json.loads(SCORES.read_text(encoding="utf-8"))).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    (DOCS / "examples.md").write_text(examples_page(), encoding="utf-8")
    (DOCS / "leaderboard.md").write_text(leaderboard_page(), encoding="utf-8")
    (DOCS / "commands.md").write_text(commands(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
