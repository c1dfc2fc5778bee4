"""Which engine plays: this machine's cores, or a cluster's."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Literal

from benchmarks.sweep.engines import joblib, ray
from lambo_env.utils import validate
from lambo_env.utils.tasks import Engine

Name = Literal["joblib", "ray"]


@dataclasses.dataclass(frozen=True)
class EngineChoice:
    """An engine by name and, for a cluster, its address.

    Raises:
        ValueError: an unknown engine, a bad number of jobs, or an address without a cluster.
    """

    name: Name = "joblib"
    address: str | None = None
    jobs: int = 0

    def __post_init__(self) -> None:
        """Check the options, before anything is opened."""
        validate.known(self.name, ("joblib", "ray"), "engine")
        validate.integer("--jobs", self.jobs, low=0)
        fits = self.address is None or self.name == "ray"
        validate.check("--address", self.address, fits, "nothing without --engine ray")

    def start(
        self, num_tasks: int, modules: Iterable[str] = ()
    ) -> contextlib.AbstractContextManager[Engine]:
        """Return the engine for at most ``num_tasks`` tasks.

        ``modules``: of other packages' agents, which a cluster's nodes may lack.
        """
        if self.name == "ray" and num_tasks:
            return ray.start_engine(self.address, self.jobs, modules)
        return joblib.start_engine(self.jobs, num_tasks)
