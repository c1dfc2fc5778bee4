"""Contracts that any environment of the suite must keep."""
