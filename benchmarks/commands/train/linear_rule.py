"""``lambo tune linear-rule``: evolution strategies on training seeds of the queueing world."""

from __future__ import annotations

from pathlib import Path

from baselines.queueing.tuning import PRESETS, WEIGHTS, LinearTuning
from baselines.queueing.tuning import tune as run
from benchmarks.commands.train.telling import Telling, told
from lambo_env.utils import validate


def tune(
    out: str = "runs/linear-rule",
    *,
    scenarios: tuple[str, ...] = PRESETS,
    generations: int = 100,
    population: int = 16,
    episodes: int = 4,
    seed: int = 0,
    telling: Telling | None = None,
) -> None:
    """Tune the weights of the agent `linear-rule`; a killed run goes on with the same command.

    Args:
        out: Folder of the run; the weights come to lie in it as linear-rule.json.
        scenarios: Presets or .toml files of the queueing world, of one size; the rule serves all.
        generations: Of each weight of latency that it is tuned for: 1, 0.5 and 0.
        population: Candidates of a generation.
        episodes: Of each scenario, on which a generation's candidates are compared.
        seed: Of all draws, from training seeds alone.
        telling: where its numbers go.
    """
    validate.check("out", out, bool(out.strip()), "a folder")
    options = LinearTuning(
        scenarios=scenarios,
        generations=generations,
        population=population,
        episodes=episodes,
        seed=seed,
    )
    folder = Path(out)
    log, config = folder / "train.log", options.to_dict()
    with told(telling or Telling(), folder, log, folder.name, config) as report:
        run(options, folder, report)
    print(f"play it: lambo evaluate linear-rule --weights {folder / WEIGHTS}")
