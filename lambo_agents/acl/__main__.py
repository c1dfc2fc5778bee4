"""``torchrun --nproc-per-node N -m lambo_agents.acl``: one of the processes of a training."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from lambo_agents.acl.config import Recipe
from lambo_agents.acl.processes import BAD_INPUT, LostProcessError, joined
from lambo_agents.acl.run import train
from lambo_env.utils import runs


def main() -> int:
    """Train with the others, and return the exit code.

    0 well, 1 another process is lost or the loss is no number, 2 bad input, 128 + number stopped by
    a signal.
    """
    parser = argparse.ArgumentParser(prog="python -m lambo_agents.acl", description=__doc__)
    parser.add_argument("--recipe", default="lambo-s", help="one that ships, or a TOML file")
    parser.add_argument("--out", required=True, help="folder of the training")
    parser.add_argument("--device", help="cpu or cuda, in place of the recipe's")
    for name in ("seed", "threads", "shards", "workers"):
        parser.add_argument(f"--{name}", type=int, help="in place of the recipe's")
    text = "spread the encoder over the processes"
    parser.add_argument("--fully-shard", action="store_true", default=None, help=text)
    told = vars(parser.parse_args())
    name, out = told.pop("recipe"), told.pop("out")
    first = os.environ.get("RANK", "0") == "0"
    if "RANK" in os.environ:  # without whoever started it, nobody would end it
        runs.die_with(os.getppid())
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        recipe = Recipe.load(
            name, **{field: value for field, value in told.items() if value is not None}
        )
        with runs.handled(), joined(recipe.device) as processes:
            train(recipe, out, processes=processes)
    except (ValueError, OSError, ImportError, LostProcessError) as error:
        print(f"lambo: error: {error}", file=sys.stderr)
        return 1 if isinstance(error, LostProcessError) else BAD_INPUT
    except FloatingPointError as error:  # of all alike
        if first:
            print(f"lambo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        return getattr(error, "exit_code", 130)
    return 0


if __name__ == "__main__":
    code = main()
    if "RANK" in os.environ:  # threads of gloo that still run would abort the interpreter's end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
