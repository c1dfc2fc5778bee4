"""Public data that lies beside the repository."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Path of a data file beside the repository.

    Skips the calling test where the file is absent.
    """
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"needs the data file {name} in {SHARED_DATA}, which is not there")
    return path
