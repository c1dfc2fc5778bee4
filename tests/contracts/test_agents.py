"""Every registered agent keeps the contract; check_agent finds each planted fault and names it."""

import concurrent.futures
import dataclasses
import pickle
import random

import numpy as np
import pytest
from queue_slots import queue_slots

from baselines.heuristics.local import Local
from baselines.heuristics.random import Random
from lambo_agents.protocol import unsupported
from lambo_agents.registry import agent_spec, list_agents
from lambo_agents.testing.agent_checks import AgentCheckError, check_agent
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.rows import read_only
from lambo_env.wpmec.scenario import WpmecScenario
from lambo_env.wpmec.scenario import sample_instances as wpmec_instances

SMALL = {"de": {"generations": 5, "population": 8}}  # what slow agents are checked with
QUEUEING = (
    *("shortest-finish", "local-if-fits", "least-cost", "power-of-two", "lyapunov"),
    *("linear-rule", "rollout", "droo-q", "lambo-q"),
)
ELSEWHERE = [n for n in list_agents() if n.startswith("wpmec-") or n in QUEUEING]
NAMES = [
    name
    for name in list_agents()
    if agent_spec(name).origin == "lambo-mec"  # what else is installed here is not ours to test
    # other worlds' are tested under tests/baselines
    and not name.startswith("wpmec-")
    and name not in QUEUEING
    and name != "lambo-onnx"  # plays a folder; tests/lambo_agents/export makes one
]
Rng = np.random.Generator


def made(name: str) -> object:
    spec = agent_spec(name)
    if spec.error and spec.extra:
        pytest.importorskip("torch", reason=spec.error)
    return spec.make(**SMALL.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_registered_agents_keep_the_contract(name: str):
    agent = made(name)
    tiny = sample_instances(load_scenario("tiny"), 1, np.random.default_rng(0))
    scenario = (
        "tiny" if unsupported(agent, tiny) is None else "paper"
    )  # some networks are cut for one number of UEs
    report = check_agent(
        agent, scenario, torch_device="cpu" if pytest.importorskip("torch") else None
    )
    assert len(report.rows) == 20


ONLINE = ("droo-q",)  # learns slot by slot while it decides: its answers depend on those before


@pytest.mark.parametrize("name", [n for n in (*NAMES, *ELSEWHERE) if n not in ONLINE])
def test_registered_agents_can_be_pickled_and_shared_by_threads(name: str):
    agent = made(name)
    instances, prompts = supported(agent), Prompts.of(["minimum latency", "minimum energy"] * 3)
    rows = [(instances.take([k]), prompts.take([k])) for k in range(6)]

    def decide(of: object, row: tuple) -> Decision:
        return of.decide(*row, np.random.default_rng(0))

    want = [decide(agent, row) for row in rows]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        shared = list(threads.map(lambda row: decide(agent, row), rows))
    copy = pickle.loads(pickle.dumps(agent))
    for got in (shared, [decide(copy, row) for row in rows]):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a.place, b.place)
            np.testing.assert_array_equal(a.cpu_hz, b.cpu_hz)


def supported(agent: object) -> object:
    """Return six instances that an agent supports, read-only as a sweep's are."""
    rng = np.random.default_rng(0)
    worlds = [sample_instances(load_scenario(name), 6, rng) for name in ("tiny", "paper")]
    worlds += [wpmec_instances(WpmecScenario(), 6, rng), queue_slots(6)]
    return read_only(next(world for world in worlds if unsupported(agent, world) is None))


@pytest.mark.parametrize("name", ["greedy", "random", "local"])
@pytest.mark.parametrize("scenario", ["paper", "hetero", "are2020"])
def test_quick_agents_keep_it_elsewhere(name: str, scenario: str):
    check_agent(made(name), scenario)


class Wrong:
    """Sends UE n to server n mod M under the closed form, then spoils it."""

    def sound(self, instances: Instances) -> Decision:
        ues, servers = np.arange(instances.num_ues), instances.num_servers
        place = np.tile(1 + ues % servers, (instances.batch_size, 1))
        return Decision(place, physics.allocate(instances, place))

    def decide(self, instances: Instances, prompts: Prompts, rng: Rng) -> object:
        return self.spoil(self.sound(instances), instances, rng)

    def spoil(self, decision: Decision, instances: Instances, rng: Rng) -> object:
        return decision


def test_the_agent_that_the_faults_are_planted_in_is_sound():
    report = check_agent(Wrong())
    assert [row.name for row in report.failures] == []


class NoDecide:
    pass


class Raises(Wrong):
    def spoil(self, decision, instances, rng):
        raise KeyError("weights")


class Pair(Wrong):
    def spoil(self, decision, instances, rng):
        return decision.place, decision.cpu_hz


class Lists(Wrong):
    def spoil(self, decision, instances, rng):
        return Decision(decision.place.tolist(), decision.cpu_hz)


class Squeezed(Wrong):
    def spoil(self, decision, instances, rng):
        return decision.take(0)


class FloatPlaces(Wrong):
    def spoil(self, decision, instances, rng):
        return Decision(decision.place.astype(float), decision.cpu_hz)


class IntCpu(Wrong):
    def spoil(self, decision, instances, rng):
        return Decision(decision.place, decision.cpu_hz.astype(int))


class PlaceTooHigh(Wrong):
    def spoil(self, decision, instances, rng):
        decision.place[1, 2] = instances.num_servers + 1
        return decision


class UndecidedPlace(Wrong):
    def spoil(self, decision, instances, rng):
        decision.place[0, 5] = -1
        return decision


class NanCpu(Wrong):
    def spoil(self, decision, instances, rng):
        decision.cpu_hz[2, 0] = np.nan
        return decision


class NegativeCpu(Wrong):
    def spoil(self, decision, instances, rng):
        decision.cpu_hz[0, 0] = -1.0
        return decision


class LocalWithServer(Wrong):
    def spoil(self, decision, instances, rng):
        decision.place[0, 3] = 0
        return decision


class Greedier(Wrong):
    def spoil(self, decision, instances, rng):
        return Decision(decision.place, decision.cpu_hz * 1.01)


class OwnGenerator(Wrong):
    def spoil(self, decision, instances, rng):
        return Random().decide(instances, None, np.random.default_rng())


class Remembers(Wrong):
    calls = 0

    def spoil(self, decision, instances, rng):
        self.calls += 1
        return Local().decide(instances, None, rng) if self.calls % 2 else decision


class Buffer(Wrong):
    """Answers in one array, which its next call overwrites."""

    def spoil(self, decision, instances, rng):
        self.kept = getattr(self, "kept", np.zeros_like(decision.cpu_hz))
        self.kept[: len(decision.cpu_hz)] = decision.cpu_hz
        return Decision(decision.place, self.kept[: len(decision.cpu_hz)])


class GlobalNumpy(Wrong):
    def spoil(self, decision, instances, rng):
        np.random.rand()  # noqa: NPY002 - the fault
        return decision


class GlobalPython(Wrong):
    def spoil(self, decision, instances, rng):
        random.random()
        return decision


class WritesInstances(Wrong):
    def spoil(self, decision, instances, rng):
        instances.deadline_s[0, 1] = 3.0
        return decision


class WritesField(Wrong):
    def spoil(self, decision, instances, rng):
        object.__setattr__(instances, "server_cpu_hz", instances.server_cpu_hz * 2)
        return decision


class FirstRowForAll(Wrong):
    """Decides by the batch's mean, so that a row depends on its neighbours."""

    def decide(self, instances, prompts, rng):
        objective = prompts.objective(instances)
        place = np.zeros(instances.cycles.shape, np.int64) + int(np.ptp(objective.cost_per_s) > 0)
        return Decision(place, physics.allocate(instances, place))


class OnlyMixed(Wrong):
    def decide(self, instances, prompts, rng):
        if len(set(prompts.texts)) == 1 and instances.batch_size > 1:
            raise RuntimeError("one objective only")
        return self.sound(instances)


class NeedsTwoUes(Wrong):
    def spoil(self, decision, instances, rng):
        assert instances.num_ues > 1
        return decision


class FourServers(Wrong):
    def spoil(self, decision, instances, rng):
        return Decision(decision.place, decision.cpu_hz + 0 * instances.server_cpu_hz[:, 3:4])


class FloorsWithoutLimit(Wrong):
    def spoil(self, decision, instances, rng):
        if np.isfinite(physics.floors_hz(instances)).any():
            return decision
        return Decision(decision.place, np.full_like(decision.cpu_hz, np.inf))


class FloorsWhateverIsLeft(Wrong):
    def spoil(self, decision, instances, rng):
        floors = np.where(
            np.isfinite(physics.floors_hz(instances)), physics.floors_hz(instances), 0.0
        )
        mine = np.take_along_axis(floors, instances.xp.asarray(decision.place)[..., None] - 1, -1)[
            ..., 0
        ]
        return Decision(decision.place, mine)


class WrongSupports(Wrong):
    def supports(self, instances):
        return False


class SupportsNothing(Wrong):
    def supports(self, instances):
        return "needs 50 UEs"


FAULTS = [
    (NoDecide, "decide", r"NoDecide has no decide\(instances, prompts, rng\)"),
    (Raises, "decide", "KeyError: 'weights'"),
    (WrongSupports, "decide", r"supports\(instances\) is False; allowed: None, or the reason"),
    (SupportsNothing, "decide", "needs 50 UEs.*a scenario it supports"),
    (Pair, "type", "is 'tuple'; allowed: lambo_env.Decision"),
    (Lists, "type", "Decision.place is 'list'; allowed: numpy.ndarray"),
    (Squeezed, "shapes", r"Decision.place.shape is \(6,\); allowed: \[B, N\] = \(3, 6\)"),
    (FloatPlaces, "dtypes", "Decision.place.dtype is 'float64'; allowed: an integer dtype"),
    (IntCpu, "dtypes", "Decision.cpu_hz.dtype is 'int64'; allowed: a floating dtype"),
    (PlaceTooHigh, "legal places", r"Decision.place\[1, 2\] is 5; allowed: 0 \(local\) .. 4"),
    (UndecidedPlace, "legal places", r"Decision.place\[0, 5\] is -1"),
    (NanCpu, "legal cpu", r"Decision.cpu_hz\[2, 0\] is nan; allowed: finite"),
    (NegativeCpu, "legal cpu", r"Decision.cpu_hz\[0, 0\] is -1.0"),
    (
        LocalWithServer,
        "local without server",
        r"Decision.cpu_hz\[0, 3\] is .*; allowed: 0 for a local task",
    ),
    (
        Greedier,
        "capacity",
        r"summed over server\[0, 0\] is 1515.*; allowed: at most server_cpu_hz = 1.5e\+10",
    ),
    (
        OwnGenerator,
        "same rng, same answer",
        r"second call with an equal generator: .*\[\d, \d\] is",
    ),
    (
        Remembers,
        "same rng, same answer",
        r"second call with an equal generator: place\[0, 0\] is 1",
    ),
    (Buffer, "same rng, same answer", "Decision.cpu_hz of two calls is one array"),
    (GlobalNumpy, "no global randomness", "global generator; allowed: the rng that it is given"),
    (GlobalPython, "no global randomness", "global generator; allowed: the rng that it is given"),
    (WritesInstances, "input untouched", r"Instances.deadline_s after decide\[0, 1\] is 3.0"),
    (WritesField, "input untouched", r"Instances.server_cpu_hz after decide\[0, 0\] is 3"),
    (FirstRowForAll, "batch = one by one", r"row 0 alone against the batch: place\[0, 0\] is 0"),
    (OnlyMixed, "every prompt", "RuntimeError: one objective only"),
    (NeedsTwoUes, "one UE", "AssertionError"),
    (FourServers, "one server", "ValueError|could not be broadcast"),
    (FloorsWithoutLimit, "hopeless deadline", r"Decision.cpu_hz\[0, 0\] is inf; allowed: finite"),
    (FloorsWhateverIsLeft, "scarce servers", "allowed: at most server_cpu_hz"),
]


@pytest.mark.parametrize(
    ("kind", "check", "pattern"), FAULTS, ids=[kind.__name__ for kind, _, _ in FAULTS]
)
def test_a_planted_fault_is_found_and_named(kind: type, check: str, pattern: str):
    with pytest.raises(AgentCheckError, match=pattern) as caught:
        check_agent(kind())
    assert check in {row.name for row in caught.value.report.failures}


def test_a_fault_of_the_decision_hides_the_checks_that_build_on_it():
    report = check_agent(Squeezed(), raise_on_failure=False)
    assert [row.name for row in report.rows] == ["decide", "type", "shapes"]
    assert "FAIL shapes" in str(report)


class OneSize(Wrong):
    def supports(self, instances):
        return (
            None
            if (instances.num_ues, instances.num_servers) == (6, 4)
            else "needs 6 UEs and 4 servers"
        )


def test_unsupported_instances_are_left_out_with_the_reason():
    rows = {row.name: row for row in check_agent(OneSize()).rows}
    for name in ("one UE", "one server"):
        assert (rows[name].ok, rows[name].detail) == (
            None,
            "not supported: needs 6 UEs and 4 servers",
        )
    assert rows["torch"].ok is None


@pytest.mark.parametrize(("declared", "passes"), [(True, False), (False, True)])
def test_batch_invariance_can_be_declared(declared: bool, passes: bool):
    kind = Random if declared else FirstRowForAll  # either differs from the batch when alone
    agent = kind()
    agent.batch_invariant = declared
    rows = {row.name: row for row in check_agent(agent, raise_on_failure=False).rows}
    assert rows["batch = one by one"].ok is passes


class RefusesTorch(Wrong):
    def decide(self, instances, prompts, rng):
        if not isinstance(instances.cycles, np.ndarray):
            raise TypeError("NumPy instances only: instances.to('numpy')")
        return self.sound(instances)


class AnswersInNumpy(Wrong):
    def decide(self, instances, prompts, rng):
        return self.sound(instances.to("numpy"))


def test_torch_instances_are_refused_or_answered_in_torch():
    pytest.importorskip("torch")
    rows = {row.name: row for row in check_agent(RefusesTorch(), torch_device="cpu").rows}
    assert rows["torch"].detail == "refused: NumPy instances only: instances.to('numpy')"
    with pytest.raises(AgentCheckError, match="Decision.place is 'ndarray'; allowed: Tensor"):
        check_agent(AnswersInNumpy(), torch_device="cpu")


def test_a_time_limit_is_kept():
    with pytest.raises(AgentCheckError, match=r"ms per instance, 3 at once; allowed: 0 ms"):
        check_agent(Wrong(), limit_ms=0.0)


def test_the_scenario_can_be_any():
    scenario = dataclasses.replace(load_scenario("tiny"), num_ues=3)
    assert check_agent(Local(), scenario).failures == []


@pytest.mark.parametrize("scenario", ["tinny", 3, None, "no/file.toml", -1.0])
def test_bad_scenarios_are_refused(scenario: object):
    with pytest.raises(ValueError, match="scenario"):
        check_agent(Local(), scenario)
