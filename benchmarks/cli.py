"""The ``lambo`` command.

Its sub-commands by name, each a file of ``benchmarks.commands`` that is imported when called.

To add one, write ``commands/NAME.py`` with a function whose parameters are the options, and
give it a line in ``COMMANDS``.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any, get_args

from cyclopts import App, CycloptsError, Parameter, Token, convert

from benchmarks.report.escaping import accept_any_encoding, tell
from benchmarks.sweep import provenance
from benchmarks.sweep.engines.engine import WorkerDiedError

# "group name" or "name" -> ("module of benchmarks.commands:function", help)
COMMANDS = {
    "bench": (
        "bench:bench",
        "Play a sweep of agents x prompts x scenarios x seeds and print its table.",
    ),
    "report": (
        "report:report",
        "Write a results folder's report: Markdown, HTML and figures; or compare two agents.",
    ),
    "evaluate": (
        "evaluate:evaluate",
        "Score one agent on fresh evaluation instances of a scenario.",
    ),
    "render": (
        "render:render",
        "Play an episode and film it: the map, the servers' load, the cost beside the optimum.",
    ),
    "throughput": (
        "throughput:throughput",
        "Time agents (as a ratio to LocalSearch), environments, trainings, decoding or solvers "
        "on this machine.",
    ),
    "adapt": (
        "adapt:adapt",
        "Play drifting streams: ALEF beside a frozen network, fine-tuning and heuristics.",
    ),
    "list agents": ("lists:agents", "List every agent found, broken plug-ins with their error."),
    "list envs": ("lists:envs", "List every environment id, broken ones with their error."),
    "list scenarios": ("lists:scenarios", "List the scenario presets."),
    "list drifts": ("lists:drifts", "List the drifts: what changes and when."),
    "list prompts": ("lists:prompts", "List what a prompt may say."),
    "list sweeps": ("lists:sweeps", "List the sweeps that ship with the package."),
    "scenario show": ("scenario:show", "Print a scenario as TOML, ready to be copied and edited."),
    "scenario check": (
        "scenario:check",
        "Say how hard a scenario is: deadlines, stale CSI, greedy against the optimum.",
    ),
    "check agent": ("check:agent", "Run the conformance checks of an agent."),
    "check env": ("check:env", "Run the conformance checks of an environment id."),
    "reproduce droo": (
        "reproduce:droo",
        "Play DROO on its own frames: their number, ours, the time, what differs.",
    ),
    "reproduce are": (
        "reproduce:are",
        "Train ARE's original network on its own scenarios and score the last 60.",
    ),
    "reproduce tang-wong": (
        "reproduce:tang_wong",
        "Play rules where tasks wait, in Tang and Wong's world, beside what their code gives.",
    ),
    "reproduce qeco": (
        "reproduce:qeco",
        "Play rules where tasks wait, in QECO's world, beside what its code and network give.",
    ),
    "decode": (
        "decode:decode",
        "Put one slot through a network of any size: seconds and memory on this machine.",
    ),
    "read": ("read:read", "Say what texts ask for, by rules and by LAMBO's network, and how well."),
    "export": (
        "export:export",
        "Write LAMBO's network as graphs that run without torch (ONNX), or as torch programs.",
    ),
    "compress": (
        "compress:compress",
        "Make LAMBO smaller: bf16, int8, fewer layers, ONNX, a student; gap, time, bytes of each.",
    ),
    "card": ("card:card", "Ship trained weights of LAMBO with a card of measured gaps."),
    "curves": ("curves:curves", "Draw what happened in trainings of LAMBO: gaps over updates."),
    "study": (
        "study:study",
        "Train variants of LAMBO side by side: sizes (ladder), parts of the method (ablations; "
        "queue-parts, where tasks wait), the paper's own form (literal).",
    ),
    "train lambo": (
        "train.lambo:train",
        "Train LAMBO's network by a recipe; plain `lambo train` is the same.",
    ),
    "train sb3": (
        "train.sb3:train",
        "Train an agent with Stable-Baselines3: PPO, A2C, SAC, TD3, DQN, MaskablePPO, QR-DQN.",
    ),
    "train droo": (
        "train.dnn:droo",
        "Train DROO for a scenario: no labels, an evaluator in the loop.",
    ),
    "train are": ("train.dnn:are", "Label instances with an expert and train ARE on them."),
    "train are-small": (
        "train.dnn:are_small",
        "Train ARE's original small network on its authors' labels.",
    ),
    "tune sb3": (
        "train.sb3:tune",
        "Search hyper-parameters of an SB3 agent (Optuna, resumes) and try the best anew; "
        "plain `lambo tune` is the same.",
    ),
    "tune neural": ("train.dnn:tune", "Search settings of `lambo train are` or `droo`; resumes."),
    "tune linear-rule": (
        "train.linear_rule:tune",
        "Tune the weights of the rule that networks have to beat where tasks wait; resumes.",
    ),
    "new-agent": ("new_agent:new_agent", "Write a package of four files whose agent already runs."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
}
# the member of a group that is meant where none is named
DEFAULTS = {"train": "lambo", "tune": "sb3"}
GROUPS = {
    "list": "List agents, environments, scenarios, drifts, prompts or sweeps.",
    "scenario": "Show or check a scenario.",
    "check": "Check an agent or an environment.",
    "reproduce": "Do again what another paper's program prints.",
    "train": "Train an agent's network; a killed run goes on with the same command.",
    "tune": "Search the settings of a training; a killed search goes on with the same command.",
}

# what brings the modules that the core does without
EXTRAS = {
    **dict.fromkeys(("torch", "safetensors", "tensorboard"), "torch"),
    **dict.fromkeys(("stable_baselines3", "sb3_contrib"), "sb3"),
    **dict.fromkeys(("pygame", "imageio", "imageio_ffmpeg", "PIL"), "render"),
    **dict.fromkeys(("joblib", "matplotlib", "threadpoolctl"), "report"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "optuna": "tune",
    "pettingzoo": "multiagent",
    "ray": "ray",
    "wandb": "track",
}


def build(lazy: bool = True) -> App:
    """Return the application.

    Args:
        lazy: import no sub-command's module yet; otherwise one that cannot be imported has no
            options.
    """
    app = App(
        name="lambo",
        help="Environments, agents, solvers and benchmarks for mobile edge computing offloading.",
        version=provenance.version_text,
        version_format="plaintext",
        help_format="markdown",  # which joins the lines of docstrings
        default_parameter=Parameter(converter=_convert, negative_iterable=()),
        suppress_keyboard_interrupt=False,  # main says how to continue
    )
    groups = {name: App(name=name, help=text) for name, text in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for path, (target, text) in COMMANDS.items():
        owner, _, name = path.rpartition(" ")
        command: Any = f"benchmarks.commands.{target}"
        if not lazy:
            with contextlib.suppress(ImportError):
                command = pkgutil.resolve_name(command)
            command = _without_options if isinstance(command, str) else command
        groups.get(owner, app).command(command, name=name, help=text)
    return app


def _without_options() -> None:
    """Stand for a command whose extra is missing."""


def _convert(kind: Any, tokens: Sequence[Token]) -> Any:
    """Convert an option's text: lists are separated by commas, and integers are digits alone.

    cyclopts knows no commas, and would round 2.5 to 2.
    """
    if any(part in (list[str], tuple[str, ...]) for part in (kind, *get_args(kind))):
        tokens = [part for token in tokens for part in _parts(token)]
    if _holds_int(kind):
        for token in tokens:
            if not token.value.removeprefix("-").isdecimal():
                raise ValueError(
                    f"{token.keyword or 'value'} is {token.value!r}; allowed: an integer"
                )
    return convert(kind, tokens)


def _parts(token: Token) -> list[Token]:
    """Return the members of a comma-separated list; a prompt's commas are its own."""
    if token.keyword in (None, "--prompt", "--prompts"):
        return [token]
    values = [value.strip() for value in token.value.split(",")]
    if not all(values):
        raise ValueError(f"{token.keyword} is {token.value!r}; allowed: names separated by commas")
    return [token.evolve(value=value) for value in values]


def _holds_int(kind: Any) -> bool:
    """Return whether a type is int or made of int, as ``tuple[int, int] | None`` is."""
    return kind is int or any(_holds_int(part) for part in get_args(kind))


def named(arguments: list[str]) -> list[str]:
    """Name a group's default member where flags follow the group at once."""
    group, rest = arguments[:1], arguments[1:]
    flags = not rest or (rest[0].startswith("-") and rest[0] not in ("-h", "--help"))
    return (
        [*group, DEFAULTS[group[0]], *rest]
        if group and group[0] in DEFAULTS and flags
        else arguments
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 well, 1 failed checks or cells, 2 bad input, 128 + number stopped by a signal (Ctrl-C 130).
    """
    app = build()
    accept_any_encoding()
    try:
        tokens = list(sys.argv[1:] if arguments is None else arguments)
        with _stoppable(tokens):
            code = app(
                named(tokens),
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
    except CycloptsError as error:
        return _refuse(_text(error))
    except BrokenPipeError:
        return _unread()
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    except ImportError as error:
        return _refuse(_missing(error))
    except MemoryError as error:
        return _refuse(f"out of memory: {error}; allowed: what this machine holds")
    except WorkerDiedError as error:
        _refuse(f"{error}; {error.way_out}")
        return 1
    except KeyboardInterrupt as error:
        print("lambo: interrupted; the same command continues where it stopped", file=sys.stderr)
        return getattr(error, "exit_code", 130)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    return code if isinstance(code, int) else 0


def _unread() -> int:
    """Return 0: the reader of a pipe left, as `| head` does; the rest goes nowhere."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return 0


def _stoppable(tokens: list[str]) -> contextlib.AbstractContextManager[None]:
    """Return what lets signals stop a command; help needs none, and loads nothing for it."""
    if not tokens or {"-h", "--help", "--version"} & set(tokens):
        return contextlib.nullcontext()
    from lambo_env.utils import runs

    return runs.handled()


def _text(error: CycloptsError) -> str:
    try:
        return str(error)
    except ImportError:  # it wanted to list options of a command whose module is broken
        return f"cannot understand the arguments: {' '.join(sys.argv[1:])}"


def _missing(error: ImportError) -> str:
    """Return what an import failed for, with the extra that brings it."""
    cause: BaseException | None = error
    while cause is not None:
        module = (getattr(cause, "name", None) or "").partition(".")[0]
        if module in EXTRAS and "pip install" not in str(error):
            return f'this needs {module}; pip install "lambo-mec[{EXTRAS[module]}]"'
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _refuse(text: str) -> int:
    tell("lambo: error: " + " ".join(text.split()), error=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
