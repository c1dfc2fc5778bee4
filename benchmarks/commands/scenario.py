"""``lambo scenario show|check``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.report.console import print_table
from lambo_agents.registry import list_agents
from lambo_env import registration
from lambo_env.prompts.objectives import PURE_PROMPTS
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
    prompt: str = PURE_PROMPTS[0],
    agents: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    figure: str | None = None,
) -> None:
    """Print how tight deadlines are, what stale CSI costs, how far greedy is from the optimum.

    Where tasks wait: what each level of information is worth, on as many whole episodes.

    Args:
        name: Preset or .toml file.
        instances: How many instances to look at.
        root: Root seed of the instances.
        rounds: Where tasks wait, of the search in hindsight, about 0.15 s each.
        prompt: Where tasks wait, what is asked for.
        agents: Where tasks wait, further agents to put beside the rules.
        figure: Where tasks wait, a .png for the lengths of queues over time.
    """
    validate.integer("--rounds", rounds)
    ends = figure is None or figure.endswith(".png")
    validate.check("--figure", figure, ends, "a name that ends in .png")
    known = registration.load_scenario(name)
    if registration.world_of(known, "scenario").name == "queueing":
        validate.integer("--instances", instances)
        for agent in agents:
            validate.known(agent, list_agents(), "agent in --agents")
        _information(name, known, instances, root, rounds, prompt, agents, figure)
        return
    apart = {"prompt": prompt == PURE_PROMPTS[0], "agents": agents == (), "figure": not figure}
    for option, left_out in apart.items():
        given = {"prompt": prompt, "agents": agents, "figure": figure}[option]
        validate.check(f"--{option}", given, left_out, "left out where no tasks wait")
    _difficulty(name, instances, root)


def _difficulty(name: str, instances: int, root: int) -> None:
    """Print how tight the deadlines of a slot are, and what greedy and stale CSI cost."""
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


def _information(
    name: str,
    scenario: Any,
    episodes: int,
    root: int,
    rounds: int,
    prompt: str,
    agents: tuple[str, ...],
    figure: str | None,
) -> None:
    from baselines.queueing.hindsight import HindsightSearch
    from benchmarks.report.tables import digits, interval_text
    from benchmarks.studies.information import assess
    from lambo_env.prompts.grammar import parse_weights
    from lambo_env.prompts.objectives import unit_of
    from lambo_env.utils import files

    unit = unit_of(parse_weights(prompt))
    found = assess(scenario, prompt, episodes, HindsightSearch(rounds=rounds), root, agents)
    rows: list[tuple[str, ...]] = [
        (
            level.agent,
            level.knows,
            f"{digits(level.cost.mean)} {unit}",
            interval_text(level.cost, 3),
            "-" if level.above is None else f"{level.above.mean:+.2f}",
            "-" if level.above is None else interval_text(level.above, 2),
            f"{level.closed:.0f}",
            f"{level.late:.1f}",
            f"{level.median_s:.2g}",
            f"{level.high_s:.2g}",
            digits(level.energy_j),
            f"{level.decision_ms:.2g}",
        )
        for level in found.levels
    ]
    rows.append(("bound", "all that comes", f"{digits(found.bound.mean)} {unit}", *["-"] * 9))
    print_table(
        (
            *("agent", "what it knows", "cost per task", "95 %", "against linear-rule, %", "95 %"),
            *("way to hindsight, %", "late %", "median s", "95th percentile s", "J per task"),
            "ms per slot",
        ),
        rows,
        f"{name} ({scenario.hash}), {episodes} episodes, {prompt}",
    )
    print(
        f"Latencies are of the tasks that ended, differences paired by episode. hindsight searched "
        f"{rounds} rounds from linear-rule's plans; the bound splits tasks over places and slots, "
        "and is loose."
    )
    if figure is not None:
        from benchmarks.report.figures import MARK, drawn, queues

        lines = [(each.agent, each.servers, each.cpus) for each in found.levels[-4 - len(agents) :]]
        for picture in drawn(lambda: {figure: queues(lines, scenario.slot_s)}).values():
            with files.atomic_writer(figure, MARK.encode()) as file:
                file.write(picture.png)
            print(f"queues over time: {figure}")
