"""Loaders of real files; each says what it reads and refuses anything else with the reason."""

from lambo_env.datasets.are import load_are

__all__ = ["load_are"]
