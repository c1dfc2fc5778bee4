"""ARE: labels of an expert, learning where unsure, the authors' small network, bad input."""

import dataclasses

import numpy as np
import pytest
import scipy.io
import torch
from data_files import shared_data

from baselines.heuristics.greedy import Greedy
from baselines.heuristics.local import Local
from baselines.neural.are import original
from baselines.neural.are import training as are_training
from baselines.neural.are.agent import Are, Lesson, entropy_bits, label
from baselines.neural.are.original import AreSmall, AreSmallConfig
from baselines.neural.are.training import AreTraining
from baselines.neural.checkpoint import FORMAT
from baselines.neural.networks import FlatConfig, PooledConfig
from baselines.search.differential_evolution import DE
from baselines.search.exact import Exact
from lambo_agents import weights_io
from lambo_agents.registry import make_agent
from lambo_agents.testing.agent_checks import check_agent
from lambo_env.datasets.are import load_are
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

TINY = PooledConfig(width=16, share_head=True)
DEEP = FlatConfig(num_ues=6, depth=5, width=16, share_head=True)
SHORT = AreTraining(scenario="tiny", labels=300, epochs=3, varied=0.0)


class Drops:
    """An expert that sends everyone to server 1 without any CPU."""

    def decide(self, instances, prompts, rng):
        return Decision(np.ones(instances.cycles.shape, int), np.zeros(instances.cycles.shape))


class Mute:
    """An expert that forgets to answer."""

    def decide(self, instances, prompts, rng):
        return None


class Counted(Greedy):
    """Greedy that counts what it was asked."""

    asked = 0

    def decide(self, instances, prompts, rng):
        self.asked += len(instances)
        return super().decide(instances, prompts, rng)


@pytest.fixture
def prompts(tiny):
    return Prompts.of(["minimum latency", "minimum energy"] * (len(tiny) // 2))


# ---- the agent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("allocation", ["optimal", "head"])
def test_it_keeps_the_contract(allocation):
    for net in (TINY, DEEP):
        check_agent(Are(None, net=net, allocation=allocation), torch_device="cpu")


def test_shares_of_the_head_use_up_each_server(tiny, prompts, rng):
    decision = Are(None, net=TINY, allocation="head").decide(tiny, prompts, rng)
    for row in range(len(tiny)):
        for server in set(decision.place[row].tolist()) - {0}:
            used = decision.cpu_hz[row, decision.place[row] == server].sum()
            assert used == pytest.approx(tiny.server_cpu_hz[row, server - 1])
    assert np.all(decision.cpu_hz[decision.place == 0] == 0)


def test_entropy_in_bits():
    even, sure = np.zeros((1, 3, 4)), np.array([[[0.0, -np.inf, -np.inf, -900.0]] * 3])
    np.testing.assert_allclose(entropy_bits(np.concatenate([even, sure])), [2.0, 0.0], atol=1e-12)


def test_a_label_holds_place_and_share(tiny, prompts, rng):
    decision = Greedy().decide(tiny, prompts, rng)
    lesson = Lesson.of(DEEP.network(), tiny, prompts, decision)
    remote = decision.place > 0
    capacity = np.take_along_axis(tiny.server_cpu_hz, np.maximum(decision.place, 1) - 1, axis=1)
    np.testing.assert_allclose(
        (lesson.share * capacity)[remote], decision.cpu_hz[remote], rtol=1e-6
    )
    assert np.all(lesson.share[~remote] == 0)
    assert len(lesson.joined(lesson).last(5).place) == 5


def test_late_labels_are_refused_unless_unavoidable(tiny, prompts, rng, tmp_path):
    with pytest.raises(
        ValueError,
        match="Drops's label of instance 0, UE 0 is 'late at place 1'; allowed: labels on time",
    ):
        label(Drops(), tiny, prompts, rng)
    with pytest.raises(ValueError, match="late at place 1"):
        are_training.labelled(SHORT, TINY.network(), Drops(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    hopeless = tiny.replace(deadline_s=tiny.deadline_s * 0 + 1e-9)
    np.testing.assert_array_equal(label(Local(), hopeless, prompts, rng).place, 0)


def test_a_bad_expert_online_changes_nothing(tiny, prompts, rng):
    agent = Are(None, net=TINY, expert=Drops(), entropy_bits=0.0)
    decision, weights = (
        agent.decide(tiny, prompts, rng),
        {k: v.clone() for k, v in agent.net.state_dict().items()},
    )
    with pytest.raises(ValueError, match="Drops's label of instance 0, UE 0 is 'late at place 1'"):
        agent.adapt(tiny, prompts, decision, rng)
    assert agent._memory is None
    assert all(torch.equal(weights[name], value) for name, value in agent.net.state_dict().items())
    with pytest.raises(ValueError, match=r"Mute's labels is None; allowed: Decision\(...\)"):
        Are(None, net=TINY, expert=Mute(), entropy_bits=0.0).adapt(tiny, prompts, decision, rng)


@pytest.mark.parametrize("expert", [DE(population=8, generations=5), Exact(gap=0.01)])
def test_any_optimiser_may_teach(expert, tmp_path, monkeypatch):
    monkeypatch.setattr(are_training, "SHARD", 4)
    options = dataclasses.replace(SHORT, labels=8, epochs=1)
    path = tmp_path / "a.safetensors"
    card = are_training.train(options, expert, path)
    assert (card["expert"], card["labels"]) == (type(expert).__name__, 8)
    (lesson,), (again,) = (
        are_training.labelled(options, TINY.network(), expert, tmp_path / name).values()
        for name in ("a.labels", "b.labels")
    )
    np.testing.assert_array_equal(lesson.place, again.place)


def test_batches_hold_slots_of_one_size_and_every_label_once(tmp_path):
    options = SHORT.replace(varied=0.7, num_ues=(3, 9), batch=16)
    net = TINY.network()
    lessons = are_training.labelled(options, net, Greedy(), tmp_path)
    fit = are_training._Fit(options, net, lessons, tmp_path / "a.safetensors", "Greedy", print)
    batches = fit._batches(np.random.default_rng(0))
    assert len(lessons) > 5
    assert sum(len(part.place) for part in batches) == 300
    assert max(len(part.place) for part in batches) == 16
    seen = np.concatenate(
        [part.inputs.reshape(len(part.place), -1).sum(axis=1) for part in batches]
    )
    kept = np.concatenate(
        [x.inputs.reshape(len(x.place), -1).sum(axis=1) for x in lessons.values()]
    )
    np.testing.assert_allclose(np.sort(seen), np.sort(kept), rtol=1e-5)
    plain = are_training.labelled(SHORT, net, Greedy(), tmp_path / "plain")
    assert [len(lesson.place) for lesson in plain.values()] == [300]


def test_an_unsure_network_asks_and_learns_and_a_sure_one_does_not(tiny, prompts, rng):
    expert = Counted()
    agent = Are(
        None, net=TINY, expert=expert, entropy_bits=0.7, memory=6, epochs=30, learning_rate=0.01
    )
    decision = agent.decide(tiny, prompts, rng)
    before = agent.entropies(tiny, prompts)
    assert np.all(before > 0.7)
    assert agent.adapt(tiny, prompts, decision, rng) == expert.asked == len(tiny)
    assert len(agent._memory.place) == 6
    for _ in range(6):
        agent.adapt(tiny, prompts, decision, rng)
    assert agent.entropies(tiny, prompts).mean() < before.mean()
    taught = Greedy().decide(tiny, prompts, rng).place
    assert np.mean(agent.decide(tiny, prompts, rng).place == taught) > np.mean(
        decision.place == taught
    )
    calm = Are(None, net=TINY, expert=expert, entropy_bits=3.0)
    asked = expert.asked
    assert calm.adapt(tiny, prompts, decision, rng) == 0
    assert expert.asked == asked


def test_an_expert_may_be_named(tiny, prompts, rng):
    agent = Are(None, net=TINY, expert="greedy", entropy_bits=0.0)
    assert agent.adapt(tiny, prompts, agent.decide(tiny, prompts, rng), rng) == len(tiny)


def test_a_frozen_one_asks_nobody_and_stays_as_it_is(tiny, prompts, rng):
    agent = make_agent("are-frozen", weights=None, net=TINY, expert=Drops(), entropy_bits=0.0)
    assert agent.adapt(tiny, prompts, agent.decide(tiny, prompts, rng), rng) == 0


def test_labels_are_asked_for_by_budget_and_rhythm_the_least_sure_first(tiny, prompts, rng):
    limits = {"budget": 5, "labels_per_slot": 3, "start_slot": 1, "every": 2, "entropy_bits": 0.0}
    agent = Are(None, net=TINY, expert=Counted(), learning_rate=1e-9, **limits)
    bits = agent.entropies(tiny, prompts)
    decision = agent.decide(tiny, prompts, rng)
    asked = [agent.adapt(tiny, prompts, decision, rng) for _ in range(7)]
    assert asked == [0, 3, 0, 2, 0, 0, 0]
    surest = np.sort(np.argsort(-bits)[:3])
    wanted = Lesson.of(agent.net, tiny.take(surest), prompts.take(surest), decision.take(surest))
    np.testing.assert_array_equal(agent._memory.inputs[:3], wanted.inputs)


def test_slots_of_another_size_begin_the_memory_anew(tiny, prompts, rng):
    agent = Are(None, net=TINY, expert="greedy", entropy_bits=0.0)
    other = sample_instances(load_scenario("tiny").replace(num_ues=9), 3, rng)
    for slots, wishes in ((tiny, prompts), (other, prompts.take(slice(0, 3)))):
        agent.adapt(slots, wishes, agent.decide(slots, wishes, rng), rng)
    assert agent._memory.place.shape == (3, 9)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Are(None, net=TINY, allocation="fair"), "unknown Are.allocation 'fair'"),
        (lambda: Are(None, allocation="head"), "no share head"),
        (lambda: Are(None, size="huge"), "unknown Are.size 'huge'"),
        (lambda: Are(None, net=3), r"Are.net is 3; allowed: FlatConfig\(...\) or PooledConfig"),
        (lambda: Are(None, labels_per_slot=0), "Are.labels_per_slot is 0"),
        (
            lambda: Are(None, net=TINY, expert=7),
            "Are.expert is 7; allowed: a registered agent's name, or",
        ),
        (lambda: Are(None, net=TINY, expert="greed"), "unknown Are.expert 'greed'"),
        (lambda: Are(None, net=TINY, entropy_bits=-1), "Are.entropy_bits is -1"),
        (lambda: Are("nothing"), "unknown weights 'nothing'"),
        (lambda: AreTraining(labels=0), "AreTraining.labels is 0"),
        (lambda: AreTraining(size="huge"), "unknown AreTraining.size"),
        (lambda: AreSmallConfig(momentum=1.0), "AreSmallConfig.momentum is 1.0"),
        (lambda: AreSmall(None, allocation="x"), "unknown AreSmall.allocation"),
        (lambda: AreSmall(None, bandwidth_hz=0), "AreSmall.bandwidth_hz is 0"),
    ],
)
def test_bad_settings_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


# ---- training ------------------------------------------------------------------------------------


def test_training_learns_its_labels(tmp_path):
    expert = Counted()
    path = tmp_path / "a.safetensors"
    card = are_training.train(dataclasses.replace(SHORT, epochs=20), expert, path)
    assert (card["labels"], expert.asked, card["expert"]) == (
        300,
        500,
        "Counted",
    )  # two shards of 250
    agent = Are(str(path))
    assert agent.labels_used == 300
    held = sample_instances(load_scenario("tiny"), 100, np.random.default_rng(5))
    wish = Prompts.of("minimum energy", 100)
    place = agent.decide(held, wish, np.random.default_rng(0)).place
    goal = wish.objective(held)
    local = physics.association_cost(held, place * 0, goal).mean()
    assert physics.association_cost(held, place, goal).mean() < 0.9 * local


@pytest.mark.parametrize("given", [{}, {"varied": 0.7, "num_ues": (3, 9)}])
def test_a_killed_training_goes_on_to_the_same_weights_and_asks_nothing_twice(
    tmp_path, monkeypatch, given
):
    options = SHORT.replace(**given)
    are_training.train(options, Greedy(), tmp_path / "whole.safetensors")
    epochs, save = [], are_training._Fit._save

    def killed(fit):
        save(fit)
        epochs.append(fit.epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(are_training._Fit, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        are_training.train(options, Greedy(), tmp_path / "b.safetensors")
    monkeypatch.setattr(are_training._Fit, "_save", save)
    expert = type("Greedy", (Counted,), {})()
    are_training.train(options, expert, tmp_path / "b.safetensors")
    assert expert.asked == 0
    whole, other = (
        weights_io.load(tmp_path / "whole.safetensors", FORMAT).tensors,
        weights_io.load(tmp_path / "b.safetensors", FORMAT).tensors,
    )
    assert all(torch.equal(whole[name], other[name]) for name in whole)


def test_labels_of_another_expert_are_refused(tmp_path):
    are_training.train(SHORT, Greedy(), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="labels in .*00000.npz is 'Greedy .*' *; allowed: 'Local"):
        are_training.train(SHORT, Local(), tmp_path / "a.safetensors")


# ---- the authors' own ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authors():
    return load_are(shared_data("are-Data1.mat"))


def test_inputs_and_targets_are_the_files(authors):
    instances, labels = authors
    raw = scipy.io.loadmat(shared_data("are-Data1.mat"))
    ours = original.inputs(instances, original.mean_shares(instances, labels), 1e6)
    np.testing.assert_allclose(ours.reshape(-1, 10), raw["Xtrain"], atol=1e-6)
    wanted = original.targets(instances, labels).reshape(-1, 6)
    np.testing.assert_array_equal(np.argmax(wanted[:, :5], axis=1), raw["Ytrain"][:, 0])
    np.testing.assert_allclose(wanted[:, 5], raw["Ytrain"][:, 1], atol=1e-6)


def test_the_network_is_theirs():
    agent = AreSmall(None)
    sizes = [m.weight.shape for m in agent.net if isinstance(m, torch.nn.Linear)]
    assert sizes == [(64, 10), (32, 64), (6, 32)]
    assert agent.num_parameters == 2982
    check_agent(agent, "are2020")


def test_it_learns_places_from_few_scenarios(authors):
    instances, labels = (part.take(slice(0, 40)) for part in authors)
    config = AreSmallConfig(static_epochs=150)
    agent = original.fit_static(instances, labels, config)
    test, wanted = (part.take(slice(440, 460)) for part in authors)
    prompts = Prompts.of("minimum latency", 20)
    before = AreSmall(None, shares=agent.shares).decide(test, prompts, np.random.default_rng(0))
    after = agent.decide(test, prompts, np.random.default_rng(0))
    assert np.mean(after.place == wanted.place) > max(0.5, np.mean(before.place == wanted.place))
    outcome = physics.evaluate(test, after, prompts.objective(test))
    assert outcome.latency_s.mean() < 0.75
    assert not outcome.late.any()


def test_the_stream_asks_only_where_unsure(authors):
    instances, labels = (part.take(slice(0, 16)) for part in authors)
    for bits, asked in ((0.0, 6), (2.33, 0)):
        config = AreSmallConfig(first_epochs=5, stream_epochs=1, entropy_bits=bits, memory=12)
        agent, trace = original.fit_stream(instances, labels, 10, config)
        assert (trace.labels_used, agent.labels_used) == (asked, 10 + asked)
        assert trace.decision.place.shape == (6, 50)
        assert np.all((trace.entropy_bits >= 0) & (trace.entropy_bits <= np.log2(5)))
    with pytest.raises(ValueError, match=r"first is 16; allowed: 1 .. 15"):
        original.fit_stream(instances, labels, 16)


def test_small_weights_are_written_and_read(authors, tmp_path):
    instances, labels = (part.take(slice(0, 4)) for part in authors)
    card = original.train(
        instances, labels, tmp_path / "a.safetensors", AreSmallConfig(static_epochs=2)
    )
    agent = AreSmall(str(tmp_path / "a.safetensors"))
    assert (agent.labels_used, card["parameters"]) == (4, 2982)
    again = original.fit_static(instances, labels, AreSmallConfig(static_epochs=2))
    np.testing.assert_array_equal(agent.outputs(instances), again.outputs(instances))


def test_shipped_small_weights_are_near_the_labels(authors):
    test, wanted = (part.take(slice(440, 500)) for part in authors)
    agent, prompts = AreSmall(), Prompts.of("minimum latency", 60)
    decision = agent.decide(test, prompts, np.random.default_rng(0))
    assert agent.labels_used == 440
    assert np.mean(decision.place == wanted.place) > 0.8
    assert physics.evaluate(test, decision, prompts.objective(test)).latency_s.mean() < 0.52


@pytest.mark.parametrize("name", ["are", "are-frozen", "are-60fc"])
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
    assert agent.labels_used > 0


def test_weights_of_another_agent_are_refused():
    for weights in ("droo", "are-60fc"):
        with pytest.raises(
            ValueError, match=f"is '{weights}'; allowed: weights of are; these are of {weights}"
        ):
            make_agent("are", weights=weights)
    with pytest.raises(ValueError, match="allowed: weights of droo; these are of are"):
        make_agent("droo-frozen", weights="are")


@pytest.mark.parametrize(
    ("agent", "size"), [("are", "are-2"), ("are-60fc", "are"), ("droo", "droo")]
)
def test_weights_of_a_former_release_are_refused_with_the_new_name(agent, size, tmp_path):
    path = tmp_path / "old.safetensors"
    weights_io.save(path, {}, FORMAT, {"net": {"depth": 60}, "options": {"size": size}})
    family = agent.removesuffix("-60fc")
    text = (
        f"size of the network in '.*old.safetensors' is '{size}'; allowed: pooled or 60fc; .* "
        f"are {family}-60fc now, trained anew by `lambo train {family} OUT --size 60fc`"
    )
    with pytest.raises(ValueError, match=text):
        make_agent(agent, weights=str(path))
