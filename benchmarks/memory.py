"""Watches the memory of a process and its children from outside, so that watching costs it nothing.

`Watch` starts this file as a program, which samples ten times a second, and at the end of each stage, until its
standard input ends. Memory is PSS: pages that worker and decoder share are counted once in the sum.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

INTERVAL_S = 0.1
MIB = 1 << 20


@dataclass(frozen=True)
class Peak:
    """The most memory held at one moment of a stage: together, by the worker and by its children."""

    stage: str
    sum_mib: float
    worker_mib: float
    children_mib: float


class Watch:
    """Samples this process and all below it until closed."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", str(Path(__file__).resolve()), str(os.getpid())]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._tell(name)
        try:
            yield
        finally:
            self._tell("between")

    def peaks(self) -> list[Peak]:
        """Ends the watch; peaks in the order in which stages were first seen."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._child:
            self._child.stdin.close()
            return [Peak(**line) for line in json.loads(self._child.stdout.read())]

    def _tell(self, name: str) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(name + "\n")
        self._child.stdout.readline()


def pss_bytes(pid: int) -> int:
    """0 for a process that is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (ProcessLookupError, FileNotFoundError):
        return 0
    return 0


def descendants(pid: int) -> list[int]:
    """All processes below one, without this one."""
    found: list[int] = []
    queue = [pid]
    while queue:
        try:
            threads = list(Path(f"/proc/{queue.pop()}/task").glob("*/children"))
            below = [int(p) for t in threads for p in t.read_text().split()]
        except (ProcessLookupError, FileNotFoundError):
            continue
        found += [p for p in below if p != os.getpid()]
        queue += [p for p in below if p != os.getpid()]
    return found


def command_line(pid: int) -> bytes:
    """A child between fork and exec has its parent's, and its parent's memory, which would count twice."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (ProcessLookupError, FileNotFoundError):
        return b""


def watch(pid: int) -> list[dict[str, object]]:
    peaks: dict[str, tuple[int, int]] = {}
    stage, told = "before", b"\n"
    while told:
        ready, _, _ = select.select([0], [], [], INTERVAL_S)
        told = os.read(0, 1 << 16) if ready else b"\n"
        own = command_line(pid)
        worker = pss_bytes(pid)
        children = sum(pss_bytes(p) for p in descendants(pid) if command_line(p) != own)
        if worker + children > sum(peaks.get(stage, (0, 0))):
            peaks[stage] = (worker, children)
        if told.strip():
            stage = told.decode().strip()
            print(flush=True)
    return [
        {
            "stage": name,
            "sum_mib": round(sum(found) / MIB, 1),
            "worker_mib": round(found[0] / MIB, 1),
            "children_mib": round(found[1] / MIB, 1),
        }
        for name, found in peaks.items()
    ]


if __name__ == "__main__":
    print(json.dumps(watch(int(sys.argv[1]))))
