"""A watch on folders and bucket prefixes that tells when what is under them has changed and lies still."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.ingest import Source, find_sources

log = logging.getLogger("headroom.flows")

SETTLE_S = 5.0
"""A file that is being copied changes its size all along; one that has lain still this long is complete."""

POLL_S = 60.0
"""Buckets send no events, and network folders lose some: everything is looked at this often."""

Seen = Mapping[str, str]


def scan(paths: Sequence[str]) -> dict[str, str]:
    """Each source under the paths with the hint that changes when it does. A path that is gone holds nothing."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            sources = [s for s in find_sources(path) if isinstance(s, Source)]
        except (ValueError, OSError) as error:
            log.warning("watch: %s", error)
            continue
        found.update({s.uri: s.hint if s.rights is None else f"{s.hint} {s.rights!r}" for s in sources})
    return found


def watch(
    paths: Sequence[str],
    on_settled: Callable[[], bool],
    stop: threading.Event,
    *,
    settle_s: float = SETTLE_S,
    poll_s: float = POLL_S,
) -> None:
    """Calls `on_settled` once at the beginning and then whenever sources are new or changed and lie still.

    It returns whether the change is taken care of; if not, it is called again after `poll_s`. Ends when `stop` is set.
    """
    touched = threading.Event()
    observer = _observer(paths, touched)
    taken: Seen = {}
    try:
        while not stop.is_set():
            touched.clear()
            now = scan(paths)
            if now == taken:
                _wait(touched, stop, poll_s)
            elif stop.wait(settle_s) or scan(paths) != now:
                continue  # still being written
            elif on_settled():
                taken = now
            else:
                stop.wait(poll_s)
    finally:
        if observer:
            observer.stop()
            observer.join()


def _wait(touched: threading.Event, stop: threading.Event, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not stop.wait(0.2) and not touched.is_set() and time.monotonic() < until:
        continue


def _observer(paths: Sequence[str], touched: threading.Event) -> Any:
    """Watches the folders among the paths, and the folders of the files among them; None where the system can't."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in ("created", "modified", "moved", "deleted", "closed"):
                touched.set()

    # A folder that appears while those beside it are taken up is taken up twice, which does no harm and is warned of.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"watchdog\.")
    observer = Observer()
    for path in {str(p if p.is_dir() else p.parent) for p in map(Path, paths) if "://" not in str(p)}:
        if Path(path).is_dir():
            observer.schedule(Handler(), path, recursive=True)
    try:
        observer.start()
    except OSError as error:
        log.warning("watch: no events from the system (%s); looking every %.0f s instead", error.strerror, POLL_S)
        return None
    return observer
