"""as_sb3: everything that SB3 asks of a VecEnv, row i being the single environment, and fast."""

import json
import warnings
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from baselines.sb3.vec_env import as_sb3
from benchmarks.speed.sb3 import sb3_speed
from lambo_agents.adapter import PolicyAgent
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

IDS = ["LAMBO-MEC-v0", "LAMBO-MEC-Association-v0"]


def actions(env: Any, rng: np.random.Generator) -> Any:
    """Random actions, legal or not."""
    if env.action_space.shape:
        return rng.uniform(-1, 1, (env.num_envs, 2)).astype(np.float32)
    return rng.integers(env.action_space.n, size=env.num_envs)


def same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            same(one[key], other[key])
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("num_slots", [1, 2])
@pytest.mark.parametrize("env_id", IDS)
def test_it_is_dummy_vec_env_of_monitored_environments(env_id: str, num_slots: int):
    """Observations, rewards, dones, masks and infos over two episodes.

    Monitor's t alone is a clock's.
    """
    kwargs: dict[str, Any] = {"scenario": "tiny", "num_slots": num_slots}
    ours = as_sb3(env_id, 3, **kwargs)
    theirs = DummyVecEnv([lambda: Monitor(gym.make(f"lambo_env:{env_id}", **kwargs))] * 3)
    ours.seed(7)
    theirs.seed(7)
    same(ours.reset(), theirs.reset())
    same(ours.reset_infos[1], theirs.reset_infos[1])
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(2 * 6 * num_slots):
        same(get_action_masks(ours), get_action_masks(theirs))
        act = actions(ours, rng)
        (seen, rewards, dones, infos), (seen2, rewards2, dones2, infos2) = (
            ours.step(act),
            theirs.step(act),
        )
        same(seen, seen2)
        same(dones, dones2)
        assert rewards.dtype == rewards2.dtype
        np.testing.assert_array_equal(rewards, rewards2)
        for one, other in zip(infos, infos2, strict=True):
            if "episode" in one:
                ended += 1
                assert one["episode"].pop("t") >= 0 and other["episode"].pop("t") >= 0
                assert one["episode"].pop("r") == pytest.approx(other["episode"].pop("r"), abs=2e-6)
                (
                    one.pop("action_mask"),
                    other.pop("action_mask"),
                )  # ours is of the observation shown, theirs of the terminal one
            one.setdefault("TimeLimit.truncated", False)
            same(one, other)
    assert ended == 6


def test_attributes_row_by_row():
    env = as_sb3(IDS[1], 3, scenario="tiny", prompt=["minimum energy"])
    env.seed(0)
    env.reset()
    assert (
        env.has_attr("action_masks") and is_masking_supported(env) and not env.has_attr("nothing")
    )
    np.testing.assert_array_equal(
        env.get_attr("action_masks", 1)[0](), env.env_method("action_masks", indices=[1])[0]
    )
    assert [s.num_ues for s in env.get_attr("scenario")] == [6, 6, 6]
    assert [p.texts for p in env.get_attr("prompts", [0, 2])] == [("minimum energy",)] * 2
    assert env.get_attr("np_random_seed") == [0, 1, 2]
    assert env.get_attr("action_space", 0)[0] == env.action_space
    env.set_attr("level", 3, [0, 1])
    env.set_attr("level", 4, 2)
    assert env.get_attr("level") == [3, 3, 4]
    with pytest.raises(ValueError, match=r"set_attr\(attr_name\) is 'scenario'"):
        env.set_attr("scenario", "paper")
    with pytest.raises(AttributeError, match="action_masks, frame and render"):
        env.env_method("fly")
    assert env.env_is_wrapped(Monitor) == [True] * 3 and env.env_is_wrapped(
        gym.wrappers.TimeLimit, 0
    ) == [False]
    assert env.env_method("frame", indices=0)[0].prompt == "minimum energy"


def test_options_reach_the_rows():
    env = as_sb3(IDS[1], 2, scenario="tiny")
    given = sample_instances(load_scenario("tiny"), 2, np.random.default_rng(1))
    env.set_options(
        [
            {"prompt": text, "instances": given.take([row])}
            for row, text in enumerate(("minimum energy", "minimum latency"))
        ]
    )
    env.reset()
    np.testing.assert_array_equal(env.venv.instances.cycles, given.cycles)
    assert [p.latency_weight[0] for p in env.get_attr("prompts")] == [0, 1]
    env.reset()  # options hold for one reset, as SB3 has it
    assert not np.array_equal(env.venv.instances.cycles, given.cycles)
    env.set_options([{"prompt": "minimum energy"}])
    with pytest.raises(ValueError, match=r"set_options\(options\) is 1; allowed: 2"):
        env.reset()


@pytest.mark.parametrize("begun", [False, True])
def test_rows_may_have_other_options_than_their_neighbours(begun: bool):
    env, single = as_sb3(IDS[1], 3, scenario="tiny"), as_sb3(IDS[1], 1, scenario="tiny")
    given = sample_instances(load_scenario("tiny"), 1, np.random.default_rng(1))
    if begun:
        env.reset()
        env.step(np.zeros(3, int))
    env.seed(7)
    env.set_options([{"prompt": "minimum energy"}, {}, {"instances": given}])
    seen = env.reset()
    assert env.get_attr("prompts")[0].latency_weight[0] == 0
    np.testing.assert_array_equal(env.venv.instances.cycles[2], given.cycles[0])
    for row, options in enumerate(({"prompt": "minimum energy"}, {}, {"instances": given})):
        single.seed(7 + row)
        single.set_options(options)
        alone = single.reset()
        for name, value in alone.items():
            np.testing.assert_array_equal(seen[name][row], value[0])
        assert (env.reset_infos[row]["action_mask"] == single.reset_infos[0]["action_mask"]).all()


def test_relative_rewards_sum_to_the_share_of_the_local_cost():
    env = as_sb3(IDS[1], 4, scenario="tiny", reward="relative")
    env.seed(0)
    env.reset()
    local = np.zeros(env.venv.instances.cycles.shape)
    goal = env.venv.prompts.objective(env.venv.instances)
    cost = physics.evaluate(env.venv.instances, physics_decision(local), goal).cost
    total, rng = np.zeros(4), np.random.default_rng(0)
    for _ in range(6):
        _, rewards, _, infos = env.step(actions(env, rng))
        total += rewards
    costs = np.array([info["outcome"]["cost"] for info in infos])
    np.testing.assert_allclose(total, -costs / cost, rtol=1e-5)
    np.testing.assert_allclose([info["episode"]["r"] for info in infos], -costs, rtol=1e-6)


def physics_decision(zeros: np.ndarray[Any, Any]) -> Any:
    from lambo_env.offloading.instances import Decision

    return Decision(zeros.astype(int), zeros)


def test_algorithms_evaluation_and_wrappers_take_it():
    joint, association = (
        as_sb3(IDS[0], 8, scenario="tiny", observe="objective"),
        as_sb3(IDS[1], 8, scenario="tiny"),
    )
    PPO(
        "MultiInputPolicy",
        VecNormalize(joint, norm_obs=False),
        n_steps=6,
        batch_size=24,
        n_epochs=1,
        device="cpu",
    ).learn(48)
    SAC("MultiInputPolicy", joint, learning_starts=8, device="cpu", buffer_size=200).learn(32)
    model = MaskablePPO(
        "MultiInputPolicy", association, n_steps=6, batch_size=24, n_epochs=1, device="cpu"
    )
    model.learn(48)
    assert len(model.ep_info_buffer) == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # evaluate_policy warns where no Monitor is known
        mean, _ = evaluate_policy(model, association, n_eval_episodes=8)
    assert mean < 0


def test_pictures_are_tiled():
    pytest.importorskip("pygame")
    env = as_sb3(IDS[1], 2, scenario="tiny", render_mode="rgb_array")
    env.reset()
    image = env.render()
    assert image is not None and image.ndim == 3 and image.shape[2] == 3
    env.close()


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"scenari": "tiny"}, "scenari"),
        ({"num_envs": 0}, "num_envs is 0; allowed"),
        ({"reward": "big"}, "unknown reward 'big'"),
        ({"scenario": "tinny"}, "tiny"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        as_sb3(IDS[0], **{"num_envs": 2, **kwargs})


@pytest.mark.parametrize("env_id", IDS)
def test_at_least_five_times_dummy_vec_env(env_id: str):
    assert sb3_speed(env_id, "paper", rounds=1).ratio >= 5


@pytest.mark.parametrize("reward", ["cost", "relative"])
def test_rows_out_of_step_go_on_where_they_were(reward: str):
    made = partial(
        as_sb3,
        "LAMBO-MEC-Queue-v0",
        4,
        reward=reward,
        scenario={"num_ues": 4, "num_slots": 5},
    )
    env, rng = made(), np.random.default_rng(0)
    env.seed(3)
    env.reset()
    for _ in range(23):
        seen, _, dones, _ = env.step(rng.integers(0, 5, 4))
    origin, since = env.state()
    assert len({first for _, first in origin}) > 1  # out of step
    twin = made()
    twin.seed(9)
    twin.reset()
    again, ended = twin.restore(json.loads(json.dumps(origin)), since)
    np.testing.assert_array_equal(dones, ended)
    for _ in range(20):
        for key, value in seen.items():
            np.testing.assert_array_equal(value, again[key])
        actions = rng.integers(0, 5, 4)
        seen, paid, dones, infos = env.step(actions)
        again, same, ended, told = twin.step(actions)
        np.testing.assert_array_equal(paid, same)
        np.testing.assert_array_equal(dones, ended)
        for one, other in zip(infos, told, strict=True):
            if "episode" in one:
                assert one["episode"]["r"] == pytest.approx(other["episode"]["r"])
                assert one["episode"]["l"] == other["episode"]["l"]
    assert twin.state()[0] == env.state()[0]


def test_sources_rewards_and_masks_of_ones_own_go_through():
    class Site:
        num_ues, num_servers = 6, 4

        def sample(self, batch_size, rng):
            return sample_instances(load_scenario("tiny"), batch_size, rng)

    def slowest_s(outcome, instances, objective):
        return np.minimum(outcome.latency_s.max(axis=1), 10.0)

    env = as_sb3(IDS[1], 2, scenario=Site(), reward=slowest_s, mask="observation")
    env.reset()
    for _ in range(6):
        seen, rewards, dones, infos = env.step([0, 0])
    assert dones.all() and "action_mask" in seen
    assert rewards.tolist() == pytest.approx([-i["outcome"]["latency_s"].max() for i in infos])


@pytest.mark.parametrize("reward", ["relative", "own"])
def test_a_callers_code_that_fails_leaves_the_rows_as_they_were(reward: str):
    """A source and a reward function, each broken for one call in mid-episode and at its end."""

    class Flaky:
        num_ues, num_servers = 6, 4
        broken = False

        def sample(self, batch_size: int, rng: np.random.Generator) -> Any:
            drawn = sample_instances(load_scenario("tiny"), batch_size, rng)
            return drawn.replace(cycles=drawn.cycles * np.nan) if self.broken else drawn

        def __call__(self, outcome: Any, instances: Any, objective: Any) -> Any:
            return outcome.cost[:, None] if self.broken else outcome.cost

    ours, whole = Flaky(), Flaky()

    def made(flaky: Flaky) -> Any:
        kwargs = {"scenario": flaky} if reward == "relative" else {"scenario": "tiny"}
        paid = reward if reward == "relative" else flaky
        return as_sb3("LAMBO-MEC-Association-v0", 3, reward=paid, num_slots=2, **kwargs)

    env, twin = made(ours), made(whole)
    env.seed(0), twin.seed(0)
    np.testing.assert_equal(env.reset(), twin.reset())
    allowed = r"Instances.cycles\[0, 0\] is nan|reward function returned \(shape, dtype\)"
    for step in range(30):
        actions = np.array([step % 5, 1, 0])
        ours.broken = step % 6 == 5
        if ours.broken:
            with pytest.raises(ValueError, match=allowed):
                env.step(actions)
        ours.broken = False
        (seen, paid, dones, infos), other = env.step(actions), twin.step(actions)
        np.testing.assert_equal((seen, paid, dones), other[:3])
        for info, told in zip(infos, other[3], strict=True):
            for name in {"episode", "outcome"} & set(info):
                same = {key: info[name][key] for key in set(info[name]) - {"t"}}
                np.testing.assert_equal(same, {key: told[name][key] for key in same})
    np.testing.assert_equal(env.state(), twin.state())


def test_a_model_trained_on_normalised_observations_is_played_on_them():
    venv = as_sb3("LAMBO-MEC-Association-v0", 4, scenario="tiny", observe="objective")
    scaled = VecNormalize(venv, norm_reward=False)
    model = PPO("MultiInputPolicy", scaled, n_steps=12, batch_size=48, seed=0, device="cpu")
    model.learn(96)
    scenario = load_scenario("tiny")
    instances = sample_instances(scenario, 32, np.random.default_rng(1))
    prompts = Prompts.of("minimum latency", 32)

    class ByHand:
        observation_space = model.observation_space

        def predict(self, observation: Any, deterministic: bool) -> Any:
            return model.predict(scaled.normalize_obs(observation), deterministic=deterministic)

    played, by_hand, unscaled = (
        PolicyAgent(policy).decide(instances, prompts, np.random.default_rng(0)).place
        for policy in (model, ByHand(), model.policy)
    )
    np.testing.assert_array_equal(played, by_hand)
    assert (played != unscaled).any()
