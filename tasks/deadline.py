"""Ends a signal that does not return: its row fails; one that does not even hear that takes its process with it.

An exception is raised in the signal's thread, which Python hears between two of its own instructions. A call into a
library that never returns hears nothing: GRACE_S later the process ends, after one line that names signal and limit. On
a Dask cluster the worker is replaced and the batch is run again elsewhere; with threads the command is what ends.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 1800.0
"""Of one call; HEADROOM_SIGNAL_LIMIT_S is another. A large model on a CPU may take minutes for a clip."""
GRACE_S = 60.0
STATUS = 75  # EX_TEMPFAIL of sysexits.h


class SignalTimedOut(TimeoutError):  # noqa: N818 - what happened
    """Raised in a signal's thread. A TimeoutError: the row is tried again a few times."""


@dataclass
class _Watched:
    signal: str
    limit_s: float
    since: float
    is_told: bool = False


_watched: dict[int, _Watched] = {}
_lock = threading.Lock()
_wake = threading.Event()
_watcher: threading.Thread | None = None


def limit_s() -> float:
    """Raises ValueError for a setting that is no number of seconds above zero."""
    told = os.environ.get("HEADROOM_SIGNAL_LIMIT_S", "")
    if not told:
        return LIMIT_S
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"HEADROOM_SIGNAL_LIMIT_S is {told!r}; give seconds above zero, such as {LIMIT_S:g}")
    return seconds


def within_limit(signal: str, run: Callable[[], T]) -> T:
    """What `run` gives. Raises SignalTimedOut when it is not done in time. May not be nested."""
    me, mine = threading.get_ident(), _Watched(signal, limit_s(), time.monotonic())
    with _lock:
        _watched[me] = mine
        _start_watching()
    # The exception comes once at most, but wherever the thread is then, in these lines too.
    try:
        try:
            return run()
        finally:
            _leave(me, mine)
    except SignalTimedOut:
        _leave(me, mine)
        raise SignalTimedOut(f"{signal} gave no answer within {mine.limit_s:g} s") from None


def _leave(me: int, mine: _Watched) -> None:
    with _lock:
        _watched.pop(me, None)
        if mine.is_told:  # told in its last moment: nobody else is to hear it
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(me), None)


def _start_watching() -> None:
    global _watcher
    if _watcher is None or not _watcher.is_alive():  # a forked child has none
        _watcher = threading.Thread(target=_watch, name="signal-limit", daemon=True)
        _watcher.start()
    _wake.set()


def _watch() -> None:
    while True:
        with _lock:
            now = time.monotonic()
            for thread, one in _watched.items():
                if now > one.since + one.limit_s and not one.is_told:
                    one.is_told = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SignalTimedOut))
                elif now > one.since + one.limit_s + GRACE_S:
                    _end(one)
            moments = [one.since + one.limit_s + (GRACE_S if one.is_told else 0.0) for one in _watched.values()]
            _wake.clear()
        _wake.wait(max(0.01, min(moments) - now) if moments else None)


def _end(one: _Watched) -> None:
    told = (
        f"headroom: signal {one.signal} did not return within {one.limit_s:g} s and can't be interrupted, so its process "
        "ends; run with --runner dask, where only its worker does and the others go on"
    )
    sys.stderr.write(told + "\n")
    sys.stderr.flush()
    os._exit(STATUS)
