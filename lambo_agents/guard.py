"""Others' code at arm's length: whatever an agent does becomes an error that names it.

An agent may raise, exit, change the working folder, print, reseed or silence NumPy. None of it
reaches the next agent, and Ctrl-C still ends the command.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
from collections.abc import Iterator

import numpy as np

from lambo_env.utils import validate


class AgentExitError(RuntimeError):
    """Raised in place of what would have ended the whole process."""


@contextlib.contextmanager
def guarded(owner: str = "") -> Iterator[None]:
    """Run an agent's code; afterwards folder, streams and NumPy's global state are as before.

    Args:
        owner: whose bug it is; none keeps an Exception as it is.

    Raises:
        AgentExitError: it raised SystemExit, or anything else that is no Exception.
        ValueError: it raised an Exception, and there is an ``owner`` to name.
    """
    with contextlib.ExitStack() as back:
        with contextlib.suppress(OSError):  # the folder itself may be gone
            back.callback(_return_to, os.getcwd())
        back.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        back.callback(random.setstate, random.getstate())
        back.enter_context(np.errstate())
        back.enter_context(contextlib.redirect_stdout(_Aside()))
        try:
            yield
        except (KeyboardInterrupt, ValueError, OSError, ImportError):
            raise
        except Exception as error:
            if owner:
                raise ValueError(f"{owner} raised {validate.told(error)}") from error
            raise
        except BaseException as error:
            text = f"{owner or 'the agent'} raised {validate.told(error)}"
            raise (ValueError if owner else AgentExitError)(text) from error


def _return_to(folder: str) -> None:
    with contextlib.suppress(OSError):
        os.chdir(folder)


class _Aside(io.TextIOBase):
    """Standard output of an agent: the error stream, where no table is broken; never closed."""

    def write(self, text: str) -> int:
        """Write to the error stream of the moment."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Leave it to the error stream."""

    def close(self) -> None:
        """Stay open: whoever prints next needs it."""
