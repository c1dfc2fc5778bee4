"""Loaders of real files; each says what it reads and refuses anything else with the reason."""

from lambo_env.datasets.are import load_are
from lambo_env.datasets.droo import load_droo
from lambo_env.datasets.eua import EuaSource, SitePlan, load_eua
from lambo_env.datasets.ucc_5g import Ucc5gSource, load_ucc_5g

__all__ = [
    "EuaSource",
    "SitePlan",
    "Ucc5gSource",
    "load_are",
    "load_droo",
    "load_eua",
    "load_ucc_5g",
]
