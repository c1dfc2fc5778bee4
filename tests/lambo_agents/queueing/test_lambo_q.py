"""lambo-q: its network against a plain loop, credit, a training that is killed, its file."""

import numpy as np
import pytest
from queue_slots import queue_slots

torch = pytest.importorskip("torch")

from baselines.queueing.linear import LinearRule
from lambo_agents.protocol import unsupported
from lambo_agents.queueing import checkpoint, run
from lambo_agents.queueing.advantages import QueueCritic, Returns, advantages, returns
from lambo_agents.queueing.agent import QueueLambo
from lambo_agents.queueing.episodes import play
from lambo_agents.queueing.network import (
    CELL_FEATURES,
    LOADS,
    QueueNet,
    QueueNetConfig,
    QueueSlot,
    slot_inputs,
)
from lambo_agents.queueing.recipe import QueueRecipe, is_queueing
from lambo_agents.queueing.trainer import QueueTrainer, _moments, _spread
from lambo_env.offloading.scenario import load_scenario as load_paper
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.policies.columns import PlaceColumns
from lambo_env.queueing.policies.turns import decide, turns
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace

RNG = np.random.default_rng
SMALL = {"d_model": 4, "num_heads": 1, "encoder_ff": 4, "hidden": 3}


def network(seed=3, **fields):
    """Return a network of random weights."""
    torch.manual_seed(seed)
    net = QueueNet(QueueNetConfig(**{**SMALL, **fields}))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval()


@pytest.fixture
def small(tmp_path):
    """Return a recipe of a small cell."""
    path = tmp_path / "cell.toml"
    lines = ('world = "queueing"', "num_slots = 6", "num_ues = 8")
    path.write_text("\n".join(lines))
    worlds = [{"scenario": str(path)}, {"scenario": str(path), "arrival_probability": [0.2, 0.6]}]
    return QueueRecipe(
        worlds=worlds,
        network=SMALL,
        updates=2,
        linear_updates=1,
        start="linear-rule",
        episodes=3,
        copies=2,
    )


def test_the_decision_is_that_of_a_plain_loop():
    shown, net = queue_slots(3, seed=3, slots=5, num_ues=12), network()
    share = np.array([1.0, 0.0, 0.3])
    now = turns(shown)
    columns = PlaceColumns(now, shown.slot_s)
    with torch.no_grad():
        inputs = slot_inputs(shown, now, share)
        hidden, weights = net.encode(inputs), net.weights(inputs.cell)

        def choose(j, finish_s, work_s):
            at = torch.as_tensor(columns.at(j, finish_s, work_s)).float()
            return net.scores(hidden[:, j], weights, at).argmin(-1).numpy()

        place = decide(shown, now, choose)
    assert np.array_equal(place, QueueSlot(net, shown, share).decide())
    assert len(np.unique(place[shown.has_task])) > 1


def test_rows_do_not_depend_on_each_other():
    shown, net = queue_slots(4, seed=3, slots=5, num_ues=12), network()
    share = np.array([1.0, 0.0, 0.3, 1.0])
    together = QueueSlot(net, shown, share).decide()
    for row in range(4):
        alone = QueueSlot(net, shown.take([row]), share[[row]]).decide()
        assert np.array_equal(alone[0], together[row])


def test_weights_between_knots_are_linear():
    net, cell = network(), torch.rand(5, CELL_FEATURES)
    cell[:, 0] = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    cell[:, 3:] = cell[0, 3:]
    told = net.weights(cell)
    low, mid, high = told[::2]
    want = torch.stack([low, (low + mid) / 2, mid, (mid + high) / 2, high])
    assert torch.allclose(told, want, atol=1e-5)


def test_weights_follow_the_load_and_stay_bounded():
    net, cell = network(), torch.zeros(3, CELL_FEATURES)
    cell[:, 3:6] = torch.tensor([[0.3, 0.25, 0.4], [0.3, 1e9, 1e9], [1.0, 0.0, 0.0]])
    knots = net.linear.unflatten(0, (-1, LOADS))[0]  # energy alone
    usual, heavy, light = net.weights(cell)
    assert torch.allclose(usual, knots[0])
    assert torch.allclose(heavy, knots[0] + knots[2] + knots[3])
    assert torch.allclose(light, knots[0] + 1.4 * knots[1] - knots[2] - knots[3], atol=1e-5)


def test_a_training_begins_with_the_rules_decisions(small):
    net = QueueTrainer(small).actor
    torch.nn.init.zeros_(net.out)
    shown = queue_slots(4, seed=5, slots=6)
    texts = ["minimum latency", "minimum energy", "50% latency, 50% energy", "minimum latency"]
    prompts = Prompts.of(texts)
    place = QueueLambo(net).decide(shown, prompts, RNG(0)).place
    assert np.array_equal(place, LinearRule().decide(shown, prompts, RNG(0)).place)


def test_without_turns_nobody_counts_the_choices_of_the_slot():
    shown = queue_slots(2, seed=5, slots=6)
    whole, blind = network(), network(in_turn=False)
    share = np.ones(2)
    assert not np.array_equal(
        QueueSlot(whole, shown, share).decide(), QueueSlot(blind, shown, share).decide()
    )


@pytest.mark.parametrize("critic", (None, QueueCritic()))
def test_credit_is_that_of_a_plain_loop(critic):
    scenario = load_scenario("queue").replace(num_slots=5, num_ues=6)
    traces = sample_trace(scenario, 2, RNG(0))
    played = play(network(), scenario, traces, np.array([1.0, 0.0]), RNG(1), copies=3, seen=0.0)
    discount, trace = 0.9, 0.7
    told = returns(played, critic, discount, trace)
    cost, value = played.cost, told.value
    assert (value[:, :-1] != 0).all() == (critic is not None) and not value[:, -1].any()

    def mixed(row, at):
        if at == 5:
            return 0.0
        later = trace * mixed(row, at + 1) + (1 - trace) * value[row, at + 1]
        return cost[row, at].sum() + discount * later

    for kept in played.slots:
        found = advantages(played, kept, told, 3, discount)
        for row in range(6):
            copies = [row % 2, row % 2 + 2, row % 2 + 4]
            for j in range(int(kept.there[row].sum())):
                own = [cost[r, kept.at, kept.ue[r, j] :].sum() for r in copies]
                later = [discount * mixed(r, kept.at + 1) for r in copies]
                to_go = np.add(own, later)
                mine = to_go[copies.index(row)]
                base = to_go.mean() + value[row, kept.at] - value[copies, kept.at].mean()
                assert np.isclose(found[row, j], base - mine)


def test_slopes_are_those_of_the_chances():
    scenario = load_scenario("queue").replace(num_slots=4, num_ues=6)
    net, share = network(), np.array([1.0, 0.3])
    traces = sample_trace(scenario, 2, RNG(0))
    played = play(net, scenario, traces, share, RNG(1), copies=1, seen=1.0)
    (decided,) = [slot for slot in played.slots if slot.at == 3]
    seen, weights = decided.seen, net.weights(decided.seen.inputs.cell)
    hidden = net.encode(seen.inputs)
    for row, turn in np.argwhere(decided.there):
        columns = torch.as_tensor(seen.columns[row, turn])
        at = weights[row].detach().requires_grad_()
        logs = (-net.scores(hidden[row, turn], at, columns)).log_softmax(-1)
        log = logs[seen.place[row, turn]]
        told = torch.autograd.grad(log, (at, net.out), retain_graph=True)
        assert np.isclose(float(log.detach()), seen.chance[row, turn], atol=1e-4)
        assert np.allclose(torch.cat(told).numpy(), decided.slope[row, turn], atol=1e-4)


def test_the_last_layers_step_gains_by_what_it_is_told(small):
    trainer = QueueTrainer(small.replace(divergence=1e-3))
    played = trainer._play(RNG(0))
    better = [np.ones(slot.there.shape) * (slot.slope[..., 0] > 0) for slot in played.slots]
    before = [getattr(trainer.actor, name).detach().clone() for name in ("linear", "out")]
    numbers = trainer._step_last(played, better)
    after = [getattr(trainer.actor, name).detach() for name in ("linear", "out")]
    moved = torch.cat([(new - old).flatten() for new, old in zip(after, before, strict=True)])
    fisher = trainer.fisher / (1 - 0.7)  # of one update
    divergence = 0.5 * float(moved.double() @ fisher @ moved.double())
    assert numbers["gain"] > 0 and 1e-5 < divergence < 1.001e-3


def test_moments_are_sums_over_decisions(small):
    trainer = QueueTrainer(small)
    played = trainer._play(RNG(0))
    better = [RNG(k).normal(size=slot.there.shape) for k, slot in enumerate(played.slots)]
    fisher, gradient = _moments(played, better)
    rows = []
    for slot, part in zip(played.slots, better, strict=True):
        for row, turn in np.argwhere(slot.there):
            slope, cut = slot.slope[row, turn], trainer.actor.linear.shape[1]
            outer = np.outer(slot.grounds[row], slope[:cut]).reshape(-1)
            rows.append((np.concatenate([outer, slope[cut:]]), part[row, turn]))
    slopes, parts = (np.array(part) for part in zip(*rows, strict=True))
    assert np.allclose(fisher, slopes.T @ slopes / len(slopes))
    assert np.allclose(gradient, parts @ slopes / len(slopes))


def test_every_episode_counts_alike(small):
    trainer = QueueTrainer(small)
    played = trainer._play(RNG(0))
    better = [RNG(k).normal(size=slot.there.shape) for k, slot in enumerate(played.slots)]
    spread = _spread(played, better)
    for episode in range(3):
        rows = np.arange(episode, 6, 3)
        parts = [
            part[rows][slot.there[rows]] for slot, part in zip(played.slots, better, strict=True)
        ]
        assert np.allclose(spread[rows], np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def test_the_tail_of_returns_without_a_critic_is_the_discounted_sum():
    scenario = load_scenario("queue").replace(num_slots=4, num_ues=5)
    traces = sample_trace(scenario, 1, RNG(0))
    played = play(network(), scenario, traces, np.ones(1), RNG(1), copies=2, seen=0.0)
    told = returns(played, None, 0.5, 1.0)
    assert isinstance(told, Returns) and np.allclose(told.mixed, told.whole)
    slots = played.cost.sum(axis=2)
    assert np.allclose(told.whole[:, 0], slots @ 0.5 ** np.arange(4))


def test_a_killed_training_goes_on_to_the_same_weights(small, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_MEASURED", (("queue", 1.0),))
    monkeypatch.setattr(run._Judge, "_costs", lambda self, tensors: np.ones(1))
    tell = [].append
    whole = run.train(small, tmp_path / "whole", tell)
    run.train(small.replace(updates=1), tmp_path / "cut", tell)
    cut = run.train(small, tmp_path / "cut", tell)
    assert whole.read_bytes() != b"" and (tmp_path / "cut" / run.CURVE).read_text().count("\n") == 2
    one, other = (checkpoint.load_network(path).state_dict() for path in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
    start = QueueTrainer(small).actor.state_dict()
    assert not torch.equal(one["linear"], start["linear"])
    assert not torch.equal(one["out"], start["out"])
    (tmp_path / "linear").mkdir()
    alone = small.replace(linear_updates=2)
    first = checkpoint.load_network(run.train(alone, tmp_path / "linear", tell)).state_dict()
    assert torch.equal(first["out"], start["out"])
    with pytest.raises(ValueError, match="copies"):
        run.train(small.replace(copies=3), tmp_path / "cut", tell)


def test_a_damaged_checkpoint_is_refused(small, tmp_path):
    with pytest.raises(FileNotFoundError):
        QueueLambo(tmp_path / "none.safetensors")
    path = tmp_path / "weights.safetensors"
    net = network()
    tensors = net.state_dict()
    checkpoint.save(path, {**tensors, "out": tensors["out"][:1]}, net.config)
    with pytest.raises(ValueError, match="weight out"):
        QueueLambo(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="weights"):
        QueueLambo(path)


def test_other_worlds_are_refused():
    tiny = sample_instances(load_paper("tiny"), 1, RNG(0))
    assert unsupported(QueueLambo(network()), tiny) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    (
        ("copies", 1),
        ("updates", 0),
        ("sharpness", 0.0),
        ("worlds", []),
        ("energy_share", 0.9),
        ("network", {"d_model": 5}),
        ("worlds", [{"scenario": "paper"}]),
        ("worlds", [{"arrival_probability": [0.4, 0.2]}]),
    ),
)
def test_recipes_that_mean_nothing_are_refused(field, value):
    with pytest.raises(ValueError, match="allowed|one of"):
        QueueRecipe.from_dict({field: value})


def test_recipes_are_told_apart():
    assert is_queueing("lambo-q") and not is_queueing("lambo-s")
    assert QueueRecipe.load("lambo-q").start == "linear-rule"
