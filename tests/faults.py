"""Faults of a machine while `headroom curate` runs: a full disk, a locked or vanished database, a server that dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.databases import Server

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """How a command ended that met a fault: its status and its last line for people."""

    status: int
    said: str

    @property
    def is_clear(self) -> bool:
        """Done, or stopped with one line that is no traceback."""
        return self.status == 0 or (self.status in (1, 2) and self.said.startswith("headroom: "))


def curate(corpus: Path, workspace: Path, during: Callable[[subprocess.Popen[str]], None] | None = None) -> Ended:
    """One `headroom curate`, with something done to it or its machine meanwhile."""
    command = [sys.executable, "-m", "headroom", "curate", str(corpus), "--workspace", str(workspace)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    doing = threading.Thread(target=during, args=(process,)) if during else None
    if doing:
        doing.start()
    told = process.communicate()[1].strip().splitlines()
    if doing:
        doing.join()
    # The last line for people; progress comes before it, and libraries' own complaints may come after.
    own = [line[line.index("headroom: ") :] for line in told if "headroom: " in line]
    return Ended(process.returncode, (own or told or [""])[-1])


def can_mount() -> bool:
    with_mount = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return os.geteuid() == 0 and with_mount.returncode == 0


@contextmanager
def small_disk(place: Path, mib: int) -> Iterator[Callable[[int], None]]:
    """A disk of `mib` MiB at `place`; the function yielded gives it another size."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place], check=True)
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}m", place], check=True) and None
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def lock_ledger(workspace: Path, after_s: float, for_s: float) -> Callable[[object], None]:
    """Holds the ledger's write lock for a while, as a stuck program would."""

    def hold(_process: object) -> None:
        _wait_for(workspace / "ledger.sqlite")
        time.sleep(after_s)
        connection = sqlite3.connect(workspace / "ledger.sqlite", timeout=60, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(for_s)
        connection.execute("ROLLBACK")
        connection.close()

    return hold


def stop_server(server: Server, workspace: Path, after_s: float, for_s: float) -> Callable[[object], None]:
    """Takes the ledger's server away for a while, once the first tables are written."""

    def stop(_process: object) -> None:
        _wait_for(workspace / "lance" / "videos.lance")
        time.sleep(after_s)
        server.stop()
        time.sleep(for_s)
        server.start()

    return stop


def kill_child(named: str, after_s: float) -> Callable[[subprocess.Popen[str]], None]:
    """kill -9 of the first child of the command whose command line holds `named`, `after_s` after it was first seen."""

    def kill(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            found = [c for c in _children(process.pid) if named in c[1]]
            if found:
                time.sleep(after_s)
                if psutil.pid_exists(found[0][0]):
                    os.kill(found[0][0], signal.SIGKILL)
                return
            time.sleep(0.05)

    return kill


def lose_database(workspace: Path, after_s: float) -> Callable[[subprocess.Popen[str]], None]:
    """Deletes the Prefect database of a command, `after_s` after its server has made it."""

    def lose(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            if (workspace / "prefect" / "prefect.db").exists():
                time.sleep(after_s)
                delete_database(workspace)
                return
            time.sleep(0.05)

    return lose


def delete_database(workspace: Path) -> None:
    for file in (workspace / "prefect").glob("prefect.db*"):
        file.unlink()


def _children(pid: int) -> list[tuple[int, str]]:
    try:
        return [(c.pid, " ".join(c.cmdline())) for c in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait_for(file: Path) -> None:
    until = time.monotonic() + 120
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
