"""``lambo scenario show|check``."""

from __future__ import annotations

from benchmarks.report.console import print_table
from lambo_env.utils import validate


def show(name: str) -> None:
    """Print every field as TOML.

    Args:
        name: Preset or .toml file.
    """
    from lambo_env.offloading.scenario import load_scenario

    scenario = load_scenario(name)
    print(f"# {name}, content hash {scenario.hash}")
    print(scenario.to_toml(), end="")


def check(
    name: str,
    *,
    instances: int = 32,
    root: int = 0,
) -> None:
    """Print how tight deadlines are, what stale CSI costs, how far greedy is from the optimum.

    Args:
        name: Preset or .toml file.
        instances: How many instances to look at.
        root: Root seed of the instances.
    """
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
