"""The 500 scenarios of ARE's authors (Jiang et al., IEEE Network 2021.

Data/are-Data1.mat of github.com/jiangfeibo/ARE).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lambo_env.datasets.matlab import check_each, check_numbers, read_mat
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.utils import validate

LATE_PENALTY = 2.0  # of preset are2020; the file knows no lateness
DEADLINE_S = 1.0  # para.Tlocal
_PARAMETERS = ("Dcom", "Fcom", "fGS", "B", "p", "PL", "delta", "fL")


def load_are(path: str | os.PathLike[str]) -> tuple[Instances, Decision]:
    """Return the file's scenarios as Instances (B 500, N 50, M 4), and its labels as a Decision.

    Rates follow the authors' simulator: r = B log2(1 + p h / delta), with h = d^-2. Labels are
    places 0..4 and shares of a server.

    Raises:
        ValueError: the file is missing, truncated, foreign, or its arrays do not fit together or
            hold impossible values.
    """
    raw = read_mat(path, ("h", "para", "Ytrain"), "ARE's data set")
    fields = raw["para"].dtype.names or ()
    complete = set(_PARAMETERS) <= set(fields)
    layout = f"the layout of ARE's Data1.mat: {', '.join(_PARAMETERS)}"
    validate.check("fields of para", fields, complete and raw["para"].size == 1, layout)
    para = {name: np.ravel(raw["para"].flat[0][name]) for name in _PARAMETERS}
    for name, values in [
        *((f"para.{name}", values) for name, values in para.items()),
        ("h", raw["h"]),
    ]:
        check_numbers(name, values)
        validate.check(f"{name}.size", values.size, values.size >= 1, ">= 1")
        check_each(name, values, np.isfinite(values) & (values > 0), "finite and > 0")
    check_numbers("Ytrain", raw["Ytrain"])
    return _instances(raw["h"], para, raw["Ytrain"])


def _instances(gains: Any, para: dict[str, Any], labels: Any) -> tuple[Instances, Decision]:
    bits, cycles, capacity = (para[name].astype(float) for name in ("Dcom", "Fcom", "fGS"))
    ues, servers, batch = bits.size, capacity.size, gains.shape[-1]
    validate.check(
        "h.shape",
        gains.shape,
        gains.shape == (ues * servers, batch),
        f"({ues * servers}, scenarios)",
    )
    validate.check(
        "Ytrain.shape", labels.shape, labels.shape == (batch * ues, 2), f"({batch * ues}, 2)"
    )
    place, share = labels[:, 0], labels[:, 1]
    check_each(
        "Ytrain",
        place,
        np.isin(place, np.arange(servers + 1)),
        f"a place, 0..{servers}, in column 0",
    )
    check_each(
        "Ytrain", share, (share >= 0) & (share <= 1), "a share of a server in [0, 1] in column 1"
    )
    constant = {name: float(para[name][0]) for name in ("B", "p", "PL", "delta", "fL")}
    snr = constant["p"] * gains.T.reshape(batch, ues, servers) / constant["delta"]
    instances = Instances(
        data_bits=np.tile(bits, (batch, 1)),
        cycles=np.tile(cycles, (batch, 1)),
        deadline_s=np.full((batch, ues), DEADLINE_S),
        local_cpu_hz=np.full((batch, ues), constant["fL"]),
        local_power_w=np.full((batch, ues), constant["PL"]),
        tx_power_w=np.full((batch, ues), constant["p"]),
        uplink_bps=constant["B"] * np.log2(1 + snr),
        server_cpu_hz=np.tile(capacity, (batch, 1)),
        late_penalty=np.full(batch, LATE_PENALTY),
    )
    label = labels.reshape(batch, ues, 2)
    place = label[..., 0].astype(np.int64)
    capacity_at = np.concatenate([[0.0], capacity])[place]
    return instances, Decision(place, label[..., 1] * capacity_at)
