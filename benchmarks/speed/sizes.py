"""What the paper's sizes take to train: FLOP counted on shallow networks of their width.

Layers are alike, so an update's FLOP grow by the same number with each: networks of one and two
layers tell it. Minutes follow from a GPU's peak and the part of it that a training reaches.
"""

from __future__ import annotations

import functools

from benchmarks.report.console import print_table
from lambo_agents.acl.config import Recipe, World
from lambo_agents.acl.stages import DecisionStage, Stage, name_of
from lambo_agents.acl.trainer import Trainer, flushed
from lambo_agents.network.config import AEDConfig
from lambo_agents.registry import make_agent

RECIPES = ("lambo-m", "lambo-l")
COUNTED = 4  # instances of an update that is counted
REACHED = 0.3  # of a GPU's peak, assumed
# dense bf16 FLOP per second by NVIDIA's data sheets (H100 SXM, A100)
GPUS = {"H100": 989e12, "A100": 312e12}


@functools.cache
def flop_of(shape: AEDConfig, stage: Stage, teacher: str, scenario: str) -> float:
    """Return the model FLOP of one update of a phase."""
    world = World(scenario=scenario)
    recipe = Recipe(phases=(stage,), worlds=(world,), preset="lambo_m", network=shape.to_dict())
    trainer = Trainer(recipe, make_agent(teacher))
    trainer.update()
    return trainer.flop


def extrapolated(recipe: Recipe, stage: DecisionStage, scenario: str) -> float:
    """Return the FLOP of an update of a phase at the recipe's own depth."""
    shape, few = recipe.shape(), stage.replace(instances=COUNTED, updates=1)

    def at(encoder: int, decoder: int) -> float:
        other = shape.replace(encoder_layers=encoder, decoder_layers=decoder)
        return flop_of(other, few, recipe.teacher, scenario)

    one = at(1, 1)
    further = (shape.encoder_layers - 1) * (at(2, 1) - one)
    further += (shape.decoder_layers - 1) * (at(1, 2) - one)
    return stage.batch / COUNTED * (one + further)


def print_sizes(scenario: str) -> None:
    """Print FLOP and minutes of each phase of the paper's sizes."""
    rows = list[tuple[str, ...]]()
    with flushed():
        for name in RECIPES:
            recipe, total = Recipe.load(name), 0.0
            for stage in recipe.phases:
                assert isinstance(stage, DecisionStage)
                flop = extrapolated(recipe, stage, scenario)
                total += flop * stage.updates
                each = f"{flop / 1e12:.1f}"
                rows.append(_row(name, name_of(stage), stage.updates, each, flop * stage.updates))
            rows.append(_row(name, "in all", recipe.updates, "", total))
    machines = [f"{gpu}, minutes" for gpu in GPUS]
    print_table(
        ("recipe", "phase", "updates", "TFLOP per update", "PFLOP", *machines),
        rows,
        f"FLOP counted; minutes at {REACHED:.0%} of the dense bf16 peak, assumed",
    )


def _row(name: str, phase: str, updates: int, each: str, total: float) -> tuple[str, ...]:
    minutes = [f"{total / (REACHED * peak) / 60:.1f}" for peak in GPUS.values()]
    return (name, phase, f"{updates:,}", each, f"{total / 1e15:.1f}", *minutes)
