"""DROO: on its own frames, over M + 1 places, on the MEC world, resumed training, bad input."""

import numpy as np
import pytest
import torch
from data_files import shared_data
from hypothesis import given
from hypothesis import strategies as st

from baselines.neural.checkpoint import FORMAT
from baselines.neural.droo import training as droo_training
from baselines.neural.droo import wpmec
from baselines.neural.droo.agent import (
    Droo,
    DrooConfig,
    candidate_costs,
    moved,
    order_preserving,
)
from baselines.neural.droo.training import DrooTraining
from baselines.neural.networks import FlatConfig, PooledConfig, place_logits
from baselines.neural.replay import MixedBuffer
from lambo_agents import weights_io
from lambo_agents.registry import make_agent
from lambo_agents.testing.agent_checks import check_agent
from lambo_env.datasets.droo import load_droo
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.wpmec.instances import Frames, generate

TINY = PooledConfig(width=16)
DEEP = FlatConfig(num_ues=6, depth=5, width=8)


@pytest.fixture
def agent():
    return Droo(None, net=TINY, config=DrooConfig(most_candidates=6))


@pytest.fixture
def prompts(tiny):
    return Prompts.of(["minimum latency", "minimum energy"] * (len(tiny) // 2))


# ---- on its own frames ---------------------------------------------------------------------------


def original_candidates(relaxed, count):
    """The quantiser as the authors wrote it, one frame at a time."""
    out = [1 * (relaxed > 0.5)]
    distance = np.argsort(np.abs(relaxed - 0.5))
    for k in range(count - 1):
        threshold = relaxed[distance[k]]
        out.append(1 * (relaxed > threshold) if threshold > 0.5 else 1 * (relaxed >= threshold))
    return np.array(out)


def test_binary_candidates_are_the_originals(rng):
    relaxed = rng.random((20, 7))
    ours = wpmec.order_preserving(relaxed, 7)
    for row in range(20):
        np.testing.assert_array_equal(ours[row], original_candidates(relaxed[row], 7))


@pytest.mark.parametrize(("devices", "frames", "least"), [(10, 4000, 0.985), (6, 4000, 0.99)])
def test_it_learns_its_own_frames(devices, frames, least):
    data = load_droo(shared_data(f"droo-data_{devices}.mat")).take(slice(0, frames))
    trace = wpmec.run(Frames(data.gain), seed=0)
    rate = trace.rate_bps / data.rate_bps
    assert rate[-frames // 5 :].mean() >= least
    assert rate.max() <= 1 + 1e-5
    assert trace.candidates[0] == devices
    assert trace.candidates[-frames // 5 :].mean() < 0.7 * devices
    assert trace.first_rate_bps[-frames // 5 :].mean() <= trace.rate_bps[-frames // 5 :].mean()


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "least"), [(10, 0.995), (6, 0.99)])
def test_it_reaches_the_headline_on_all_frames(devices, least):
    data = load_droo(shared_data(f"droo-data_{devices}.mat"))
    for seed in range(2):
        rate = wpmec.run(Frames(data.gain), seed=seed).rate_bps / data.rate_bps
        assert rate[-len(rate) // 5 :].mean() >= least


def test_a_seed_decides_a_run_and_leaves_torch_alone(rng):
    frames = generate(5, 70, rng)
    torch.manual_seed(7)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first, again, other = (wpmec.run(frames, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.rate_bps, again.rate_bps)
    assert np.any(first.first_rate_bps != other.first_rate_bps)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_frames_may_come_in_any_portions(rng):
    frames = generate(5, 90, rng)
    whole = wpmec.DrooWpmec(5, seed=1).play(frames)
    agent = wpmec.DrooWpmec(5, seed=1)
    parts = [agent.play(frames.take(slice(*ends))) for ends in ((0, 7), (7, 8), (8, 61), (61, 90))]
    for column, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(column, np.concatenate(pieces), rtol=1e-9)


def test_the_empty_row_of_the_original_is_a_sample(rng):
    frames = generate(4, 5, rng)
    ours, original = wpmec.DrooWpmec(4), wpmec.DrooWpmec(4, wpmec.ORIGINAL)
    for agent in (ours, original):
        agent.play(frames)
    assert np.all(ours.memory.inputs[:5] > 0)
    assert np.all(original.memory.inputs[0] == 0)
    np.testing.assert_array_equal(original.memory.inputs[1:6], ours.memory.inputs[:5])


def test_bad_settings_of_wpmec_are_refused(rng):
    agent = wpmec.DrooWpmec(3)
    for call in (agent.play, agent.decide):
        with pytest.raises(ValueError, match="frames.num_devices is 4; allowed: 3"):
            call(generate(4, 2, rng))
    with pytest.raises(ValueError, match=r"beta1 is 1.0; allowed: in \[0, 1\)"):
        wpmec.DrooWpmecConfig(beta1=1.0)
    with pytest.raises(ValueError, match="train_every is 0"):
        wpmec.DrooWpmecConfig(train_every=0)


# ---- quantisation over places --------------------------------------------------------------------


def test_with_one_server_the_candidates_are_the_binary_ones(rng):
    relaxed = rng.random((30, 8))
    logits = np.stack([np.zeros_like(relaxed), np.log(relaxed / (1 - relaxed))], axis=-1)
    np.testing.assert_array_equal(order_preserving(logits, 8), wpmec.order_preserving(relaxed, 8))


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_nobody_moves_before_a_less_certain_one(seed, count):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 5, 4))
    logits[rng.random(logits.shape) < 0.2] = -np.inf
    logits[..., 0] = np.where(np.all(np.isinf(logits), axis=-1), 0, logits[..., 0])
    places = order_preserving(logits, count)
    first = np.argmax(logits, axis=-1)
    np.testing.assert_array_equal(places[:, 0], first)
    margin = np.max(logits, axis=-1, keepdims=True) - logits
    for row in range(2):
        widest = 0.0
        for candidate in places[row, 1:]:
            moved = np.flatnonzero(candidate != first[row])
            if not moved.size:
                continue  # every open place has been offered
            (target,) = set(candidate[moved].tolist())
            reach = margin[row, moved, target].max()
            could = (margin[row, :, target] <= reach) & (first[row] != target)
            np.testing.assert_array_equal(np.flatnonzero(could), moved)
            assert reach >= widest
            widest = reach


def test_closed_places_are_never_offered(rng):
    logits = rng.normal(size=(3, 6, 5))
    logits[..., 2] = -np.inf
    assert np.all(order_preserving(logits, 200) != 2)


def test_costs_of_candidates_are_those_of_physics(tiny, prompts, rng):
    places = rng.integers(0, 5, (8, 4, 6))
    goal = prompts.objective(tiny)
    together = candidate_costs(tiny, places, goal)
    for k in range(4):
        np.testing.assert_allclose(
            together[:, k], physics.association_cost(tiny, places[:, k], goal), rtol=1e-12
        )


# ---- the agent -----------------------------------------------------------------------------------


def test_agents_keep_the_contract():
    report = check_agent(Droo(None, net=TINY), torch_device="cpu")
    assert all(row.ok for row in report.rows)
    report = check_agent(Droo(None, candidates=1, online=False, net=DEEP), torch_device="cpu")
    assert {row.name for row in report.rows if row.ok is None} == {"one UE", "one server"}


def test_more_candidates_never_cost_more(tiny, prompts, rng):
    cost = [
        physics.evaluate(
            tiny,
            Droo(None, candidates=count, net=TINY).decide(tiny, prompts, rng),
            prompts.objective(tiny),
        ).cost
        for count in (1, 3, 10)
    ]
    assert np.all(cost[1] <= cost[0] + 1e-12)
    assert np.all(cost[2] <= cost[1] + 1e-12)
    assert np.any(cost[2] < cost[0])


def test_candidates_scored_by_the_simulator_are_counted(agent, tiny, prompts, rng):
    agent.decide(tiny, prompts, rng)
    assert agent.evaluations == 6 * len(tiny)


def test_adapting_learns_every_tenth_slot_and_chooses_k(agent, rng):
    scenario = load_scenario("tiny")
    weights = [p.detach().clone() for p in agent.net.parameters()]

    def changed():
        return any(
            not torch.equal(a, b) for a, b in zip(weights, agent.net.parameters(), strict=True)
        )

    for slot in range(1, 33):
        instances, prompts = sample_instances(scenario, 1, rng), Prompts.of("minimum latency")
        assert agent.adapt(instances, prompts, agent.decide(instances, prompts, rng), rng) == 0
        assert changed() == (slot >= 10)
    assert agent.memory.stored == 32
    assert 2 <= agent.candidates <= 6


def test_a_frozen_one_learns_nothing_and_scores_nothing(rng):
    agent = make_agent("droo-frozen", weights=None, net=TINY)
    instances, prompts = sample_instances(load_scenario("tiny"), 20, rng), Prompts.sample(20, rng)
    decision = agent.decide(instances, prompts, rng)
    assert agent.adapt(instances, prompts, decision, rng) == 0
    assert agent.memory.stored == 0
    assert not agent.evaluator_in_loop
    assert make_agent("droo", weights=None, net=TINY).evaluator_in_loop


def test_it_gets_better_while_it_plays(rng):
    scenario = load_scenario("tiny")
    agent = Droo(None, net=TINY, config=DrooConfig(most_candidates=8, learning_rate=5e-3))
    held = sample_instances(scenario, 200, np.random.default_rng(9))
    wish = Prompts.of("minimum energy", 200)

    def frozen_cost():
        columns = agent.net.columns(held, wish.latency_weight)
        logits, _ = place_logits(agent.net, held, columns)
        return physics.association_cost(
            held, np.argmax(logits, axis=-1), wish.objective(held)
        ).mean()

    before = frozen_cost()
    for _ in range(80):
        instances, prompts = sample_instances(scenario, 10, rng), Prompts.of("minimum energy", 10)
        agent.adapt(instances, prompts, agent.decide(instances, prompts, rng), rng)
    assert frozen_cost() < 0.95 * before


def test_slots_of_another_size_begin_the_replay_buffer_anew(agent, tiny, prompts, rng):
    other = sample_instances(load_scenario("tiny").replace(num_ues=9), 3, rng)
    for slots, wishes in ((tiny, prompts), (other, prompts.take(slice(0, 3)))):
        agent.adapt(slots, wishes, agent.decide(slots, wishes, rng), rng)
    assert agent.memory.stored == 3
    assert agent.memory.labels.shape == (1024, 9)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DrooConfig(batch=0), "DrooConfig.batch is 0"),
        (lambda: DrooConfig(learning_rate=0.0), "DrooConfig.learning_rate is 0.0"),
        (lambda: Droo(None, candidates=0, net=TINY), "Droo.candidates is 0"),
        (lambda: Droo("dro"), "unknown weights 'dro'"),
        (lambda: DrooTraining(size="big"), "unknown DrooTraining.size 'big'"),
        (lambda: DrooTraining(slots=0), "DrooTraining.slots is 0"),
        (lambda: DrooTraining(rounds=-1), "DrooTraining.rounds is -1"),
        (lambda: DrooTraining(varied=1.5), "DrooTraining.varied is 1.5"),
        (lambda: DrooTraining(servers=(9, 2)), r"DrooTraining.servers is \(9, 2\)"),
        (
            lambda: DrooTraining(varied=0.5, size="60fc"),
            "DrooTraining.varied is 0.5; allowed: 0 for size '60fc'",
        ),
    ],
)
def test_bad_settings_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_weights_that_are_not_there_are_named():
    with pytest.raises(FileNotFoundError, match="no weights at 'absent.safetensors'"):
        Droo("absent.safetensors")


# ---- candidates about the best one ---------------------------------------------------------------


def test_each_further_candidate_moves_one_ue_and_scores_say_which(rng):
    place = rng.integers(5, size=(3, 7))
    scores = rng.normal(size=(3, 7, 5))
    candidates = moved(scores, place, 6, rng)
    different = candidates != place[:, None]
    assert np.all(different.sum(axis=-1) == 1)
    assert all(len(np.unique(row, axis=0)) == 6 for row in candidates)
    scores[:, 2, 4] += 100
    place[:, 2] = 0
    assert np.all(np.any(moved(scores, place, 1, rng)[:, :, 2] == 4, axis=-1))


def test_a_search_never_ends_dearer_and_mends_a_bad_start(agent, tiny, prompts, rng):
    goal, inputs = prompts.objective(tiny), agent.net.columns(tiny, prompts.latency_weight)
    start = np.zeros(tiny.cycles.shape, np.int64)
    cost = [
        physics.association_cost(tiny, agent.search(tiny, goal, inputs, start, rounds, rng), goal)
        for rounds in (0, 1, 40)
    ]
    assert np.all(cost[1] <= cost[0])
    assert np.mean(cost[2]) < 0.95 * np.mean(cost[0])


def test_a_mixed_buffer_keeps_the_newest_blocks_of_any_size(rng):
    buffer = MixedBuffer(10)
    for k in range(9):
        size = (4, 3 + k % 2)
        buffer.add(np.full((*size, 2), k, np.float32), np.full(size, k))
    assert (len(buffer.blocks), buffer.stored) == (3, 36)
    parts = buffer.draw(30, rng)
    assert sum(len(labels) for _, labels in parts) == 32
    assert {int(labels[0, 0]) for _, labels in parts} <= {6, 7, 8}
    other = MixedBuffer(10)
    other.unpack(buffer.pack())
    assert [block[1].tolist() for block in other.blocks] == [b[1].tolist() for b in buffer.blocks]


# ---- training ------------------------------------------------------------------------------------


def tensors_of(path):
    return weights_io.load(path, FORMAT).tensors


@pytest.mark.parametrize("given", [{}, {"varied": 0.7, "num_ues": (3, 9), "rounds": 2}])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, given):
    options = DrooTraining(scenario="tiny", slots=60, save_every=2, **{"varied": 0.0, **given})
    droo_training.train(options, tmp_path / "whole.safetensors")
    saves, save = [], droo_training._Run._save

    def killed(run):
        save(run)
        saves.append(run.block)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(droo_training._Run, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        droo_training.train(options, tmp_path / "killed.safetensors")
    monkeypatch.setattr(droo_training._Run, "_save", save)
    assert not (tmp_path / "killed.safetensors").exists()
    droo_training.train(options, tmp_path / "killed.safetensors")
    whole, killed_ = (
        tensors_of(tmp_path / "whole.safetensors"),
        tensors_of(tmp_path / "killed.safetensors"),
    )
    assert all(torch.equal(whole[name], killed_[name]) for name in whole)


def test_a_state_of_other_options_is_refused(tmp_path):
    droo_training.train(
        DrooTraining(scenario="tiny", varied=0.0, slots=10), tmp_path / "a.safetensors"
    )
    with pytest.raises(
        ValueError, match="seed is 1; allowed: 0, as in .*a.state; or another --out"
    ):
        droo_training.train(
            DrooTraining(scenario="tiny", varied=0.0, slots=10, seed=1),
            tmp_path / "a.safetensors",
        )


@pytest.mark.parametrize("damage", [b"", b"not tensors", b"PK\x03\x04 a pickle in a zip"])
def test_a_damaged_state_is_refused_and_kept(tmp_path, damage):
    options, out = DrooTraining(scenario="tiny", varied=0.0, slots=10), tmp_path / "a.safetensors"
    droo_training.train(options, out)
    whole = out.read_bytes()
    state = out.with_suffix(".state")
    state.write_bytes(damage + state.read_bytes()[:300])
    damaged = state.read_bytes()
    with pytest.raises(ValueError, match=r"a\.state'; allowed: a whole .safetensors file"):
        droo_training.train(options, out)
    assert state.read_bytes() == damaged and out.read_bytes() == whole


def test_weights_load_and_broken_ones_are_refused(tmp_path, tiny, prompts, rng):
    path = tmp_path / "a.safetensors"
    card = droo_training.train(DrooTraining(scenario="tiny", varied=0.0, slots=20), path)
    assert card["labels"] == 0
    assert path.with_suffix(".json").is_file()
    agent = Droo(str(path), candidates=1)
    physics.evaluate(tiny, agent.decide(tiny, prompts, rng), prompts.objective(tiny))
    whole = path.read_bytes()
    for broken in (b"", whole[:200], whole[:-50], b"PK\x03\x04 a pickle in a zip"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="a whole .safetensors file written by this package"):
            Droo(str(path), candidates=1)


@pytest.mark.parametrize("name", ["droo", "droo-frozen"])
def test_shipped_weights_beat_local_play(name, rng):
    agent = make_agent(name)
    instances = sample_instances(load_scenario("paper"), 16, rng)
    for text in ("minimum latency", "minimum energy"):
        prompts = Prompts.of(text, 16)
        outcome = physics.evaluate(
            instances, agent.decide(instances, prompts, rng), prompts.objective(instances)
        )
        local = physics.association_cost(
            instances, np.zeros((16, 50), int), prompts.objective(instances)
        )
        assert outcome.cost.mean() < 0.95 * local.mean()
