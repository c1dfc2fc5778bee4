"""The WPMEC problem.

Its allocation against the file's optima, an independent solver and the definition; its environment;
bad input.
"""

import gymnasium as gym
import numpy as np
import pytest
import scipy.io
from data_files import shared_data
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import lambo_env
from lambo_env.datasets.droo import load_droo
from lambo_env.envs.env import WorldEnv
from lambo_env.envs.wpmec_arguments import WpmecArguments
from lambo_env.wpmec import physics
from lambo_env.wpmec.instances import Frames, alternating_weights, generate, mean_gains


@pytest.fixture
def frames(rng):
    return generate(10, 40, rng)


def weighted_rate_bps(frames, mode, harvest_share, time_share):
    """Return the rate [B] in bit/s of given shares a [B] and tau [B, N] by the definition."""
    offload = physics.check_mode(frames, mode)
    harvest, share = np.asarray(harvest_share), np.asarray(time_share)
    sends = offload & (share > 0)
    ratio = physics.SNR * frames.gain**2 * harvest[..., None] / np.where(sends, share, 1.0)
    sent = np.where(sends, physics.OFFLOAD_BPS * share * np.log1p(ratio), 0.0)
    computed_bps = physics.LOCAL_BPS * np.cbrt(frames.gain * harvest[..., None])
    return (np.where(offload, 0.0, computed_bps) + sent) @ frames.weight


# ---- allocation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "count"), [(10, 30_000), (6, 10_000)])
def test_allocation_equals_every_optimum_of_the_file(devices, count):
    data = load_droo(shared_data(f"droo-data_{devices}.mat"), devices)
    assert len(data) == count
    frames = Frames(data.gain)
    found = physics.allocate(frames, data.mode)
    np.testing.assert_allclose(found.rate_bps, data.rate_bps, rtol=1e-5)
    np.testing.assert_allclose(found.harvest_share, data.harvest_share, atol=1e-4)
    np.testing.assert_allclose(found.time_share, data.time_share, atol=1e-4)
    np.testing.assert_allclose(physics.rate_bps(frames, data.mode), found.rate_bps, rtol=1e-12)


@pytest.mark.parametrize("devices", [10, 6])
def test_enumeration_finds_the_modes_of_the_file(devices):
    data = load_droo(shared_data(f"droo-data_{devices}.mat")).take(slice(0, 100))
    modes, rate = physics.best_modes(Frames(data.gain))
    np.testing.assert_array_equal(modes, data.mode)
    np.testing.assert_allclose(rate, data.rate_bps, rtol=1e-5)


def test_rate_is_that_of_the_definition_and_shares_fill_the_frame(frames, rng):
    mode = rng.random((40, 10)) < 0.4
    found = physics.allocate(frames, mode)
    by_definition = weighted_rate_bps(frames, mode, found.harvest_share, found.time_share)
    np.testing.assert_allclose(found.rate_bps, by_definition, rtol=1e-12)
    np.testing.assert_allclose(found.harvest_share + found.time_share.sum(axis=1), 1.0, rtol=1e-12)
    assert np.all(found.time_share[~mode] == 0)


def test_no_other_shares_do_better(frames, rng):
    mode = rng.random((40, 10)) < 0.4
    found = physics.allocate(frames, mode)
    weights = rng.dirichlet(np.ones(11), size=(300, 40)) * 0.2 + 0.8 * np.concatenate(
        [found.harvest_share[:, None], found.time_share], axis=1
    )
    for shares in weights:
        rate = weighted_rate_bps(frames, mode, shares[:, 0], np.where(mode, shares[:, 1:], 0))
        assert np.all(rate <= found.rate_bps * (1 + 1e-12))


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds")  # SciPy before 1.16
def test_against_a_general_solver(rng):
    frames = Frames(generate(4, 5, rng).gain, np.array([0.3, 2.0, 1.0, 5.0]))
    mode = np.array([[1, 0, 1, 1]] * 5)
    found = physics.allocate(frames, mode)
    for row in range(5):
        one = frames.take([row])

        def loss(share, one=one):
            share = np.maximum(share, 1e-12)
            tau = np.array([[share[1], 0, share[2], share[3]]])
            return -weighted_rate_bps(one, mode[:1], share[:1], tau)[0] / 1e6

        sums = {"type": "ineq", "fun": lambda share: 1 - share.sum()}
        solved = minimize(
            loss, [0.25] * 4, method="SLSQP", bounds=[(1e-9, 1)] * 4, constraints=sums, tol=1e-12
        )
        np.testing.assert_allclose(-solved.fun * 1e6, found.rate_bps[row], rtol=1e-6)
        assert -solved.fun * 1e6 <= found.rate_bps[row] * (1 + 1e-9)


def test_candidates_of_a_frame_are_evaluated_together(frames, rng):
    modes = rng.random((40, 7, 10)) < 0.4
    together = physics.allocate(frames, modes)
    for k in range(7):
        alone = physics.allocate(frames, modes[:, k])
        np.testing.assert_allclose(together.rate_bps[:, k], alone.rate_bps, rtol=1e-10)
        np.testing.assert_allclose(together.time_share[:, k], alone.time_share, atol=1e-6)


@given(
    st.lists(
        st.floats(-14, -4), min_size=1, max_size=6
    ),  # beyond 1e-4 (DROO: about 1e-6) Newton may stop early
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.floats(0.1, 10),
)
def test_optimality_conditions_hold_for_any_gains(exponents, offload, ratio):
    count = len(exponents)
    gain = 10.0 ** np.array([exponents])
    frames = Frames(gain, np.where(np.arange(count) % 2 == 0, 1.0, ratio))
    mode = np.array([offload[:count]])
    found = physics.allocate(frames, mode)
    harvest, share = found.harvest_share[0], found.time_share[0]
    np.testing.assert_allclose(harvest + share.sum(), 1.0, rtol=1e-9)
    z = physics.SNR * gain[0] ** 2 * harvest / np.where(mode[0], share, 1.0)
    price = frames.weight * (np.log1p(z) - z / (1 + z))
    local = np.sum(np.where(mode[0], 0, frames.weight * physics.LOCAL_BPS * np.cbrt(gain[0])))
    sent = np.sum(np.where(mode[0], frames.weight * physics.SNR * gain[0] ** 2 / (1 + z), 0))
    worth = local / 3 * harvest ** (-2 / 3) / physics.OFFLOAD_BPS + sent
    for i in np.flatnonzero(mode[0]):
        assert price[i] == pytest.approx(worth, rel=1e-3, abs=1e-12)


def test_all_local_harvests_all_the_time_and_dead_devices_are_harmless():
    frames = Frames([[1e-5, 2e-5, 0.0]])
    local = physics.allocate(frames, [[0, 0, 0]])
    assert local.harvest_share[0] == pytest.approx(1.0)
    expected = np.sum(alternating_weights(3) * physics.LOCAL_BPS * np.cbrt(frames.gain[0]))
    assert local.rate_bps[0] == pytest.approx(expected)
    with_dead = physics.rate_bps(frames, [[1, 0, 1]])[0]
    assert with_dead == pytest.approx(physics.rate_bps(Frames([[1e-5, 2e-5]]), [[1, 0]])[0])
    assert physics.rate_bps(Frames([[0.0, 0.0]]), [[1, 0]])[0] == pytest.approx(0, abs=1e-3)


# ---- frames --------------------------------------------------------------------------------------


def test_generated_frames_have_the_statistics_of_the_file(rng):
    data = load_droo(shared_data("droo-data_10.mat"))
    np.testing.assert_allclose(data.gain.mean(axis=0), mean_gains(10), rtol=0.02)
    ours = generate(10, 30_000, rng).gain
    np.testing.assert_allclose(ours.mean(axis=0), data.gain.mean(axis=0), rtol=0.04)
    np.testing.assert_allclose(ours.std(axis=0), data.gain.std(axis=0), rtol=0.06)


@pytest.mark.parametrize(
    ("gain", "weight", "text"),
    [
        (
            [[1e-6, -1e-6]],
            None,
            r"Frames.gain\[0, 1\] is -1e-06; allowed: a power gain in \[0, 1\]",
        ),
        ([[1e-6, np.nan]], None, r"Frames.gain\[0, 1\] is nan"),
        ([[8.4, 6.2]], None, r"Frames.gain\[0, 0\] is 8.4"),  # scaled by 1e6 already
        ([1e-6, 1e-6], None, r"Frames.gain.shape is \(2,\)"),
        ([["a", "b"]], None, "Frames.gain .* an array of numbers"),
        ([[1e-6, 1e-6]], [1.0], r"Frames.weight.shape is \(1,\)"),
        ([[1e-6, 1e-6]], [1.0, 0.0], r"Frames.weight\[1\] is 0.0; allowed: finite and > 0"),
    ],
)
def test_bad_frames_are_refused(gain, weight, text):
    with pytest.raises(ValueError, match=text):
        Frames(gain, weight)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ([[0, 1, 0]], r"mode.shape is \(1, 3\)"),
        ([[0, 2]], "mode is .* 0 .local. or 1"),
        ([[0, np.nan]], "mode is"),
    ],
)
def test_bad_modes_are_refused(mode, text):
    with pytest.raises(ValueError, match=text):
        physics.rate_bps(Frames([[1e-6, 1e-6]]), mode)


# ---- the file ------------------------------------------------------------------------------------


def _file(tmp_path, **changes):
    content = {
        "input_h": np.full((3, 2), 1e-6),
        "output_mode": np.array([[0, 1]] * 3, dtype=np.uint8),
        "output_a": np.full((3, 1), 0.5),
        "output_tau": np.array([[0, 0.5]] * 3),
        "output_obj": np.full((3, 1), 1e6),
    }
    path = tmp_path / "data_2.mat"
    scipy.io.savemat(
        path, {name: value for name, value in (content | changes).items() if value is not None}
    )
    return path


def test_a_small_file_loads(tmp_path):
    data = load_droo(_file(tmp_path), 2)
    assert (data.gain.shape, data.mode.dtype, data.rate_bps.shape) == ((3, 2), bool, (3,))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"input_h": np.array([[1e-6, 1e-6], [1e-6, 1e-6], [1e-6, -2e-6]])},
            r"input_h\[2, 1\] is -2e-06",
        ),
        ({"input_h": np.full((3, 2), np.inf)}, r"input_h\[0, 0\] is inf"),
        ({"input_h": np.full((2, 2), 1e-6)}, r"output_mode.shape is \(3, 2\); allowed: \(2, 2\)"),
        ({"output_mode": np.full((3, 2), 2)}, r"output_mode\[0, 0\] is 2"),
        ({"output_obj": np.zeros((3, 1))}, r"output_obj\[0\] is 0.0; allowed: finite and > 0"),
        ({"output_tau": None}, "DROO's frames: input_h"),
        ({"output_a": np.array(["x", "y", "z"])}, "output_a.dtype"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, changes, text):
    with pytest.raises(ValueError, match=text):
        load_droo(_file(tmp_path, **changes))


def test_missing_truncated_and_mismatched_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="an existing .mat file of DROO's frames"):
        load_droo(tmp_path / "absent.mat")
    path = _file(tmp_path)
    with pytest.raises(ValueError, match=r"input_h.shape\[1\] is 2; allowed: 10"):
        load_droo(path, 10)
    for kept in (0, 100, 300):
        path.write_bytes(_file(tmp_path).read_bytes()[:kept])
        with pytest.raises(ValueError, match="DROO's frames"):
            load_droo(path)


# ---- environment ---------------------------------------------------------------------------------


def test_environment_conforms():
    check_env(WorldEnv(WpmecArguments(num_devices=4, num_frames=3)), skip_render_check=True)


def test_an_episode_pays_the_optimal_rate_of_each_frame(frames, rng):
    env = WorldEnv(WpmecArguments(frames))
    observation, _ = env.reset(seed=0)
    modes = rng.integers(0, 2, (40, 10)).astype(np.int8)
    want = physics.allocate(frames, modes)
    for row in range(40):
        np.testing.assert_array_equal(observation, (frames.gain[row] * 1e6).astype(np.float32))
        observation, reward, terminated, truncated, info = env.step(modes[row])
        assert reward == pytest.approx(want.rate_bps[row] / 1e6, rel=1e-9)
        np.testing.assert_allclose(info["time_share"], want.time_share[row], atol=1e-6)
        assert (terminated, truncated) == (row == 39, False)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(modes[0])


def test_seeds_decide_generated_frames_and_options_play_given_ones(frames):
    env = WorldEnv(WpmecArguments(num_frames=5))
    first, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    other, _ = env.reset(seed=2)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    given, _ = env.reset(options={"frames": frames})
    np.testing.assert_array_equal(given, (frames.gain[0] * 1e6).astype(np.float32))
    np.testing.assert_array_equal(env.instances.gain, frames.gain[:1])


def test_a_bad_action_changes_nothing(frames):
    env = WorldEnv(WpmecArguments(frames))
    env.reset(seed=0)
    for action, text in (
        (np.zeros(9), r"action is .* of shape \(10,\)"),
        (np.full(10, 0.5), "action is"),
        (np.full(10, np.nan), "action"),
    ):
        with pytest.raises(ValueError, match=text):
            env.step(action)
    assert env.step(np.zeros(10))[1] == pytest.approx(
        physics.rate_bps(frames, np.zeros((40, 10)))[0] / 1e6
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"num_devices": 0}, "num_devices is 0"),
        ({"num_frames": 0}, "num_frames is 0"),
        (
            {"frames": Frames([[1e-6, 1e-6]]), "num_devices": 3},
            "frames.num_devices is 2; allowed: 3",
        ),
        (
            {"frames": Frames([[1e-6, 1e-6]]), "num_frames": 2},
            "num_frames is 2; allowed: at most 1",
        ),
        ({"frames": "absent.mat"}, "an existing .mat file"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        WpmecArguments(**arguments)


def test_bad_options_are_refused(frames):
    env = WorldEnv(WpmecArguments(frames))
    with pytest.raises(ValueError, match="options.frame: unknown field; did you mean 'frames'"):
        env.reset(options={"frame": frames})
    with pytest.raises(ValueError, match="options.frames is 'list'"):
        env.reset(options={"frames": [[1e-6] * 10]})
    with pytest.raises(ValueError, match="options.frames.num_devices is 2; allowed: 10"):
        env.reset(options={"frames": Frames([[1e-6, 1e-6]])})


def test_a_vector_of_frames_pays_what_single_environments_pay(frames):
    env = gym.make_vec("LAMBO-WPMEC-v0", 40, num_frames=1)
    env.reset(seed=0, options={"instances": frames})
    modes = np.tile([1, 0], (40, 5))
    rewards = env.step(modes)[1]
    np.testing.assert_allclose(rewards, physics.rate_bps(frames, modes) / 1e6, rtol=1e-9)
    for row in range(3):
        alone = physics.allocate(frames.take([row]), modes[row][None]).rate_bps[0]
        assert rewards[row] == alone / 1e6 or rewards[row] == alone * 1e-6


def test_a_decision_costs_the_time_per_mbit_and_the_bound_is_the_best(frames):
    place = np.zeros((40, 10), dtype=np.int64)
    outcome = lambo_env.evaluate(frames, lambo_env.Decision(place, np.zeros((40, 10))), None)
    np.testing.assert_allclose(outcome.cost, 1e6 / physics.rate_bps(frames, place))
    assert np.all(physics.best_cost(frames) <= outcome.cost)


def test_the_registered_id_makes_it():
    env = gym.make("lambo_env:LAMBO-WPMEC-v0", num_devices=3, num_frames=2)
    assert env.reset(seed=0)[0].shape == (3,)
