"""A cluster on one machine: a Dask scheduler and workers in network namespaces, an S3 server and PostgreSQL beside them."""

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
from tests.network import Network, network

ROOT = Path(__file__).resolve().parent.parent
S3_PORT, SCHEDULER_PORT = 9000, 8786
START_S = 60


@dataclass
class Cluster:
    """`environment` is that of a command of this machine that reaches it. The scheduler is machine 0 of the network."""

    folder: Path
    net: Network
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def scheduler(self) -> str:
        return f"tcp://{self.net.address(0)}:{SCHEDULER_PORT}"

    def start_s3(self) -> None:
        self.others.append(self._start([], "moto.server", "-H", self.net.host, "-p", str(S3_PORT), log="s3"))
        _wait(self.net.host, S3_PORT)

    def start_scheduler(self) -> None:
        told = ["--host", self.net.address(0), "--port", str(SCHEDULER_PORT), "--no-dashboard"]
        self.others.append(self._start(self.net.on(0), "distributed.cli.dask_scheduler", *told, log="scheduler"))
        _wait(self.net.address(0), SCHEDULER_PORT)

    def start_worker(self) -> None:
        number = len(self.workers) + 1
        place = self.folder / f"worker{number}"
        place.mkdir()
        told = [self.scheduler, "--host", self.net.address(number), "--nthreads", "1", "--no-dashboard"]
        told += ["--local-directory", str(place)]
        self.workers.append(
            self._start(self.net.on(number), "distributed.cli.dask_worker", *told, log=f"worker{number}")
        )

    def kill_worker(self) -> None:
        """kill -9 of the first worker with all that it started, as when its machine goes."""
        _kill(self.workers[0])

    def cut_worker_off(self, seconds: float) -> None:
        """The first worker's machine loses its network for so long."""
        self.net.cut(1)
        time.sleep(seconds)
        self.net.join(1)

    def restart_scheduler(self) -> None:
        """kill -9, and a new one at the same address that knows nothing."""
        _kill(self.others.pop())
        self.start_scheduler()

    def _start(self, prefix: list[str], module: str, *told: str, log: str) -> subprocess.Popen[bytes]:
        command = [*prefix, sys.executable, "-m", module, *told]
        with (self.folder / f"{log}.log").open("ab") as out:
            return subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=out, env=self.environment, start_new_session=True
            )


@contextmanager
def cluster(folder: Path, num_workers: int) -> Iterator[Cluster]:
    """Raises RuntimeError where a part does not start within a minute."""
    with postgres_server() as ledger, network(num_workers + 1) as net:
        told = {**s3_environment(f"http://{net.host}:{S3_PORT}"), "PYTHONPATH": str(ROOT)}
        told |= {"HEADROOM_LEDGER_URL": ledger, "HEADROOM_OBJECTS_URL": "s3://corpus/tables"}
        made = Cluster(folder, net, {**os.environ, **told})
        try:
            made.start_s3()
            made.start_scheduler()
            for _ in range(num_workers):
                made.start_worker()
            yield made
        finally:
            for process in (*made.workers, *made.others):
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait(host: str, port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise RuntimeError(f"nothing listens on {host}:{port}: {error}") from error
            time.sleep(0.1)
