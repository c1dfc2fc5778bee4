"""Where a result comes from: versions, machine, commit, command; and how to cite the suite."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

DISTRIBUTION = "lambo-mec"
_WATCHED = (
    *(
        "numpy",
        "scipy",
        "gymnasium",
        "array-api-compat",
        "joblib",
        "torch",
        "stable-baselines3",
        "sb3-contrib",
    ),
    DISTRIBUTION,
)
CITATION = """\
Dong, L., Jiang, F., Peng, Y., Wang, K., Yang, K., Pan, C., Schober, R.: "LAMBO: Large AI Model
Empowered Edge Intelligence", IEEE Communications Magazine, doi:10.1109/MCOM.001.2400076,
arXiv:2308.15078.
Software: LAMBO suite (lambo-mec {version}), MIT licence; see CITATION.cff."""


def version_of(distribution: str) -> str:
    """Return the installed version of a distribution, or an empty string."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def version_text() -> str:
    """Return what ``lambo --version`` prints: the version and the citation."""
    version = version_of(DISTRIBUTION)
    return f"lambo {version}\n\n{CITATION.format(version=version)}"


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def command() -> str:
    """Return the command line as it can be typed again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def cpu_model() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def commit() -> str | None:
    """Return the git commit of the source tree, with ``+changes`` where it has some.

    None outside one.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        return _git(root, "rev-parse", "HEAD") + (
            "+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()


def describe(jobs: int) -> dict[str, Any]:
    """Return what the manifest of a run says about how it was made."""
    return {
        "command": command(),
        "started": now(),
        "versions": {
            "python": platform.python_version(),
            **{name: found for name in sorted(_WATCHED) if (found := version_of(name))},
        },
        "commit": commit(),
        "machine": {
            "system": platform.platform(),
            "cpu": cpu_model(),
            "cores": cores(),
            # processes that wanted to run; above the cores, times are of a busy machine
            "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        },
        "jobs": jobs,
        "threads_a_job": 1,
    }
