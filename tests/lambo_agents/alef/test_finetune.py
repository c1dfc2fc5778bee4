"""ALEF's updates: the frozen encoder, what is learned, failures that change nothing."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from alef_cases import LINEAR, POINTER, QUICK, Nearest, equal, make, network, play, slot, weights_of

from lambo_agents.agent import LamboAgent
from lambo_agents.alef import finetune
from lambo_agents.alef.finetune import LabelledBatch, UpdateConfig
from lambo_agents.network import decoding
from lambo_agents.network.aed import AED
from lambo_agents.network.config import preset
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision


@pytest.mark.parametrize("config", [POINTER, LINEAR], ids=["pointer", "linear"])
def test_the_encoder_is_frozen_bitwise_and_all_else_moves(config):
    agent = make(weights=network(config))
    before = weights_of(agent)
    instances, prompts = slot()
    slots = decoding.slot(instances, prompts.tokens, True)
    with torch.no_grad():
        encoded = agent.agent.aed.encode(slots.inputs).tokens
    assert play(agent, instances, prompts) == 2
    after = weights_of(agent)
    kept = set(equal(before, after))
    moved = set(before) - kept
    assert moved <= set(finetune.decoder_names(agent.agent.aed))
    assert len(moved) > 0.9 * len(finetune.decoder_names(agent.agent.aed))
    assert any(name.startswith("decoder.") for name in moved)
    with torch.no_grad():
        assert torch.equal(encoded, agent.agent.aed.encode(slots.inputs).tokens)


@pytest.mark.parametrize("config", [POINTER, LINEAR], ids=["pointer", "linear"])
def test_what_is_frozen_is_what_the_encoder_uses(config):
    """By gradient: the encoder's output depends on just the frozen weights and the MEC's type."""
    aed, (instances, prompts) = network(config), slot(2)
    encoded = aed.encode(
        decoding.slot(instances, prompts.tokens, torch.tensor([True, False])).inputs
    )
    (encoded.tokens.square().sum() + encoded.prompt.square().sum()).backward()
    used = {name for name, weight in aed.named_parameters() if weight.grad is not None}
    used |= {name for name, _ in aed.named_parameters() if "reader.asks" in name}  # only refuses
    assert used == set(dict(aed.named_parameters())) - set(finetune.decoder_names(aed))


def test_full_fine_tuning_moves_the_encoder():
    agent = make(update=dataclasses.replace(QUICK, update_params="all"))
    before = weights_of(agent)
    play(agent, *slot())
    assert not [name for name in equal(before, weights_of(agent)) if name.startswith("encoder.")]


@pytest.mark.parametrize(
    ("name", "trainable", "total"),
    [("lambo_m", 75_619_334, 579_920_902), ("lambo_l", 151_221_254, 1_159_515_142)],
)
def test_the_papers_sizes_train_their_decoder(name, trainable, total):
    """6 or 12 layers of 12,600,320, its final norm 2,048, MEC map 9,216, heads 6,150.

    13.04 % of the network.
    """
    with torch.device("meta"):
        aed = AED(preset(name))
    assert (finetune.num_trainable(aed), aed.num_parameters) == (trainable, total)
    assert trainable == aed.config.decoder_layers * 12_600_320 + 2 * 1024 + 9 * 1024 + 6 * 1025


@pytest.mark.parametrize(
    ("name", "trainable", "share"),
    [("lambo_xs", 26_411, 8.2), ("lambo_s", 87_379, 8.6), ("lambo_b", 223_155, 8.6)],
)
def test_small_presets_train_a_small_part(name, trainable, share):
    with torch.device("meta"):
        aed = AED(preset(name))
    assert finetune.num_trainable(aed) == trainable
    assert 100 * trainable / aed.num_parameters == pytest.approx(share, abs=0.06)


class Fastest:
    """An expert: every UE goes to the server with its fastest link."""

    def decide(self, instances, prompts, rng):
        place = 1 + instances.uplink_bps.argmax(-1)
        place = np.where(physics.allocate(instances, place) > 0, place, 0)
        return Decision(place, physics.allocate(instances, place))


def test_it_learns_the_experts_rule():
    """Measured agreement with the expert on new instances.

    0.17 of the UEs before, 0.94 after 3 slots of 16 labels.
    """
    agent = make(
        expert=Fastest(),
        labels_per_slot=16,
        update=UpdateConfig(steps=120, passes=100, learning_rate=1e-2),
    )
    instances, prompts = slot(64, seed=99)
    rng = np.random.default_rng(0)
    target = Fastest().decide(instances, prompts, rng).place
    before = (agent.decide(instances, prompts, rng).place == target).mean()
    for k in range(3):
        play(agent, *slot(16, seed=k), seed=k)
    after = (agent.decide(instances, prompts, rng).place == target).mean()
    assert before < 0.5 and after > 0.85


def test_a_lesson_takes_the_closed_forms_cpu_where_latency_counts():
    instances, prompts = slot(2)
    place = Nearest().decide(instances, prompts, np.random.default_rng(0)).place
    batch = LabelledBatch.of(instances, prompts, place, "cpu")
    floors = np.where(
        place > 0, (physics.floors_hz(instances) / instances.server_cpu_hz[:, None]).min(-1), 0
    )
    taken = batch.taken.numpy()
    offloaded = place > 0
    assert taken[2][offloaded[0]] == pytest.approx(
        1.0
    )  # alone on its server, shares, latency: all of it
    for row, of in ((0, 0), (1, 1), (3, 1)):  # closed form, and energy: the floor
        assert (taken[row][offloaded[of]] >= floors[of][offloaded[of]]).all() and (
            taken[row] < 0.5
        ).all()
    assert batch.slots.inputs.shares.tolist() == [False, False, True, True]


def test_replay_draws_old_and_new_labels():
    config = UpdateConfig(batch=8, replay=0.5)
    rows = finetune.draw(100, 20, config, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 8 and (rows >= 80).sum() == 4
    assert finetune.draw(8, 2, config, np.random.default_rng(0)).tolist() == list(range(8))


def test_the_same_seed_gives_the_same_network():
    first, second = make(), make()
    for agent in (first, second):
        for k in range(2):
            play(agent, *slot(seed=k), seed=k)
    assert len(equal(weights_of(first), weights_of(second))) == len(weights_of(first))


def test_steps_grow_with_the_labels_up_to_a_limit():
    agent, count = LamboAgent(network()), []
    for labels in (2, 6):
        instances, prompts = slot(labels)
        batch = LabelledBatch.of(
            instances, prompts, Nearest().decide(instances, prompts, None).place, "cpu"
        )
        config = UpdateConfig(passes=2, batch=4, steps=3)
        count.append(len(finetune.learn(agent, batch, labels, None, config, 0)))
    assert count == [2, 3]


def test_a_loss_that_is_not_finite_leaves_the_network_as_it_was(monkeypatch):
    agent = make()
    before = weights_of(agent)
    real, calls = finetune.labels_loss, []

    def poisoned(*arguments):
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(finetune, "labels_loss", poisoned)
    with pytest.raises(FloatingPointError, match="adaptation stopped: loss nan"):
        play(agent, *slot())
    assert len(equal(before, weights_of(agent))) == len(before) and agent.labels_used == 0
    assert all(weight.requires_grad for weight in agent.agent.aed.parameters())
