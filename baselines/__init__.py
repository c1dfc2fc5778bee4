"""Reference agents and solvers, found by name like anybody's: entry points ``lambo.agents``."""
