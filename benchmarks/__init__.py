"""The benchmark: sweeps over agents, prompts and scenarios, their scores and reports.

The `lambo` command.
"""
