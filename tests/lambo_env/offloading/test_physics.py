"""Physics: numbers worked by hand, KKT conditions, properties, torch, gradients, ARE's levels."""

import array_api_compat
import numpy as np
import pytest
from data_files import shared_data
from hypothesis import given, settings
from hypothesis import strategies as st

from lambo_env.datasets import load_are
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances, Objective
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances


def two_ues(**fields):
    """Two UEs, one server of 4 cycles/s; upload 1 s and 2 s; 4 and 1 cycles; local 8 s and 2 s.

    Deadline 10 s.
    """
    base = {
        "data_bits": [[1.0, 2.0]],
        "cycles": [[4.0, 1.0]],
        "deadline_s": [[10.0, 10.0]],
        "local_cpu_hz": [[0.5, 0.5]],
        "local_power_w": [[3.0, 3.0]],
        "tx_power_w": [[2.0, 1.0]],
        "uplink_bps": [[[1.0], [1.0]]],
        "server_cpu_hz": [[4.0]],
        "late_penalty": [2.0],
    }
    return Instances(**{**base, **fields})


def objective_of(per_s=1.0, per_j=0.0):
    return Objective(cost_per_s=np.array([per_s]), cost_per_j=np.array([per_j]))


def test_local_and_offloaded_by_hand():
    instances = two_ues()
    outcome = physics.evaluate(
        instances, Decision(np.array([[0, 1]]), np.array([[0.0, 4.0]])), objective_of()
    )
    np.testing.assert_allclose(outcome.latency_s, [[8.0, 2.25]])  # 4 / 0.5; 2 / 1 + 1 / 4
    np.testing.assert_allclose(outcome.energy_j, [[24.0, 2.0]])  # 3 W x 8 s; 1 W x 2 s
    np.testing.assert_allclose(outcome.cost, [(8.0 + 2.25) / 2])
    assert not outcome.late.any()


def test_square_root_rule_by_hand():
    """Roots 2 and 1 on 4 cycles/s: shares 8/3 and 4/3, compute time (2 + 1)^2 / 4 = 2.25 s."""
    instances = two_ues()
    cpu = physics.allocate(instances, np.array([[1, 1]]))
    np.testing.assert_allclose(cpu, [[8 / 3, 4 / 3]])
    np.testing.assert_allclose((instances.cycles / cpu).sum(), 2.25)


def test_active_floor_by_hand():
    """Deadline 2.4 s leaves UE 1 0.4 s after its 2 s upload.

    Floor 2.5 > 4/3, so it gets 2.5 and UE 0 the other 1.5.
    """
    instances = two_ues(deadline_s=[[10.0, 2.4]])
    np.testing.assert_allclose(physics.floors_hz(instances), [[[4 / 9], [2.5]]])
    np.testing.assert_allclose(physics.allocate(instances, np.array([[1, 1]])), [[1.5, 2.5]])


def test_smallest_floors_are_served_first_and_the_rest_is_dropped():
    instances = two_ues(
        deadline_s=[[2.0, 2.4]]
    )  # floors 4 and 2.5 on 4 cycles/s: only the smaller fits
    place = np.array([[1, 1]])
    cpu = physics.allocate(instances, place)
    np.testing.assert_allclose(cpu, [[0.0, 4.0]])
    outcome = physics.evaluate(instances, Decision(place, cpu), objective_of(1.0, 1.0))
    assert outcome.late.tolist() == [[True, False]]
    assert np.isinf(outcome.latency_s[0, 0])
    # on time: 2.25 / 2 + 1 W x 2 s; late: (1 + 2) x (2 s / 2 + 3 W x 8 s)
    np.testing.assert_allclose(outcome.cost, [(2.25 / 2 + 2.0) + 3 * (1.0 + 24.0)])


def test_late_costs_the_same_however_late_and_wherever():
    instances = two_ues(deadline_s=[[1.5, 10.0]])  # UE 0: local 8 s, upload alone 1 s + 4 cycles
    costs = [
        physics.evaluate(
            instances, Decision(np.array([[place, 0]]), np.array([[cpu, 0.0]])), objective_of()
        ).cost[0]
        for place, cpu in ((0, 0.0), (1, 0.0), (1, 0.1), (1, 4.0))
    ]
    assert len(set(costs)) == 1
    assert costs[0] == pytest.approx(3 * 1.5 / 2 + 2.0 / 2)


def test_objective_coefficients_by_hand():
    instances = two_ues()  # local 8 s and 2 s: mean 5 s; energy 24 J and 6 J: sum 30 J
    for weight, per_s, per_j in ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.25, 0.05, 0.025)):
        got = instances.objective(np.array([weight]))
        np.testing.assert_allclose([got.cost_per_s[0], got.cost_per_j[0]], [per_s, per_j])


def test_mixed_cost_of_local_play_is_one_where_nothing_is_late():
    instances = sample_instances(load_scenario("paper"), 5, np.random.default_rng(0))
    local = Decision(np.zeros((5, 50), dtype=int), np.zeros((5, 50)))
    outcome = physics.evaluate(instances, local, instances.objective(np.full(5, 0.3)))
    np.testing.assert_allclose(outcome.cost, 1.0)


SCENARIOS = ["paper", "hetero", "tiny", "are2020"]


def draw(name, batch, seed):
    scenario = load_scenario(name)
    rng = np.random.default_rng(seed)
    instances = sample_instances(scenario, batch, rng)
    return instances, rng.integers(0, scenario.num_servers + 1, (batch, scenario.num_ues)), rng


@pytest.mark.parametrize("name", SCENARIOS)
def test_allocation_satisfies_kkt(name):
    """On each server: capacity used up, floors kept, C / f^2 equal or, at a floor, smaller."""
    instances, place, _ = draw(name, 40, 1)
    cpu = physics.allocate(instances, place)
    floors = physics.floors_hz(instances)
    clamped_seen = 0
    for b in range(40):
        for m in range(1, instances.num_servers + 1):
            on = (place[b] == m) & (cpu[b] > 0)
            if not on.any():
                continue
            f, low, cycles = cpu[b, on], floors[b, on, m - 1], instances.cycles[b, on]
            capacity = instances.server_cpu_hz[b, m - 1]
            assert f.sum() == pytest.approx(capacity, rel=1e-6)
            assert (f >= low * (1 - 1e-12)).all()
            price, slack = cycles / f**2, f > low * (1 + 1e-9)
            clamped_seen += (~slack).sum()
            if slack.any():
                level = price[slack].max()
                np.testing.assert_allclose(price[slack], level, rtol=1e-9)
                assert (price[~slack] <= level * (1 + 1e-9)).all()
    assert clamped_seen > 0 or name in ("tiny", "are2020")


def test_allocation_beats_random_feasible_ones():
    instances, place, rng = draw("hetero", 4, 2)
    objective = instances.objective(np.ones(4))
    cpu = physics.allocate(instances, place)
    served = (cpu > 0) | (place == 0)
    place = np.where(served, place, 0)
    cpu = physics.allocate(instances, place)
    best = physics.evaluate(instances, Decision(place, cpu), objective).cost
    floors = np.where(
        place > 0,
        np.take_along_axis(physics.floors_hz(instances), np.maximum(place - 1, 0)[..., None], -1)[
            ..., 0
        ],
        0,
    )
    for _ in range(1000):
        weight = rng.exponential(size=place.shape) * (place > 0)
        other = np.zeros_like(cpu)
        for m in range(1, 5):
            on = place == m
            spare = instances.server_cpu_hz[:, m - 1] - (floors * on).sum(1)
            total = (weight * on).sum(1)
            other += on * (
                floors + weight / np.where(total > 0, total, 1)[:, None] * spare[:, None]
            )
        cost = physics.evaluate(instances, Decision(place, other), objective, check=False).cost
        assert (cost >= best * (1 - 1e-9)).all()


def test_allocation_matches_a_general_solver():
    from scipy.optimize import minimize

    instances = two_ues(deadline_s=[[10.0, 2.6]])
    cpu = physics.allocate(instances, np.array([[1, 1]]))[0]
    floors = physics.floors_hz(instances)[0, :, 0]
    found = minimize(
        lambda f: (instances.cycles[0] / f).sum(),
        x0=floors + 0.1,
        bounds=[(low, 4.0) for low in floors],
        constraints={"type": "ineq", "fun": lambda f: 4.0 - f.sum()},
    )
    np.testing.assert_allclose(cpu, found.x, rtol=1e-4)


def test_a_root_too_small_to_show_in_a_sum_is_clamped_all_the_same():
    """Sums of roots were compared once, not who is clamped.

    The tiny task's floor came on top of a server given away already.
    """
    floor, root = np.array([[1e8, 1e9]]), np.array([[1e9, 1e-9]])
    np.testing.assert_allclose(physics.water_level(floor, root, np.array([2e9]), np), [1.0])


def test_tables_and_compute_time_agree_with_evaluate():
    """Fixed costs plus servers' compute time is the cost of evaluate, floors active or not."""
    instances, place, _ = draw("paper", 30, 3)
    for weight in (1.0, 0.0, 0.4):
        objective = instances.objective(np.full(30, weight))
        tables = physics.place_tables(instances, objective)
        floors = np.take_along_axis(tables.floor_hz, place[..., None], -1)[..., 0]
        cpu = physics.allocate(instances, place)
        runs = (place > 0) & (cpu > 0)
        fixed = np.take_along_axis(tables.fixed, place[..., None], -1)[..., 0]
        total = np.where((place == 0) | runs, fixed, tables.late_cost).sum(1)
        for m in range(1, 5):
            on = runs & (place == m)
            floor, root = np.where(on, floors, 0), np.where(on, tables.root, 0)
            capacity = tables.capacity_hz[:, m]
            held = physics.clamped_load(floor, root, capacity, np)
            total = total + tables.per_s * physics.run_s(
                held.roots, capacity - held.floor_hz, held.clamped_s
            )
        np.testing.assert_allclose(
            total, physics.association_cost(instances, place, objective), rtol=1e-9
        )


def test_marginal_cost_is_the_difference_of_costs_without_floors():
    instances = two_ues()
    tables = physics.place_tables(instances, objective_of())
    one = physics.association_cost(instances, np.array([[1, 0]]), objective_of())
    both = physics.association_cost(instances, np.array([[1, 1]]), objective_of())
    step = physics.marginal_cost(tables.fixed[0, 1, 1], tables.per_s[0], 1.0, 2.0, 4.0)
    np.testing.assert_allclose(both - one, step - tables.fixed[0, 1, 0])


positive = st.floats(1e-2, 1e2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(SCENARIOS),
    st.sampled_from([0.0, 0.35, 1.0]),
    positive,
)
def test_invariances(seed, name, weight, scale):
    """Permuting UEs or servers changes no cost.

    Scaling data with rates, or cycles with every CPU, changes nothing.
    """
    instances, place, rng = draw(name, 3, seed)
    cost = physics.association_cost(instances, place, instances.objective(np.full(3, weight)))

    def again(other, places):
        return physics.association_cost(other, places, other.objective(np.full(3, weight)))

    order = np.stack([rng.permutation(instances.num_ues) for _ in range(3)])
    np.testing.assert_allclose(
        again(instances.order(order), np.take_along_axis(place, order, 1)), cost, rtol=1e-9
    )
    swap = rng.permutation(instances.num_servers)
    renamed = np.concatenate([[0], np.argsort(swap) + 1])[place]
    swapped = instances.replace(
        uplink_bps=instances.uplink_bps[:, :, swap], server_cpu_hz=instances.server_cpu_hz[:, swap]
    )
    np.testing.assert_allclose(again(swapped, renamed), cost, rtol=1e-9)
    scaled = instances.replace(
        data_bits=instances.data_bits * scale, uplink_bps=instances.uplink_bps * scale
    )
    np.testing.assert_allclose(again(scaled, place), cost, rtol=1e-9)
    faster = instances.replace(
        cycles=instances.cycles * scale,
        local_cpu_hz=instances.local_cpu_hz * scale,
        server_cpu_hz=instances.server_cpu_hz * scale,
    )
    np.testing.assert_allclose(again(faster, place), cost, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SCENARIOS), st.floats(1.0, 3.0))
def test_more_capacity_never_costs_more(seed, name, factor):
    instances, place, _ = draw(name, 3, seed)
    objective = instances.objective(np.ones(3))
    more = instances.replace(server_cpu_hz=instances.server_cpu_hz * factor)
    cost, cheaper = (
        physics.association_cost(which, place, objective) for which in (instances, more)
    )
    assert (cheaper <= cost * (1 + 1e-9)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SCENARIOS))
def test_any_allocation_passes_the_check_and_is_bounded(seed, name):
    """Closed form, equal shares: accepted by evaluate.

    Under the latency objective nothing costs more than everything late.
    """
    instances, place, _ = draw(name, 3, seed)
    objective = instances.objective(np.ones(3))
    for cpu in (physics.allocate(instances, place), physics.allocate_equal(instances, place)):
        outcome = physics.evaluate(instances, Decision(place, cpu), objective)
        assert np.isfinite(outcome.cost).all()
        assert (outcome.cost <= physics.late_cost(instances, objective).sum(1) * (1 + 1e-9)).all()
        assert (outcome.late == (outcome.latency_s > instances.deadline_s * (1 + 1e-6))).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_numpy_equals_torch(name):
    torch = pytest.importorskip("torch")
    instances, place, _ = draw(name, 6, 4)
    other = instances.to(torch, dtype=torch.float64)
    assert array_api_compat.is_torch_array(other.cycles)
    for weight in (1.0, 0.0, 0.6):
        expected = physics.association_cost(
            instances, place, instances.objective(np.full(6, weight))
        )
        objective = other.objective(torch.full((6,), weight, dtype=torch.float64))
        got = physics.association_cost(other, torch.as_tensor(place), objective)
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    back = other.to("numpy")
    assert (back.uplink_bps == instances.uplink_bps).all()


def test_gradients_flow_and_are_right():
    """The closed form is differentiable, also with an active floor.

    Checked against finite differences.
    """
    torch = pytest.importorskip("torch")
    base = two_ues(deadline_s=[[10.0, 2.4]]).to(torch, dtype=torch.float64)
    place = torch.tensor([[1, 1]])

    def cost(cycles, rate, capacity):
        fields = {**vars(base), "cycles": cycles, "uplink_bps": rate, "server_cpu_hz": capacity}
        objective = Objective(
            cost_per_s=torch.ones(1, dtype=torch.float64),
            cost_per_j=torch.ones(1, dtype=torch.float64),
        )
        return physics.association_cost(Instances.unchecked(**fields), place, objective)

    inputs = [
        t.clone().requires_grad_() for t in (base.cycles, base.uplink_bps, base.server_cpu_hz)
    ]
    assert torch.autograd.gradcheck(cost, inputs)


def test_gradient_of_cost_by_cpu_is_finite_beside_local_and_dropped_tasks():
    torch = pytest.importorskip("torch")
    instances, place, _ = draw("hetero", 4, 5)
    other, place = instances.to(torch, dtype=torch.float64), torch.as_tensor(place)
    cpu = physics.allocate(other, place).requires_grad_()
    objective = other.objective(torch.full((4,), 0.5))
    physics.evaluate(other, Decision(place, cpu), objective).cost.sum().backward()
    assert torch.isfinite(cpu.grad).all()
    assert (cpu.grad != 0).any()


@pytest.mark.parametrize(
    ("place", "cpu", "message"),
    [
        ([[0, 5]], [[0.0, 1.0]], r"Decision.place\[0, 1\] is 5; allowed: 0 \(local\) .. 1"),
        ([[0, -1]], [[0.0, 1.0]], r"Decision.place\[0, 1\] is -1"),
        ([[0.0, 1.0]], [[0.0, 1.0]], "Decision.place.dtype is 'float64'"),
        ([[0, 1, 1]], [[0.0, 1.0, 1.0]], r"Decision.place.shape is \(1, 3\)"),
        ([[0, 1]], [[0.0]], r"Decision.cpu_hz.shape is \(1, 1\)"),
        ([[0, 1]], [[0.0, np.nan]], r"Decision.cpu_hz\[0, 1\] is nan"),
        ([[0, 1]], [[0.0, -1.0]], r"Decision.cpu_hz\[0, 1\] is -1.0"),
        ([[0, 1]], [[1.0, 1.0]], r"Decision.cpu_hz\[0, 0\] is 1.0; allowed: 0 for a local task"),
        (
            [[1, 1]],
            [[2.0, 2.1]],
            r"summed over server\[0, 0\] is 4.1; allowed: at most server_cpu_hz",
        ),
    ],
)
def test_bad_decisions_are_refused(place, cpu, message):
    with pytest.raises(ValueError, match=message):
        physics.evaluate(two_ues(), Decision(np.array(place), np.array(cpu)), objective_of())


def test_published_levels_of_are():
    """The last 60 of ARE's 500 scenarios.

    Mean latency all local 0.9963 s, random with equal shares 0.628 s, labels 0.4850 s.
    """
    instances, labels = load_are(shared_data("are-Data1.mat"))
    assert (instances.batch_size, instances.num_ues, instances.num_servers) == (500, 50, 4)
    objective = instances.objective(np.ones(500))
    outcome = physics.evaluate(instances, labels, objective)
    assert outcome.latency_s[-60:].mean() == pytest.approx(0.4850, abs=5e-5)
    assert outcome.latency_s.mean() == pytest.approx(0.4844, abs=5e-5)
    assert outcome.energy_j[-60:].sum(1).mean() == pytest.approx(1.59, abs=5e-3)
    last = instances.take(slice(-60, None))
    assert physics.local_s(last).mean() == pytest.approx(0.9963, abs=5e-5)
    assert (physics.is_late(physics.local_s(last), last.deadline_s).sum(1) == 20).all()
    rng, draws = np.random.default_rng(0), []
    for _ in range(40):
        place = rng.integers(0, 5, (60, 50))
        cpu = physics.allocate_equal(last, place)
        draws.append(
            physics.evaluate(
                last, Decision(place, cpu), objective.take(slice(-60, None))
            ).latency_s.mean()
        )
    assert np.mean(draws) == pytest.approx(0.628, abs=0.005)
