"""Sweep rows from measured data: sites of a real city, rates of a real network.

The files are never part of the suite. They lie in one folder, ``--data-folder`` or the environment
variable LAMBO_DATA; where they do not, the row is left out with the reason.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lambo_env.cell.seeding import evaluation_rng
from lambo_env.datasets.eua import EuaSource
from lambo_env.datasets.ucc_5g import Ucc5gSource
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.utils import validate

VARIABLE = "LAMBO_DATA"


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Published data that instances are made of."""

    files: tuple[str, ...]  # ends of their names
    source: Callable[..., Any]  # (*paths, scenario) -> what samples instances
    licence: str
    citation: str
    url: str


DATA_SETS = {
    "eua": DataSet(
        ("site-optus-melbCBD.csv", "users-melbcbd-generated.csv"),
        EuaSource,
        "MIT",
        "Lai et al., Optimal Edge User Allocation in Edge Computing with Variable Sized Vector "
        "Bin Packing, ICSOC 2018, doi 10.1007/978-3-030-03596-9_15",
        "github.com/swinedge/eua-dataset",
    ),
    "ucc-5g": DataSet(
        ("5G-production-dataset.zip",),
        Ucc5gSource,
        "none named in the archive: ask its authors before you pass it on",
        "Raca et al., Beyond Throughput, The Next Generation: a 5G Dataset with Channel and "
        "Context Metrics, MMSys 2020, doi 10.1145/3339825.3394938",
        "github.com/uccmisl/5Gdataset",
    ),
}


@dataclasses.dataclass(frozen=True)
class DataSource:
    """Evaluation blocks drawn from measured data; every agent gets the same ones."""

    name: str
    data: str  # of DATA_SETS
    scenario: Scenario  # tasks, devices and servers
    folder: Path | None = None  # None: that of the environment variable

    @property
    def data_set(self) -> DataSet:
        """The data's files, licence and citation."""
        return DATA_SETS[self.data]

    def _paths(self) -> list[Path | None]:
        folder = self.folder or (Path(named) if (named := os.environ.get(VARIABLE)) else None)
        if folder is None:
            return [None] * len(self.data_set.files)
        return [next(iter(sorted(folder.glob(f"*{end}"))), None) for end in self.data_set.files]

    def missing(self) -> str | None:
        """Return why the row has to be left out, or None."""
        pairs = zip(self.data_set.files, self._paths(), strict=True)
        absent = [name for name, path in pairs if path is None]
        if not absent:
            return None
        where = self.folder or os.environ.get(VARIABLE)
        place = f"in {where}" if where else f"named by --data-folder or {VARIABLE}"
        return f"no {' and no '.join(absent)} {place} (from {self.data_set.url})"

    @functools.cached_property
    def _source(self) -> Any:
        return self.data_set.source(*self._paths(), scenario=self.scenario)

    @functools.cached_property
    def hash(self) -> str:
        """Content hash of the scenario and the files, 16 hex digits."""
        digest = hashlib.sha256(f"{self.data} {self.scenario.hash}".encode())
        for path in self._paths():
            digest.update(b"absent" if path is None else path.read_bytes())
        return digest.hexdigest()[:16]

    def blocks(self, seeds: Sequence[int], size: int) -> tuple[int, ...]:
        """Return the blocks to play: one per seed."""
        return tuple(seeds)

    def load(self, root: int, block: int, size: int) -> Instances:
        """Return the ``size`` instances of a block."""
        sampled: Instances = self._source.sample(size, evaluation_rng(root, self, block))
        return sampled

    def labels(self, block: int, size: int) -> None:
        """Return None: the data bring no decisions."""

    def describe(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        facts = {"licence": self.data_set.licence, "citation": self.data_set.citation}
        files = [path.name for path in self._paths() if path is not None]
        return {"hash": self.hash, "data": files, **facts, "fields": self.scenario.to_dict()}

    def credit(self) -> str:
        """Return the line that goes with results on the data."""
        return f"{self.name}: {self.data_set.citation}; licence: {self.data_set.licence}"


def data_source(fields: Mapping[str, Any]) -> DataSource:
    """Return the source of a sweep's table with ``name``, ``data`` and ``base``.

    Raises:
        ValueError: another key, an unknown data set or preset.
    """
    validate.known_keys("Sweep.scenarios", fields, ["name", "data", "base"])
    name = fields.get("name")
    named = isinstance(name, str) and bool(name)
    validate.check("Sweep.scenarios.name", name, named, "a name for the table's row")
    data = validate.known(fields["data"], DATA_SETS, "Sweep.scenarios.data")
    return DataSource(str(name), data, load_scenario(fields.get("base", "nr-umi")))
