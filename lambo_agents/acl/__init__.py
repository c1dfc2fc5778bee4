"""Actor-critic learning (paper section IV): data, losses, phases, runs."""
