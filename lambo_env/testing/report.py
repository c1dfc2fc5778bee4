"""The report of named checks, for environments and agents alike."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

from lambo_env.utils import validate


class NotChecked(Exception):  # noqa: N818 - not an error: the reason why a check does not apply
    """Raised inside a check that cannot be made here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: what it found."""

    name: str
    ok: bool | None  # None: not checked, the detail says why
    detail: str

    @classmethod
    def made(cls, name: str, check: Callable[[], str | None], *, strict: bool = False) -> Check:
        """Make a check; whatever it raises is a finding, not the end of the report.

        Args:
            name: of the check.
            check: returns a detail, or raises.
            strict: warnings are findings too.
        """
        try:
            with warnings.catch_warnings():
                if strict:
                    warnings.simplefilter("error")
                return cls(name, True, check() or "")
        except NotChecked as reason:
            return cls(name, None, str(reason))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an agent may exit
            kind = AssertionError if strict else ValueError
            known = isinstance(error, kind) and bool(str(error))
            text = (
                str(error).partition("\n")[0] if strict and known else str(error) if known else ""
            )
            return cls(name, False, text or validate.told(error))


@dataclasses.dataclass(frozen=True)
class Report:
    """All checks of one environment or agent."""

    subject: str
    rows: tuple[Check, ...]

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [row for row in self.rows if row.ok is False]

    def __str__(self) -> str:
        """Return one line per check."""
        words = {True: "ok", False: "FAIL", None: "skip"}
        width = max((len(row.name) for row in self.rows), default=0)
        head = f"{self.subject}: {len(self.failures)} of {len(self.rows)} checks failed"
        lines = [f"{words[row.ok]:4} {row.name:{width}} {row.detail}" for row in self.rows]
        return "\n".join([head, *lines])
