"""Other people's tools on the environments, run as in docs/interoperability.md.

What is not installed is skipped.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as vector_wrappers

import lambo_env  # noqa: F401 (registers the environments)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
IDS = ["LAMBO-MEC-v0", "LAMBO-MEC-Association-v0"]


def example(name: str) -> Any:
    """Import a script of docs/examples."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def play(env: gym.Env[Any, Any], seed: int = 0) -> dict[str, Any]:
    """Play an episode of random actions and return the last info, with its return under "total"."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total, over = total + float(reward), terminated or truncated
    return {**info, "total": total}


@pytest.mark.parametrize("env_id", IDS)
class TestGymnasiumWrappers:
    def make(self, env_id: str, **kwargs: Any) -> gym.Env[Any, Any]:
        return gym.make(env_id, scenario="tiny", **kwargs)

    def test_flatten_observation(self, env_id: str):
        env = wrappers.FlattenObservation(self.make(env_id, observe="objective"))
        seen, _ = env.reset(seed=0)
        assert seen.shape == (6 * 11 + 4 * 2 + 2,) and env.observation_space.contains(seen)

    def test_record_episode_statistics(self, env_id: str):
        info = play(wrappers.RecordEpisodeStatistics(self.make(env_id)))
        assert (
            info["episode"]["r"] == pytest.approx(-info["outcome"]["cost"], rel=1e-5)
            and info["episode"]["l"] == 6
        )

    def test_normalize_reward_and_observation(self, env_id: str):
        env = wrappers.NormalizeReward(
            wrappers.NormalizeObservation(wrappers.FlattenObservation(self.make(env_id)))
        )
        info = play(env)
        assert np.isfinite(info["total"]) and info["total"] != pytest.approx(
            -info["outcome"]["cost"]
        )

    def test_time_limit_truncates(self, env_id: str):
        env = wrappers.TimeLimit(self.make(env_id), 3)
        env.reset(seed=0)
        ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
        assert ends == [(False, False), (False, False), (False, True)]

    def test_masks_pass_through_wrappers(self, env_id: str):
        env = wrappers.TimeLimit(wrappers.FlattenObservation(self.make(env_id)), 3)
        env.reset(seed=0)
        assert env.get_wrapper_attr("action_masks")().shape == (5,)

    def test_record_video(self, env_id: str, tmp_path: Path):
        pytest.importorskip("pygame")
        pytest.importorskip("moviepy")
        env = wrappers.RecordVideo(
            self.make(env_id, render_mode="rgb_array"),
            str(tmp_path / "videos"),
            disable_logger=True,
        )
        play(env)
        env.close()
        assert len(list(tmp_path.glob("videos/*.mp4"))) == 1

    @pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
    def test_vector_statistics(self, env_id: str, mode: AutoresetMode):
        envs = vector_wrappers.RecordEpisodeStatistics(
            gym.make_vec(env_id, 3, scenario="tiny", autoreset_mode=mode)
        )
        envs.reset(seed=0)
        envs.action_space.seed(0)
        for _ in range(6):
            infos = envs.step(envs.action_space.sample())[-1]
        final = infos.get("final_info", infos)
        np.testing.assert_allclose(infos["episode"]["r"], -final["outcome"]["cost"], rtol=1e-5)

    def test_vector_flattening_and_normalising(self, env_id: str):
        envs = gym.make_vec(env_id, 3, scenario="tiny", observe="objective")
        envs = vector_wrappers.NormalizeReward(vector_wrappers.FlattenObservation(envs))
        seen, _ = envs.reset(seed=0)
        assert seen.shape == (3, 76)
        assert np.isfinite(envs.step(envs.action_space.sample())[1]).all()


@pytest.mark.filterwarnings(
    "ignore:Your observation .* unconventional shape"
)  # advice for networks that cannot flatten
@pytest.mark.parametrize("env_id", IDS)
def test_sb3_checks_and_vectorises_the_single_environment(env_id: str):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    check_env(gym.make(env_id, scenario="tiny"), skip_render_check=True)
    for kind in (None, SubprocVecEnv):
        envs = make_vec_env(
            f"lambo_env:{env_id}", 2, seed=0, env_kwargs={"scenario": "tiny"}, vec_env_cls=kind
        )
        envs.reset()
        envs.action_space.seed(0)
        _, rewards, _, _ = envs.step(np.stack([envs.action_space.sample() for _ in range(2)]))
        assert rewards.shape == (2,) and np.stack(envs.env_method("action_masks")).shape == (2, 5)
        envs.close()


def test_maskable_ppo_in_twelve_lines(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("sb3_contrib")
    assert example("sb3_maskable_ppo").main(1).num_timesteps == 64 * 24


def test_plain_sb3_gives_the_same_weights_as_our_trainer():
    """The shipped setting, two rollouts and their updates."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sb3_contrib")
    from baselines.sb3.config import load_config
    from baselines.sb3.train import train, validation_of

    config = load_config("maskable_ppo", scenario="tiny", timesteps=3072)
    ours, curve = train(config, validation=validation_of("tiny", 2), scores=1)
    theirs = example("sb3_plain_twin").main(3072)
    for name, value in theirs.policy.state_dict().items():
        assert torch.equal(value, ours.policy.state_dict()[name]), name
    assert curve[0]["mean"] != curve[-1]["mean"]


def test_ppo_in_one_file_learns(capsys: pytest.CaptureFixture[str]):
    """Random legal play costs 1.0 s; eight updates bring it down."""
    pytest.importorskip("torch")
    curve = example("cleanrl_ppo").main(8 * 64 * 48)
    assert curve[-1] < curve[0] - 0.03


@pytest.mark.slow
def test_masked_ppo_of_torchrl_learns():
    """Its specs are checked too."""
    pytest.importorskip("torchrl")
    before, after = example("torchrl_gym").main(7680)
    assert after < before - 10, (before, after)


@pytest.mark.slow
def test_masked_ppo_of_rllib_learns(tmp_path: Path):
    """In a process of its own: RLlib pins a Gymnasium and warns much."""
    pytest.importorskip("ray.rllib")
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / "rllib_masked_ppo.py"), "3072"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.split("gap before and after: ")[1].split(" %")[0]
    before, after = map(float, told.split(" and "))
    assert after < before - 10, told


@pytest.mark.slow
def test_rl_zoo_trains_with_our_settings(tmp_path: Path):
    pytest.importorskip("rl_zoo3")
    command = [
        sys.executable,
        "-m",
        "rl_zoo3.train",
        "--algo",
        "ppo",
        "--env",
        IDS[1],
        "--gym-packages",
        "lambo_env",
    ]
    kwargs = [
        "--env-kwargs",
        "scenario:'tiny'",
        "observe:'objective'",
        "-n",
        "384",
        "--device",
        "cpu",
        "-f",
        str(tmp_path),
    ]
    settings = ["--conf-file", str(EXAMPLES / "zoo3_hyperparams.yml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command + settings + kwargs, cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob(f"ppo/{IDS[1]}_1/{IDS[1]}.zip"))) == 1


@pytest.mark.slow
def test_rllib_samples_and_checks(tmp_path: Path):
    """In a process of its own: RLlib pins a Gymnasium and warns much."""
    pytest.importorskip("ray.rllib")
    pytest.importorskip("pettingzoo")
    command = [sys.executable, str(EXAMPLES / "rllib_check.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("(6, ") == 4 and "passes RLlib's check" in done.stdout


class TestPettingZoo:
    def make(self, **kwargs: Any) -> Any:
        pytest.importorskip("pettingzoo")
        from lambo_env.envs.parallel_env import ParallelMEC

        return ParallelMEC(scenario="tiny", **kwargs)

    @pytest.mark.filterwarnings(
        "ignore:The old environment creation API"
    )  # of PettingZoo's own test module
    def test_its_api_tests_pass(self, capsys: pytest.CaptureFixture[str]):
        env = self.make(num_slots=3)
        from pettingzoo.test import parallel_api_test, parallel_seed_test

        parallel_api_test(env, num_cycles=20)
        parallel_seed_test(self.make)

    def test_rewards_sum_to_minus_the_cost_and_infos_tell_each_ues_share(self):
        env = self.make(prompt="minimum latency")
        env.reset(seed=1)
        for ue in env.agents:
            env.action_space(ue).seed(1)
        names = list(env.agents)
        _, rewards, over, _, infos = env.step({ue: env.action_space(ue).sample() for ue in names})
        late = np.array([infos[ue]["late"] for ue in names])
        latency = np.array([infos[ue]["latency_s"] for ue in names])
        worst = (
            3 * env._env.instances.deadline_s[0]
        )  # a late task counts 1 + late_penalty times its deadline
        assert sum(rewards.values()) == pytest.approx(
            -np.where(late, worst, latency).mean(), rel=1e-6
        )
        assert all(over.values()) and env.agents == []

    def test_the_arguments_for_generic_learners(self):
        """Relative rewards, masks that are seen, N that varies, a reward shared by all."""
        generic = {"observe": "objective", "mask": "observation", "num_ues": (2, 5)}
        env = self.make(prompt=("as you like it", 0.5), reward="relative", num_slots=2, **generic)
        sizes = set()
        for seed in range(8):
            seen, infos = env.reset(seed=seed)
            sizes.add(len(env.agents))
            assert env.agents == env.possible_agents[: len(env.agents)] == list(seen)
            while env.agents:
                names = list(env.agents)
                for name in names:
                    assert env.observation_space(name).contains(seen[name])
                    assert (seen[name]["action_mask"] == infos[name]["action_mask"]).all()
                seen, rewards, _, _, infos = env.step(dict.fromkeys(names, 0))
                assert sum(rewards.values()) == pytest.approx(-1)  # all local
                assert list(rewards) == names
        assert len(sizes) > 2
        shared = self.make(reward=lambda outcome, instances, objective: 6.0 + 0 * outcome.cost)
        shared.reset(seed=0)
        assert set(shared.step(dict.fromkeys(shared.agents, 0))[1].values()) == {-1.0}

    @pytest.mark.parametrize("actions", [{}, {f"ue_{ue}": 9 for ue in range(6)}])
    def test_bad_actions_are_refused(self, actions: dict[str, int]):
        env = self.make()
        env.reset(seed=0)
        with pytest.raises(ValueError, match="actions is .* allowed: "):
            env.step(actions)

    def test_the_example_plays(self):
        pytest.importorskip("pettingzoo")
        assert -20 < example("pettingzoo_parallel").main() < 0


def test_the_page_names_a_version_and_a_result_for_each_tool():
    """Each row of the first table: tool, version, result, the test or script, which exists."""
    page = (ROOT / "docs" / "interoperability.md").read_text(encoding="utf-8").split("\n## ")[0]
    rows = [
        line.strip("|").split("|")
        for line in page.splitlines()
        if line.startswith("| ") and "---" not in line
    ][1:]
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(rows) >= 10
    for tool, version, result, proof in rows:
        assert tool.strip() and version.strip() and result.strip()
        names = [part.strip("` ") for part in proof.split(",")]
        assert all(
            name in here or (EXAMPLES / name).is_file() or (ROOT / name).is_file() for name in names
        ), proof


def test_notebooks_and_loggers_can_hold_the_kwargs():
    """An environment's spec survives JSON, as trackers and RL Zoo store it."""
    spec = gym.make(IDS[0], scenario="tiny", prompt="minimum energy").spec
    assert spec is not None
    again = gym.envs.registration.EnvSpec.from_json(json.dumps(json.loads(spec.to_json())))
    assert gym.make(again).unwrapped.scenario == gym.make(spec).unwrapped.scenario
