"""What users of Gymnasium, NumPy and torch expect to work, for every id and agent."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from queue_slots import queue_slots

import lambo_env  # noqa: F401 - registers the ids
from lambo_agents import registry
from lambo_agents.protocol import unsupported, worlds
from lambo_env import registration
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

IDS = tuple(registration.ENVIRONMENTS)
AGENTS = [spec.name for spec in registry.agent_specs() if spec.error is None]


@pytest.mark.parametrize("env_id", IDS)
def test_rows_answer_calls_and_attributes_as_those_of_a_sync_vector(env_id: str):
    vec = gym.make_vec(env_id, 3)
    vec.reset(seed=0)
    native: Any = vec.unwrapped
    if registration.ENVIRONMENTS[env_id].world == "offloading":
        texts = [prompts.texts for prompts in native.get_attr("prompts")]
        assert [list(each) for each in texts] == [[text] for text in native.prompts.texts]
    assert native.get_attr("observation_space") == (native.single_observation_space,) * 3
    assert len(native.call("frame")) == len(native.call("np_random")) == 3
    native.set_attr("tag", [1, 2, 3])
    assert native.get_attr("tag") == (1, 2, 3)
    native.set_attr("tag", "x")
    assert native.call("tag") == ("x",) * 3
    with pytest.raises(AttributeError):
        native.call("no_such_thing")
    with pytest.raises(ValueError, match="set_attr"):
        native.set_attr("num_envs", 5)
    with pytest.raises(ValueError, match="3 of them"):
        native.set_attr("mine", [1, 2])


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_rows_are_truncated_as_single_environments_are(env_id: str, mode: str):
    vec = gym.make_vec(env_id, 2, max_episode_steps=3, autoreset_mode=mode)
    single = gym.make(env_id, max_episode_steps=3)
    vec.reset(seed=4)
    single.reset(seed=4)
    for step in range(6):
        if mode == "Disabled" and step == 3:
            vec.reset(options={"reset_mask": np.array([True, True])})
        again = mode == "NextStep" and step == 3
        actions = np.stack([np.zeros(vec.single_action_space.shape)] * 2)
        actions = actions.astype(vec.single_action_space.dtype)
        _, rewards, terminated, truncated, _ = vec.step(actions)
        if again or (mode == "Disabled" and step == 3):
            single.reset()
        if not again:
            _, reward, over, cut, _ = single.step(actions[0])
            assert (rewards[0], terminated[0], truncated[0]) == (reward, over, cut)
    with pytest.raises(ValueError, match="max_episode_steps is 3; allowed: None in SameStep mode"):
        gym.make_vec(env_id, 2, max_episode_steps=3, autoreset_mode="SameStep")


def test_more_than_four_rows_can_be_recorded(tmp_path: Path):
    pytest.importorskip("moviepy")
    pytest.importorskip("pygame")
    vec = gym.make_vec("LAMBO-MEC-v0", 6, scenario="tiny", render_mode="rgb_array")
    film = gym.wrappers.vector.RecordVideo(vec, str(tmp_path), video_length=2)
    film.reset(seed=0)
    film.step(vec.action_space.sample())
    film.close()
    assert list(tmp_path.glob("*.mp4"))


def test_every_row_has_its_picture():
    vec: Any = gym.make_vec("LAMBO-MEC-v0", 6, scenario="tiny", render_mode="ansi")
    vec.reset(seed=0)
    assert len(vec.render()) == 6


def test_holders_of_arrays_can_be_compared(tiny: Instances):
    other = tiny.take(np.arange(8))
    assert tiny == other and tiny != tiny.take([0]) and tiny != "x"
    assert tiny != tiny.replace(cycles=2 * tiny.cycles)
    place = np.zeros((8, 6), dtype=np.int64)
    one, two = (Decision(place.copy(), np.zeros((8, 6))) for _ in range(2))
    assert one == two and one != Decision(place + 1, one.cpu_hz)
    objective = Prompts.of("minimum latency", 8).objective(tiny)
    assert objective == Prompts.of("minimum latency", 8).objective(tiny)
    assert physics.evaluate(tiny, one, objective) == physics.evaluate(tiny, two, objective)
    with pytest.raises(TypeError, match="unhashable"):
        hash(tiny)


def test_namespaces_have_names(tiny: Instances):
    torch = pytest.importorskip("torch")
    there = tiny.to("torch")
    assert isinstance(there.cycles, torch.Tensor) and there != tiny
    assert there.to("numpy") == tiny == tiny.to("numpy")
    with pytest.raises(ValueError, match="unknown namespace 'torc'; did you mean 'torch'"):
        tiny.to("torc")


@pytest.mark.parametrize("many", [False, True])
def test_actions_may_be_tensors_that_require_grad(many: bool):
    torch = pytest.importorskip("torch")
    env = gym.make_vec("LAMBO-MEC-v0", 2) if many else gym.make("LAMBO-MEC-v0")
    env.reset(seed=0)
    shape = (2, 2) if many else (2,)
    env.step(torch.zeros(shape, requires_grad=True))


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("rng", [None, 0, np.random.RandomState(0), "seed"])
def test_a_generator_of_another_kind_is_a_clear_error(name: str, rng: Any):
    agent: Any = registry.make_agent(name)
    world = worlds(agent)[0]
    if world == "queueing":
        instances: Any = queue_slots(1)
    else:
        tiny = world == "offloading"
        scenario = load_scenario("tiny") if tiny else registration.load_scenario({"world": world})
        instances = registration.sample_instances(scenario, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"rng is .*; allowed: a numpy\.random\.Generator"):
        agent.decide(instances, Prompts.of("minimum latency", 1), rng)


@pytest.mark.parametrize("name", ["exact", "local-search", "greedy", "de", "policy-gradient"])
def test_underflow_may_be_an_error_elsewhere(name: str, tiny: Instances):
    agent = registry.make_agent(name)
    prompts = Prompts.of("minimum latency", 8)
    assert unsupported(agent, tiny, prompts) is None
    with np.errstate(under="raise"):
        agent.decide(tiny, prompts, np.random.default_rng(0))


def test_exact_leaves_standard_output_alone():
    code = (
        "import os, numpy as np, lambo_env, lambo_agents;"
        "from baselines.search import milp;\n"
        "with milp._quiet(): os.write(1, b'debug')\n"
        "print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"done\n" and done.stderr == b"debug"


def test_a_window_without_a_display_says_so(monkeypatch: pytest.MonkeyPatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    env = gym.make("LAMBO-MEC-v0", scenario="tiny", render_mode="human")
    with pytest.warns(UserWarning, match="no display"):
        env.reset(seed=0)
    env.close()


def test_the_batch_that_decides_is_unharmed(rng: np.random.Generator):
    instances = sample_instances(load_scenario("tiny"), 2, rng)
    before = instances.take([0, 1])
    registry.make_agent("greedy").decide(instances, Prompts.of("minimum energy", 2), rng)
    assert instances == before
