"""The native vector environments.

Row i is the single environment seeded seed + i, whatever happens to the rows.
"""

import copy
import pickle
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import lambo_env  # noqa: F401 - registers the ids
from lambo_agents.adapter import PolicyAgent
from lambo_agents.testing.agent_checks import check_agent
from lambo_env.envs.actions import decode_action, encode_action
from lambo_env.envs.vector_env import WorldVectorEnv
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.testing.harness import same

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0")
MODES = ("NextStep", "SameStep", "Disabled")
TIGHT = {
    "num_ues": 7,
    "server_cpu_hz": [6e9, 1e10],
    "deadline_s": [0.6, 2.0],
    "local_cpu_hz": [4e8, 1e9],
}


def make(env_id, num_envs, **kwargs):
    return gym.make_vec(env_id, num_envs, **{"scenario": "tiny", **kwargs})


def actions(env, rng):
    """Any action, corners often; about half of the places are legal."""
    masks = (
        env.unwrapped.action_masks()
        if hasattr(env.unwrapped, "action_masks")
        else np.ones((env.num_envs, 5))
    )
    any_place = rng.integers(masks.shape[1], size=env.num_envs)
    place = np.where(
        rng.random(env.num_envs) < 0.5, any_place, (rng.random(masks.shape) * masks).argmax(1)
    )
    if isinstance(env.single_action_space, gym.spaces.Discrete):
        return place
    return encode_action(
        place, rng.choice([0.0, 1.0, rng.random()], size=env.num_envs), masks.shape[1] - 1
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_envs", [1, 3, 8])
@pytest.mark.parametrize("env_id", IDS)
def test_rows_are_single_environments_across_autoresets_and_partial_resets(env_id, num_envs, mode):
    kwargs = {"scenario": TIGHT, "num_slots": 2}
    native = make(env_id, num_envs, autoreset_mode=mode, **kwargs)
    single = make(
        env_id,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode(mode)},
        **kwargs,
    )
    assert isinstance(single, SyncVectorEnv)
    same(native.reset(seed=11), single.reset(seed=11), "reset")
    rng, over = np.random.default_rng(0), np.zeros(num_envs, dtype=bool)
    for step in range(2 * 14 + 9):
        part = over.copy() if mode == "Disabled" else np.zeros(num_envs, dtype=bool)
        part[num_envs // 2] |= step in (3, 20)
        if part.any():
            seed = 50 if step == 20 else None
            a = native.reset(seed=seed, options={"reset_mask": part})
            same(
                a,
                single.reset(seed=seed, options={"reset_mask": part.copy()}),
                f"partial reset before step {step}",
            )
        action = actions(native, rng)
        moved = native.step(action)
        same(moved, single.step(action), f"step {step}")
        over = moved[2]


@pytest.mark.parametrize("env_id", IDS)
def test_a_large_batch_has_the_same_rows_as_a_small_one(env_id):
    large, small = make(env_id, 1024, scenario=TIGHT), make(env_id, 3, scenario=TIGHT)
    chosen = np.array([0, 517, 1023])
    first, _ = large.reset(seed=3)
    begun, _ = small.reset(seed=[3, 520, 1026])
    rng = np.random.default_rng(1)
    for _ in range(17):
        same({name: part[chosen] for name, part in first.items()}, begun, "observations")
        action = actions(large, rng)
        first, rewards, over, _, infos = large.step(action)
        begun, few, ended, _, told = small.step(action[chosen])
        same(
            (rewards[chosen], over[chosen], infos["action_mask"][chosen]),
            (few, ended, told["action_mask"]),
            "rest",
        )
        if "outcome" in told:
            outcome = {name: part[chosen] for name, part in infos["outcome"].items()}
            same(outcome, told["outcome"], "outcome")


@pytest.mark.parametrize("env_id", IDS)
def test_make_vec_gives_the_native_environment(env_id):
    env = gym.make_vec(env_id, 5)
    assert isinstance(env, WorldVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    single = gym.make(env_id)
    assert env.single_observation_space == single.observation_space
    assert env.single_action_space == single.action_space
    seen, _ = env.reset(seed=0)
    assert seen in env.observation_space
    assert env.action_space.sample() in env.action_space
    env.step(env.action_space.sample())


def test_seeds_are_one_a_row_and_streams_go_on():
    env, other = make(IDS[1], 3), make(IDS[1], 3)
    env.reset(seed=7)
    assert env.np_random_seed == (7, 8, 9)
    other.reset(seed=[7, 8, 9])
    same(env.reset(), other.reset(), "the second episode")
    first, _ = env.reset()
    again, _ = env.reset(seed=7)
    assert (first["ues"] != again["ues"]).any()
    a, b = make(IDS[1], 2), make(IDS[1], 2)
    assert (a.reset()[0]["ues"] != b.reset()[0]["ues"]).any()  # no seed: from the system's entropy


@pytest.mark.parametrize("env_id", IDS)
def test_copies_are_fresh_and_buffers_are_faster_but_not(env_id):
    env, quick = make(env_id, 4), make(env_id, 4, copy=False)
    kept = [env.reset(seed=0)[0]]
    shown = quick.reset(seed=0)[0]
    rng, frozen = np.random.default_rng(0), [copy.deepcopy(kept[0])]
    for _ in range(13):
        same(shown, kept[-1], "with and without copy")
        action = actions(env, rng)
        kept.append(env.step(action)[0])
        frozen.append(copy.deepcopy(kept[-1]))
        before, shown = shown, quick.step(action)[0]
        assert np.shares_memory(before["ues"], shown["ues"])
    same(kept, frozen, "observations kept by reference")


@pytest.mark.parametrize("env_id", IDS)
def test_instances_and_prompts_are_given_row_by_row(env_id):
    given = sample_instances(load_scenario("tiny"), 3, np.random.default_rng(2))
    texts = ["minimum energy", "minimum latency", "50% latency, 50% energy"]
    env, drawn = make(env_id, 3), make(env_id, 3)
    env.reset(seed=0, options={"instances": given, "prompt": texts})
    drawn.reset(seed=0)
    assert env.prompts == Prompts.of(texts)
    rng = np.random.default_rng(0)
    for _ in range(6):
        *_, infos = env.step(actions(env, rng))
    outcome = infos["outcome"]
    decision = physics.Decision(outcome["place"], outcome["cpu_hz"])
    want = physics.evaluate(given, decision, Prompts.of(texts).objective(given))
    np.testing.assert_allclose(outcome["cost"], want.cost)
    for _ in range(6):
        drawn.step(actions(drawn, rng))
    same(
        env.step(actions(env, rng)),
        drawn.step(actions(drawn, rng)),
        "the episode after the given one",
    )


def test_a_partial_reset_takes_only_its_rows_of_what_is_given():
    given = sample_instances(load_scenario("tiny"), 3, np.random.default_rng(2))
    env = make(IDS[0], 3)
    env.reset(seed=0)
    before = env.instances
    env.reset(options={"instances": given, "reset_mask": np.array([False, True, False])})
    for row, source in ((0, before), (1, given), (2, before)):
        np.testing.assert_array_equal(env.instances.uplink_bps[row], source.uplink_bps[row])
    env.step(actions(env, np.random.default_rng(0)))


@pytest.mark.parametrize("env_id", IDS)
def test_masks_know_where_a_row_came_in_that_cannot_run_locally(env_id):
    """Batches in which every UE is in time locally take a shorter way; a later row may end that."""
    env, instances = (
        make(env_id, 2),
        sample_instances(load_scenario("tiny"), 2, np.random.default_rng(0)),
    )
    env.reset(seed=0, options={"instances": instances})
    slow = instances.replace(local_cpu_hz=instances.local_cpu_hz * 0.01)
    _, info = env.reset(options={"instances": slow, "reset_mask": np.array([False, True])})
    assert info["action_mask"][1, 0] == 0
    assert env.unwrapped.action_masks()[:, 0].tolist() == [True, False]


BAD_RESETS = [
    ({"seed": -1}, "seed"),
    ({"seed": [1, 2]}, "seed"),
    ({"options": {"reset_mask": [True, True, True]}}, "reset_mask"),
    ({"options": {"reset_mask": np.zeros(3, dtype=bool)}}, "reset_mask"),
    ({"options": {"reset_mask": np.ones(2, dtype=bool)}}, "reset_mask"),
    ({"options": {"prompt": ["minimum energy"] * 2}}, "number of texts"),
    ({"options": {"prompt": "no idea"}}, "prompt"),
    ({"options": {"masks": 1}}, "unknown field"),
]


@pytest.mark.parametrize(("kwargs", "text"), BAD_RESETS, ids=range(len(BAD_RESETS)))
def test_bad_resets_are_named_and_change_nothing(kwargs, text):
    env, twin = make(IDS[1], 3), make(IDS[1], 3)
    env.reset(seed=1)
    twin.reset(seed=1)
    with pytest.raises(ValueError, match=text):
        env.reset(**kwargs)
    for _ in range(9):
        action = env.action_masks().argmax(1)
        same(env.step(action), twin.step(action), "after a refused reset")


BAD_ACTIONS = [
    (IDS[0], np.zeros(2)),
    (IDS[0], np.zeros((2, 3))),
    (IDS[0], np.array([[0, 0], [0, np.nan]])),
    (IDS[0], np.array([[0, 0], [1.01, 0]])),
    (IDS[0], np.zeros((2, 2), dtype=bool)),
    (IDS[0], None),
    (IDS[1], np.zeros(2)),
    (IDS[1], np.zeros((2, 1), dtype=int)),
    (IDS[1], np.array([0, 5])),
    (IDS[1], np.array([-1, 0])),
    (IDS[1], "00"),
]


@pytest.mark.parametrize(("env_id", "action"), BAD_ACTIONS, ids=range(len(BAD_ACTIONS)))
def test_bad_actions_are_refused_and_change_nothing(env_id, action):
    env, twin = make(env_id, 2), make(env_id, 2)
    env.reset(seed=1)
    twin.reset(seed=1)
    with pytest.raises(ValueError, match="(?s)actions is .*; allowed: "):
        env.step(action)
    rng = np.random.default_rng(0)
    for _ in range(8):
        good = actions(env, rng)
        same(env.step(good), twin.step(good), "after refused actions")


def test_the_actions_of_rows_that_are_reset_are_ignored():
    env = make(IDS[0], 2)
    env.reset(seed=0)
    for _ in range(6):
        _, _, over, _, _ = env.step(np.zeros((2, 2)))
    assert over.all()
    seen, rewards, over, _, _ = env.step(np.full((2, 2), np.nan))
    assert not over.any() and not rewards.any() and (seen["ues"][:, 0, -3] == 1).all()


def test_steps_need_episodes():
    env = make(IDS[1], 2, autoreset_mode="Disabled")
    for call in (lambda: env.step(np.zeros(2, dtype=int)), env.action_masks, lambda: env.frame(0)):
        with pytest.raises(ResetNeeded, match="reset"):
            call()
    with pytest.raises(ValueError, match="first reset"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    for _ in range(6):
        env.step(np.zeros(2, dtype=int))
    with pytest.raises(ResetNeeded, match="reset_mask"):
        env.step(np.zeros(2, dtype=int))


@pytest.mark.parametrize("bad", [{"num_envs": 0}, {"autoreset_mode": "Never"}, {"num_envs": 2.0}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        gym.make_vec(IDS[1], **{"num_envs": 1, **bad})


@pytest.mark.parametrize("env_id", IDS)
def test_copies_of_a_vector_environment_go_on_as_the_original(env_id):
    env = make(env_id, 3, num_slots=2)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        env.step(actions(env, rng))
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(20):
        action = actions(env, rng)
        moved = env.step(action)
        for twin in twins:
            same(moved, twin.step(action), "a copy")


class HighestLegal:
    """A policy in the manner of Stable-Baselines3."""

    def predict(self, observation, deterministic=False, action_masks=None):
        assert deterministic and observation["ues"].shape[0] == len(action_masks)
        return action_masks.shape[1] - 1 - action_masks[:, ::-1].argmax(1), None


class Upright:
    """A policy without masks: everything to the first server, with all that is left."""

    def predict(self, observation):
        return encode_action(np.ones(len(observation["ues"])), 1.0, observation["servers"].shape[1])


def test_a_policy_becomes_an_agent():
    device = "cpu" if find_spec("torch") else None
    check_agent(PolicyAgent(HighestLegal()), torch_device=device)
    check_agent(PolicyAgent(Upright(), "LAMBO-MEC-v0"))
    instances = sample_instances(load_scenario("tiny"), 7, np.random.default_rng(0))
    prompts, rng = Prompts.of("minimum latency", 7), np.random.default_rng(0)
    whole, parts = (
        PolicyAgent(HighestLegal(), batch=batch).decide(instances, prompts, rng)
        for batch in (100, 2)
    )
    np.testing.assert_array_equal(whole.place, parts.place)
    np.testing.assert_allclose(whole.cpu_hz, physics.allocate(instances, whole.place))
    upright = PolicyAgent(Upright(), "LAMBO-MEC-v0").decide(instances, prompts, rng)
    assert (upright.place == 1).all()
    assert (upright.cpu_hz > 0).sum(1).tolist() == [1] * 7  # the others are dropped


def test_a_policy_cut_for_other_sizes_says_so():
    policy = HighestLegal()
    policy.observation_space = gym.make(IDS[1], scenario="tiny").observation_space
    agent = PolicyAgent(policy)
    tiny, paper = (
        sample_instances(load_scenario(name), 1, np.random.default_rng(0))
        for name in ("tiny", "paper")
    )
    assert agent.supports(tiny) is None
    assert agent.supports(paper) == "trained for (UEs, servers) = (6, 4), given (50, 4)"
    with pytest.raises(ValueError, match="did you mean 'LAMBO-MEC-Association-v0'"):
        PolicyAgent(policy, "LAMBO-MEC-Asociation-v0")
    with pytest.raises(ValueError, match="predict"):
        PolicyAgent(object())


def test_actions_of_the_joint_environment_decode_row_by_row():
    place, share = decode_action(encode_action([0, 3, 4], [0.25, 0.5, 1.0], 4), 4)
    assert place.tolist() == [0, 3, 4] and share.tolist() == [0.25, 0.5, 1.0]
