"""``lambo completion``: what a shell needs to complete the command line."""

from __future__ import annotations

import re
from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the shell's completion script.

    Commands whose extra is not installed are completed without their options.

    Args:
        shell: Which shell reads it.
    """
    from benchmarks import cli

    script = cli.build(lazy=False).generate_completion(shell=shell)
    paths = {" ".join(verb.split()[:end]) for verb in cli.COMMANDS for end in (1, 2)}
    print(_zsh(script) if shell == "zsh" else _where_commands_stand(script, shell, sorted(paths)))


def _zsh(script: str) -> str:
    """Return a script that completes under any file name, and where it is sourced.

    As it is generated it only defines its function, which zsh then calls where the file has
    that function's name.
    """
    return f"""{script.rstrip()}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _cyclopts_lambo "$@"
else
  compdef _cyclopts_lambo lambo
fi
"""


def _where_commands_stand(script: str, shell: str, paths: list[str]) -> str:
    """Return a script that takes a word for a command only where a command may stand.

    As it is generated the agent of ``lambo evaluate droo`` counts as the command of ``train``.
    """
    if shell == "bash":
        listed = "'" + "".join(f"|{path}" for path in paths) + "|'"
        generated = '[[ " $all_commands " =~ " $word " ]]'
        exact = 'local path="${cmd_path[*]} $word"; [[ $all_commands == *"|${path# }|"* ]]'
    else:
        listed = " ".join(f"'{path}'" for path in paths)
        generated = 'string match -q -- "* $word *" " $all_commands "'
        exact = 'contains -- (string join " " $subcommands $word) $all_commands'
        script += "\ncomplete -c lambo -n __fish_use_subcommand -f"  # no file is a command
    script = re.sub(
        r"(?<= all_commands)([ =])'.*'", lambda match: f"{match[1]}{listed}", script, count=1
    )
    return script.replace(generated, exact)
