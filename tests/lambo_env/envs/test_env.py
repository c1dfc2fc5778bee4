"""The single environments.

Arguments, options, errors that change nothing, what is frozen under a registered id.
"""

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import lambo_env  # noqa: F401 - registers the ids
from lambo_env.envs.actions import encode_action
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts, env_prompts
from lambo_env.testing.harness import episode as play
from lambo_env.testing.harness import legal_action, random_action, same

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0")


def test_importing_the_package_registers_and_the_module_prefix_does_too():
    made = "gymnasium.make('lambo_env:LAMBO-MEC-v0', scenario='tiny')"
    code = f"import gymnasium; print({made}.action_space)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Box(-1.0, 1.0, (2,), float32)" in done.stdout
    twice = "import lambo_env, importlib; importlib.reload(lambo_env)"
    subprocess.run([sys.executable, "-W", "error", "-c", twice], check=True)


@pytest.mark.parametrize("env_id", IDS)
def test_spaces_are_those_of_the_contract(env_id):
    env = gym.make(env_id)
    assert env.spec.max_episode_steps is None
    seen, info = env.reset(seed=0)
    assert {name: (part.shape, part.dtype) for name, part in seen.items()} == {
        "ues": ((50, 11), np.float32),
        "servers": ((4, 2), np.float32),
        "prompt": ((160,), np.uint8),
    }
    assert info["action_mask"].shape == (5,)
    objective, _ = gym.make(env_id, observe="objective", prompt="70% latency, 30% energy").reset(
        seed=0
    )
    np.testing.assert_allclose(objective["objective"], [0.7, 0.3], rtol=1e-6)
    assert "prompt" not in objective


def test_the_text_on_show_is_the_prompt_asked_for():
    env = gym.make(IDS[1], scenario="tiny", prompt="minimum energy")
    seen, _ = env.reset(seed=0)
    assert bytes(seen["prompt"]).rstrip(b"\0") == b"minimum energy"
    seen, _ = env.reset(options={"prompt": "Minimum LATENCY"})
    assert bytes(seen["prompt"]).rstrip(b"\0") == b"minimum latency"
    seen, _ = env.reset()
    assert bytes(seen["prompt"]).rstrip(b"\0") == b"minimum energy"
    own = Prompts("please hurry, but spare my battery a little", 0.8)
    env.reset(options={"prompt": own})
    assert env.unwrapped.prompts == own


def test_prompts_are_drawn_from_the_training_phrases_or_from_a_list():
    env = gym.make(IDS[0], scenario="tiny")
    texts = {env.reset(seed=seed) and env.unwrapped.prompts.texts[0] for seed in range(40)}
    assert len(texts) > 15 and texts <= set(env_prompts().texts)
    env = gym.make(IDS[0], scenario="tiny", prompt=["minimum energy", "minimum latency"])
    assert {env.reset(seed=seed) and env.unwrapped.prompts.texts[0] for seed in range(20)} == {
        "minimum energy",
        "minimum latency",
    }


def test_a_prompt_does_not_change_the_world():
    a, b = (gym.make(IDS[0], scenario="tiny", prompt=prompt) for prompt in ("minimum energy", None))
    same(a.reset(seed=3)[0]["ues"], b.reset(seed=3)[0]["ues"], "first slot")


def test_slots_follow_one_another_in_one_world():
    env = gym.make(IDS[1], scenario={"num_ues": 5, "speed_mps": 1.0, "slot_s": 2.0}, num_slots=3)
    moments, frames = [], []
    for moment in play(env, legal_action, np.random.default_rng(0), seed=0):
        moments.append(moment)
        frames.append(env.unwrapped.frame())
    assert len(moments) == 16
    assert [k for k, (*_, info) in enumerate(moments) if "outcome" in info] == [5, 10, 15]
    assert [frame.slot for frame in frames[::5]] == [0, 1, 2, 2]
    moved = np.linalg.norm(frames[5].ue_xy - frames[4].ue_xy, axis=1)
    assert (moved <= 2.0 + 1e-9).all() and moved.max() > 0.1
    np.testing.assert_array_equal(frames[5].server_xy, frames[4].server_xy)
    assert (frames[5].instances.data_bits != frames[4].instances.data_bits).all()
    assert moments[5][0]["ues"][0, -3] == 1 and not moments[15][0]["ues"][:, -3].any()
    assert frames[15].current is None and frames[15].decided.all()
    same(
        frames[15].latency_s, moments[15][3]["outcome"]["latency_s"], "latency in frame and outcome"
    )


def test_a_frame_tells_the_slot_in_progress():
    env = gym.make(IDS[0], scenario="tiny", prompt="minimum energy")
    env.reset(seed=1)
    total = 0.0
    for ue in range(3):
        frame = env.unwrapped.frame()
        assert (
            frame.current == ue
            and frame.decided.sum() == ue
            and frame.prompt == "minimum energy"
            and frame.unit == "J"
        )
        assert frame.cost == pytest.approx(-total, abs=1e-12)
        total += env.step(legal_action(env, np.random.default_rng(ue)))[1]
    given = sample_instances(load_scenario("tiny"), 1, np.random.default_rng(0))
    env.reset(options={"instances": given})
    assert env.unwrapped.frame().ue_xy is None  # instances have links, no positions


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"scenario": "papr"}, "did you mean 'paper'"),
        ({"scenario": {"num_uess": 3}}, "num_ues"),
        ({"scenario": {"num_ues": 0}}, "Scenario.num_ues is 0"),
        ({"scenario": 7}, "a preset's name"),
        ({"prompt": "sing a song"}, "prompt"),
        ({"prompt": "x" * 161}, "160"),
        ({"prompt": "minimum 延迟"}, "ASCII"),
        ({"prompt": []}, "at least one"),
        ({"prompt": 3}, "latency weight in"),
        ({"prompt": ("fast", 1.5)}, "latency weight in"),
        ({"prompt": [["a", 0.5]]}, "sequence of at least one"),
        ({"mask": "infos"}, "did you mean 'info'"),
        ({"reward": "costs"}, "did you mean 'cost'"),
        ({"num_slots": 0}, "num_slots is 0; allowed: an integer >= 1"),
        ({"num_slots": 1.5}, "num_slots"),
        ({"observe": "objectives"}, "did you mean 'objective'"),
        ({"render_mode": "rgb"}, "did you mean 'rgb_array'"),
    ],
)
def test_bad_arguments_are_named(env_id, kwargs, text):
    cls = type(gym.make(env_id, scenario="tiny").unwrapped.arguments)
    with pytest.raises(ValueError, match=text):
        cls(**kwargs)
    with pytest.raises(ValueError, match=text):
        gym.make_vec(env_id, 2, **kwargs)


def test_unknown_arguments_are_errors():
    with pytest.raises(TypeError, match="colour"):
        gym.make(IDS[0], colour="red")


BAD_OPTIONS = [
    ({"prompts": "minimum energy"}, "did you mean 'prompt'"),
    ({"reset_mask": np.ones(1, dtype=bool)}, "reset_mask"),
    ({"prompt": "whatever you like"}, "prompt"),
    ({"prompt": "y" * 161}, "160"),
    ({"prompt": ["minimum energy", "minimum latency"]}, "number of texts"),
    ({"prompt": Prompts.of("minimum energy", 2)}, "number of prompts"),
    ({"instances": "paper"}, "an Instances"),
    ({"instances": 2}, "batch_size"),
    ({"instances": load_scenario("paper")}, "an Instances"),
    (["prompt"], "a mapping"),
]


@pytest.mark.parametrize(("options", "text"), BAD_OPTIONS, ids=range(len(BAD_OPTIONS)))
def test_bad_options_are_named_and_leave_the_episode_as_it_was(options, text):
    if isinstance(options, dict) and options.get("instances") == 2:
        options = {
            "instances": sample_instances(load_scenario("tiny"), 2, np.random.default_rng(0))
        }
    env, twin = (gym.make(IDS[0], scenario="tiny").unwrapped for _ in range(2))
    for one in (env, twin):
        one.reset(seed=2)
    with pytest.raises(ValueError, match=text):
        env.reset(seed=5, options=options)
    a, b = (list(play_on(one, np.random.default_rng(1))) for one in (env, twin))
    same(a, b, "the episode after a refused reset")


@pytest.mark.parametrize("env_id", IDS)
def test_a_refused_first_reset_does_no_harm(env_id):
    env, twin = gym.make(env_id, scenario="tiny"), gym.make(env_id, scenario="tiny")
    with pytest.raises(ValueError, match="prompt"):
        env.reset(seed=0, options={"prompt": "make it so"})
    same(env.reset(seed=0), twin.reset(seed=0), "the reset after")
    rng = np.random.default_rng(0)
    for _ in range(6):
        action = random_action(env, rng)
        same(env.step(action), twin.step(action), "a step after")


def play_on(env, rng):
    over = False
    while not over:
        out = env.step(legal_action(env, rng))
        over = out[2]
        yield out


def test_instances_are_for_one_slot():
    given = sample_instances(load_scenario("tiny"), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="num_slots"):
        gym.make(IDS[0], scenario="tiny", num_slots=2).reset(options={"instances": given})


BAD_PAIRS = [
    None,
    "left",
    0.5,
    [0.0],
    [0.0, 0.0, 0.0],
    [[0.0, 0.0]],
    [np.nan, 0.0],
    [0.0, np.nan],
    [0.0, 1.0001],
    [-1.0001, 0.0],
]
BAD_PAIRS += [[np.inf, 0.0], np.array([0, 1j]), np.array([True, False]), [None, 0.0]]
BAD_PLACES = [None, "1", -1, 5, 1.0, np.nan, [1], np.array([1]), True, 10**30]


@pytest.mark.parametrize(
    ("env_id", "action"),
    [*((IDS[0], a) for a in BAD_PAIRS), *((IDS[1], a) for a in BAD_PLACES)],
    ids=str,
)
def test_bad_actions_are_refused_and_leave_the_state_as_it_was(env_id, action):
    env, twin = (gym.make(env_id, scenario="tiny").unwrapped for _ in range(2))
    for one in (env, twin):
        one.reset(seed=2)
        one.step(legal_action(one, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="action is .*; allowed: "):
        env.step(action)
    a, b = (list(play_on(one, np.random.default_rng(1))) for one in (env, twin))
    same(a, b, "the episode after a refused action")


@pytest.mark.parametrize("action", [[0, 1], (0.5, -0.5), np.array([0.5, -0.5]), np.float32([1, 1])])
def test_any_two_numbers_in_bounds_are_an_action(action):
    env = gym.make(IDS[0], scenario="tiny")
    env.reset(seed=0)
    env.step(action)


@pytest.mark.parametrize("action", [2, np.int64(2), np.array(2), np.uint8(2)])
def test_any_integer_in_bounds_is_a_place(action):
    env = gym.make(IDS[1], scenario="tiny")
    env.reset(seed=0)
    env.step(action)


@pytest.mark.parametrize("env_id", IDS)
def test_steps_need_an_episode(env_id):
    env = gym.make(env_id, scenario="tiny").unwrapped
    action = env.action_space.sample()
    for call in (lambda: env.step(action), env.action_masks, env.frame):
        with pytest.raises(ResetNeeded, match="reset"):
            call()
    list(play(env, legal_action, np.random.default_rng(0), seed=0))
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(action)
    assert env.action_masks().tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("env_id", IDS)
def test_given_instances_cost_what_they_are(env_id):
    scenario = load_scenario("tiny")
    given = sample_instances(scenario, 1, np.random.default_rng(9))
    shifted = given.replace(late_penalty=np.array([5.0]), server_cpu_hz=given.server_cpu_hz * 0.2)
    env = gym.make(env_id, scenario=scenario, prompt="minimum latency")
    *_, (_, _, _, info) = play(
        env, random_action, np.random.default_rng(3), seed=1, options={"instances": shifted}
    )
    assert isinstance(env.unwrapped.instances, Instances)
    same(env.unwrapped.instances.late_penalty, np.array([5.0]), "late penalty")
    assert info["outcome"]["cpu_hz"].sum() <= shifted.server_cpu_hz.sum() * (1 + 1e-6)


@pytest.mark.parametrize("env_id", IDS)
def test_copies_go_on_as_the_original(env_id):
    env = gym.make(env_id, scenario="tiny", num_slots=2)
    env.reset(seed=0)
    env.step(legal_action(env, np.random.default_rng(0)))
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    want = list(play_on(env, np.random.default_rng(1)))
    for twin in twins:
        same(list(play_on(twin, np.random.default_rng(1))), want, "the rest of the episode")


def test_the_generator_can_be_replaced():
    env = gym.make(IDS[0], scenario="tiny")
    env.unwrapped.np_random = np.random.default_rng(4)
    a, _ = env.reset()
    env.unwrapped.np_random = np.random.default_rng(4)
    b, _ = env.reset()
    same(a, b, "two episodes of one generator")


def test_scenarios_come_as_names_files_mappings_and_objects(tmp_path):
    scenario = load_scenario("tiny").replace(num_ues=4)
    path = tmp_path / "mine.toml"
    path.write_text(scenario.to_toml())
    seen = [
        gym.make(IDS[0], scenario=source).reset(seed=0)[0]
        for source in (scenario, scenario.to_dict(), str(path), path)
    ]
    for other in seen[1:]:
        same(seen[0], other, "first observation")
    assert seen[0]["ues"].shape == (4, 11)
    assert isinstance(gym.make(IDS[0], scenario=scenario).unwrapped.scenario, Scenario)


def test_hopeless_ues_are_late_and_the_episode_goes_on():
    env = gym.make(IDS[1], scenario={"num_ues": 4, "deadline_s": [1e-6, 1e-6]})
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [1, 0, 0, 0, 0]
    *_, (_, _, over, info) = play(env, random_action, np.random.default_rng(0), seed=0)
    assert over and info["outcome"]["late"].all() and not info["outcome"]["cpu_hz"].any()
    assert np.isfinite(info["outcome"]["cost"])


def test_the_joint_environment_grants_what_the_action_says():
    env = gym.make(IDS[0], scenario="tiny", prompt="minimum latency")
    env.reset(seed=0)
    place = int(np.flatnonzero(env.unwrapped.action_masks())[-1])
    for _ in range(6):
        seen, _, over, _, info = env.step(encode_action(place, 1.0, 4))
    assert over
    outcome = info["outcome"]
    assert outcome["place"].tolist() == [place] * 6
    capacity = env.unwrapped.scenario.server_cpu_hz[place - 1]
    assert outcome["cpu_hz"][0] == pytest.approx(capacity)  # the first took all
    assert outcome["late"].tolist() == [False] + [True] * 5
    assert seen["ues"][0, -1] == 1.0 and seen["servers"][place - 1, 0] == 0.0
