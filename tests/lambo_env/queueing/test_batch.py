"""Episodes of LAMBO-MEC-Queue-v0: what is paid, seen and masked; whole episodes of agents."""

import types

import gymnasium as gym
import numpy as np
import pytest

import lambo_env
from lambo_agents.adapter import PolicyAgent
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.masks import legal_places
from lambo_env.queueing.observation import SERVER, UE, read
from lambo_env.queueing.physics import replay
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace
from lambo_env.testing.env_checks import check_env
from tests.helpers.plain_queueing import PlainCell

ID = "LAMBO-MEC-Queue-v0"
SMALL = {"num_ues": 6, "num_slots": 15}


def episode(env, choose, **reset):
    """Return the moments of an episode: (observation, reward, info)."""
    seen, info = env.reset(**reset)
    moments, over = [(seen, 0.0, info)], False
    while not over:
        seen, reward, over, _, info = env.step(choose(seen, info))
        moments.append((seen, reward, info))
    return moments


def any_place(rng, count):
    return lambda seen, info: int(rng.integers(count))


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param({"scenario": {"num_ues": 5, "num_slots": 4}}, marks=pytest.mark.slow),
        {
            "scenario": {"num_ues": 3, "num_slots": 6, "discipline": "equal", "deadline_s": 0.3},
            "observe": "objective",
            "mask": "observation",
            "reward": "relative",
        },
        pytest.param(
            {"scenario": {"num_ues": 2, "num_slots": 9, "arrival_probability": 0.1}},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_check_passes(kwargs):
    report = check_env(ID, **kwargs)
    assert {row.ok for row in report.rows} <= {True, None}


@pytest.mark.parametrize("name", ["queue", "queue-bursts", "tang-wong", "qeco"])
@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
def test_an_episode_is_the_replay_of_its_decisions(name, weight):
    scenario = load_scenario(name).replace(**SMALL)
    traces = sample_trace(scenario, 2, np.random.default_rng(7))
    env, relative = (
        gym.make(ID, scenario=scenario, prompt=("Any text", weight), reward=reward).unwrapped
        for reward in ("cost", "relative")
    )
    t0_s = scenario.mean_cycles / scenario.local_cpu_hz[0]
    objective = (weight / t0_s, (1 - weight) / t0_s) if weight == 0.3 else (weight, 1 - weight)
    for number, trace in enumerate(traces):  # the second one after a reset without a seed
        seed = {"seed": 7} if number == 0 else {}
        moments, scaled = (
            episode(one, any_place(np.random.default_rng(number), scenario.num_servers + 1), **seed)
            for one in (env, relative)
        )
        outcome, tasks = moments[-1][-1]["outcome"], trace.has_task.sum()
        again = replay(trace, outcome["place"], objective)
        for field in ("latency_s", "late", "energy_j"):
            np.testing.assert_array_equal(getattr(again, field), outcome[field])
        assert outcome["cost"] == pytest.approx(again.episode_cost)
        assert len(moments) == tasks + 1
        paid = sum(reward for _, reward, _ in moments)
        assert paid == pytest.approx(-outcome["cost"] * tasks / scenario.num_ues)
        unit = (objective[0] + objective[1]) * t0_s
        assert sum(reward for _, reward, _ in scaled) == pytest.approx(paid / unit)


def test_a_reward_is_what_settles_before_the_next_decision():
    scenario = load_scenario("queue").replace(num_ues=2, num_slots=10, cycles=[1e8, 3e8])
    (trace,) = sample_trace(scenario, 1, np.random.default_rng(3))
    env = gym.make(ID, scenario=scenario, prompt="minimum latency").unwrapped
    moments = episode(env, lambda seen, info: 0, seed=3)
    out = replay(trace, np.zeros(trace.has_task.shape, int))
    slots = np.nonzero(trace.has_task)[0]
    # every task in time: it settles with the slot that its latency says
    assert not out.late.any()
    ends = slots + np.rint(out.latency_s[trace.has_task] / 0.1).astype(int) - 1
    for step, (_, reward, _) in enumerate(moments[1:]):
        until = slots[step + 1] if step + 1 < slots.size else np.inf
        settled = (ends >= slots[step]) & (ends < until) & (until > slots[step])
        assert reward == pytest.approx(-out.cost[trace.has_task][settled].sum() / 2)


def test_what_is_seen_is_what_waits_in_a_plain_cell():
    scenario = load_scenario("queue-bursts").replace(**SMALL, server_cpu_hz=[2e9, 6e9])
    (trace,) = sample_trace(scenario, 1, np.random.default_rng(5))
    env, rng = gym.make(ID, scenario=scenario).unwrapped, np.random.default_rng(1)
    seen, info = env.reset(seed=5)
    plain, over, slots = PlainCell(trace), False, 0
    for t in range(scenario.num_slots):
        if trace.has_task[t].any():
            check_slot(env, seen, plain, trace, t)
            slots += 1
        place = np.zeros(trace.has_task.shape, dtype=int)
        for n in np.flatnonzero(trace.has_task[t]):
            assert not over and seen["ues"][n, UE.CURRENT] == 1
            np.testing.assert_array_equal(info["action_mask"], legal_places(env.instances)[0, n])
            place[t, n] = rng.integers(3)
            seen, _, over, _, info = env.step(int(place[t, n]))
        plain.arrive(t, place)
        plain.serve(t)
    assert over and slots > 5
    assert not seen["ues"][:, UE.CURRENT].any() and not seen["servers"][:, :3].any()
    assert info["action_mask"].tolist() == [1, 0, 0]


def check_slot(env, seen, plain, trace, t):
    """Hold instances and observation of the start of slot t against the plain cell's queues."""
    now, deadline_s = env.instances, trace.deadline_s
    np.testing.assert_array_equal(now.has_task[0], trace.has_task[t])
    np.testing.assert_array_equal(now.uplink_bps[0], trace.uplink_bps[t])
    cpu = np.array([sum(task.cycles for task in queue) for queue in plain.cpu])
    bits = np.array([sum(task.bits for task in queue) for queue in plain.uplink])
    seconds = np.array([
        sum(task.bits / trace.uplink_bps[t, n, task.place - 1] for task in queue)
        for n, queue in enumerate(plain.uplink)
    ])  # fmt: skip
    edge, coming = np.zeros((2, 6, 2))
    for m, queue in enumerate(plain.edge):
        for task in queue:
            edge[task.ue, m] += task.cycles
    for n, queue in enumerate(plain.uplink):
        for task in queue:
            coming[n, task.place - 1] += task.cycles
    found = (
        *(now.cpu_wait_cycles, now.uplink_wait_bits, now.uplink_wait_s),
        *(now.edge_wait_cycles, now.coming_cycles),
    )
    for value, want in zip(found, (cpu, bits, seconds, edge, coming), strict=True):
        np.testing.assert_allclose(value[0], want, rtol=1e-9, atol=1e-6)
    columns = read(seen["ues"], 2)
    for column, want in (
        (UE.CPU_QUEUE, cpu / (trace.local_cpu_hz * deadline_s)),
        (UE.UPLINK_QUEUE, seconds / deadline_s),
    ):
        np.testing.assert_allclose(columns.once[:, column], want / (1 + want), rtol=1e-5, atol=1e-7)
    upload = trace.data_bits[t][:, None] / trace.uplink_bps[t] / deadline_s
    np.testing.assert_allclose(columns.upload, upload / (1 + upload), rtol=1e-5)
    own = edge / (trace.server_cpu_hz * deadline_s)
    np.testing.assert_allclose(columns.own_work, own / (1 + own), rtol=1e-5, atol=1e-7)
    work = own.sum(axis=0)
    np.testing.assert_allclose(
        seen["servers"][:, SERVER.WAITING], work / (1 + work), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(seen["servers"][:, SERVER.USERS], (edge > 0).sum(axis=0) / 6)
    check_masks(now, cpu, seconds, edge, trace, t)


def check_masks(now, cpu, seconds, edge, trace, t):
    legal = legal_places(now)[0]
    for n in np.flatnonzero(trace.has_task[t]):
        work, bits = trace.cycles[t, n], trace.data_bits[t, n]
        want = [cpu[n] + work <= trace.local_cpu_hz[n] * trace.deadline_s]
        for m, capacity in enumerate(trace.server_cpu_hz):
            upload = np.ceil((seconds[n] + bits / trace.uplink_bps[t, n, m]) / 0.1) * 0.1
            end = max(upload, edge[:, m].sum() / capacity) + work / capacity
            want.append(end <= trace.deadline_s)
        want[0] = want[0] or not any(want)
        assert legal[n].tolist() == want
    assert (legal[~trace.has_task[t]] == [True, False, False]).all()


def test_what_is_decided_stands_in_its_queue_at_once():
    env = gym.make(ID, scenario={"num_ues": 40, "num_slots": 1}).unwrapped
    seen, _ = env.reset(seed=0)
    first, second = np.flatnonzero(seen["ues"][:, UE.HAS_TASK])[:2]
    now = env.instances
    seen = env.step(0)[0]
    queue = now.cycles[0, first] / now.local_cpu_hz[0, first]
    assert seen["ues"][first, UE.CPU_QUEUE] == pytest.approx(queue / (1 + queue))
    assert seen["ues"][first, UE.CURRENT] == 0 and seen["ues"][second, UE.CURRENT] == 1
    seen = env.step(3)[0]
    coming = now.cycles[0, second] / now.server_cpu_hz[0, 2]
    assert seen["servers"][2, SERVER.COMING] == pytest.approx(coming / (1 + coming))
    upload = now.data_bits[0, second] / now.uplink_bps[0, second, 2]
    assert seen["ues"][second, UE.UPLINK_QUEUE] == pytest.approx(upload / (1 + upload))
    assert seen["ues"][second, UE.PLACE] == np.float32(0.75)
    np.testing.assert_array_equal(env.instances.coming_cycles, 0)  # of the slot as it began


def test_an_episode_without_any_task_ends_at_its_first_step():
    env = gym.make(ID, scenario={"num_ues": 2, "num_slots": 2, "arrival_probability": 1e-6})
    seen, info = env.reset(seed=0)
    assert not seen["ues"][:, UE.CURRENT].any() and info["action_mask"].tolist() == [1, 0, 0, 0, 0]
    seen, reward, over, truncated, info = env.step(3)
    assert (reward, over, truncated) == (0.0, True, False)
    assert info["outcome"]["cost"] == 0 and np.isnan(info["outcome"]["latency_s"]).all()
    assert env.reset()[0]["ues"].shape == (2, 18)


def test_many_rows_are_single_environments_across_resets():
    kwargs = {"scenario": {"num_ues": 4, "num_slots": 5, "bursts": {}, "arrival_probability": 0.3}}
    rng, rows = np.random.default_rng(0), 8
    vector = gym.make_vec(ID, rows, autoreset_mode="SameStep", **kwargs)
    singles = [gym.make(ID, **kwargs) for _ in range(rows)]
    seen, _ = vector.reset(seed=5)
    for row, env in enumerate(singles):
        np.testing.assert_array_equal(env.reset(seed=5 + row)[0]["ues"], seen["ues"][row])
    for _ in range(40):
        action = rng.integers(0, 5, rows)
        seen, reward, over, _, _ = vector.step(action)
        for row, env in enumerate(singles):
            alone, paid, ended, *_ = env.step(action[row])
            assert (paid, ended) == (reward[row], over[row])
            alone = env.reset()[0] if ended else alone
            for key, value in alone.items():
                np.testing.assert_array_equal(value, seen[key][row])


class Fixed:
    """Decides a plan, or what a function of the instances says."""

    def __init__(self, decide):
        self.decide = decide


def test_play_gives_what_the_environment_gives_for_the_same_decisions():
    scenario = load_scenario("queue").replace(**SMALL)
    rng = np.random.default_rng(2)

    def drawn(instances, prompts, rng):
        with pytest.raises(ValueError, match="read-only"):
            instances.cycles[0] = 0
        assert len(prompts) == 3
        return types.SimpleNamespace(place=rng.integers(0, 5, instances.has_task.shape))

    prompts = Prompts.of(["minimum latency", "minimum energy", "60% latency, 40% energy"])
    out = lambo_env.play(scenario, Fixed(drawn), prompts, 3, rng)
    traces = sample_trace(scenario, 3, np.random.default_rng(2))
    vector = gym.make_vec(ID, 1, scenario=scenario, autoreset_mode="NextStep")
    vector.reset(seed=2, options={"prompt": prompts.take(0)})
    for row, trace in enumerate(traces):
        assert np.array_equal(trace.has_task, ~np.isnan(out.cost[row]))
        weight = prompts.latency_weight[row]
        pure = weight in (0, 1)
        scale = 1 if pure else scenario.mean_cycles / 1e9
        again = replay(trace, out.place[row], (weight / scale, (1 - weight) / scale))
        np.testing.assert_allclose(again.cost, out.cost[row], rtol=1e-12)
    env = gym.make(ID, scenario=scenario, prompt="minimum latency").unwrapped
    plan = iter(out.place[0][traces[0].has_task].tolist())
    told = episode(env, lambda seen, info: next(plan), seed=2)[-1][-1]["outcome"]
    np.testing.assert_array_equal(told["latency_s"], out.latency_s[0])
    assert told["cost"] == pytest.approx(out.episode_cost[0])


@pytest.mark.parametrize(
    ("decided", "text"),
    [
        ({"place": np.zeros((2, 5), int)}, r"Decision.place.shape is \(2, 5\)"),
        ({"place": np.zeros((2, 6))}, "Decision.place.dtype is 'float64'"),
        (
            {"place": np.full((2, 6), 5)},
            r"Decision.place\[\d, \d\] is 5; allowed: 0 \(local\) .. 4",
        ),
        (
            {"place": np.ones((2, 6), int), "cpu_hz": np.ones((2, 6))},
            r"Decision.cpu_hz\[0, 0\] is 1.0; allowed: 0: servers here share",
        ),
    ],
)
def test_play_refuses_what_no_decision_can_be(decided, text):
    agent = Fixed(lambda *_: types.SimpleNamespace(**decided))
    scenario = load_scenario("queue").replace(num_ues=6, num_slots=3, arrival_probability=1.0)
    with pytest.raises(ValueError, match=text):
        lambo_env.play(scenario, agent, "minimum latency", 2, np.random.default_rng(0))


def test_play_is_offered_where_slots_leave_something_to_the_next():
    with pytest.raises(ValueError, match="unknown offer of world 'offloading' 'play'"):
        lambo_env.play("paper", Fixed(None), "minimum latency", 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="prompts is 3; allowed: 1 or 2"):
        prompts = Prompts.of("minimum latency", 3)
        lambo_env.play("queue", Fixed(print), prompts, 2, np.random.default_rng(0))


class Observer:
    """A policy that notes what it sees and takes the mask's last place."""

    def __init__(self):
        self.seen = []

    def predict(self, observation, action_masks=None, deterministic=True):
        self.seen.append(observation)
        places = np.arange(action_masks.shape[1])
        return np.where(action_masks, places, 0).max(axis=1), None


@pytest.mark.parametrize("observe", ["prompt", "objective"])
def test_a_policy_of_the_environment_sees_the_same_when_it_plays_slot_by_slot(observe):
    scenario = load_scenario("queue-bursts").replace(**SMALL)
    policy = Observer()
    agent = PolicyAgent(policy, ID, observe=observe)
    out = lambo_env.play(scenario, agent, "minimum energy", 1, np.random.default_rng(4))
    env = gym.make(ID, scenario=scenario, prompt="minimum energy", observe=observe)

    def last(seen, info):
        return int(np.flatnonzero(info["action_mask"]).max())

    moments = episode(env, last, seed=4)
    np.testing.assert_array_equal(moments[-1][-1]["outcome"]["place"], out.place[0])
    # in slots without a task the policy is asked once, and its answer ignored
    asked = [seen for seen in policy.seen if seen["ues"][0, :, UE.CURRENT].any()]
    assert len(asked) == len(moments) - 1
    for alone, (seen, _, _) in zip(asked, moments, strict=False):
        for key, value in seen.items():
            np.testing.assert_array_equal(alone[key][0], value)


def test_rows_with_few_tasks_wait_for_those_with_many():
    scenario = load_scenario("queue").replace(**SMALL)
    agent = PolicyAgent(Observer(), ID)
    together = lambo_env.play(scenario, agent, "minimum latency", 5, np.random.default_rng(1))
    alone = lambo_env.play(scenario, agent, "minimum latency", 1, np.random.default_rng(1))
    np.testing.assert_array_equal(together.place[0], alone.place[0])
    np.testing.assert_array_equal(together.cost[0], alone.cost[0])
