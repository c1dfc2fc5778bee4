"""The networks of DROO and ARE: what their columns hold, what they share, their sizes."""

import json

import numpy as np
import pytest
import torch

from baselines.neural.are.training import AreTraining
from baselines.neural.checkpoint import WEIGHTS
from baselines.neural.droo.training import DrooTraining
from baselines.neural.features import allotted, pooled_columns
from baselines.neural.networks import FlatConfig, PooledConfig, parameters, place_logits
from baselines.neural.replay import shuffled_ues
from lambo_agents.protocol import unsupported
from lambo_agents.registry import make_agent
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import list_scenarios, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts


@pytest.mark.parametrize("name", list_scenarios())
def test_columns_are_finite_and_within_0_and_1_in_every_scenario(name, rng):
    drawn = sample_instances(load_scenario(name), 4, rng)
    idle = drawn.replace(cycles=drawn.cycles * 1e-12)
    far = drawn.replace(uplink_bps=drawn.uplink_bps * 1e-12)
    config = FlatConfig(num_ues=drawn.num_ues, num_servers=drawn.num_servers, depth=3)
    for instances in (drawn, idle, far):
        for net in (config.network(), PooledConfig().network()):
            columns = net.columns(instances, np.linspace(0, 1, 4))
            assert columns.dtype == np.float32
            assert np.all((columns >= 0) & (columns <= 1))
            assert np.all(np.isfinite(place_logits(net, instances, columns)[0].max(axis=-1)))


def test_columns_of_pairs_are_those_of_physics(rng):
    instances = sample_instances(load_scenario("hetero"), 3, rng)
    columns = pooled_columns(instances, np.full(3, 0.25))
    upload = physics.upload_s(instances)
    floor = physics.floors_hz(instances) / instances.server_cpu_hz[:, None]
    root = np.sqrt(instances.cycles)
    nearest = upload == upload.min(axis=-1, keepdims=True)
    demand = (nearest * root[..., None]).sum(axis=1) / root.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(columns[..., 4], 0.25)
    np.testing.assert_allclose(
        columns[..., 6], upload / (upload + instances.deadline_s[..., None]), rtol=1e-5
    )
    np.testing.assert_allclose(columns[..., 7], 1 - 1 / (1 + floor), rtol=1e-5)
    np.testing.assert_array_equal(columns[..., 8], nearest)
    np.testing.assert_allclose(columns[:, 0, :, 12], demand, rtol=1e-5)


def test_the_pooled_network_knows_no_order_of_ues_or_servers(rng):
    net = PooledConfig(width=8, share_head=True).network()
    columns = torch.rand(2, 7, 3, 14)
    ues, servers = torch.tensor([3, 1, 0, 6, 5, 2, 4]), torch.tensor([2, 0, 1])
    place, share = net(columns)
    moved, moved_share = net(columns[:, ues][:, :, servers])
    order = torch.cat([torch.zeros(1, dtype=torch.int64), servers + 1])
    torch.testing.assert_close(moved, place[:, ues][:, :, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved_share, share[:, ues], rtol=1e-4, atol=1e-5)


def test_tasks_that_the_closed_form_drops_are_sent_back(rng):
    instances = sample_instances(load_scenario("paper"), 4, rng)
    crowd = np.ones((4, 50), dtype=int)
    decision, cpu = allotted(instances, crowd), physics.allocate(instances, crowd)
    assert np.any(cpu == 0)
    np.testing.assert_array_equal(decision.cpu_hz, cpu)
    np.testing.assert_array_equal(decision.place, np.where(cpu == 0, 0, 1))


@pytest.mark.parametrize(("ues", "servers"), [(1, 1), (1, 5), (9, 1), (30, 16)])
def test_the_pooled_network_takes_any_numbers(ues, servers):
    net = PooledConfig(width=8).network()
    assert torch.isfinite(net(torch.rand(2, ues, servers, 14))[0]).all()


@pytest.mark.parametrize("name", ["are", "are-frozen", "droo", "droo-frozen"])
@pytest.mark.parametrize(("ues", "servers"), [(49, 4), (51, 4), (50, 3), (20, 5)])
def test_shared_weights_decide_any_numbers_and_60_layers_name_their_own(name, ues, servers, rng):
    cell = load_scenario("paper").replace(num_ues=ues, server_cpu_hz=[3e10] * servers)
    instances, prompts = sample_instances(cell, 2, rng), Prompts.of("minimum latency", 2)
    shared = make_agent(name)
    assert shared.supports(instances) is None
    decision = shared.decide(instances, prompts, rng)
    assert np.all(
        np.isfinite(physics.evaluate(instances, decision, prompts.objective(instances)).cost)
    )
    family, _, frozen = name.partition("-")
    flat = make_agent(f"{family}-60fc-{frozen}".rstrip("-"))
    reason = f"the network is made for 50 UEs and 4 servers; these have {ues} and {servers}"
    assert flat.supports(instances) == unsupported(flat, instances) == reason
    with pytest.raises(ValueError, match=reason):
        flat.decide(instances, prompts, rng)
    assert flat.supports(sample_instances(load_scenario("paper"), 1, rng)) is None
    assert flat.num_parameters > 50 * shared.num_parameters > 0


def test_shuffling_moves_all_of_a_ue(rng):
    inputs, labels = rng.random((5, 6, 3)), rng.integers(9, size=(5, 6))
    moved, with_it = shuffled_ues(rng, inputs, labels)
    assert np.any(with_it != labels)
    for row in range(5):
        before = {(*map(float, x), int(y)) for x, y in zip(inputs[row], labels[row], strict=True)}
        after = {(*map(float, x), int(y)) for x, y in zip(moved[row], with_it[row], strict=True)}
        assert before == after


def test_sizes():
    assert parameters(FlatConfig().network()) == 325_654  # nearest width below 326,662
    deep = [m for m in FlatConfig().network().modules() if isinstance(m, torch.nn.Linear)]
    assert len(deep) == 60
    assert abs(parameters(FlatConfig(width=70).network()) - 326_662) > 326_662 - 325_654
    assert parameters(PooledConfig().network()) < 10_000


def test_sixty_layers_pass_gradients_to_the_first():
    net = FlatConfig(num_ues=6).network()
    logits, _ = net(torch.rand(32, 6, 13))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(5, (32 * 6,))).backward()
    norms = [m.weight.grad.norm() for m in net.modules() if isinstance(m, torch.nn.Linear)]
    assert norms[0] > 0.01 * norms[-1]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FlatConfig(depth=2), "FlatConfig.depth is 2"),
        (lambda: FlatConfig(num_ues=0), "FlatConfig.num_ues is 0"),
        (lambda: FlatConfig(share_head="yes"), "FlatConfig.share_head is 'yes'"),
        (lambda: PooledConfig(width=0), "PooledConfig.width is 0"),
        (lambda: PooledConfig(rounds=1.5), "PooledConfig.rounds is 1.5"),
    ],
)
def test_bad_settings_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("are", AreTraining()),
        ("are-60fc", AreTraining(size="60fc")),
        ("droo", DrooTraining()),
        ("droo-60fc", DrooTraining(size="60fc")),
    ],
)
def test_shipped_weights_are_those_of_their_one_command(name, options):
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    flag = "" if options.size == "pooled" else f" --size {options.size}"
    assert card["command"] == f"lambo train {name.partition('-')[0]} OUT{flag}"
    assert card["options"] == {key: options.values[key] for key in card["options"]}
    assert card["cpu_seconds"] <= 300
