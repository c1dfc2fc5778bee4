"""``lambo list agents|envs|scenarios|drifts|prompts|sweeps``."""

from __future__ import annotations

import itertools
from typing import Annotated

from cyclopts import Parameter

from benchmarks.report.console import print_table


def agents() -> None:
    """Print every agent found; one that cannot be loaded is listed with the reason."""
    from lambo_agents.registry import agent_specs

    rows = [
        (
            spec.name,
            spec.origin,
            {None: "-", True: "yes", False: "no"}[spec.evaluator_in_loop],
            "-" if spec.labels_used is None else str(spec.labels_used),
            f"cannot be loaded: {spec.error}" if spec.error else spec.summary,
        )
        for spec in agent_specs()
    ]
    print_table(("agent", "from", "evaluator in loop", "labels", "what it does"), rows)


def envs() -> None:
    """Print every environment id; one that cannot be loaded is listed with the reason."""
    from lambo_env.registration import ENVIRONMENTS

    rows = [
        (row.id, row.world, f"cannot be loaded: {row.error}" if row.error else row.summary)
        for row in ENVIRONMENTS.values()
    ]
    print_table(("environment", "world", "what is decided"), rows)


def scenarios() -> None:
    """Print the presets and their main numbers."""
    from lambo_env.registration import list_scenarios, load_scenario

    rows = []
    for name in list_scenarios():
        preset = load_scenario(name)
        sizes = (
            str(preset.num_ues),
            str(len(preset.server_cpu_hz)),
            f"{preset.side_m:g}",
            f"{min(preset.server_cpu_hz) / 1e9:g}-{max(preset.server_cpu_hz) / 1e9:g}",
            "-".join(f"{end:g}" for end in dict.fromkeys(preset.deadline_s)),
        )
        rows.append((name, *sizes, f"{preset.slot_s:g}", preset.hash))
    print_table(
        ("scenario", "UEs", "servers", "side m", "server GHz", "deadline s", "slot s", "hash"), rows
    )


def drifts() -> None:
    """Print the drifts: what changes and when."""
    from lambo_env.offloading.drift import describe, list_drifts

    print_table(("drift", "what happens"), [(name, describe(name)) for name in list_drifts()])


def prompts(
    *,
    all: Annotated[bool, Parameter(negative=())] = False,  # noqa: A002
) -> None:
    """Print the objectives that a prompt may name, with examples, or the whole catalogue.

    Args:
        all: Print every phrase of the catalogue: split, objective, weights and text, by tabs.
    """
    from lambo_env.prompts.catalogue import SPLITS
    from lambo_env.prompts.grammar import catalogue, objectives
    from lambo_env.prompts.objectives import kinds

    if all:
        for split, kind in itertools.product(SPLITS, kinds()):
            for text, weights in catalogue(split, kind):
                shares = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
                print(split, kind, shares, text, sep="\t")
        return
    print_table(
        ("objective", "cost", "unit", "phrases", "held out", "for example"),
        [
            (name, measure, unit or "-", str(train), str(held_out), "; ".join(examples))
            for name, measure, unit, train, held_out, examples in objectives()
        ],
    )


def sweeps() -> None:
    """Print the shipped sweeps and how large they are."""
    from benchmarks.sweep.config import list_sweeps, load_sweep

    rows = []
    for name in list_sweeps():
        sweep = load_sweep(name)
        names = (
            ", ".join(agent.label for agent in sweep.agents),
            ", ".join(source.name for source in sweep.scenarios),
        )
        rows.append(
            (name, *names, "; ".join(sweep.prompts), str(len(sweep.seeds) * sweep.instances))
        )
    print_table(("sweep", "agents", "scenarios", "prompts", "instances"), rows)
