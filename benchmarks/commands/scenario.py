"""``lambo scenario show|check``."""

from __future__ import annotations

from typing import Any

from benchmarks.report.console import print_table
from lambo_env import registration
from lambo_env.utils import validate


def show(name: str) -> None:
    """Print every field as TOML.

    Args:
        name: Preset or .toml file.
    """
    scenario = registration.load_scenario(name)
    print(f"# {name}, content hash {scenario.hash}")
    print(scenario.to_toml(), end="")


def check(
    name: str,
    *,
    instances: int = 32,
    root: int = 0,
    rounds: int = 40,
) -> None:
    """Print how tight deadlines are, what stale CSI costs, how far greedy is from the optimum.

    Where tasks wait: what each level of information is worth, on as many whole episodes.

    Args:
        name: Preset or .toml file.
        instances: How many instances to look at.
        root: Root seed of the instances.
        rounds: Where tasks wait, of the search in hindsight, about 0.15 s each.
    """
    validate.integer("--rounds", rounds)
    known = registration.load_scenario(name)
    if registration.world_of(known, "scenario").name == "queueing":
        validate.integer("--instances", instances)
        _information(name, known, instances, root, rounds)
        return
    from benchmarks.report.tables import digits, gap_text, interval_text
    from benchmarks.studies.scenario_difficulty import EASY_PERCENT, assess
    from lambo_env.offloading.scenario import load_scenario
    from lambo_env.prompts.grammar import parse_weights
    from lambo_env.prompts.objectives import unit_of

    validate.integer("--instances", instances)
    scenario = load_scenario(name)
    deadlines, objectives = assess(scenario, instances, root)
    rows = [
        ("UEs whose local run is late", deadlines.must_offload),
        ("UEs that can meet the deadline nowhere", deadlines.hopeless),
        ("instances where some UE cannot stay local in time", deadlines.can_be_late),
        ("instances whose optimal latency decision has a task on its deadline", deadlines.tight),
        ("servers that a random association overloads", deadlines.overflow),
    ]
    title = f"{name} ({scenario.hash}), {instances} instances"
    print_table(("deadlines", "%"), [(text, f"{value:.1f}") for text, value in rows], title)
    print_table(
        (
            "prompt",
            "optimum",
            "greedy, gap %",
            "95 % interval",
            "stale CSI, gap %",
            "95 % interval",
            "late %, stale CPU too",
        ),
        [
            (
                each.prompt,
                f"{digits(each.optimum.mean)} {unit_of(parse_weights(each.prompt))}",
                gap_text(each.greedy_gap.mean),
                interval_text(each.greedy_gap, 3),
                gap_text(each.stale_gap.mean),
                interval_text(each.stale_gap, 3),
                f"{each.stale_late:.1f}",
            )
            for each in objectives
        ],
    )
    print(
        "stale CSI: places chosen with the slot before's channel, CPU allotted with the fresh one"
    )
    for each in objectives:
        if each.easy:
            print(
                f"warning: too easy for {each.prompt!r}: "
                f"greedy is within {EASY_PERCENT} % of the optimum"
            )


def _information(name: str, scenario: Any, episodes: int, root: int, rounds: int) -> None:
    from baselines.queueing.hindsight import HindsightSearch
    from benchmarks.report.tables import digits, interval_text
    from benchmarks.studies.information import assess
    from lambo_env.prompts.objectives import PURE_PROMPTS

    found = assess(scenario, PURE_PROMPTS[0], episodes, HindsightSearch(rounds=rounds), root)
    rows: list[tuple[str, ...]] = [
        (
            level.agent,
            level.knows,
            f"{digits(level.cost.mean)} s",
            interval_text(level.cost, 3),
            "-" if level.above is None else f"{level.above.mean:+.1f}",
            "-" if level.above is None else interval_text(level.above, 3),
            f"{level.late:.1f}",
            f"{level.median_s:.2g}",
            f"{level.high_s:.2g}",
            digits(level.energy_j),
        )
        for level in found.levels
    ]
    rows.append(("bound", "all that comes", f"{digits(found.bound.mean)} s", *["-"] * 7))
    print_table(
        (
            *("agent", "what it knows", "cost per task", "95 %", "against linear-rule, %", "95 %"),
            *("late %", "median s", "95th percentile s", "J per task"),
        ),
        rows,
        f"{name} ({scenario.hash}), {episodes} episodes, {PURE_PROMPTS[0]}",
    )
    print(
        f"Latencies are of the tasks that ended. hindsight searched {rounds} rounds from "
        "linear-rule's plans; the bound splits tasks over places and slots, and is loose."
    )
