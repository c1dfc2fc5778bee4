"""5,000 cases of nonsense: constructors, TOML, JSON, weights, archives, options.

Each is refused by one clear error, or taken and then works. Nothing is written beside the folder of
the case. The fast run takes a sample.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import pkgutil
import tomllib
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

import lambo_env
from baselines.neural import checkpoint as dnn
from baselines.sb3.agent import SB3Agent
from benchmarks import cli
from benchmarks.adaptation import runner
from benchmarks.adaptation.plan import load_plan
from benchmarks.report import tables
from benchmarks.sweep.config import SWEEPS, load_sweep
from lambo_agents import registry
from lambo_agents.alef.expert import Label
from lambo_agents.network import checkpoint
from lambo_env import Instances, Prompts, registration
from lambo_env.utils import jsons, runs
from lambo_env.utils.rules import Ruled

CLEAR = (ValueError, OSError, ImportError)  # what the command line shows as one line
SHARES = [0.01, pytest.param(1.0, marks=pytest.mark.slow)]  # of the cases
QUICK = ("local", "random", "greedy", "local-search", "exact")

NUMBERS = st.one_of(
    st.integers(-3, 9),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 2**63, 5e-324, 1e308, -0.0]),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "../victim", "/no/such/place", "a/../../victim", "\0", "x" * 3000, "\ud800"]
    ),
    st.sampled_from(["[/v2]", "$\\foo{$", "\x1b[2J", "nan", "tiny", "greedy", "minimum latency"]),
)
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JUNK = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
LIKELY = st.sampled_from(  # what many fields take
    [
        *(1, 2, 3, 0.5, 1.0, 1e-3, 1e9, True, False, None, "tiny", "paper", "greedy", "cost"),
        *((1, 2), [1.0, 2.0], (0.5, 1.0), ["tiny"], ("latency",), "minimum energy", {}, [1e10]),
    ]
)
DEEP: Any = []
for _ in range(3000):
    DEEP = [DEEP]


def fuzz(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], cases: float) -> None:
    """Try ``check`` on so many cases; a clear error is an answer."""

    @settings(
        max_examples=max(1, round(cases)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def each(case: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy, torch and Gymnasium on odd values
            try:
                check(case)
            except CLEAR as error:
                assert str(error)

    each()


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder of the case's own within one that must stay as it is."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "victim").write_text("untouched")
    monkeypatch.chdir(inside)
    monkeypatch.setenv("LAMBO_CACHE", str(inside / "cache"))
    yield inside
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "victim"]
    assert (tmp_path / "victim").read_text() == "untouched"


# ---- constructors --------------------------------------------------------------------------------


def ruled_classes() -> list[type[Ruled]]:
    """Return every configuration that states rules."""
    found, queue = [], [Ruled]
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        found.append(kind)
    return sorted((k for k in found if "tests" not in k.__module__), key=lambda kind: kind.__name__)


def fields_of(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), JUNK | LIKELY, min_size=1, max_size=2)


def build(case: tuple[type[Ruled], dict[str, Any]]) -> None:
    kind, fields = case
    made = kind.from_dict(fields)
    assert kind.from_dict({name: getattr(made, name) for name in kind.field_names()}) == made
    if isinstance(made, lambo_env.Scenario) and made.num_ues * made.num_servers <= 10_000:
        drawn = lambo_env.sample_instances(made, 2, np.random.default_rng(0))
        decision = registry.make_agent("greedy").decide(
            drawn, Prompts.of("minimum latency", 2), np.random.default_rng(0)
        )
        objective = Prompts.of("minimum latency", 2).objective(drawn)
        assert np.isfinite(lambo_env.evaluate(drawn, decision, objective).cost).all()


def play(case: tuple[str, dict[str, Any]]) -> None:
    name, arguments = case
    env = gym.make(name, **arguments)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


def decide(case: tuple[str, dict[str, Any]]) -> None:
    name, arguments = case
    agent: Any = registry.make_agent(name, **arguments)
    if name in QUICK:
        drawn = lambo_env.sample_instances(
            lambo_env.load_scenario("tiny"), 1, np.random.default_rng(0)
        )
        agent.decide(drawn, Prompts.of("minimum latency", 1), np.random.default_rng(0))


@pytest.mark.parametrize("share", SHARES)
def test_configurations(share: float) -> None:
    kinds = [kind for kind in ruled_classes() if kind.field_names()]
    cases = st.sampled_from(kinds).flatmap(
        lambda kind: st.tuples(st.just(kind), fields_of(kind.field_names()))
    )
    fuzz(cases, build, 900 * share)


@pytest.mark.parametrize("share", SHARES)
def test_environments(share: float) -> None:
    cases = st.sampled_from(registration.list_envs()).flatmap(
        lambda name: st.tuples(
            st.just(name), fields_of(registration.ENVIRONMENTS[name].argument_names())
        )
    )
    fuzz(cases, play, 500 * share)


@pytest.mark.parametrize("share", SHARES)
def test_agents(share: float) -> None:
    parameters = {
        name: list(inspect.signature(pkgutil.resolve_name(spec.entry_point)).parameters)
        for name in registry.list_agents()
        if (spec := registry.agent_spec(name)).error is None
    }
    cases = st.sampled_from([name for name, has in parameters.items() if has]).flatmap(
        lambda name: st.tuples(st.just(name), fields_of(parameters[name]))
    )
    fuzz(cases, decide, 400 * share)


# ---- files of text -------------------------------------------------------------------------------


def changed(draw: Callable[[Any], Any], value: Any) -> Any:
    """Return a value with one of its parts replaced by junk."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 5)) == 0:
            return {key: part for key, part in value.items() if key != name}
        return {**value, name: changed(draw, value[name])}
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], changed(draw, value[at]), *value[at + 1 :]]
    return draw(st.one_of(JUNK, st.just(DEEP)) if draw(st.integers(0, 30)) == 0 else JUNK)


def damaged(draw: Callable[[Any], Any], content: bytes) -> bytes:
    """Return a file's bytes with some cut out, changed or put in."""
    for _ in range(draw(st.integers(1, 3))):
        at, what = draw(st.integers(0, len(content))), draw(st.integers(0, 3))
        if what == 0:
            content = content[:at]
        elif what == 1:
            content = content[:at] + draw(st.binary(max_size=9)) + content[at:]
        else:
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    return content


@st.composite
def toml_files(draw: Any) -> tuple[str, bytes]:
    kind = draw(st.sampled_from(sorted(TOML)))
    text = draw(st.sampled_from(TOML[kind][0])).read_bytes()
    if draw(st.integers(0, 2)) == 0:
        return kind, damaged(draw, text)
    try:
        return kind, tomli_w.dumps(changed(draw, tomllib.loads(text.decode()))).encode()
    except (TypeError, ValueError, AttributeError, RecursionError):  # no TOML holds it
        return kind, damaged(draw, text)


def read_toml(case: tuple[str, bytes]) -> None:
    kind, content = case
    path = Path("case.toml")
    path.write_bytes(content)
    TOML[kind][1](path)


_PACKAGE = Path(lambo_env.__file__).parent
_PLANS = Path(inspect.getfile(load_plan)).parent / "plans"
TOML: dict[str, tuple[list[Path], Callable[[Path], Any]]] = {
    "scenario": (
        sorted((_PACKAGE / "scenarios").glob("*.toml")),
        lambda path: lambo_env.load_scenario(str(path)),
    ),
    "sweep": (sorted(SWEEPS.glob("*.toml")), lambda path: load_sweep(str(path)).to_dict()),
    "plan": (sorted(_PLANS.glob("*.toml")), lambda path: load_plan(path).cells()[0].settings),
}


@pytest.mark.parametrize("share", SHARES[1:])
def test_toml(share: float) -> None:
    fuzz(toml_files(), read_toml, 900 * share)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small sweep and of an adaptation."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setenv("LAMBO_CACHE", str(folder / "cache"))
        sweep = ["--agents", "local,greedy", "--scenarios", "tiny", "--prompts", "minimum latency"]
        out = ["--jobs", "1", "--no-figures", "--out", str(folder / "sweep")]
        assert cli.main(["bench", "quick", *sweep, *out]) == 0
        adapt = ["--drifts", "capacity-abrupt", "--methods", "greedy", "--seeds", "1", "--batch=2"]
        out = ["--jobs", "1", "--no-figures", "--out", str(folder / "adapt"), "--slots=10"]
        assert cli.main(["adapt", "--scenario", "tiny", *adapt, *out]) == 0
    names = {
        "results.jsonl": folder / "sweep" / "results.jsonl",
        "manifest.json": folder / "sweep" / "manifest.json",
        "run.json": folder / "adapt" / "run.json",
        "cell.json": next((folder / "adapt" / "cells").glob("*.json")),
    }
    return {name: path.read_bytes() for name, path in names.items()}


def read_json(name: str) -> None:
    if name == "run.json":
        runs.check_same(Path(name), {"command": "adapt"})
    elif name == "cell.json":
        runner.read(Path(name))
    else:
        tables.load(Path())


@pytest.mark.parametrize("share", SHARES[1:])
def test_json(results: dict[str, bytes], share: float) -> None:
    @st.composite
    def cases(draw: Any) -> tuple[str, bytes]:
        name = draw(st.sampled_from(sorted(results)))
        if draw(st.integers(0, 2)) == 0:
            return name, damaged(draw, results[name])
        lines = results[name].splitlines() if name.endswith("l") else [results[name]]
        at = draw(st.integers(0, len(lines) - 1))
        value = changed(draw, json.loads(lines[at]))
        lines[at] = b"[" * 100_000
        if draw(st.integers(0, 20)):
            with contextlib.suppress(RecursionError):  # a value too deep to be written stays so
                lines[at] = json.dumps(value).encode()
        return name, b"\n".join(lines) + b"\n"

    def check(case: tuple[str, bytes]) -> None:
        for name, content in {**results, case[0]: case[1]}.items():
            Path(name).write_bytes(content)
        read_json(case[0])

    fuzz(cases(), check, 900 * share)


# ---- weights and archives ------------------------------------------------------------------------


WEIGHTS: dict[str, tuple[Path, Callable[[Path], Any]]] = {
    "droo": (dnn.WEIGHTS / "droo.safetensors", lambda path: dnn.load_net(path, "droo")),
    "are-small": (
        dnn.WEIGHTS / "are-small.safetensors",
        lambda path: registry.make_agent("are-small", weights=str(path)),
    ),
    "sb3": (dnn.WEIGHTS / "maskable-ppo.safetensors", lambda path: SB3Agent(path)),
    "lambo": (checkpoint.WEIGHTS / "lambo-s.safetensors", checkpoint.load_network),
}


@pytest.mark.parametrize("share", SHARES[1:])
def test_weights(share: float) -> None:
    whole = {name: path.read_bytes() for name, (path, _) in WEIGHTS.items()}

    @st.composite
    def cases(draw: Any) -> tuple[str, bytes]:
        name = draw(st.sampled_from(sorted(whole)))
        content = whole[name]
        size = int.from_bytes(content[:8], "little")
        if draw(st.booleans()):  # the header, where most is to be misread
            header = damaged(draw, content[8 : 8 + size])
            length = len(header) if draw(st.booleans()) else size
            return name, length.to_bytes(8, "little") + header + content[8 + size :]
        return name, damaged(draw, content)

    def check(case: tuple[str, bytes]) -> None:
        path = Path("case.safetensors")
        path.write_bytes(case[1])
        WEIGHTS[case[0]][1](path)

    fuzz(cases(), check, 500 * share)


@pytest.mark.parametrize("share", SHARES[1:])
def test_archives(share: float) -> None:
    drawn = lambo_env.sample_instances(lambo_env.load_scenario("tiny"), 1, np.random.default_rng(0))
    drawn.save("instances.npz")
    prompts = Prompts.of("minimum latency", 1)
    Label(drawn, prompts, np.zeros((1, 6), np.int64)).save(Path("label.npz"))
    whole = {name: Path(name).read_bytes() for name in ("instances.npz", "label.npz")}
    readers: dict[str, Callable[[Path], Any]] = {
        "instances.npz": Instances.load,
        "label.npz": Label.load,
    }

    @st.composite
    def cases(draw: Any) -> tuple[str, bytes]:
        name = draw(st.sampled_from(sorted(whole)))
        return name, damaged(draw, whole[name])

    def check(case: tuple[str, bytes]) -> None:
        Path("case.npz").write_bytes(case[1])
        readers[case[0]](Path("case.npz"))

    fuzz(cases(), check, 500 * share)


# ---- options -------------------------------------------------------------------------------------

VERBS: dict[str, tuple[list[str], list[str]]] = {
    "evaluate local": (["--scenario", "tiny", "--instances", "2"], ["scenario", "prompt", "seed"]),
    "bench quick": (
        ["--agents", "local", "--scenarios", "tiny", "--jobs", "1", "--no-figures"],
        ["agents", "scenarios", "prompts", "instances", "out"],
    ),
    "scenario show tiny": ([], ["format"]),
    "scenario show": ([], ["name"]),
    "check agent": (["--name", "local"], ["name", "scenario"]),
    "report": ([], ["folder", "compare", "out"]),
    "new-agent": ([], ["name", "out"]),
    "render": (
        ["--agent", "local", "--scenario", "tiny", "--out", "film.txt", "--no-bound"],
        ["agent", "scenario", "prompt", "out", "fps"],
    ),
    "train droo": (
        ["--slots", "10", "--scenario", "tiny", "--measured", "0", "--out", "droo.safetensors"],
        ["out", "scenario", "size", "width", "batch"],
    ),
    "adapt": (
        ["--methods", "local", "--drifts", "data-abrupt", "--batch", "1", "--slots", "2"],
        ["methods", "drifts", "scenario", "expert", "weights"],
    ),
    "list": ([], ["agents", "x"]),
}


@pytest.mark.parametrize("share", SHARES[1:])
def test_options(share: float) -> None:
    @st.composite
    def cases(draw: Any) -> list[str]:
        verb = draw(st.sampled_from(sorted(VERBS)))
        given_options, names = VERBS[verb]
        out = ["--seeds", "1", "--jobs", "1", "--no-figures"] if verb == "adapt" else []
        line = [*verb.split(), *given_options, *out]
        name, value = draw(st.sampled_from(names)), str(draw(PLAIN))
        for place, word in enumerate(line):
            if word == f"--{name}":
                del line[place : place + 2]
                break
        return [*line, f"--{name}={value}"]

    def check(line: list[str]) -> None:
        said, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(errors):
            code = cli.main(line)
        assert code in (0, 1, 2)
        assert "Traceback" not in errors.getvalue()
        if code == 2:
            assert errors.getvalue().startswith("lambo: error: ")

    fuzz(cases(), check, 400 * share)


def test_the_json_of_others_is_read_by_one_reader() -> None:
    """A value nested too deeply is an error, whatever reads it."""
    with pytest.raises(ValueError, match="too deeply"):
        jsons.loads("[" * 100_000)
