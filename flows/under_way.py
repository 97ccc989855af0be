"""What the threads of a command are computing, in files that a kill leaves behind.

What ends a thread's process ends the command, and nobody is left to say what it was at. So each batch is written down
before it begins; what the file of a dead process names is computed by the next run in processes of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.jobs import Job

Item = tuple[str, str, str]
"""Stage, video, and clip or window (empty: all of the video)."""


def items(jobs: Collection[Job]) -> frozenset[Item]:
    return frozenset((j.stage, j.video_id, str(i)) for j in jobs for i in j.items or ("",))


@contextmanager
def noted(folder: Path, jobs: Collection[Job]) -> Iterator[None]:
    """Writes down that this process computes these jobs, until it leaves, by an error too."""
    folder.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=folder, suffix=".json")
    with os.fdopen(number, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system takes it back when the process dies, of whatever
        json.dump(sorted(items(jobs)), file)
        file.flush()
        try:
            yield
        finally:
            Path(name).unlink(missing_ok=True)


def of_the_dead(folder: Path) -> dict[Path, frozenset[Item]]:
    """By file what processes were computing that are gone."""
    found = {}
    for file in folder.glob("*.json"):
        with suppress(FileNotFoundError), file.open() as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its process lives
            if text := opened.read():  # none: it is being begun, or its process died before its batch did
                found[file] = _parsed(text)
    return found


def _parsed(text: str) -> frozenset[Item]:
    try:
        return frozenset((stage, video, item) for stage, video, item in json.loads(text))
    except ValueError:
        return frozenset()  # a power loss may leave half of it: those are computed as all others are
