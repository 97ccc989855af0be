"""What a worker of the local Dask cluster does first."""

from __future__ import annotations

import signal
from typing import Any

from flows.runners import one_thread_each


def dask_setup(worker: Any) -> None:
    """Ctrl-C reaches every process of a terminal: the one that began the cluster ends it, the others wait for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread_each()
