"""Every registered environment keeps its contract; and the checks that say so do find faults."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics

import lambo_env  # noqa: F401 - registers the ids
from lambo_env import registration
from lambo_env.envs.env import WorldEnv
from lambo_env.envs.vector_env import OWN, WorldVectorEnv
from lambo_env.testing import env_checks
from lambo_env.testing.env_checks import check_env
from lambo_env.testing.harness import Probe, difference, legal_action
from lambo_env.testing.offloading_checks import CHECKS
from lambo_env.testing.report import NotChecked

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0")
KWARGS = (
    {"scenario": "tiny"},
    {
        "scenario": {"num_ues": 7, "local_cpu_hz": [4e8, 1e9]},
        "num_slots": 2,
        "observe": "objective",
        "prompt": "70% latency, 30% energy",
    },
    {
        "scenario": {"num_ues": 5, "server_cpu_hz": [2e10], "mobility": "gauss-markov"},
        "prompt": ["minimum energy", "minimum latency"],
    },
)


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [(IDS[0], KWARGS[0]), (IDS[1], KWARGS[0]), (IDS[0], KWARGS[1]), (IDS[1], KWARGS[2])],
)
def test_every_check_passes(env_id, kwargs):
    report = check_env(env_id, **kwargs)
    assert {row.ok for row in report.rows} <= {True, None}
    skipped = [row.name for row in report.rows if row.ok is None]
    assert set(skipped) <= {"given instances", "Stable-Baselines3's checker"}


@pytest.mark.slow
@pytest.mark.parametrize("env_id", registration.ENVIRONMENTS)
def test_the_default_scenario_passes(env_id):
    assert not check_env(env_id).failures


def test_given_instances_are_not_asked_of_episodes_of_many_slots():
    with pytest.raises(NotChecked, match="for one slot"):
        CHECKS["given instances"](Probe("LAMBO-MEC-Drift-v0", {"scenario": "tiny"}, 0))


class Optimist(WorldEnv):
    """Its rewards are half of what they should be."""

    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, reward / 2, *rest


class Forgiving(WorldEnv):
    """Takes any action."""

    def _decoded(self, action):
        try:
            return super()._decoded(action)
        except ValueError:
            return super()._decoded(np.zeros(2))


class Careless(WorldEnv):
    """Starts an episode before it looks at the options."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return super().reset(options=options)


class Wary(WorldEnv):
    """Its mask leaves the last server out."""

    def _seen(self, info):
        seen, info = super()._seen(info)
        self._mask[-1], info["action_mask"][-1] = False, 0
        return seen, info


class Reuser(WorldEnv):
    """Hands out its buffers."""

    def _seen(self, info):
        _, info = super()._seen(info)
        return {name: array[0] for name, array in self._batch.observe(copy=False).items()}, info


class OtherRows(WorldVectorEnv):
    """Row i is not the single environment seeded seed + i."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else seed + 1, options=options)


class Leaky(WorldEnv):
    """An episode begun in the middle of another one inherits its count of steps."""

    steps = 0

    def reset(self, *, seed=None, options=None):
        self.steps = self.steps if self._playing else 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        seen, reward, *rest = super().step(action)
        self.steps += 1
        return seen, reward - self.steps, *rest


class ForgivingVector(WorldVectorEnv):
    """Takes any actions."""

    def step(self, actions):
        try:
            return super().step(actions)
        except ValueError:
            return super().step(np.zeros((self.num_envs, 2)))


class ReusingVector(WorldVectorEnv):
    """Hands out its buffers, whatever ``copy`` says."""

    def _seen(self):
        return self._batch.observe(copy=False)


FAULTY = {
    Optimist: {"rewards sum to minus the cost", "vector = single, NextStep"},
    Forgiving: {"bad actions"},
    Careless: {"bad arguments, options, calls"},
    Wary: {"masks advise rightly", "vector = single, Disabled"},
    Reuser: {"Gymnasium's checker", "nothing handed out changes"},
    Leaky: {"wrappers, interrupted episodes"},
    ForgivingVector: {"bad actions, vector"},
    ReusingVector: {"nothing handed out changes, vector"},
    OtherRows: {"vector = single, SameStep"},
}


JOINT = (Forgiving, ForgivingVector)


@pytest.fixture(params=FAULTY, ids=lambda cls: cls.__name__)
def faulty(request):
    kind = request.param
    honest = gym.spec("LAMBO-MEC-v0" if kind in JOINT else "LAMBO-MEC-Association-v0")
    arguments_class = registration.ENVIRONMENTS[honest.id].arguments_class()

    def made(**given):
        own = {name: given.pop(name) for name in OWN if name in given}
        return kind(arguments_class(**given), **own)

    vector = issubclass(kind, WorldVectorEnv)
    places = (honest.entry_point, made) if vector else (made, honest.vector_entry_point)
    gym.register("Faulty-v0", entry_point=places[0], vector_entry_point=places[1])
    yield kind
    del gym.registry["Faulty-v0"]


def test_a_fault_is_found(faulty, monkeypatch):
    every = {**env_checks.CHECKS, **CHECKS}
    chosen = {name: check for name, check in every.items() if name in FAULTY[faulty]}
    monkeypatch.setattr(env_checks, "CHECKS", chosen)
    monkeypatch.setattr(env_checks, "world_checks", lambda probe: {})
    report = check_env("Faulty-v0", scenario="tiny", raise_on_failure=False)
    assert {row.name for row in report.failures} == FAULTY[faulty], str(report)
    assert all(row.detail for row in report.failures)
    count = len(FAULTY[faulty])
    with pytest.raises(AssertionError, match=f"Faulty-v0: {count} of {count} checks failed"):
        check_env("Faulty-v0", scenario="tiny")


def test_the_first_difference_is_told():
    a = {"x": [np.arange(3), 1.0], "y": None}
    assert difference(a, {"x": [np.arange(3), 1.0], "y": None}) is None
    assert difference(a, {"x": [np.array([0, 5, 2]), 1.0], "y": None}) == "['x'][0][1] is 1 and 5"
    assert "has" in difference(a, {"x": a["x"]})
    assert "float64[] and int64[]" in difference(a, {"x": [np.arange(3), 1], "y": None})


@pytest.mark.parametrize("env_id", IDS)
def test_masks_and_actions_pass_through_wrappers(env_id):
    env = RecordEpisodeStatistics(gym.make(env_id, scenario="tiny"))
    _, info = env.reset(seed=1)
    rng, total, over = np.random.default_rng(1), 0.0, False
    while not over:
        mask = env.get_wrapper_attr("action_masks")()
        assert mask.dtype == bool and mask.any()
        np.testing.assert_array_equal(mask, info["action_mask"])
        if env_id != "LAMBO-MEC-v0":
            assert mask[env.action_space.sample(mask=info["action_mask"])]
        _, reward, over, _, info = env.step(legal_action(env, rng))
        total += reward
    assert info["episode"]["l"] == 6
    assert info["episode"]["r"] == pytest.approx(total)


def test_maskable_ppo_learns_a_little_and_every_place_it_chooses_is_legal():
    sb3 = pytest.importorskip("sb3_contrib")
    env = gym.make("LAMBO-MEC-Association-v0", scenario="tiny", observe="objective")
    model = sb3.MaskablePPO(
        "MultiInputPolicy", env, n_steps=12, batch_size=12, n_epochs=1, seed=0, device="cpu"
    )
    model.learn(24)
    seen, info = env.reset(seed=3)
    over = False
    while not over:
        action, _ = model.predict(seen, action_masks=info["action_mask"])
        assert info["action_mask"][action]
        seen, _, over, _, info = env.step(action)
