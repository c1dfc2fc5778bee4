"""``lambo bench``: play a sweep, then write and print its report."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from benchmarks.commands.groups import PLAYED, RUN, WRITTEN
from benchmarks.sweep.config import LABELS, AgentEntry, Sweep, load_sweep
from benchmarks.sweep.data_sources import DataSource
from benchmarks.sweep.engines.choice import EngineChoice, Name
from benchmarks.sweep.instance_sources import file_source, scenario_source
from benchmarks.sweep.runner import SweepSummary, run_sweep
from lambo_agents.registry import list_agents, make_agent
from lambo_env.utils import files, validate


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What ``lambo bench`` takes."""

    sweep: str = "paper"
    """A shipped sweep (`lambo list sweeps`) or a .toml file."""
    _: dataclasses.KW_ONLY
    agents: Annotated[str | None, Parameter(group=PLAYED)] = None
    """Only these agents of the sweep, by what its tables call them, or any registered ones;
    separated by commas."""
    scenarios: Annotated[str | None, Parameter(group=PLAYED)] = None
    """Only these scenarios, separated by commas: the sweep's own by name, presets or .toml
    files."""
    prompts: Annotated[list[str] | None, Parameter(["--prompt", "--prompts"], group=PLAYED)] = None
    """Only this prompt, in words, which may hold commas; may be given more than once."""
    instances: Annotated[int | None, Parameter(group=PLAYED)] = None
    """Instances of a block, in place of the sweep's; there is a block per seed."""
    data: Annotated[str | None, Parameter(group=PLAYED)] = None
    """Instances from a file in place of scenarios: are:PATH, WORLD:PATH or FILE.npz."""
    data_folder: Annotated[Path | None, Parameter(group=PLAYED)] = None
    """Folder of measured data, for the rows made of them (default: the environment variable
    LAMBO_DATA); rows whose files are not there are left out."""
    weights: Annotated[str | None, Parameter(group=PLAYED)] = None
    """Weights of your own, AGENT=PATH, separated by commas: each is a further row."""
    out: Annotated[Path | None, Parameter(group=WRITTEN)] = None
    """Where results are kept (default results/SWEEP); a second run continues there."""
    jobs: Annotated[int, Parameter(group=RUN)] = 0
    """Worker processes of one thread each; 0: one per core."""
    engine: Annotated[Name, Parameter(group=RUN)] = "joblib"
    """Where cells run: processes of this machine (joblib), or a Ray cluster's (ray)."""
    address: Annotated[str | None, Parameter(group=RUN)] = None
    """Of the Ray cluster: host:port of its head, ray://host:port, or auto; left out, one here."""
    fresh: Annotated[bool, Parameter(negative=(), group=RUN)] = False
    """Play the sweep's cells anew even where results are there."""
    figures: Annotated[bool, Parameter(group=WRITTEN)] = True
    """Draw the report's figures."""


def bench(options: BenchOptions = BenchOptions()) -> int:
    """Play the sweep and report; 1 when an agent raised."""
    from benchmarks.report.escaping import tell
    from benchmarks.report.progress import shown

    sweep, left_out = present(choose(options))
    folder = options.out or Path("results") / files.safe_name(sweep.name)
    with shown() as on_progress:
        summary = run_sweep(
            sweep,
            folder,
            engine=EngineChoice(options.engine, options.address, options.jobs),
            fresh=options.fresh,
            on_progress=on_progress,
        )
    failed = _report(summary, options.figures)
    for line in (*left_out, *credits_of(sweep)):
        tell(line)
    return failed


def present(sweep: Sweep) -> tuple[Sweep, list[str]]:
    """Return the sweep without the rows whose data are absent, and a line on each of them.

    Raises:
        ValueError: no row is left.
    """
    reasons = {
        source.name: reason
        for source in sweep.scenarios
        if isinstance(source, DataSource) and (reason := source.missing()) is not None
    }
    kept = tuple(source for source in sweep.scenarios if source.name not in reasons)
    lines = [f"{name}: left out: {reason}" for name, reason in reasons.items()]
    if not kept:
        raise ValueError("; ".join(lines))
    return sweep.replace(scenarios=kept), lines


def credits_of(sweep: Sweep) -> list[str]:
    """Return the citation and licence of each row of measured data."""
    return [source.credit() for source in sweep.scenarios if isinstance(source, DataSource)]


def choose(options: BenchOptions) -> Sweep:
    """Return the sweep that the options ask for.

    Raises:
        ValueError: an unknown sweep, agent, scenario or prompt, or a bad file.
    """
    sweep = load_sweep(options.sweep)
    if options.instances is not None:
        sweep = sweep.replace(instances=options.instances)
    if options.data is not None:
        source = file_source(options.data)
        entries = (
            sweep.agents if source.labels(0, 1) is None else (*sweep.agents, AgentEntry(LABELS))
        )
        sweep = sweep.replace(
            scenarios=(source,), agents=entries, name=f"{sweep.name}-{source.name}"
        )
    if options.scenarios is not None:
        own = {source.name: source for source in sweep.scenarios}
        sweep = sweep.replace(
            scenarios=tuple(own.get(n) or scenario_source(n) for n in split(options.scenarios, own))
        )
    if options.prompts:
        sweep = sweep.replace(prompts=tuple(options.prompts))
    if options.agents is not None:
        known = {*list_agents(), *(agent.label for agent in sweep.agents)}
        names = split(options.agents, known, "--agents")
        for name in names:
            validate.known(name, known, "agent")
        sweep = sweep.with_agents(names)
    if options.weights is not None:
        rows = [_own_weights(entry) for entry in split(options.weights, field="--weights")]
        sweep = sweep.replace(agents=(*sweep.agents, *rows))
    if options.data_folder is not None:
        folder = options.data_folder
        validate.check("--data-folder", str(folder), folder.is_dir(), "an existing folder")
        sweep = sweep.replace(
            scenarios=tuple(
                dataclasses.replace(source, folder=folder)
                if isinstance(source, DataSource)
                else source
                for source in sweep.scenarios
            )
        )
    return sweep


def _own_weights(entry: str) -> AgentEntry:
    """Return the row of AGENT=PATH; its label changes with the file's content."""
    agent, _, path = entry.partition("=")
    validate.check("--weights", entry, bool(agent and path), "AGENT=PATH")
    validate.known(agent, list_agents(), "agent")
    make_agent(agent, weights=path)  # what cannot be loaded is bad input, not an empty cell
    content = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
    label = f"{agent} ({Path(path).stem} {content})"
    return AgentEntry(agent, {"weights": str(Path(path).resolve())}, label)


def split(text: str, known: Collection[str] = (), field: str = "list") -> list[str]:
    """Return the parts of a comma-separated list.

    A ``known`` name may have commas of its own, and the longest such one is taken.
    """
    parts = [part.strip() for part in text.split(",")]
    validate.check(field, text, all(parts), "names separated by commas")
    names = []
    while parts:
        whole = (", ".join(parts[:size]) for size in range(len(parts), 1, -1))
        names.append(next((name for name in whole if name in known), parts[0]))
        del parts[: names[-1].count(", ") + 1]
    return names


def _report(summary: SweepSummary, figures: bool) -> int:
    from benchmarks.report.escaping import tell
    from benchmarks.report.report import print_report, write_report
    from benchmarks.report.tables import load

    for note in summary.notes:
        tell(note, error=True)
    results = load(summary.folder)
    written = write_report(results, summary.folder / "report.md", figures=figures)
    print_report(results)
    for what, reason in {**summary.empty, **summary.failed}.items():
        tell(f"{what}: {'FAILED' if what in summary.failed else 'no result'}: {reason}")
    print(
        f"{summary.played} cells played, {summary.cached} kept; "
        f"{', '.join(str(path) for path in written)}"
    )
    return 1 if summary.failed else 0
