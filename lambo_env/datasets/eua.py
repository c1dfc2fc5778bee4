"""Cell sites and users of Melbourne's centre, in metres.

The EUA datasets of Swinburne (github.com/swinedge/eua-dataset, MIT licence), introduced by Lai et
al., "Optimal Edge User Allocation in Edge Computing with Variable Sized Vector Bin Packing", ICSOC
2018, doi 10.1007/978-3-030-03596-9_15.
"""

from __future__ import annotations

import dataclasses
import math
import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell import geometry
from lambo_env.cell.draws import draw
from lambo_env.datasets.tables import existing, read_columns
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import MovingSlots, snapshot, split
from lambo_env.utils import validate

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG
Floats = NDArray[np.float64]


class SitePlan(NamedTuple):
    """Where servers and UEs stand, in m east and north of the plan's south-western corner."""

    server_xy: Floats  # [S, 2]
    ue_xy: Floats  # [U, 2]
    side_m: float  # of the smallest square that holds all of them


def load_eua(sites: str | os.PathLike[str], users: str | os.PathLike[str]) -> SitePlan:
    """Return the sites as edge servers and the users as UEs of one plan.

    Latitudes and longitudes are projected to the plane that touches the earth at their middle
    (equirectangular: over a city within 1e-4 of the distance).

    Args:
        sites: such as site-optus-melbCBD.csv, with columns LATITUDE and LONGITUDE.
        users: such as users-melbcbd-generated.csv, with columns Latitude and Longitude.

    Raises:
        ValueError: a file is missing, or a column, or an entry is no latitude or longitude.
    """
    server = _degrees(sites, ("LATITUDE", "LONGITUDE"), "EUA's sites")
    ue = _degrees(users, ("Latitude", "Longitude"), "EUA's users")
    both = np.concatenate([server, ue])
    middle = (both.min(axis=0) + both.max(axis=0)) / 2
    scale = EARTH_RADIUS_M * np.array([math.cos(middle[0]), 1.0])
    xy = (both - middle)[:, ::-1] * scale
    xy -= xy.min(axis=0)
    return SitePlan(xy[: len(server)], xy[len(server) :], float(xy.max()))


def _degrees(path: str | os.PathLike[str], names: tuple[str, str], what: str) -> Floats:
    """Return latitudes and longitudes [rows, 2] in radians."""
    with existing(path, what).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        columns = read_columns(file, names, what)
    for name, most in zip(names, (90.0, 180.0), strict=True):
        allowed = f"degrees in -{most:g} .. {most:g}"
        validate.each(f"{what}, {name}", columns[name], abs(columns[name]) <= most, allowed)
    return np.radians(np.stack([columns[name] for name in names], axis=-1))


class EuaSource:
    """Cells cut out of Melbourne's centre: a source for ``scenario=`` of the environments.

    Each instance is a cell about a user drawn uniformly: the N users nearest to that one (itself
    included) and the M sites nearest to it, where they really stand. Tasks, channel, capacities and
    devices are those of ``scenario``.

    Args:
        sites: as of ``load_eua``.
        users: likewise.
        scenario: a preset's name, a path, a mapping or a Scenario; its N and M count.

    Raises:
        ValueError: as of ``load_eua``, or fewer users or sites than the scenario has.
    """

    def __init__(
        self,
        sites: str | os.PathLike[str],
        users: str | os.PathLike[str],
        scenario: str | os.PathLike[str] | Scenario = "nr-umi",
    ) -> None:
        self.scenario = load_scenario(scenario)
        self.plan = load_eua(sites, users)
        self.num_ues, self.num_servers = self.scenario.num_ues, self.scenario.num_servers
        for name, most in (("num_ues", self.plan.ue_xy), ("num_servers", self.plan.server_xy)):
            size, allowed = getattr(self, name), f"at most the plan's {len(most)}"
            validate.check(f"scenario.{name}", size, size <= len(most), allowed)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Instances:
        """Return ``batch_size`` cells."""
        moving = MovingSlots(self.scenario)
        middle = self.plan.ue_xy[rng.integers(len(self.plan.ue_xy), size=batch_size)]
        tasks, places = split(
            self.scenario, (draws := draw(rng, batch_size, moving.first_draws)).uniforms
        )
        cell = dataclasses.replace(
            geometry.initial(self.scenario, places, draws.normals),
            ue_xy=_nearest(self.plan.ue_xy, middle, self.num_ues),
            server_xy=_nearest(self.plan.server_xy, middle, self.num_servers),
        )
        return snapshot(cell, self.scenario, tasks)


def _nearest(xy: Floats, middle: Floats, count: int) -> Floats:
    """Return the ``count`` positions nearest to each of the middles [B, 2]: [B, count, 2]."""
    distance = np.hypot(*(middle[:, None, :] - xy).transpose(2, 0, 1))
    return xy[np.argsort(distance, axis=1, kind="stable")[:, :count]]
