"""Reference agents and solvers, found by name through the entry points ``lambo.agents`` like anybody's."""
