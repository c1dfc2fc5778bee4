"""Experts of ALEF: who may be one, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from alef_cases import QUICK, Nearest, equal, make, play, slot, weights_of

from lambo_agents.adapter import PolicyAgent
from lambo_agents.alef.expert import ExpertError, Label, Labels
from lambo_agents.registry import make_agent
from lambo_env.offloading.instances import Decision
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exact", {"gap": 1e-2}),
        ("local-search", {}),
        ("de", {"generations": 2}),
        ("policy-gradient", {"iterations": 3, "samples": 4}),
        ("greedy", {}),
    ],
)
def test_any_registered_agent_may_be_the_expert(name, options):
    agent = make_agent(
        "lambo-s+alef", expert=name, expert_options=options, labels_per_slot=2, update=QUICK
    )
    assert play(agent, *slot(4)) == 2 and agent.asked == 2


def test_a_policy_of_stable_baselines3_may_be_the_expert():
    """An SAC of random weights on an instance so easy that no decision is late.

    Late ones of any expert are refused (below).
    """
    sb3 = pytest.importorskip("stable_baselines3")
    scenario = load_scenario("tiny").replace(num_ues=1, data_bits=(1e5, 3e5))
    env = gym.make("LAMBO-MEC-v0", scenario=scenario, prompt="minimum latency")
    sac = sb3.SAC("MultiInputPolicy", env, buffer_size=10, seed=0)
    agent = make(expert=PolicyAgent(sac, "LAMBO-MEC-v0"))
    assert play(agent, sample_instances(scenario, 6, np.random.default_rng(0)), slot()[1]) == 2
    assert agent.labels_used == 2


class Fails:
    def decide(self, instances, prompts, rng):
        raise RuntimeError("no licence")


class Overfull(Nearest):
    def decide(self, instances, prompts, rng):
        good = super().decide(instances, prompts, rng)
        return Decision(good.place, 2 * good.cpu_hz)


class Lazy(Nearest):
    def decide(self, instances, prompts, rng):
        good = super().decide(instances, prompts, rng)
        return Decision(good.place, 1e-3 * good.cpu_hz)


class Picky(Nearest):
    def supports(self, instances):
        return "too many UEs"


class Mute:
    def decide(self, instances, prompts, rng):
        return None


@pytest.mark.parametrize(
    ("expert", "text"),
    [
        (Fails(), "'Fails' failed: RuntimeError: no licence"),
        (Overfull(), "'Overfull' gave an illegal decision: Decision.cpu_hz summed"),
        (Lazy(), "'Lazy' labels late: UE"),
        (Picky(), "'Picky' cannot decide these instances: too many UEs"),
        (Mute(), "'Mute' gave an illegal decision"),
    ],
)
def test_a_bad_expert_leaves_the_network_as_it_was(expert, text):
    agent = make(expert=expert)
    before = weights_of(agent)
    with pytest.raises(ExpertError, match=text):
        play(agent, *slot())
    assert len(equal(before, weights_of(agent))) == len(before)
    assert (agent.slot, agent.labels_used) == (0, 0)


def test_a_damaged_label_is_refused(tmp_path):
    instances, prompts = slot(1)
    label = Label(instances, prompts, np.zeros(6, dtype=np.int64))
    Labels(tmp_path).add(label)
    path = tmp_path / f"{label.key}.npz"
    assert Labels(tmp_path).find(label.key).prompts == prompts
    whole = path.read_bytes()
    newer = whole.replace(b"PK\x01\x02-\x03-", b"PK\x01\x02-\x03\xba")  # a ZIP of version 18.6
    assert newer != whole
    for damaged in (whole[:200], newer):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="allowed: a whole .npz"):
            Labels(tmp_path).find(label.key)
