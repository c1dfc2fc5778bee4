"""``lambo completion``: what a shell needs to complete the command line."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the shell's completion script.

    Commands whose extra is not installed are completed without their options.

    Args:
        shell: Which shell reads it.
    """
    from benchmarks import cli

    print(cli.build(lazy=False).generate_completion(shell=shell))
