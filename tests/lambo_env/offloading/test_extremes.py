"""What a Scenario accepts can be sampled, evaluated, observed and played: all fields at once."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lambo_env
from lambo_env.cell import channel
from lambo_env.cell.mobility import MODELS
from lambo_env.cell.propagation import CHANNELS
from lambo_env.cell.scenario import Capacities, Span
from lambo_env.envs.vector_env import WorldVectorEnv
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.registration import ENVIRONMENTS
from lambo_env.utils.rules import Within

RULES = {f.name: f.metadata["rule"] for f in dataclasses.fields(Scenario)}
TEXTS = ["minimum latency", "minimum energy", "50% latency, 50% energy"]


# subnormal, of a subnormal square, below every tolerance: 1 / x or x * x leaves the floats
FAINT = (5e-324, 1e-310, 2.3e-308, 1e-160, 1e-30, 1e-16)


def values_of(rule: Within) -> st.SearchStrategy:
    ends = [rule.low, rule.high, *([float("inf")] if rule.or_inf else [])]
    faint = [value for value in FAINT if rule.low <= value <= rule.high]
    one = st.one_of(st.sampled_from([*ends, *faint]), st.floats(rule.low, rule.high))
    if isinstance(rule, Capacities):
        return st.lists(one, min_size=1, max_size=3)
    return st.lists(one, min_size=2, max_size=2).map(sorted) if isinstance(rule, Span) else one


FIELDS = {name: values_of(rule) for name, rule in RULES.items() if isinstance(rule, Within)}
FIELDS |= {
    "num_ues": st.integers(1, 5),
    "mobility": st.sampled_from(sorted(MODELS)),
    "channel": st.sampled_from(sorted(CHANNELS)),
    "free_space_reference": st.booleans(),
    "ue_xy": st.none() | st.just(((0.0, 0.0),)),
    "reachable_servers": st.none() | st.just(1),
    "server_xy": st.none(),  # as many as there are capacities: test_site_plan
}


def test_every_field_has_its_ends_here():
    assert set(FIELDS) == set(RULES)


@pytest.mark.parametrize("name", [n for n, rule in RULES.items() if isinstance(rule, Within)])
def test_a_number_beyond_the_ends_is_refused_with_the_ends(name: str):
    rule = RULES[name]
    high = re.escape(f"{rule.high:g}")
    for beyond in (rule.low - max(abs(rule.low), 1e-9), rule.high * 1.5):
        value = [beyond] if isinstance(rule, Capacities) else beyond
        with pytest.raises(ValueError, match=rf"^Scenario\.{name}(\[0\])? is .*{high}"):
            load_scenario("paper").replace(**{name: value})


def play(scenario: Scenario, seed: int, text: str) -> None:
    rng = np.random.default_rng(seed)
    instances = sample_instances(scenario, 2, rng)
    Instances(**vars(instances))  # its own constructor accepts it
    prompts = Prompts.of(text, 2)
    goal = prompts.objective(instances)
    place = rng.integers(0, scenario.num_servers + 1, instances.cycles.shape)
    assert np.isfinite(physics.association_cost(instances, place, goal)).all()
    for name in ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0"):
        arguments = ENVIRONMENTS[name].arguments_class()(scenario=scenario, num_slots=2)
        env = WorldVectorEnv(arguments, 2, "NextStep")
        env.action_space.seed(seed)
        observation, _ = env.reset(seed=seed)
        for _ in range(2 * scenario.num_ues):
            for part in observation.values():
                if getattr(part, "dtype", None) == np.float32:
                    assert ((part >= 0) & (part <= 1)).all()
            observation, reward, *_ = env.step(env.action_space.sample())
            assert np.isfinite(reward).all()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries(FIELDS), st.integers(0, 1000), st.sampled_from(TEXTS))
def test_whatever_a_scenario_accepts_can_be_played(fields: dict, seed: int, text: str):
    with warnings.catch_warnings(), np.errstate(divide="raise", over="raise", invalid="raise"):
        warnings.simplefilter("error")
        play(Scenario(**fields), seed, text)


def test_a_weak_link_is_slow_and_never_dead():
    far = load_scenario("paper").replace(side_m=1e4, path_loss_exponent=6.0)
    instances = sample_instances(far, 8, np.random.default_rng(0))
    assert (instances.uplink_bps > 0).all()
    snr = np.array([1e-30, 1e-17, 1e-9, 0.999e-3, 1e-3, 1.0, 1e6])
    unit = Scenario(noise_dbm_per_hz=30, noise_figure_db=0, bandwidth_hz=1.0)
    rate = channel.rate_bps(snr[None, :, None], np.ones((1, 7)), unit, np)[0, :, 0]
    np.testing.assert_allclose(rate, np.log1p(snr) / np.log(2), rtol=1e-12)
    np.testing.assert_array_equal(rate[4:], np.log2(1 + snr[4:]))  # as it was, to the bit


def test_a_rician_factor_beyond_sense_is_refused():
    with pytest.raises(ValueError, match=r"rician_k_db is 4000; allowed: .*100, or inf for no"):
        lambo_env.load_scenario("paper").replace(rician_k_db=4000)
