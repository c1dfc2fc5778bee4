"""Rates of a commercial 5G network, about one sample per second.

Raca et al., "Beyond Throughput, The Next Generation: a 5G Dataset with Channel and Context
Metrics", MMSys 2020, doi 10.1145/3339825.3394938. The archive holds no licence: ask its authors
before you pass it on.

The logs' uplink column is the traffic of the downloads themselves (acknowledgements), not what the
uplink could carry. So the downlink's rate stands in for an uplink of the same network.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from lambo_env.datasets.tables import existing, read_columns
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.utils import validate

WHAT = "the UCC 5G production dataset"
RUNS = "5G-production-dataset/Download/"
RATE = "DL_bitrate"  # kbit/s
MAX_RUN_BYTES = 1 << 26  # of one log; the longest has under 1 MiB
Floats = NDArray[np.float64]


def load_ucc_5g(path: str | os.PathLike[str]) -> dict[str, Floats]:
    """Return the Download runs of the archive: rates in bit/s [samples] by the run's name.

    There is about one sample per second. A rate is DL_bitrate x 1000; it is 0 while nothing was
    being downloaded.

    Args:
        path: of 5G-production-dataset.zip.

    Raises:
        ValueError: no such file, no ZIP archive, without those runs, or a damaged run, by name.
    """
    file = existing(path, WHAT)
    try:
        with zipfile.ZipFile(file) as archive:
            members = [
                info
                for info in archive.infolist()
                if info.filename.startswith(RUNS) and info.filename.endswith(".csv")
            ]
            validate.check(f"runs of {file}", len(members), bool(members), f"{RUNS}*/*.csv")
            return {info.filename.removeprefix(RUNS): _rates(archive, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"path is {str(file)!r}; allowed: a whole {WHAT} ({error})") from error


def _rates(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Floats:
    allowed = f"at most {MAX_RUN_BYTES}"
    size = info.file_size
    validate.check(f"{info.filename} (bytes)", size, size <= MAX_RUN_BYTES, allowed)
    text = io.StringIO(archive.read(info).decode("utf-8", errors="replace"))
    rates = 1000.0 * read_columns(text, (RATE,), info.filename)[RATE]
    validate.each(f"{info.filename}, {RATE} x 1000", rates, rates >= 0, ">= 0")
    return rates


class Ucc5gSource:
    """Links that carry what a 5G network carried: a source for ``scenario=`` of the environments.

    Each link of each instance takes the rate of a sample drawn uniformly from all samples of all
    runs while something was downloaded. Tasks, capacities and devices are those of ``scenario``.

    Args:
        path: as of ``load_ucc_5g``.
        scenario: a preset's name, a path, a mapping or a Scenario.

    Raises:
        ValueError: as of ``load_ucc_5g``, or nothing was downloaded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        scenario: str | os.PathLike[str] | Scenario = "nr-umi",
    ) -> None:
        self.scenario = load_scenario(scenario)
        self.num_ues, self.num_servers = self.scenario.num_ues, self.scenario.num_servers
        rates = np.concatenate(list(load_ucc_5g(path).values()))
        self.rates_bps = rates[rates > 0]
        busy = self.rates_bps.size
        validate.check(f"samples of {path} with a rate above 0", busy, busy > 0, "at least one")

    def sample(self, batch_size: int, rng: np.random.Generator) -> Instances:
        """Return ``batch_size`` instances."""
        drawn = sample_instances(self.scenario, batch_size, rng)
        return drawn.replace(uplink_bps=rng.choice(self.rates_bps, drawn.uplink_bps.shape))
