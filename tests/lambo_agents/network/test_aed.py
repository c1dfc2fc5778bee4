"""The network: sizes, causality, and that the parallel pass says what the steps say."""

import copy
import dataclasses
import pickle
from concurrent import futures

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.acl import losses
from lambo_agents.network import aed as aed_room
from lambo_agents.network import config, decoding
from lambo_agents.network.aed import AED
from lambo_agents.network.server_encoding import DecoderState, pair_columns
from lambo_env.offloading import observation, physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

SMALL = {
    "pointer": config.preset("lambo_xs"),
    "paper": config.AEDConfig(
        d_model=32, num_heads=4, encoder_layers=2, decoder_layers=2, encoder_ff=64, decoder_ff=64
    ),
    "per_server": config.AEDConfig(
        d_model=32,
        num_heads=4,
        encoder_layers=2,
        decoder_layers=1,
        encoder_ff=64,
        decoder_ff=64,
        shares="per_server",
        prompt="summary",
        prompt_width=16,
        prompt_layers=1,
        shared_keys=True,
    ),
    "both": dataclasses.replace(
        config.preset("lambo_xs"),
        self_attention=True,
        prompt="tokens",
        prompt_width=0,
        prompt_layers=0,
        prompt_bins=0,
    ),
}


def network(name: str) -> AED:
    torch.manual_seed(0)
    aed = AED(SMALL[name]).eval()
    with torch.no_grad():
        for weight in aed.parameters():
            weight.mul_(1.5)  # away from an untrained network's near-uniform answers
    return aed


def slots(size: int = 3, shares: bool = False, **fields: object) -> decoding.Slot:
    scenario = load_scenario("hetero").replace(num_ues=12, **fields)
    instances = sample_instances(scenario, size, np.random.default_rng(1))
    texts = ["minimum latency", "minimum energy", "50% latency, 50% energy"]
    prompts = Prompts.of([texts[k % 3] for k in range(size)])
    return decoding.slot(instances, prompts.tokens, shares)


@pytest.mark.parametrize(("name", "total"), [("lambo_m", 579_920_902), ("lambo_l", 1_159_515_142)])
def test_the_papers_totals(name: str, total: int) -> None:
    with torch.device("meta"):
        aed = AED(config.preset(name))
    assert aed.num_parameters == total


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("lambo_xs", 2.8e5, 3.6e5), ("lambo_s", 0.9e6, 1.1e6), ("lambo_b", 2.3e6, 2.8e6)],
)
def test_the_small_presets_are_of_their_sizes(name: str, low: float, high: float) -> None:
    with torch.device("meta"):
        assert low <= AED(config.preset(name)).num_parameters <= high


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_teacher_forced_pass_gives_the_steps_log_probabilities(name: str, shares: bool) -> None:
    aed, some = network(name), slots(shares=shares)
    with torch.no_grad():
        plan = aed.plan(aed.encode(some.inputs))
        rolled = decoding.rollout(
            aed, plan, some, 4, torch.Generator().manual_seed(0), log_probs=True
        )
        scored = losses.score(aed, plan, some.need[:, None], rolled.place, rolled.taken)
    assert (scored.log_prob - rolled.log_prob).abs().max() < 1e-5
    if shares:
        taken = losses.take_shares(
            scored.share_logit.double().sigmoid(), some.need[:, None], rolled.place
        )
        assert (taken - rolled.taken).abs().max() < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_a_step_ignores_what_is_not_yet_decided(name: str) -> None:
    aed, some = network(name), slots()
    with torch.no_grad():
        plan = aed.plan(aed.encode(some.inputs))
        rolled = decoding.rollout(aed, plan, some, 2, torch.Generator().manual_seed(0))
        before, _ = decoding.states(plan, rolled.place, rolled.taken, 5)
        place, taken = rolled.place.clone(), rolled.taken.clone()
        place[:, :, 7:], taken[:, :, 7:] = 1, 0.01
        after, _ = decoding.states(plan, place, taken, 5)
        one, other = aed.steps(plan, before)[0], aed.steps(plan, after)[0]
    assert torch.allclose(one[:, :, :8], other[:, :, :8], atol=1e-6)
    assert not torch.allclose(one[:, :, 8:], other[:, :, 8:], atol=1e-4)


def test_servers_may_be_renumbered_and_added_under_a_pointer() -> None:
    aed = network("pointer")
    instances = sample_instances(
        load_scenario("paper").replace(num_ues=9), 2, np.random.default_rng(0)
    )
    turned = instances.replace(
        uplink_bps=instances.uplink_bps[..., ::-1], server_cpu_hz=instances.server_cpu_hz[:, ::-1]
    )
    tokens = Prompts.of("minimum latency", 2).tokens
    places = []
    for some in (instances, turned):
        slot = decoding.slot(some, tokens, False)
        places.append(decoding.rollout(aed, aed.plan(aed.encode(slot.inputs)), slot).place)
    assert torch.equal(places[0], torch.where(places[1] > 0, 5 - places[1], 0))
    more = decoding.slot(
        sample_instances(load_scenario("wide").replace(num_ues=9), 2, np.random.default_rng(0)),
        tokens,
        False,
    )
    assert int(decoding.rollout(aed, aed.plan(aed.encode(more.inputs)), more).place.max()) <= 16


def test_the_network_sees_the_observation() -> None:
    scenario = load_scenario("hetero").replace(num_ues=5)
    instances = sample_instances(scenario, 2, np.random.default_rng(0))
    inputs = decoding.slot(instances, Prompts.of("minimum latency", 2).tokens, False).inputs
    seen = observation.Observations(2, 5, 4)
    seen.begin(np.arange(2), instances, physics.upload_s(instances))
    assert np.array_equal(inputs.ues, seen.ues[..., : observation.num_static(4)])
    assert np.array_equal(inputs.size, seen.servers[..., 1])


def test_pair_columns_are_what_they_say() -> None:
    instances = sample_instances(
        load_scenario("hetero").replace(num_ues=6), 2, np.random.default_rng(0)
    )
    inputs = decoding.slot(instances, Prompts.of("minimum latency", 2).tokens, False).inputs
    columns, log_root = pair_columns(inputs.ues.double(), inputs.size.double())
    ratio = columns / (1 - columns)
    remote = ratio[:, :, 1:].numpy()
    floor = physics.floors_hz(instances) / instances.server_cpu_hz[:, None] * 6 / 4
    upload_j = instances.tx_power_w[..., None] * physics.upload_s(instances)
    energy = upload_j / physics.local_j(instances)[..., None]
    good = floor < 100
    assert np.allclose(remote[..., 1][good], floor[good], rtol=1e-3)
    assert np.allclose(remote[..., 2], energy, rtol=1e-3)
    load = instances.cycles / instances.deadline_s
    assert np.allclose(np.diff(log_root[..., 0].numpy()), np.diff(np.log(load) / 2), atol=1e-4)


def test_padding_and_company_do_not_change_what_is_read() -> None:
    for name in SMALL:
        aed = network(name)
        instances = sample_instances(
            load_scenario("paper").replace(num_ues=4), 2, np.random.default_rng(0)
        )
        texts = ["minimum energy", "minimise the average task completion time of all users"]
        both = decoding.slot(instances, Prompts(texts, [0.0, 1.0]).tokens, False)
        alone = decoding.slot(instances.take(0), Prompts(texts[:1], 0.0).tokens, False)
        with torch.no_grad():
            left = DecoderState(
                torch.ones(1, 1, 4, 5), torch.zeros(1, 1, 4, 5, SMALL[name].memory_width)
            )
            wide = DecoderState(
                torch.ones(2, 1, 4, 5), torch.zeros(2, 1, 4, 5, SMALL[name].memory_width)
            )
            one = aed.steps(aed.plan(aed.encode(alone.inputs)), left)[0]
            two = aed.steps(aed.plan(aed.encode(both.inputs)), wide)[0]
        assert torch.allclose(one[0], two[0], atol=1e-5)
        assert not torch.allclose(two[0], two[1], atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"num_heads": 7}, "AEDConfig.d_model is 1024; allowed: a multiple of num_heads"),
        ({"servers": "pointr"}, "AEDConfig.servers"),
        ({"num_servers": None}, "AEDConfig.num_servers"),
        ({"servers": "pointer"}, "AEDConfig.pair_width"),
        ({"prompt": "summary"}, "AEDConfig.prompt_width"),
        ({"encoder_layers": 0}, "AEDConfig.encoder_layers"),
        ({"self_attention": False}, "AEDConfig.self_attention"),
    ],
)
def test_a_bad_config_says_what_is_wrong(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text.split(" is ")[0]):
        config.AEDConfig(**fields)


def test_config_goes_to_a_dict_and_back() -> None:
    for name in config.PRESETS:
        assert config.AEDConfig.from_dict(config.preset(name).to_dict()) == config.preset(name)
    with pytest.raises(ValueError, match="unknown field"):
        config.AEDConfig.from_dict({"d_modle": 3})
    with pytest.raises(ValueError, match="lambo_s"):
        config.preset("lambo_sx")


def test_a_text_is_read_once_until_the_weights_change():
    summary, read = network("per_server").prompt, []
    summary.reader.register_forward_hook(lambda *_: read.append(1))
    texts = torch.randint(97, 120, (300, 1, 20), dtype=torch.uint8)

    def reads(tokens=texts[0]):
        before = len(read)
        with torch.inference_mode():
            found = summary(tokens)[2]
            assert torch.equal(found, summary._summary(tokens)[2])
        return len(read) - before - 1

    assert [reads(), reads(), reads(texts[1]), reads(), reads(texts[1])] == [1, 0, 1, 0, 0]
    weight = summary.reader.out.weight
    with torch.no_grad():
        weight.mul_(2)
    assert [reads(), reads()] == [1, 0]
    with torch.inference_mode():
        weight.mul_(2)
    assert [reads(), reads()] == [1, 0]
    weight.data = weight.data * 2
    assert [reads(), reads()] == [1, 0]
    summary.load_state_dict({name: w * 2 for name, w in summary.state_dict().items()}, assign=True)
    assert [reads(), reads()] == [1, 0]
    summary.reader._forward_hooks.clear()
    copied = pickle.loads(pickle.dumps(summary))
    assert not copied._readings.by_tokens and not copy.deepcopy(summary)._readings.by_tokens
    with torch.inference_mode():
        for text in texts:
            summary(text)
    assert len(summary._readings.by_tokens) <= 256
    summary.train()
    with torch.inference_mode():
        assert not torch.equal(summary(texts[0])[2], summary(texts[0])[2])  # dropout
    summary.eval().requires_grad_(True)
    summary(texts[0])[2].sum().backward()


def test_a_seen_prompt_changes_no_decision_in_threads_either():
    aed, given = network("per_server"), slots()
    fresh = decoding.decide_all(copy.deepcopy(aed), given)[0]
    with torch.inference_mode():
        alone = [decoding.decide_all(aed, given.take(slice(k, k + 1)))[0] for k in range(3)]
        assert torch.equal(decoding.decide_all(aed, given)[0], fresh)
        again = [decoding.decide_all(aed, given.take(slice(k, k + 1)))[0] for k in range(3)]
    assert all(map(torch.equal, alone, again))

    def one(_):
        with torch.inference_mode():
            return decoding.decide_all(aed, given)[0]

    with futures.ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found, fresh) for found in pool.map(one, range(16)))


@pytest.mark.parametrize("shared", [True, False])
def test_attention_to_many_tokens_holds_few_scores_at_once(shared, monkeypatch):
    torch.manual_seed(0)
    cross, x, rows = aed_room.CrossAttention(8, 2, shared), torch.randn(2, 30, 8), []
    keys_values, valid = cross.keys_values(torch.randn(2, 10, 8)), torch.rand(2, 1, 1, 10) > 0.3
    whole, mixed = cross(x, keys_values, valid), cross._mixed
    monkeypatch.setattr(aed_room, "_SCORES", 70)
    monkeypatch.setattr(cross, "_mixed", lambda q, *a: rows.append(q.shape[-2]) or mixed(q, *a))
    torch.testing.assert_close(cross(x, keys_values, valid), whole)
    assert max(rows) == 7 and sum(rows) == (60 if shared else 30)
