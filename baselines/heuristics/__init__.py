"""Rules that need no search: local, random, greedy."""
