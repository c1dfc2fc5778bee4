"""N that varies: one shape for all sizes, an episode of n UEs being that of n UEs alone."""

import gymnasium as gym
import numpy as np
import pytest

import lambo_env
from lambo_env.offloading import observation
from lambo_env.offloading.slots import sample_instances
from lambo_env.testing.harness import same

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0", "LAMBO-MEC-Drift-v0")
TINY = lambo_env.load_scenario("tiny")
KWARGS = {"scenario": "tiny", "num_ues": (2, 7), "num_slots": 2}


class Crowd:
    """A source whose N varies from call to call."""

    num_servers = 4
    sizes = (1, 8)

    def sample(self, batch_size, rng):
        size = int(rng.integers(self.sizes[0], self.sizes[1] + 1))
        return sample_instances(TINY.replace(num_ues=size), batch_size, rng)


def busiest(outcome, instances, objective):
    """A reward of one's own, which sees the UEs that are there."""
    assert outcome.latency_s.shape == instances.cycles.shape and outcome.latency_s.all()
    return np.minimum(outcome.latency_s.max(axis=1), 10.0)


CASES = [
    *((env_id, {"mask": "observation", "reward": "relative"}) for env_id in IDS),
    *((env_id, {"observe": "objective", "reward": busiest}) for env_id in IDS),
    *((env_id, {"scenario": Crowd(), "num_ues": (1, 8)}) for env_id in IDS[:2]),
]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(("env_id", "kwargs"), CASES)
def test_rows_equal_the_single_environment_across_resets(env_id, mode, kwargs):
    kwargs = {**KWARGS, **kwargs}
    vector = gym.make_vec(env_id, 4, autoreset_mode=mode, **kwargs)
    singles = [gym.make(env_id, **kwargs) for _ in range(4)]
    assert vector.single_observation_space == singles[0].observation_space
    seen, infos = vector.reset(seed=5)
    over = [False] * 4
    shown = [env.reset(seed=5 + row) for row, env in enumerate(singles)]
    vector.action_space.seed(1)
    sizes, ended = set(), 0
    for _ in range(40):
        for row, (mine, info) in enumerate(shown):
            same(mine, {name: part[row] for name, part in seen.items()}, "observation")
            same(info["action_mask"], infos["action_mask"][row], "mask")
        actions = vector.action_space.sample()
        seen, rewards, dones, _, infos = vector.step(actions)
        assert vector.observation_space.contains(seen)
        for row, env in enumerate(singles):
            if over[row]:  # NextStep: this step resets
                shown[row], over[row] = env.reset(), False
                assert rewards[row] == 0 and not dones[row]
                continue
            mine, reward, over[row], _, info = env.step(actions[row])
            assert reward == rewards[row] and over[row] == dones[row]
            if "outcome" in info:
                told = infos["final_info"] if mode == "SameStep" and over[row] else infos
                mine_of = {
                    name: part[row] for name, part in told["outcome"].items() if name[0] != "_"
                }
                same(info["outcome"], mine_of, "outcome")
                sizes.add(int(info["outcome"]["present"].sum()))
            if over[row]:
                ended += 1
            if over[row] and mode == "SameStep":
                same(mine, infos["final_obs"][row], "final observation")
                mine, info = env.reset()
                over[row] = False
            shown[row] = (mine, info)
    assert len(sizes) > 2 and ended > 4


@pytest.mark.parametrize("env_id", IDS[:2])
@pytest.mark.parametrize("prompt", ["minimum latency", 0.4])
def test_an_episode_of_n_ues_is_that_of_n_ues_alone(env_id, prompt):
    kwargs = {"prompt": prompt, "reward": "relative"}
    padded = gym.make(env_id, scenario="tiny", num_ues=(2, 7), **kwargs)
    for seed in range(4):
        seen, info = padded.reset(seed=seed)
        given = padded.unwrapped.instances
        alone = gym.make(env_id, scenario=TINY.replace(num_ues=given.num_ues), **kwargs)
        other, told = alone.reset(options={"instances": given})
        again, _ = padded.reset(options={"instances": given})
        same(seen["ues"], again["ues"], "the same instances handed in")
        over = False
        padded.action_space.seed(seed)
        while not over:
            there = seen["ues"][:, -1] == 1
            same(seen["ues"][there, :-1], other["ues"], "columns")
            same(seen["servers"], other["servers"], "servers")
            same(info["action_mask"], told["action_mask"], "mask")
            assert there.sum() == given.num_ues and not seen["ues"][~there].any()
            action = padded.action_space.sample()
            seen, reward, over, _, info = padded.step(action)
            other, alike, finished, _, told = alone.step(action)
            assert (reward, over) == (alike, finished)
        assert info["outcome"]["cost"] == told["outcome"]["cost"]
        assert (info["outcome"]["place"][given.num_ues :] == -1).all()
        for name in ("place", "cpu_hz", "latency_s", "late"):
            same(info["outcome"][name][: given.num_ues], told["outcome"][name], name)


def test_every_size_of_the_range_comes_up():
    env = gym.make(IDS[1], scenario="tiny", num_ues=(3, 6))
    env.reset(seed=0)
    sizes = set()
    for _ in range(60):
        env.reset()
        sizes.add(env.unwrapped.instances.num_ues)
    assert sizes == {3, 4, 5, 6}


def test_the_columns_are_read_back():
    env = gym.make(IDS[1], scenario="tiny", num_ues=(3, 6))
    seen, _ = env.reset(seed=3)
    columns = observation.read(seen["ues"], 4, np)
    assert columns.present.sum() == env.unwrapped.instances.num_ues
    assert columns.current.tolist() == [1, 0, 0, 0, 0, 0]
    plain = observation.read(gym.make(IDS[1], scenario="tiny").reset(seed=3)[0]["ues"], 4, np)
    assert plain.present.tolist() == [1] * 6


@pytest.mark.parametrize("num_slots", [1, 2])
def test_a_picture_shows_the_ues_that_are_there(num_slots):
    env = gym.make(IDS[0], scenario="tiny", num_ues=(2, 7), num_slots=num_slots).unwrapped
    env.reset(seed=2)
    frame, count = env.frame(), env.instances.num_ues
    assert count < 7 and len(frame.place) == len(frame.ue_xy) == frame.instances.num_ues == count


@pytest.mark.parametrize(
    "given", [(6, 3), (0, 3), (3,), (3, 4, 5), 6, "3,6", (2.5, 4), (True, 4), (2, None)]
)
@pytest.mark.parametrize("env_id", IDS)
def test_a_bad_range_is_named(env_id, given):
    with pytest.raises(ValueError, match="num_ues is .*; allowed: "):
        gym.make(env_id, scenario="tiny", num_ues=given)


@pytest.mark.parametrize("env_id", IDS[:2])
def test_sizes_above_the_padding_are_named_and_the_episode_goes_on(env_id):
    crowd, whole = Crowd(), Crowd()
    kwargs = {"num_ues": (1, 8), "num_slots": 9}
    env = gym.make(env_id, scenario=crowd, **kwargs).unwrapped
    twin = gym.make(env_id, scenario=whole, **kwargs).unwrapped
    env.reset(seed=0), twin.reset(seed=0)
    action = env.action_space.sample()
    for _ in range(env.instances.num_ues - 1):
        env.step(action), twin.step(action)
    crowd.sizes = (9, 9)
    refused = (
        r"what source.sample returned \(.*num_ues.*\) is \(1, 9, 4\); allowed: \(1, 1 to 8, 4\)"
    )
    with pytest.raises(ValueError, match=refused):
        env.step(action)
    with pytest.raises(ValueError, match=refused):
        env.reset()
    crowd.sizes = whole.sizes
    big = sample_instances(TINY.replace(num_ues=9), 1, np.random.default_rng(0))
    single = gym.make(env_id, scenario="tiny", num_ues=(2, 8)).unwrapped
    with pytest.raises(ValueError, match=r'options\["instances"\] .*\(1, 9, 4\).*\(1, 2 to 8, 4\)'):
        single.reset(options={"instances": big})
    for _ in range(9):
        same(env.step(action), twin.step(action), "step")
