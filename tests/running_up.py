"""A `headroom up` in a process of its own, asked through the API of its Prefect server."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.unit.flows.footage import environment

ROOT = Path(__file__).resolve().parent.parent

UP = """
import sys
from flows.up import up
if __name__ == "__main__":
    up(sys.argv[1], watch=sys.argv[2:], port=0)
"""


class Up:
    """A `headroom up` in a process of its own."""

    def __init__(self, workspace: Path, *watched: Path) -> None:
        command = [sys.executable, "-c", UP, str(workspace), *map(str, watched)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment())
        self.below: set[psutil.Process] = set()
        assert self.process.stdout
        self.url = self.process.stdout.readline().removeprefix("Prefect UI: ").strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url
        lines = [self.process.stdout.readline() for _ in range(3)]
        assert lines[-1] == "Ctrl-C stops all of it\n"

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        self.below.update(psutil.Process(self.process.pid).children(recursive=True))
        address = f"{self.url}/api/{path}"
        for _ in range(30):
            answer = httpx.get(address, timeout=60) if body is None else httpx.post(address, json=body, timeout=60)
            if answer.status_code != 503:  # its database is busy: Prefect's own client asks again, too
                break
            time.sleep(1)
        return answer.raise_for_status().json()

    def stop(self, number: int = signal.SIGTERM) -> list[psutil.Process]:
        """The processes that are still there once it has ended."""
        self.below.update(psutil.Process(self.process.pid).children(recursive=True))
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return list(psutil.wait_procs(self.below, timeout=30)[1])


def wait(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What `condition` gives once it is true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "nothing happened"
        time.sleep(1)
    return found


def ended(up: Up, run_id: str) -> dict[str, Any] | None:
    run: dict[str, Any] = up.api(f"flow_runs/{run_id}")
    return run if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None
