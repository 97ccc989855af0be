"""The memory of this process: what a worker gives back between batches, and within a clip."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

GROWN_MIB = 32
"""Giving back costs 3 ms, so within a clip it is done only once so much came in since."""

_MIB = 1 << 20
_resident_before = 0


def give_back_memory() -> None:
    """Returns freed pages to the system: the heap's, and those that Arrow's pool keeps.

    Without it a worker's memory grows with the number of clips it saw: 110 MiB for each clip of a minute.
    """
    global _resident_before
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
        _resident_before = resident_bytes()


def give_back_if_grown() -> None:
    """The same, if the process has grown by GROWN_MIB since it was last done.

    Signals of one clip run one after another, and the heap keeps what each freed in pieces that the next can't use:
    without this 120 MiB more at the end of a clip of a minute.
    """
    if sys.platform == "linux" and resident_bytes() - _resident_before > GROWN_MIB * _MIB:
        give_back_memory()


def resident_bytes() -> int:
    """Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
