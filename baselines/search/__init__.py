"""Solvers: exact with certified bounds, local search, differential evolution, policy gradient on an instance."""
