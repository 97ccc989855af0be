"""The memory of this process: what a worker gives back between batches."""

from __future__ import annotations

import ctypes
import sys


def give_back_memory() -> None:
    """Returns freed heap pages to the system; without it a worker's memory grows with the number of files it saw."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
