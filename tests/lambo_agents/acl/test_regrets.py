"""Regrets of single decisions: what a move costs, against the evaluation of the moved decision."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.acl import losses
from lambo_agents.acl.regrets import regrets
from lambo_agents.registry import make_agent
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts


@pytest.mark.parametrize(("scenario", "inexact"), [("paper", 0.01), ("hetero", 0.25)])
def test_a_regret_is_what_moving_one_task_costs(scenario: str, inexact: float) -> None:
    """To rounding where no further floor binds, else near it; what does not fit is said."""
    rng = np.random.default_rng(0)
    drawn = sample_instances(load_scenario(scenario).replace(num_ues=16), 3, rng)
    prompts = Prompts(("x",) * 3, np.array([1.0, 0.0, 0.4]))
    objective = prompts.objective(drawn)
    answers = [make_agent(name).decide(drawn, prompts, rng) for name in ("local-search", "greedy")]
    place = np.stack([answer.place for answer in answers], axis=1).astype(np.int64)
    growth, fits = regrets(drawn, objective, place)
    floors = physics.floors_hz(drawn)
    errors = []
    for k in range(2):
        before = physics.association_cost(drawn, place[:, k], objective)
        for ue in range(16):
            for to in range(drawn.num_servers + 1):
                moved = place[:, k].copy()
                moved[:, ue] = to
                told = fits[:, k, ue, to]
                if to:
                    there = np.where(moved == to, floors[..., to - 1], 0.0).sum(-1)
                    assert np.array_equal(told, there <= drawn.server_cpu_hz[:, to - 1] * 1.0000005)
                found = (physics.association_cost(drawn, moved, objective) - before) / before
                errors += list((growth[:, k, ue, to] / before - found)[told])
    assert np.mean(np.abs(errors) > 1e-9) < inexact
    assert np.quantile(np.abs(errors), 0.99) < 2e-3
    assert np.take_along_axis(growth, place[..., None], -1).max() == 0


def test_expected_regret_moves_chance_to_the_better_place_alone() -> None:
    logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
    regret = torch.tensor([0.5, -0.5, 0.1, 9.0]).view(1, 1, 1, 4)
    counts = torch.tensor([True, True, True, False]).view(1, 1, 1, 4)
    losses.expected_regret(logits.log_softmax(-1), regret, counts).backward()
    slope = logits.grad.flatten()
    assert slope[1] < slope[2] < slope[0]
    assert slope[1] < 0 < slope[0]
    assert slope[3] == pytest.approx(0, abs=1e-7)  # unknown: as good as the mean


def test_a_step_that_takes_none_of_the_known_places_has_no_regret() -> None:
    """The teacher's place can be all but excluded, and all others not fit beside the rest."""
    logits = torch.tensor([0.0, -200.0]).view(1, 1, 1, 2).requires_grad_()
    counts = torch.tensor([False, True]).view(1, 1, 1, 2)
    loss = losses.expected_regret(logits.log_softmax(-1), torch.zeros(1, 1, 1, 2), counts)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
