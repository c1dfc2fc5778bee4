"""A number of ours beside another paper's."""

from __future__ import annotations

import dataclasses

from benchmarks.report.statistics import Interval


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One number of ours, with its 95 % interval.

    Student's t over seeds, bootstrap over scenarios.
    """

    name: str
    value: Interval
    theirs: str = ""  # what they report or what the file ships; empty where they give none
    note: str = ""
