"""What one update of the training is fed.

Instances of a family of scenarios, prompts, which of them use the shares, labels to imitate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lambo_agents.acl import prompt_corpus
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.stages import DecisionStage, ImitationStage, ReadingStage
from lambo_agents.protocol import Agent
from lambo_env.cell import seeding
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts

_READING_STREAM = 2**30  # of the training draws, on from here
_USUAL, _LEAST_INSTANCES = 50 * (10 + 5), 4  # of an update: what it costs, in UEs x (10 + places)


_SHARES = "{:.6f}% latency, {:.6f}% energy"  # what a teacher reads that goes by the text alone
_PURE = {PAIR[0]: 1.0, PAIR[1]: 0.0}  # latency weights of the kinds that are no mix


class Batch(NamedTuple):
    """One update's problems."""

    instances: Instances
    prompts: Prompts
    shares: torch.Tensor  # bool [B], whose CPU the sigmoid shares allot
    label: NDArray[np.int64] | None = None  # the teacher's places [B, N] where they are imitated


class Moment(NamedTuple):
    """Where a training is before an update."""

    stage: int  # its index
    done: int  # updates of it
    turn: int  # updates of its kind, reading or deciding: the other kind's count for nothing


def moment(recipe: Recipe, step: int) -> Moment:
    """Return where a training is after ``step`` updates.

    So the length of one kind of stages does not change what the other draws.
    """
    done, last = step, len(recipe.phases) - 1
    before = {True: 0, False: 0}
    for index, stage in enumerate(recipe.phases):
        reads = isinstance(stage, ReadingStage)
        if done < stage.updates or index == last:
            return Moment(index, done, done + before[reads])
        done -= stage.updates
        before[reads] += stage.updates
    raise AssertionError("a recipe has a phase")


def draw(
    recipe: Recipe, teacher: Agent | None, step: int, piece: int
) -> tuple[Batch | prompt_corpus.Texts, np.random.Generator]:
    """Return what a piece of an update is fed, labels included, and its generator from there on.

    It depends on the recipe and the two numbers alone, so anybody may draw it, at any time.
    """
    now = moment(recipe, step)
    stage = recipe.phases[now.stage].piece(recipe.shards)
    rng = update_rng(recipe, now.turn + isinstance(stage, ReadingStage) * _READING_STREAM)
    if recipe.shards > 1:
        rng = rng.spawn(recipe.shards)[piece]
    if isinstance(stage, ReadingStage):
        return prompt_corpus.sample(stage.texts, rng), rng
    assert isinstance(stage, DecisionStage)
    batch = sample_batch(recipe, stage, rng)
    if isinstance(stage, ImitationStage):
        assert teacher is not None
        batch = batch._replace(label=places(teacher, batch, rng))
    return batch, rng


def places(teacher: Agent, batch: Batch, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the teacher's places [B, N]."""
    decided = teacher.decide(batch.instances, batch.prompts, rng)
    return np.asarray(decided.place, dtype=np.int64)


def update_rng(recipe: Recipe, stream: int) -> np.random.Generator:
    """Return the generator of one update.

    It depends on the seed and the stream alone, so a resumed run draws the same.
    """
    return seeding.training_rng(recipe.seed, load_scenario(recipe.scenario), stream)


def sample_batch(recipe: Recipe, stage: DecisionStage, rng: np.random.Generator) -> Batch:
    """Draw the problems of one update.

    One world, as it is or varied, training phrasings of all kinds mixed.
    """
    shares = np.array(stage.world_shares or [world.share for world in recipe.worlds])
    world = recipe.worlds[int(rng.choice(len(shares), p=shares / shares.sum()))]
    scenario = world.draw(rng)
    weight = scenario.num_ues * (11 + len(scenario.server_cpu_hz))
    size = max(_LEAST_INSTANCES, int(stage.instances * min(2.0, _USUAL / weight)))  # as much to do
    instances = sample_instances(scenario, size, rng)
    prompts = _prompts(recipe, stage.kinds or recipe.kinds, size, rng)
    return Batch(instances, prompts, torch.from_numpy(rng.random(size) < stage.share_rows))


def _prompts(recipe: Recipe, kinds: Sequence[str], size: int, rng: np.random.Generator) -> Prompts:
    """Draw what instances are for: training phrasings, or plain shares for a network with meanings.

    Such a network is told what its texts say while it learns to decide, so that which phrasings
    there are changes nothing about its decisions. Kinds are drawn evenly; a mix is any.
    """
    if not recipe.shape().prompt_bins:
        return Prompts.sample(size, rng, kinds=kinds)
    kind, mix = rng.integers(len(kinds), size=size), rng.random(size)
    weights = np.array([_PURE.get(name, np.nan) for name in kinds])[kind]
    told = np.where(np.isnan(weights), mix, weights)
    return Prompts([_SHARES.format(100 * w, 100 - 100 * w) for w in told], told)
