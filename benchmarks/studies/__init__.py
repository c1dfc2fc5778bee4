"""Studies beyond the sweep: ablations, model cards, difficulty of scenarios, reproductions."""
