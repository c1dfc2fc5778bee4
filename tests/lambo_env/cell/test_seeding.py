"""Evaluation and training instances never meet, and each block is its own."""

import itertools

import numpy as np
import pytest

from lambo_env.cell.seeding import decision_rng, evaluation_rng, training_rng
from lambo_env.offloading.scenario import list_scenarios, load_scenario
from lambo_env.offloading.slots import sample_instances

SCENARIOS = [load_scenario(name) for name in list_scenarios()]


def test_evaluation_training_and_decisions_never_share_a_stream():
    keys = itertools.product((0, 1, 2**40), SCENARIOS, range(20))
    makers = (
        evaluation_rng,
        training_rng,
        lambda root, scenario, k: decision_rng(root, scenario.hash, k),
    )
    firsts = [make(*key).integers(2**63) for key in keys for make in makers]
    assert len(set(firsts)) == len(firsts)


def test_a_training_seed_cannot_give_an_evaluation_instance():
    paper = load_scenario("paper")
    shown = sample_instances(paper, 4, evaluation_rng(0, paper, 0)).uplink_bps
    for stream in range(50):
        trained = sample_instances(paper, 4, training_rng(0, paper, stream)).uplink_bps
        assert not np.isin(trained, shown).any()


def test_a_block_is_a_function_of_its_three_numbers():
    paper = load_scenario("paper")
    again = [sample_instances(paper, 3, evaluation_rng(5, paper, 2)).uplink_bps for _ in range(2)]
    np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("root", [-1, 1.5, "0", None, True])
def test_a_bad_root_is_refused(root: object):
    with pytest.raises(ValueError, match="root is .*allowed: an integer >= 0"):
        evaluation_rng(root, SCENARIOS[0], 0)
