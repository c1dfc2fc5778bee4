"""Five bad values for every public parameter.

Environments, data, prompts, agents and what configures them.

The parameters are found by introspection, and their values by annotation, so a new one is walked
too; one whose annotation is new fails here until VALUES or SPECIAL says what is bad.
"""

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import baselines
import lambo_env
from lambo_agents import registry
from lambo_env import Decision, Instances, Objective, Prompts, Scenario, registration
from lambo_env.datasets.are import load_are
from lambo_env.datasets.droo import load_droo
from lambo_env.offloading import drift
from lambo_env.wpmec.instances import Frames, generate

TEXT = ("", 3, 1.5, ["x"], "no such thing")
NUMBER = (math.nan, "1", [1.0, 2.0, 3.0], True, -math.inf)
OBJECT = (3, "big", 1.5, [1], True)
VALUES: dict[str, tuple[Any, ...]] = {
    "bool": (None, "yes", 2, 0.5, [1]),
    "int": (-7, 2.5, "3", math.nan, [4]),
    "float": NUMBER,
    "float | tuple[float, float]": (*NUMBER, (0.9, 0.1)),
    "str": TEXT,
    "str | os.PathLike[str]": TEXT,
    **dict.fromkeys(("str | Path", "str | Path | AED", "str | Path | QueueNet"), TEXT),
    "str | Agent": TEXT,
    "str | AutoresetMode": TEXT,
    "Improver | str": TEXT,
    "Source": ("", 3, 1.5, ["x"], {"num_uess": 3}),
    "str | os.PathLike[str] | Mapping[str, Any] | Scenario": ("", 3, 1.5, ["x"], {"num_uess": 3}),
    "str | Sequence[str]": ("", 3, b"minimum latency", [], ["be nice about it"]),
    "Prompt | Prompts | Sequence[Prompt]": (3, b"minimum latency", [], ["x"], ("x", 1.5)),
    "str | Reward": TEXT,
    "str | os.PathLike[str] | Floats": ("", 3, 1.5, ["x"], "gone.json"),
    "Sequence[str]": ([], 3, "no such thing", ["x"], [3]),
    "tuple[int, ...]": (3, "8", [0], [2.5], [-1]),
    "Frames | str | os.PathLike[str]": ("", 3, 1.5, ["x"], "absent.mat"),
    "np.random.Generator": (3, 1.5, "seed", [0], np.random),
    "Mapping[str, Any]": OBJECT,
    "UpdateConfig | Mapping[str, Any]": OBJECT,
    **dict.fromkeys(
        ("Agent", "AreSmallConfig", "DrooConfig", "DrooSlotConfig", "DrooWpmecConfig", "NetConfig"),
        OBJECT,
    ),
    **dict.fromkeys(("Decision", "Instances", "Objective", "Scenario"), OBJECT),
    "tuple[str, ...]": ("", 3, [], [3], b"minimum latency"),
    "str | os.PathLike[str] | Mapping[str, Any] | QueueScenario": (
        *("", 3, 1.5, ["x"], {"num_uess": 3}),
    ),
    **dict.fromkeys(
        (
            "str | Mapping[str, Any] | Scenario",
            "str | Mapping[str, Any] | drifts.Drift",
            "str | Drift | Mapping[str, Any]",
        ),
        ("", 3, 1.5, ["x"], {"num_uess": 3}),
    ),
    "Floats": ("1", [[0.1]], [math.nan] * 4, [-0.1] * 4, {"a": 1}),
    "Range": NUMBER,
    **dict.fromkeys(
        ("tuple[float, float]", "tuple[int, int]"), (3, "8", (0, 1), (2, 1), (1,), (1, math.nan))
    ),
    "tuple[float, ...]": ([], 1e10, [1e10, 0.0], [math.nan], "1e10"),
    "Weights": (-0.1, math.nan, "1", None, [0.5, 0.5]),
}
SPECIAL: dict[tuple[str, str], tuple[Any, ...]] = {
    ("DE", "recombination"): (-0.1, 1.1, math.nan, "half", None),
    ("DE", "population"): (4, -1, 20.0, "many", None),
    ("Exact", "gap"): (0.0, -1e-3, math.nan, "small", 1.0, 1e-7),
    ("Exact", "time_limit_s"): (0, -1, math.nan, "1 s", None, math.inf),
    ("FlatConfig", "depth"): (-1, 2, 2.5, "60", math.nan),
    ("Prompts", "texts"): ("", 3, [], [3], b"minimum latency"),
    ("Prompts", "latency_weight"): (-0.1, math.nan, "1", None, [0.5, 0.5]),
    ("Prompts", "other"): OBJECT,
    ("AreSmall", "shares"): ("1", [0.1], [math.nan] * 4, [-0.1] * 4, {"a": 1}),
    **dict.fromkeys(
        ((kind, "others") for kind in ("NetTraining", "AreTraining", "DrooTraining")),
        ("", 3, [3], b"paper", ["papr"]),
    ),
    ("Frames", "gain"): ("1", [1e-6], [[-1e-6]], [[math.nan]], [[8.4]]),
    ("Frames", "weight"): ("1", [1.0], [1.0, 0.0], [1.0, math.nan], [[1.0, 1.0]]),
    ("load_scenario", "source"): ("", 3, 1.5, ["x"], {"num_uess": 3}),
    ("play", "scenario"): ("", 3, 1.5, ["x"], {"num_uess": 3}),
    ("play", "agent"): OBJECT,
    ("play", "prompts"): (1.5, math.nan, [], {}, "make it so"),
    ("play", "episodes"): (0, -7, 2.5, "3", math.nan),
    ("play", "rng"): (3, 1.5, "seed", [0], np.random),
    ("list_scenarios", "world"): ("", 3, "papr", ["x"], 1.5),
    ("sample_instances", "scenario"): OBJECT,
    ("sample_instances", "num_instances"): (-7, 2.5, "3", math.nan, [4]),
    ("sample_instances", "rng"): (3, 1.5, "seed", [0], np.random),
    **dict.fromkeys(
        (("register_env", "summary"), ("register_world", "summary")), (3, 1.5, ["x"], True, b"x")
    ),
    ("ALEF", "folder"): (3, 1.5, ["x"], True, {"a": 1}),
}
# What an error may say instead of the parameter's name: the function that was handed the value
# knows it by another.
ALSO_CALLED = {
    "prompt": ("Prompts.texts",),
    "texts": ("prompt",),
    "source": ("scenario",),
    "scenario": ("QueueScenario",),
    "name": ("drift",),
    "polish": ("agent",),
    "expert": ("agent",),
}
MANDATORY: dict[str, dict[str, Any]] = {
    "register_env": {"id": "Absent-v0", "world": "offloading", "arguments": "absent:Env"},
    "register_world": {"name": "absent"},
    "load_droo": {"path": "absent.mat"},
    "load_drift": {"drift": "capacity-abrupt"},
    "generate": {"num_devices": 3, "batch": 2, "rng": np.random.default_rng(0)},
    "Frames": {"gain": [[1e-6, 1e-6]]},
    "Prompts": {"texts": "minimum latency", "latency_weight": 1.0},
    "of": {"texts": "minimum latency"},
    "sample": {"batch": 3, "rng": np.random.default_rng(0)},
    "play": {
        "scenario": lambo_env.queueing.QueueScenario(num_ues=1, num_slots=1),
        "agent": SimpleNamespace(decide=lambda *_: None),
        **{"prompts": 1.0, "episodes": 1, "rng": np.random.default_rng(0)},
    },
    "sample_instances": {
        "scenario": Scenario(num_ues=2),
        "num_instances": 1,
        "rng": np.random.default_rng(0),
    },
}
FUNCTIONS = (
    load_are,
    load_droo,
    generate,
    Frames,
    Prompts,
    Prompts.of,
    Prompts.sample,
    drift.load_drift,
)
# Arrays and their holders have tables of their own, made for shapes; they meet every field too.
ELSEWHERE = {
    Scenario: "test_scenario",
    Instances: "test_instances",
    **dict.fromkeys((lambo_env.evaluate, lambo_env.allocate, lambo_env.upload_s), "test_physics"),
}
HOLDERS = (Decision, Objective, lambo_env.Outcome)  # plain: `evaluate` checks what they hold


def agents() -> Iterator[tuple[str, Callable[..., Any]]]:
    for spec in registry.agent_specs():
        if spec.origin == "lambo-mec":
            assert spec.error is None, spec.error
            yield spec.name, _class_of(spec.entry_point)


def _class_of(entry_point: str) -> Callable[..., Any]:
    module, _, name = entry_point.partition(":")
    found = getattr(importlib.import_module(module), name)
    return _class_of(found.entry_point) if isinstance(found, registry.AgentSpec) else found


def environments() -> Iterator[tuple[str, Callable[..., Any]]]:
    for env_id, row in registration.ENVIRONMENTS.items():
        yield env_id, row.arguments_class()


def settings() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Dataclasses of options of the baselines."""
    for found in pkgutil.walk_packages(baselines.__path__, "baselines."):
        if found.name.startswith("baselines.sb3"):
            continue  # tests/baselines/sb3/test_train.py
        module = importlib.import_module(found.name)
        for name, kind in vars(module).items():
            if name.endswith(("Config", "Training")) and kind.__module__ == found.name:
                yield name, kind


def exported() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in lambo_env.__all__:
        value = getattr(lambo_env, name)
        if callable(value) and value not in (*ELSEWHERE, *HOLDERS):
            yield name, value
    for function in FUNCTIONS:
        yield function.__name__, function


def cases() -> Iterator[Any]:
    for owner, call in [*environments(), *exported(), *settings(), *agents()]:
        for name, parameter in inspect.signature(call).parameters.items():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                yield pytest.param(
                    call, name, str(parameter.annotation), id=f"{owner}.{name}".replace(" ", "-")
                )


@pytest.mark.parametrize(("call", "name", "annotation"), list(cases()))
def test_five_bad_values_are_refused_by_name(
    call: Callable[..., Any], name: str, annotation: str, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    plain = annotation.removesuffix(" | None")
    bad = SPECIAL.get((call.__name__, name)) or VALUES[plain]
    assert len(bad) >= 5
    for value in bad:
        if value is None and plain != annotation:
            continue
        others = MANDATORY.get(call.__name__, {})
        with pytest.raises((ValueError, TypeError)) as error:
            call(**{**others, name: value})
        text = str(error.value)
        words = "|".join([name, name.removesuffix("s"), *ALSO_CALLED.get(name, ())])
        assert re.search(rf"\b({words})\b", text, re.IGNORECASE), f"{value!r}: {text}"
        assert names(value, text), f"{value!r} is not in: {text}"
    assert list(tmp_path.iterdir()) == []


def names(value: Any, text: str) -> bool:
    """Whether an error's text shows a value, its bad entry, its shape, or what it is."""
    parts = [value, *(value if isinstance(value, (list, tuple, dict)) else ())]
    shown = [
        repr(value),
        type(value).__name__,
        *(repr(part) for part in parts),
        *(str(part) for part in parts),
    ]
    if isinstance(value, list):
        shown += [repr(np.shape(value)), *(str(part) for part in np.ravel(value))]
    return any(part and part in text for part in shown)
