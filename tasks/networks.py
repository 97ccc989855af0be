"""Networks that signals use: loaded when first asked for, kept for the next clip, let go when their stage is over.

What the video signals load is of no use to the clip signals, and the other way round; a worker that kept both would hold
0.3 GiB more. A network in use is never taken away: who runs one holds it.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from infra.resources import give_back_memory

P = ParamSpec("P")
R = TypeVar("R")


class _Held(dict[Hashable, Any]):
    """A dictionary that can be referred to weakly: a thread's networks go with the thread."""


class _Own(threading.local):
    def __init__(self) -> None:
        self.held = _Held()
        with _lock:
            _everyone[id(self.held)] = self.held


_lock = threading.RLock()
_everyone: weakref.WeakValueDictionary[int, _Held] = weakref.WeakValueDictionary()
_shared = _Held()
_everyone[id(_shared)] = _shared
_own = _Own()
_at_work: Counter[str] = Counter()
_stage = ""


def per_process(load: Callable[P, R]) -> Callable[P, R]:
    """One for all threads, by arguments, as functools.cache: for what several threads may run at once."""

    @wraps(load)
    def network(*args: P.args, **kwargs: P.kwargs) -> R:
        key = (load, args, tuple(sorted(kwargs.items())))
        found: R | None = _shared.get(key)
        if found is None:
            with _lock:
                found = _shared.get(key)
                if found is None:
                    found = _shared[key] = load(*args, **kwargs)
        return found

    return network


def per_thread(load: Callable[P, R]) -> Callable[P, R]:
    """One for each thread, by arguments: for what keeps its tensors while it runs."""

    @wraps(load)
    def network(*args: P.args, **kwargs: P.kwargs) -> R:
        key = (load, args, tuple(sorted(kwargs.items())))
        found: R | None = _own.held.get(key)
        if found is None:
            found = _own.held[key] = load(*args, **kwargs)
        return found

    return network


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Says that work of a stage begins. It lets the networks of the stage before go, unless that is still at work."""
    global _stage
    with _lock:
        _at_work[name] += 1
        if name != _stage and _at_work.total() == _at_work[name]:
            _stage = name
            release()
    try:
        yield
    finally:
        with _lock:
            _at_work[name] -= 1


def release() -> None:
    """Lets all networks of all threads go; each is loaded again when it is next asked for."""
    with _lock:
        for held in list(_everyone.values()):
            held.clear()
    give_back_memory()
