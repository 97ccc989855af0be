"""A cluster on one machine: a Dask scheduler with workers, an S3 server and PostgreSQL, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.databases import postgres_server, s3_environment

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Cluster:
    """Where it is, and the environment in which a command of this machine reaches it."""

    scheduler: str
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            self.scheduler,
            "--nthreads",
            "1",
            "--no-dashboard",
        ]
        place = folder / f"worker{len(self.workers)}"
        place.mkdir(parents=True)
        self.workers.append(_start([*command, "--local-directory", str(place)], place / "log", self.environment))

    def kill_worker(self, number: int) -> None:
        """kill -9 of a worker with all that it started, as when its machine goes."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()


@contextmanager
def cluster(folder: Path, num_workers: int) -> Iterator[Cluster]:
    """Raises RuntimeError where a part does not start within a minute."""
    ports = _free_ports(2)
    s3, scheduler = f"http://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}"
    with postgres_server() as ledger:
        told = {**s3_environment(s3), "HEADROOM_LEDGER_URL": ledger, "HEADROOM_OBJECTS_URL": "s3://corpus/tables"}
        made = Cluster(scheduler, {**os.environ, **told, "PYTHONPATH": str(ROOT)})
        begun = []
        try:
            begun.append(
                _start([sys.executable, "-m", "moto.server", "-p", str(ports[0])], folder / "s3.log", made.environment)
            )
            asked = ["--host", "127.0.0.1", "--port", str(ports[1]), "--no-dashboard"]
            begun.append(
                _start(
                    [sys.executable, "-m", "distributed.cli.dask_scheduler", *asked],
                    folder / "scheduler.log",
                    made.environment,
                )
            )
            _wait(ports)
            for _ in range(num_workers):
                made.start_worker(folder)
            yield made
        finally:
            for process in (*made.workers, *begun):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _start(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment, start_new_session=True)


def _free_ports(num: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(num)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def _wait(ports: list[int]) -> None:
    until = time.monotonic() + 60
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise RuntimeError(f"nothing listens on port {port}: {error}") from error
                time.sleep(0.1)
