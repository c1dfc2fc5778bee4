"""Solvers: exact with bounds, local search, differential evolution, policy gradient."""
