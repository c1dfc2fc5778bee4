"""ALEF: what it asks, what it learns, what it refuses, and that it never loses what it was."""

import copy
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.adapter import PolicyAgent
from lambo_agents.agent import LamboAgent
from lambo_agents.alef import finetune, query
from lambo_agents.alef.agent import ALEF
from lambo_agents.alef.expert import ExpertError, Label, Labels
from lambo_agents.alef.finetune import LabelledBatch, UpdateConfig
from lambo_agents.alef.query import Pool
from lambo_agents.network import decoding
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig, lambo_xs, preset
from lambo_agents.registry import make_agent
from lambo_agents.testing.agent_checks import check_agent
from lambo_env.offloading import physics
from lambo_env.offloading.drift import stream
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

POINTER = dataclasses.replace(
    lambo_xs(), d_model=16, encoder_layers=1, pair_width=8, memory_width=4, prompt_width=8
)
LINEAR = AEDConfig(
    d_model=16, num_heads=2, encoder_layers=1, decoder_layers=1, encoder_ff=16, decoder_ff=16
)
QUICK = UpdateConfig(steps=3, batch=8)
TEXTS = ["minimum latency", "minimum energy"]


def network(config: AEDConfig = POINTER, seed: int = 0) -> AED:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AED(config).eval()


def make(**options) -> ALEF:
    settings = {
        "weights": network(),
        "expert": Nearest(),
        "labels_per_slot": 2,
        "update": QUICK,
        "fallback": False,
        **options,
    }
    return ALEF(**settings)


def slot(count: int = 6, num_ues: int = 6, seed: int = 0) -> tuple[Instances, Prompts]:
    scenario = load_scenario("tiny").replace(num_ues=num_ues)
    return sample_instances(scenario, count, np.random.default_rng(seed)), Prompts.of(
        [TEXTS[k % 2] for k in range(count)]
    )


def play(agent: ALEF, instances: Instances, prompts: Prompts, seed: int = 0) -> int:
    rng = np.random.default_rng(seed)
    return agent.adapt(instances, prompts, agent.decide(instances, prompts, rng), rng)


class Nearest:
    """An expert: the UE with the fastest link goes to that server, all others stay."""

    calls = 0

    def decide(self, instances, prompts, rng):
        self.calls += instances.batch_size
        place = np.zeros(instances.cycles.shape, dtype=np.int64)
        for row, links in enumerate(instances.uplink_bps):
            ue, server = np.unravel_index(links.argmax(), links.shape)
            place[row, ue] = server + 1
        return Decision(place, physics.allocate(instances, place))


def weights_of(agent: ALEF) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in agent.agent.aed.state_dict().items()}


def equal(a: dict, b: dict) -> list[str]:
    """Names of the weights that are the same to the bit."""
    return [name for name in a if torch.equal(a[name], b[name])]


# ---- the frozen encoder --------------------------------------------------------------------------


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
    [("lambo_xs", 26_411, 20.6), ("lambo_s", 87_379, 13.7), ("lambo_b", 223_155, 10.7)],
)
def test_small_presets_train_a_small_part(name, trainable, share):
    with torch.device("meta"):
        aed = AED(preset(name))
    assert finetune.num_trainable(aed) == trainable
    assert 100 * trainable / aed.num_parameters == pytest.approx(share, abs=0.06)


# ---- what is asked -------------------------------------------------------------------------------


def pool(agent: ALEF, count: int = 6) -> Pool:
    instances, prompts = slot(count)
    rng = np.random.default_rng(1)
    return Pool(agent.agent, instances, prompts, agent.decide(instances, prompts, rng), rng)


@pytest.mark.parametrize("allocation", ["optimal", "share"])
@pytest.mark.parametrize("config", [POINTER, LINEAR], ids=["pointer", "linear"])
def test_entropy_is_that_of_the_steps_taken(allocation, config, monkeypatch):
    """Teacher forcing agrees with a rollout that is watched step by step."""
    monkeypatch.setattr(decoding, "FIXED_POINT_ROWS", 0)
    agent = make(weights=network(config), allocation=allocation)
    mine = pool(agent)
    seen = []
    steps = agent.agent.aed.steps

    def watch(plan, state, cache=None, step=0):
        logits, rest = steps(plan, state, cache, step)
        seen.append((logits[:, 0, 0], state.left[:, 0, 0]))
        return logits, rest

    agent.agent.aed.steps = watch
    agent.decide(mine.instances, mine.prompts, mine.rng)
    del agent.agent.aed.steps
    slots = decoding.slot(mine.instances, mine.prompts.tokens, allocation == "share")
    with torch.no_grad():
        slots = decoding.prepare(agent.agent.aed, slots)[1]
    total = torch.zeros(6)
    for i, (logits, left) in enumerate(seen):
        legal = slots.need[:, i] - physics.FIT_TOLERANCE <= left.double()
        chance = torch.where(legal, logits, -torch.inf).softmax(-1)
        total += torch.special.entr(chance).sum(-1) / len(seen)
    assert query.entropy(mine) == pytest.approx(total.double().numpy(), rel=1e-4)
    assert (total <= np.log(5)).all() and len(seen) == 6


def test_certain_and_uncertain_networks_score_as_they_should():
    sure, unsure = make(), make()
    with torch.no_grad():
        for agent, factor in ((sure, 200.0), (unsure, 0.0)):
            heads = agent.agent.aed.servers.heads
            heads.weight[0] *= factor
            agent.agent.aed.servers.prior.weight *= factor
    for name in ("entropy", "margin"):
        low, high = (query.QUERIES[name](pool(agent)) for agent in (sure, unsure))
        assert low.max() < 0.5 * high.min()
    assert (query.committee(pool(make())) >= 0).all()


def test_the_highest_scores_are_chosen():
    mine = pool(make())
    scores = query.entropy(mine)
    rows = query.choose(mine, "entropy", 3)
    latency, energy = (
        scores[::2],
        scores[1::2],
    )  # kinds take turns: the best of each, then the second best of one
    assert {scores[rows[0]], scores[rows[1]]} == {latency.max(), energy.max()}
    assert scores[rows[2]] in (np.sort(latency)[1], np.sort(energy)[1])
    assert len(query.choose(mine, "entropy", 3, threshold=scores.max() + 1)) == 0


def test_diversity_prefers_what_is_far_apart():
    agent = make()
    instances, prompts = slot(3)
    instances, prompts = (
        instances.take([0, 0, 1, 2]),
        prompts.take([0, 0, 0, 0]),
    )  # the first two are one
    rng = np.random.default_rng(0)
    mine = Pool(agent.agent, instances, prompts, agent.decide(instances, prompts, rng), rng)
    rows = query.choose(mine, "entropy", 3, diversity=2)
    assert len({min(int(row), 1) if row < 2 else int(row) for row in rows}) == 3 or not {
        0,
        1,
    } <= set(rows.tolist())


def test_budget_start_and_rhythm():
    agent = make(labels_per_slot=2, budget=5, start_slot=1, every=2)
    used = [play(agent, *slot(seed=k), seed=k) for k in range(8)]
    assert used == [0, 2, 0, 2, 0, 1, 0, 0] and agent.labels_used == 5


# ---- what is learned -----------------------------------------------------------------------------


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


def test_it_is_a_good_agent():
    check_agent(make(weights=network(LINEAR)))
    assert not make().evaluator_in_loop and make(decoding="sample").evaluator_in_loop


# ---- the network as it came ----------------------------------------------------------------------


def fleet(count: int = 8) -> tuple[Instances, Prompts]:
    """Instances of ``paper`` with fewer UEs, which only the shipped network decides well."""
    scenario = load_scenario("paper").replace(num_ues=12)
    texts = [TEXTS[k % 2] for k in range(count)]
    return sample_instances(scenario, count, np.random.default_rng(3)), Prompts.of(texts)


def test_an_update_that_does_no_good_is_not_used():
    """Labels of a poor expert.

    They are learned from and paid for, but the network as it came goes on deciding.
    """
    agent = make(
        weights="lambo-s", fallback=True, update=UpdateConfig(steps=10, learning_rate=2e-2)
    )
    instances, prompts = fleet()
    rng = np.random.default_rng(0)
    frozen = LamboAgent("lambo-s").decide(instances, prompts, rng)
    assert play(agent, instances, prompts) == 2 and agent.labels_used == 2
    assert agent.fallback.at_home
    assert np.array_equal(agent.decide(instances, prompts, rng).place, frozen.place)
    assert len(equal(agent.fallback.home, agent.fallback.learned)) < len(agent.fallback.home)


def test_whichever_was_cheaper_decides_the_next_slot():
    """Good weights and random ones, each in turn the ones that learned.

    The good ones are in use after one slot, without a label.
    """
    instances, prompts = fleet()
    shipped = LamboAgent("lambo-s").aed
    good = {name: shipped.state_dict()[name].clone() for name in finetune.decoder_names(shipped)}
    bad = {name: torch.randn_like(weight) for name, weight in good.items()}
    for home, learned, at_home in ((good, bad, True), (bad, good, False)):
        agent = make(weights="lambo-s", fallback=True, start_slot=10)
        agent.fallback.home = home
        agent.fallback.resume(learned, not at_home)
        assert play(agent, instances, prompts) == 0
        assert agent.fallback.at_home == at_home
        assert len(equal(good, weights_of(agent))) == len(good)


def test_a_world_that_comes_back_is_recognised_before_it_is_decided():
    """One slot of each world is enough: by the observation alone, without a label or a price."""
    scenario = load_scenario("paper").replace(num_ues=12)
    halved = scenario.replace(server_cpu_hz=tuple(f / 2 for f in scenario.server_cpu_hz))
    agent, rng = make(weights="lambo-s", fallback=True), np.random.default_rng(0)
    learned = {name: weight + 0.01 for name, weight in agent.fallback.home.items()}
    agent.fallback.resume(learned, at_home=False)
    for world, at_home in ((scenario, True), (halved, False)):
        given = sample_instances(world, 8, rng)
        agent.fallback.at_home = at_home
        agent.fallback.settle_as(given)
    for world, at_home in ((scenario, True), (halved, False), (halved, False), (scenario, True)):
        agent.decide(sample_instances(world, 8, rng), fleet()[1], rng)
        assert agent.fallback.at_home == at_home
        expected = agent.fallback.home if at_home else agent.fallback.learned
        assert len(equal(expected, weights_of(agent))) == len(expected)


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


def test_a_failed_round_leaves_the_weights_in_use(monkeypatch):
    agent = make(fallback=True, start_slot=1)
    play(agent, *slot())
    before = weights_of(agent)
    agent.fallback.resume({name: 2 * weight for name, weight in agent.fallback.home.items()}, True)
    monkeypatch.setattr(
        finetune, "labels_loss", lambda *parts: torch.tensor(float("nan"), requires_grad=True)
    )
    with pytest.raises(FloatingPointError):
        play(agent, *slot(seed=1))
    assert len(equal(before, weights_of(agent))) == len(before) and agent.fallback.at_home


# ---- experts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exact", {"gap": 1e-2}),
        ("local-search", {}),
        ("de", {"generations": 2}),
        ("policy-gradient", {"iterations": 3, "samples": 4}),
        ("greedy", {}),
    ],
)
def test_any_registered_agent_may_be_the_expert(name, options):
    agent = make_agent(
        "lambo-s+alef", expert=name, expert_options=options, labels_per_slot=2, update=QUICK
    )
    assert play(agent, *slot(4)) == 2 and agent.asked == 2


def test_a_policy_of_stable_baselines3_may_be_the_expert():
    """An SAC of random weights on an instance so easy that no decision is late.

    Late ones of any expert are refused (below).
    """
    sb3 = pytest.importorskip("stable_baselines3")
    scenario = load_scenario("tiny").replace(num_ues=1, data_bits=(1e5, 3e5))
    env = gym.make("LAMBO-MEC-v0", scenario=scenario, prompt="minimum latency")
    sac = sb3.SAC("MultiInputPolicy", env, buffer_size=10, seed=0)
    agent = make(expert=PolicyAgent(sac, "LAMBO-MEC-v0"))
    assert play(agent, sample_instances(scenario, 6, np.random.default_rng(0)), slot()[1]) == 2
    assert agent.labels_used == 2


# ---- what is refused -----------------------------------------------------------------------------


class Fails:
    def decide(self, instances, prompts, rng):
        raise RuntimeError("no licence")


class Sleeps:
    def decide(self, instances, prompts, rng):
        time.sleep(1.0)


class Overfull(Nearest):
    def decide(self, instances, prompts, rng):
        good = super().decide(instances, prompts, rng)
        return Decision(good.place, 2 * good.cpu_hz)


class Lazy(Nearest):
    def decide(self, instances, prompts, rng):
        good = super().decide(instances, prompts, rng)
        return Decision(good.place, 1e-3 * good.cpu_hz)


class Picky(Nearest):
    def supports(self, instances):
        return "too many UEs"


class Mute:
    def decide(self, instances, prompts, rng):
        return None


@pytest.mark.parametrize(
    ("expert", "text"),
    [
        (Fails(), "'Fails' failed: RuntimeError: no licence"),
        (Sleeps(), "'Sleeps' took longer than 0.05 s"),
        (Overfull(), "'Overfull' gave an illegal decision: Decision.cpu_hz summed"),
        (Lazy(), "'Lazy' labels late: UE"),
        (Picky(), "'Picky' cannot decide these instances: too many UEs"),
        (Mute(), "'Mute' gave an illegal decision"),
    ],
)
def test_a_bad_expert_leaves_the_network_as_it_was(expert, text):
    agent = make(expert=expert, timeout_s=0.05 if isinstance(expert, Sleeps) else 20)
    before = weights_of(agent)
    with pytest.raises(ExpertError, match=text):
        play(agent, *slot())
    assert len(equal(before, weights_of(agent))) == len(before)
    assert (agent.slot, agent.labels_used) == (0, 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"labels_per_slot": 0}, "ALEF.labels_per_slot is 0; allowed: an integer >= 1"),
        ({"labels_per_slot": -3}, "ALEF.labels_per_slot is -3"),
        ({"budget": 0}, "ALEF.budget is 0"),
        ({"budget": -8}, "ALEF.budget is -8"),
        ({"fallback": 1}, "ALEF.fallback is 1"),
        ({"every": 0}, "ALEF.every is 0"),
        ({"query": "entropie"}, "did you mean 'entropy'"),
        ({"expert": "locl-search"}, "did you mean 'local-search'"),
        ({"expert": None}, "ALEF.expert is None; allowed: a registered agent's name"),
        ({"timeout_s": 0}, "ALEF.timeout_s is 0"),
        ({"update": {"update_params": "encoder"}}, "unknown UpdateConfig.update_params 'encoder'"),
        ({"update": {"replay": 2}}, "UpdateConfig.replay is 2.0; allowed: a number in"),
        ({"allocation": "fair"}, "unknown allocation 'fair'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        make(**options)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [({"num_ues": 7}, r"\(7, 4\)"), ({"server_cpu_hz": (3e10, 5e10)}, r"\(6, 2\)")],
)
def test_a_stream_that_changes_size_is_refused(fields, sizes):
    agent = make()
    instances, prompts = slot()
    play(agent, instances, prompts)
    before = weights_of(agent)
    other = sample_instances(load_scenario("tiny").replace(**fields), 6, np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"is {sizes}; allowed: \(6, 4\), as before"):
        play(agent, other, prompts)
    assert len(equal(before, weights_of(agent))) == len(before) and agent.slot == 1


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


def test_the_given_network_is_copied():
    aed = network()
    before = copy.deepcopy(aed.state_dict())
    play(make(weights=aed), *slot())
    assert len(equal(before, aed.state_dict())) == len(before)


# ---- on the disk ---------------------------------------------------------------------------------


def test_a_guarded_adaptation_is_gone_on_with(tmp_path):
    whole = make(fallback=True)
    for k in range(3):
        play(whole, *slot(seed=k), seed=k)
    for k in range(3):
        part = make(fallback=True, folder=tmp_path)
        play(part, *slot(seed=k), seed=k)
    assert (
        part.fallback.at_home == whole.fallback.at_home
        and part.replay_buffer.offered == whole.replay_buffer.offered
    )
    for mine, theirs in (
        (part.fallback.learned, whole.fallback.learned),
        (weights_of(part), weights_of(whole)),
    ):
        assert len(equal(mine, theirs)) == len(theirs)


def test_a_folder_is_gone_on_with(tmp_path):
    whole = make()
    for k in range(3):
        play(whole, *slot(seed=k), seed=k)
    first = make(folder=tmp_path)
    play(first, *slot(seed=0), seed=0)
    second = make(folder=tmp_path)
    assert (second.slot, second.labels_used) == (1, 2)
    for k in (1, 2):
        play(second, *slot(seed=k), seed=k)
    assert len(equal(weights_of(whole), weights_of(second))) == len(weights_of(whole))
    with pytest.raises(ValueError, match="labels_per_slot is 2; allowed: 3 here"):
        make(folder=tmp_path, labels_per_slot=3)
    with pytest.raises(ValueError, match="servers.fixed.weight"):
        make(folder=tmp_path, weights=network(dataclasses.replace(POINTER, memory_width=5)))


def test_a_damaged_label_is_refused(tmp_path):
    instances, prompts = slot(1)
    label = Label(instances, prompts, np.zeros(6, dtype=np.int64))
    Labels(tmp_path).add(label)
    path = tmp_path / f"{label.key}.npz"
    assert Labels(tmp_path).find(label.key).prompts == prompts
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="allowed: a whole .npz"):
        Labels(tmp_path).find(label.key)


def test_the_adapted_network_is_exported(tmp_path):
    agent = make()
    instances, prompts = slot()
    play(agent, instances, prompts)
    agent.export(tmp_path / "adapted.safetensors")
    rng = np.random.default_rng(0)
    other = LamboAgent(tmp_path / "adapted.safetensors").decide(instances, prompts, rng)
    assert np.array_equal(agent.decide(instances, prompts, rng).place, other.place)


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
import test_alef as t
from pathlib import Path
class Slow(t.Nearest):
    def decide(self, instances, prompts, rng):
        with Path({asked!r}).open("a") as file:
            file.write(f"{{instances.cycles.sum()}}\\n")
        t.time.sleep(0.05)
        return super().decide(instances, prompts, rng)
agent = t.make(expert=Slow(), folder={folder!r})
for k in range(agent.slot, 4):
    t.play(agent, *t.slot(seed=k), seed=k)
print("done", agent.labels_used)
"""


def test_a_killed_adaptation_asks_no_question_twice(tmp_path):
    asked, folder = tmp_path / "asked", tmp_path / "folder"
    code = SCRIPT.format(tests=str(Path(__file__).parent), asked=str(asked), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while (
        not asked.exists() or len(asked.read_text().splitlines()) < 3
    ):  # killed in the second slot's questions
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["done", "8"]
    questions = asked.read_text().split()
    assert (
        len(set(questions)) == 8 and len(questions) <= 9
    )  # one may have been under way when it was killed


def test_it_plays_a_stream():
    agent = make(labels_per_slot=1, budget=2)
    for _, instances in stream("capacity-abrupt", 2, 0, load_scenario("tiny"), num_slots=4):
        assert play(agent, instances, Prompts.of(TEXTS)) <= 1
    assert agent.labels_used == 2
