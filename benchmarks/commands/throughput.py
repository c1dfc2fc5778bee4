"""``lambo throughput``: agents, environments, trainings, engines, solvers, decoding, sizes."""

from __future__ import annotations

import dataclasses
import pkgutil
from typing import Literal

from cyclopts import Parameter

from benchmarks.report.console import print_table
from benchmarks.sweep import provenance
from lambo_env.utils import validate


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class ThroughputOptions:
    """What ``lambo throughput`` takes."""

    what: Literal[
        "agents",
        "envs",
        "queue",
        "sb3",
        "training",
        "processes",
        "engines",
        "sizes",
        "decoding",
        "solvers",
        "scaling",
    ] = "agents"
    """Decision times of agents, steps per second of environments, those of the world where tasks
    wait with its replays, steps per second as SB3 sees them, decisions per second of trainings,
    rollouts per second of a training in one process and in two, the same cells by joblib and by
    Ray, FLOP and minutes of a training of the paper's sizes, LAMBO's decoding beside a plain loop
    of its layers, time and gap of solvers, or what a decision costs against the size of the
    problem (with a figure, scaling.png)."""
    _: dataclasses.KW_ONLY
    agents: str | None = None
    """Only these agents, separated by commas (default: all)."""
    scenario: str | None = None
    """Preset or .toml file (default paper; `queue`: queue; `scaling`: metro; `solvers`: all four of
    its plan)."""
    prompt: str = "minimum latency"
    """The objective in words."""
    budget_s: float = 3.0
    """About how long one timing may take."""
    instances: int = 100
    """Of `solvers`, in one batch; 1000 for the figures that the docs quote."""


_READ = {
    "agents": ("agents", "scenario", "prompt", "budget_s"),
    "solvers": ("scenario", "instances"),
}  # others: the scenario
# of what takes the scenario alone, imported when asked for
_PRINTERS = {
    "envs": "benchmarks.speed.envs:print_env_throughput",
    "queue": "benchmarks.speed.queueing:print_queue_throughput",
    "sb3": "benchmarks.speed.sb3:print_sb3_throughput",
    "training": "benchmarks.speed.training:print_training_throughput",
    "processes": "benchmarks.speed.processes:print_processes_throughput",
    "engines": "benchmarks.speed.engines:print_engine_throughput",
    "sizes": "benchmarks.speed.sizes:print_sizes",
    "decoding": "benchmarks.speed.decoding:print_decode_throughput",
    "scaling": "benchmarks.speed.scaling:print_scaling",
}


def throughput(options: ThroughputOptions = ThroughputOptions()) -> None:
    """Print the table and where it was measured."""
    validate.integer("--instances", options.instances)
    for field in dataclasses.fields(options):
        unread = field.name not in _READ.get(options.what, ("scenario",)) and field.name != "what"
        value = getattr(options, field.name)
        validate.check(
            f"--{field.name.replace('_', '-')}",
            value,
            not unread or value == field.default,
            f"nothing: `{options.what}` does not read it",
        )
    usual = {"queue": "queue", "scaling": "metro"}.get(options.what, "paper")
    scenario = usual if options.scenario is None else options.scenario
    if options.what in _PRINTERS:
        pkgutil.resolve_name(_PRINTERS[options.what])(scenario)
    elif options.what == "solvers":
        from benchmarks.speed.solvers import print_solver_times

        print_solver_times(options.instances, () if options.scenario is None else (scenario,))
    else:
        _agents(options, scenario)
    print(
        f"{provenance.cpu_model()}, {provenance.cores()} cores, "
        f"lambo-mec {provenance.version_of('lambo-mec')}"
    )


def _agents(options: ThroughputOptions, scenario: str) -> None:
    from benchmarks.commands.bench import split
    from benchmarks.report.escaping import tell
    from benchmarks.report.tables import digits
    from benchmarks.speed.agents import REFERENCE, Speed, agent_speeds
    from lambo_agents.registry import list_agents
    from lambo_env.offloading.scenario import load_scenario

    def texts(speed: Speed | None) -> tuple[str, ...]:
        if speed is None:
            return ("-", "-", "-")
        return str(speed.batch), digits(speed.milliseconds, 3), digits(speed.ratio, 3)

    names = list_agents() if options.agents is None else split(options.agents)
    found = agent_speeds(names, load_scenario(scenario), options.prompt, options.budget_s)
    reasons = {speed.agent: speed.reason for speed in found if speed.reason}
    header = ("agent", "ms, batch 1", f"x {REFERENCE}", "batch", "ms, batched", f"x {REFERENCE}")
    rows = []
    for speed in found:
        batch, *batched = texts(speed.batched)
        rows.append((speed.agent, *texts(speed.single)[1:], batch, *batched))
    print_table(header, rows, f"decision time per instance on {scenario}, “{options.prompt}”")
    for agent, reason in reasons.items():
        tell(f"{agent}: {reason}")
