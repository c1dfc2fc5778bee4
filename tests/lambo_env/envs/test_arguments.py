"""Rewards, masks, prompts and sources of a caller's own, single and vector alike."""

import re

import gymnasium as gym
import numpy as np
import pytest

import lambo_env
from lambo_env.offloading.physics import all_local_cost
from lambo_env.offloading.slots import sample_instances
from lambo_env.testing.harness import same

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0")
RNG = np.random.default_rng(0)
TINY = lambo_env.load_scenario("tiny")


class Site:
    """A source: the tasks of `tiny` over links that carry a tenth."""

    num_ues, num_servers = TINY.num_ues, TINY.num_servers

    def __init__(self):
        self.returns = lambda instances: instances

    def sample(self, batch_size, rng):
        drawn = sample_instances(TINY, batch_size, rng)
        return self.returns(drawn.replace(uplink_bps=drawn.uplink_bps / 10))


def worst_latency(outcome, instances, objective):
    """A reward of one's own: the slowest task, in s, at most 10."""
    assert not outcome.latency_s.flags.writeable
    assert instances.batch_size == len(objective.cost_per_s) == len(outcome.cost)
    return np.minimum(outcome.latency_s.max(axis=1), 10.0)


def play(env, seed, steps, actions):
    """Return what an environment showed: observations, rewards and infos."""
    seen = [env.reset(seed=seed)]
    for action in actions[:steps]:
        seen.append(env.step(action))
        if seen[-1][2] is True:
            break
    return seen


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("prompt", ["minimum latency", "minimum energy", 0.3])
def test_relative_rewards_are_shares_of_all_local_play(env_id, prompt):
    kwargs = {"scenario": "tiny", "prompt": prompt, "num_slots": 2}
    env = gym.make(env_id, reward="relative", **kwargs)
    env.reset(seed=3)
    env.action_space.seed(3)
    for _ in range(2):
        unit = all_local_cost(env.unwrapped.instances, env.unwrapped.prompts)[0]
        total = 0.0
        for _ in range(6):
            _, reward, _, _, info = env.step(env.action_space.sample())
            total += reward
        assert -total == pytest.approx(info["outcome"]["cost"] / unit, rel=1e-9)


@pytest.mark.parametrize("env_id", IDS)
def test_a_reward_function_is_called_once_per_slot_and_paid_at_its_end(env_id):
    calls = []

    def reward(outcome, instances, objective):
        calls.append(outcome.cost.shape)
        return worst_latency(outcome, instances, objective)

    env = gym.make(env_id, scenario="tiny", num_slots=2, reward=reward)
    env.reset(seed=0)
    for step in range(12):
        _, paid, over, _, info = env.step(env.action_space.sample() * 0)
        if step % 6 < 5:
            assert paid == 0
        else:
            assert paid == -min(info["outcome"]["latency_s"].max(), 10.0)
    assert over and calls == [(1,), (1,)]


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    "kwargs",
    [
        {"reward": "relative"},
        {"reward": worst_latency},
        {"mask": "observation"},
        {"scenario": Site(), "mask": "observation", "reward": "relative"},
        {"prompt": ["minimum latency", 0.25, ("As you like it", 0.6)], "observe": "objective"},
    ],
)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_rows_equal_the_single_environment(env_id, kwargs, mode):
    kwargs = {"scenario": "tiny", "num_slots": 2, **kwargs}
    vector = gym.make_vec(env_id, 3, autoreset_mode=mode, **kwargs)
    seen, infos = vector.reset(seed=5)
    singles = [gym.make(env_id, **kwargs) for _ in range(3)]
    for row, env in enumerate(singles):
        mine, info = env.reset(seed=5 + row)
        same(mine, {name: part[row] for name, part in seen.items()}, "observation")
    assert vector.single_observation_space == singles[0].observation_space
    vector.action_space.seed(1)
    for _ in range(11):
        actions = vector.action_space.sample()
        seen, rewards, _, _, infos = vector.step(actions)
        assert vector.observation_space.contains(seen)
        for row, env in enumerate(singles):
            mine, reward, _, _, info = env.step(actions[row])
            assert reward == rewards[row]
            same(mine, {name: part[row] for name, part in seen.items()}, "observation")
            if "action_mask" in mine:
                assert (mine["action_mask"] == info["action_mask"]).all()
    seen, _, _, _, infos = vector.step(vector.action_space.sample())
    if mode == "SameStep":
        assert infos["final_obs"][0].keys() == seen.keys()


def test_a_prompt_is_a_text_a_weight_or_both():
    env = gym.make(IDS[1], scenario="tiny", prompt=("Sing, goddess, of the wrath", 0.9))
    env.reset(seed=0)
    assert env.unwrapped.prompts.latency_weight.tolist() == [0.9]
    assert env.unwrapped.prompts.texts == ("Sing, goddess, of the wrath",)
    env.reset(options={"prompt": 0.25})
    assert env.unwrapped.prompts.texts == ("25% latency, 75% energy",)
    for weight in np.linspace(0, 1, 41).tolist():
        text = lambo_env.prompts.arguments.text_of(weight)
        assert lambo_env.Prompts.of(text).latency_weight[0] == pytest.approx(weight, abs=1e-9)
    vector = gym.make_vec(IDS[1], 2, scenario="tiny")
    vector.reset(options={"prompt": [("one", 0.1), 0.2]})
    assert vector.unwrapped.prompts.latency_weight.tolist() == [0.1, 0.2]
    with pytest.raises(ValueError, match=r'options\["prompt"\]\[1\] is 2'):
        vector.reset(options={"prompt": [0.1, 2]})


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (lambda drawn: drawn.take([0, 0]), "batch_size, num_ues, num_servers"),
        (lambda drawn: None, "source.sample returned"),
        (lambda drawn: drawn.replace(cycles=drawn.cycles * np.nan), "Instances.cycles"),
        (lambda _: sample_instances(lambo_env.load_scenario("paper"), 1, RNG), r"\(1, 50, 4\)"),
    ],
)
def test_a_source_that_fails_leaves_the_episode_as_it_was(env_id, broken, text):
    site = Site()
    env = gym.make(env_id, scenario=site, num_slots=2).unwrapped
    whole = Site()
    twin = gym.make(env_id, scenario=whole, num_slots=2).unwrapped
    env.reset(seed=0), twin.reset(seed=0)
    action = env.action_space.sample()
    for _ in range(5):
        env.step(action), twin.step(action)
    site.returns = broken
    with pytest.raises(ValueError, match=text):
        env.step(action)
    with pytest.raises(ValueError, match=text):
        env.reset()
    site.returns = whole.returns
    for _ in range(7):
        same(env.step(action), twin.step(action), "step")


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("answer", [np.zeros(3), np.array([np.nan]), "much", 1.0])
def test_a_reward_of_the_wrong_shape_leaves_the_episode_as_it_was(env_id, answer):
    answers = [answer]

    def reward(outcome, instances, objective):
        return answers.pop() if answers else outcome.cost

    env = gym.make(env_id, scenario="tiny", prompt="minimum latency", reward=reward)
    twin = gym.make(env_id, scenario="tiny", prompt="minimum latency")
    env.reset(seed=0), twin.reset(seed=0)
    action, total = env.action_space.sample(), 0.0
    for _ in range(5):
        env.step(action)
        total += twin.step(action)[1]
    with pytest.raises(ValueError, match="what the reward function returned"):
        env.step(action)
    seen, paid, *_, info = env.step(action)
    other, last, *_, told = twin.step(action)
    same((seen, info), (other, told), "what is seen")
    assert paid == pytest.approx(total + last)


BROKEN = [
    (
        lambda _: sample_instances(TINY.replace(num_ues=7), 1, RNG),
        r"\(1, 7, 4\); allowed: \(1, 6, 4",
    ),
    (lambda drawn: drawn.replace(cycles=drawn.cycles * np.nan), r"Instances.cycles\[0, 0\] is nan"),
    (
        lambda drawn: {"cycles": 1},
        "what source.sample returned is {'cycles': 1}; allowed: Instances",
    ),
]


class Third:
    """A source or a reward that works, but for one call out of three while it is on."""

    num_ues, num_servers = TINY.num_ues, TINY.num_servers

    def __init__(self, returns):
        self.returns, self.on, self.calls = returns, False, 0

    def _broken(self):
        self.calls += self.on
        return self.on and self.calls % 3 == 0

    def sample(self, batch_size, rng):
        drawn = sample_instances(TINY, batch_size, rng)
        return self.returns(drawn) if self._broken() else drawn

    def __call__(self, outcome, instances, objective):
        return np.zeros(7) if self._broken() else outcome.cost


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("num_slots", [1, 2])
@pytest.mark.parametrize(("returns", "text"), [*BROKEN, (None, "reward function returned")])
@pytest.mark.parametrize("sizes", [None, (6, 6)])
def test_rows_go_on_as_before_after_a_callers_code_failed(
    env_id, mode, num_slots, returns, text, sizes
):
    """In the middle, at an episode's end, at the next one's beginning: nothing is lost."""
    ours, whole = Third(returns), Third(returns)

    def made(third):
        kwargs = {"scenario": third} if returns else {"scenario": "tiny", "reward": third}
        kwargs |= {"num_slots": num_slots, "autoreset_mode": mode, "num_ues": sizes}
        return gym.make_vec(env_id, 3, **kwargs)

    env, twin, refused = made(ours), made(whole), 0
    env.reset(seed=0), twin.reset(seed=0)
    env.action_space.seed(0)
    for step in range(26):
        actions = env.action_space.sample()
        ours.on = True
        try:
            seen = env.step(actions)
        except ValueError as error:
            assert re.search(text, str(error))
            refused, ours.on = refused + 1, False
            seen = env.step(actions)
        same(seen, twin.step(actions), f"step {step}")
        if step == 13:  # rows out of step
            ours.on, half = False, np.array([True, False, True])
            for one in (env, twin) if mode == "NextStep" else ():
                one.reset(options={"reset_mask": half})
    ours.on, before = True, env.np_random_seed
    ours.calls = 2
    if returns:
        with pytest.raises(ValueError, match=text):
            env.reset(seed=9)
        assert env.np_random_seed == before
    ours.on = False
    for _ in range(8):
        actions = env.action_space.sample()
        same(env.step(actions), twin.step(actions), "after a refused reset")
    assert refused


@pytest.mark.parametrize("env_id", IDS)
def test_a_refused_reset_leaves_the_generator_to_the_episode(env_id):
    ours, whole = Third(BROKEN[1][0]), Third(None)
    env, twin = (gym.make(env_id, scenario=third, num_slots=3) for third in (ours, whole))
    env.reset(seed=0), twin.reset(seed=0)
    action = env.action_space.sample()
    for _ in range(13):
        same(env.step(action), twin.step(action), "step")
        ours.on, ours.calls = True, 2
        with pytest.raises(ValueError, match=BROKEN[1][1]):
            env.reset(seed=7)
        ours.on = False


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ({"reward": 3}, r"reward is 3; allowed: 'cost', 'relative' or a function"),
        ({"scenario": object()}, r"scenario is <object .*sample\(batch_size, rng\) -> Instances"),
    ],
)
def test_what_is_neither_name_nor_function_nor_source_is_refused(argument, told):
    with pytest.raises(ValueError, match=told):
        gym.make("LAMBO-MEC-v0", **argument)
