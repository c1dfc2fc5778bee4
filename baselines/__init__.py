"""Solvers and learning baselines to compare with LAMBO."""
