"""Measured speeds: `lambo throughput`."""
