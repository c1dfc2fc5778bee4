"""The benchmark: sweeps over agents, prompts and scenarios, their scores and reports; the `lambo` command."""
