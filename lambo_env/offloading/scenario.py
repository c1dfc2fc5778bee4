"""Scenario: the distribution that offloading problems are drawn from, and its presets."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambo_env import registration
from lambo_env.cell.scenario import CellScenario
from lambo_env.utils import toml, validate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario(CellScenario):
    """A distribution of offloading problems: tasks of a cell's UEs, run there or on its servers."""


def list_scenarios() -> list[str]:
    """Names of the presets of this world that ship with the package."""
    return registration.list_scenarios(registration.DEFAULT_WORLD)


def load_scenario(source: str | os.PathLike[str] | Mapping[str, Any] | Scenario) -> Scenario:
    """Return the Scenario of a preset's name, a TOML file or a mapping; a Scenario as it is.

    Raises:
        ValueError: an unknown name (with the closest known one), a missing or broken file, a bad
            field.
    """
    if isinstance(source, Scenario):
        return source
    if isinstance(source, Mapping):
        return Scenario.from_dict(source)
    allowed = "a preset's name, a .toml path, a mapping of fields or a Scenario"
    validate.check("scenario", source, isinstance(source, (str, os.PathLike)), allowed)
    name = os.fspath(source)
    if name in list_scenarios():
        return Scenario.from_dict(
            toml.load(registration.SCENARIOS / f"{name}.toml", "scenario file")
        )
    if name.endswith(".toml") or os.sep in name:
        validate.check("scenario", name, Path(name).is_file(), "an existing .toml file")
        return Scenario.from_dict(toml.load(Path(name), "scenario file"))
    validate.known(name, list_scenarios(), "scenario")
    raise AssertionError("unreachable")
