"""Memory that is freed and wanted again at once, many times a second."""

from __future__ import annotations

import numpy as np

_WARM_BYTES = 31 << 20  # below the largest block (32 MiB) that glibc would ever learn to keep


def retain_freed_memory() -> None:
    """Let the allocator keep blocks of up to 31 MiB that are freed, for the next ones.

    Page faults would take up to half of the time.

    glibc returns a freed block to the system unless a block as large was freed before; this one is
    never touched.
    """
    np.empty(_WARM_BYTES, dtype=np.uint8)
