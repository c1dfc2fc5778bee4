"""World, channel and mobility.

Independent formulas, statistics over many slots, prefix-free draws, batch = one by one.
"""

import math

import numpy as np
import pytest
from scipy.special import j0

from lambo_env.cell import channel, geometry, mobility, propagation
from lambo_env.cell.draws import Draws, draw
from lambo_env.offloading import physics, slots
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import MovingSlots, sample_instances


def test_rate_by_an_independent_formula():
    """20 m, no shadowing or fading: SNR from dB bookkeeping, rate from Shannon."""
    scenario = load_scenario("paper").replace(shadowing_db=0, rician_k_db=math.inf)
    gain = propagation.log_distance_gain(np.array([[[20.0, 0.5]]]), None, None, scenario, np)
    loss_db = 20 * math.log10(4 * math.pi * 2.4e9 / 299792458) + 30 * math.log10(20)
    snr_db = 30 - loss_db - (-174 + 9 + 10 * math.log10(20e6))  # 1 W = 30 dBm
    rate = channel.rate_bps(gain, np.ones((1, 1)), scenario, np)
    assert rate[0, 0, 0] == pytest.approx(20e6 * math.log2(1 + 10 ** (snr_db / 10)))
    assert gain[0, 0, 1] == pytest.approx(scenario.reference_gain)  # below 1 m counts as 1 m


def test_spectral_efficiency_cap():
    capped = load_scenario("paper").replace(max_spectral_efficiency=7.4)
    instances = sample_instances(capped, 50, np.random.default_rng(0))
    assert instances.uplink_bps.max() == pytest.approx(7.4 * 20e6)
    assert instances.uplink_bps.min() < 7.4 * 20e6


def test_a_ue_reaches_its_best_servers_alone():
    few, rng = load_scenario("wide").replace(num_ues=9, reachable_servers=3), np.random.default_rng
    sparse, whole = (
        sample_instances(scenario, 5, rng(0)).uplink_bps
        for scenario in (few, few.replace(reachable_servers=None))
    )
    reached = sparse > channel.UNREACHED_BPS
    assert (reached.sum(-1) == 3).all()
    assert np.array_equal(sparse[reached], whole[reached])
    assert (np.where(reached, whole, np.inf).min(-1) > np.where(reached, 0, whole).max(-1)).all()
    assert load_scenario("metro").reachable_servers == 4


def test_no_task_gets_to_a_server_out_of_reach():
    metro = load_scenario("metro").replace(num_ues=20)
    instances = sample_instances(metro, 2, np.random.default_rng(0))
    assert (physics.on_time(instances)[..., 1:].sum(-1) <= 4).all()


def test_are2020_rates_match_the_published_range():
    """The authors' uplink rates: about 26 to 48 Mb/s, median about 30; squares differ a little."""
    rates = (
        sample_instances(load_scenario("are2020"), 200, np.random.default_rng(0)).uplink_bps / 1e6
    )
    assert rates.min() > 26.0
    assert np.median(rates) == pytest.approx(30, abs=1)


def sample_world(scenario, count, rng):
    """The world and the instances of first slots."""
    moving = MovingSlots(scenario)
    return moving.first(draw(rng, count, moving.first_draws))


def next_world(state, scenario, rng):
    """The world and the instances one slot later."""
    moving, count = MovingSlots(scenario), len(state.ue_xy)
    return moving.next(state, np.ones(count), draw(rng, count, moving.next_draws))


@pytest.mark.parametrize("name", ["paper", "hetero", "are2020", "wide"])
def test_samples_lie_in_their_ranges(name):
    scenario = load_scenario(name)
    state, instances = sample_world(scenario, 40, np.random.default_rng(1))
    for field in (
        "data_bits",
        "cycles",
        "deadline_s",
        "local_cpu_hz",
        "local_power_w",
        "tx_power_w",
    ):
        low, high = getattr(scenario, field)
        values = getattr(instances, field)
        assert values.min() >= low
        assert values.max() <= high
        if low < high:
            assert values.mean() == pytest.approx((low + high) / 2, rel=0.05)
    assert state.ue_xy.min() >= 0
    assert state.ue_xy.max() <= scenario.side_m
    assert (instances.server_cpu_hz == scenario.server_cpu_hz).all()


def test_hetero_has_the_stated_share_of_hopeless_ues():
    from lambo_env.offloading.physics import on_time

    instances = sample_instances(load_scenario("hetero"), 2000, np.random.default_rng(0))
    assert (~on_time(instances).any(-1)).mean() == pytest.approx(0.013, abs=0.002)


def test_shadowing_keeps_its_spread_and_decorrelates_with_distance():
    scenario = load_scenario("paper").replace(num_ues=400, slot_s=2.0, speed_mps=1.0)
    rng = np.random.default_rng(0)
    first, _ = sample_world(scenario, 10, rng)
    state = first
    for _ in range(6):
        before = state
        state, _ = next_world(state, scenario, rng)
        assert state.shadowing_db.std() == pytest.approx(4.0, rel=0.05)
    moved = np.sqrt(((state.ue_xy - before.ue_xy) ** 2).sum(-1))
    got = np.corrcoef(before.shadowing_db.ravel(), state.shadowing_db.ravel())[0, 1]
    assert got == pytest.approx(np.exp(-moved / 10).mean(), abs=0.03)


def test_fading_is_correlated_as_bessel_says_and_keeps_unit_power():
    """A slot of 10 ms at 1 m/s: rho = J0(2 pi 8 Hz 10 ms); at 1.5 s next to nothing is left."""
    for slot_s in (0.01, 1.5):
        scenario = load_scenario("paper").replace(num_ues=300, slot_s=slot_s, speed_mps=1.0)
        rng = np.random.default_rng(0)
        state, _ = sample_world(scenario, 20, rng)
        state, _ = next_world(state, scenario, rng)  # the first move draws the speed
        after, _ = next_world(state, scenario, rng)
        rho = j0(2 * math.pi * 2.4e9 / 299792458 * slot_s)
        product = (state.scatter * after.scatter).sum(-1).mean()
        assert product == pytest.approx(rho, abs=0.02)
        assert (after.scatter**2).sum(-1).mean() == pytest.approx(1.0, abs=0.02)
        assert np.mean(channel.fading_gain(after.scatter, scenario)) == pytest.approx(1.0, abs=0.02)
        assert slot_s < 1 or abs(rho) < 0.2


@pytest.mark.parametrize("model", mobility.MODELS)
def test_ues_stay_inside_and_move_as_told(model):
    scenario = load_scenario("paper").replace(mobility=model, slot_s=4.0)
    rng = np.random.default_rng(0)
    state, _ = sample_world(scenario, 30, rng)
    steps = []
    for _ in range(30):
        before = state.ue_xy
        state, _ = next_world(state, scenario, rng)
        steps.append(np.sqrt(((state.ue_xy - before) ** 2).sum(-1)))
        assert state.ue_xy.min() >= 0
        assert state.ue_xy.max() <= scenario.side_m
    steps = np.array(steps)
    if model == "waypoint":
        assert steps.max() <= 1.2 * 4.0 + 1e-9
        assert np.median(steps) >= 0.3 * 4.0
    if model == "drift":
        assert steps.max() <= math.hypot(1.5, 1.5) + 1e-9
    if model == "gauss-markov":
        assert np.median(steps) == pytest.approx(0.75 * 4.0, rel=0.1)
    assert (steps == 0).all() == (model == "static")


def test_a_waypoint_walker_that_arrives_goes_on_with_the_time_left():
    """From (0, 0) 1 m to its target at 1 m/s within 4 s.

    The other 3 s toward (50, 0) at the new 1 m/s: it ends at (4, 0).
    """
    scenario = load_scenario("paper").replace(slot_s=4.0, speed_mps=1.0)
    xy, target, velocity = np.zeros((1, 1, 2)), np.array([[[1.0, 0.0]]]), np.array([[[1.0, 0.0]]])
    draws = np.array([[[0.999999999, 0.0, 0.5]]])
    move = mobility.MODELS["waypoint"].move
    position, waypoint, after = move(xy, target, velocity, draws, scenario, np)
    np.testing.assert_allclose(position, [[[4.0, 0.0]]])
    np.testing.assert_allclose(waypoint, [[[50.0, 0.0]]], atol=1e-6)
    np.testing.assert_allclose(after, [[[1.0, 0.0]]])


@pytest.mark.parametrize("name", ["paper", "hetero", "are2020"])
def test_rows_do_not_depend_on_the_batch(name):
    """Row b of a batch made from blocks of draws is, bit for bit, the batch of one from row b."""
    scenario, rng = load_scenario(name), np.random.default_rng(3)
    moving = MovingSlots(scenario)
    sizes = [moving.first_draws, moving.next_draws, moving.next_draws]
    blocks = [tuple(rng.random((5, size)) for size in pair) for pair in sizes]

    def play(rows):
        cell = None
        for uniforms, normals in blocks:
            draws = Draws(uniforms[rows], normals[rows], [])
            cell, instances = moving.next(cell, 1, draws) if cell else moving.first(draws)
        return instances

    whole = play(slice(None))
    for row in range(5):
        one = play([row])
        assert (one.uplink_bps[0] == whole.uplink_bps[row]).all()
        assert (one.cycles[0] == whole.cycles[row]).all()


def test_torch_world_equals_numpy():
    torch = pytest.importorskip("torch")
    import array_api_compat.torch as xp

    scenario, rng = load_scenario("hetero"), np.random.default_rng(3)
    moving = MovingSlots(scenario)
    first, second = (
        [rng.random((4, size)) for size in sizes]
        for sizes in (moving.first_draws, moving.next_draws)
    )
    results = []
    for convert, space in ((np.asarray, np), (torch.as_tensor, xp)):
        _, places = slots.split(scenario, convert(first[0]))
        tasks, moves = slots.split(scenario, convert(second[0]))
        state = geometry.initial(scenario, places, convert(first[1]), space)
        state = geometry.advance(state, scenario, moves, convert(second[1]), space)
        results.append(np.asarray(slots.snapshot(state, scenario, tasks, space).uplink_bps))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)


def test_same_seed_same_instances():
    scenario = load_scenario("paper")
    one, two, other = (
        sample_instances(scenario, 3, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (one.uplink_bps == two.uplink_bps).all()
    assert (one.uplink_bps != other.uplink_bps).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("paper", 3, np.random.default_rng(0)),
            r"scenario is 'paper'; allowed: a Scenario \(see load_scenario\)",
        ),
        (
            (load_scenario("tiny"), 0, np.random.default_rng(0)),
            r"num_instances is 0; allowed: an integer >= 1",
        ),
        ((load_scenario("tiny"), 2.0, np.random.default_rng(0)), r"num_instances is 2.0"),
        ((load_scenario("tiny"), 2, 0), r"rng is 0; allowed: a numpy.random.Generator"),
        ((load_scenario("tiny"), 2, None), r"rng is None"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_instances(*arguments)
