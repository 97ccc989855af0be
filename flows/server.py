"""Where the Prefect API is: the workspace's running `headroom up`, else PREFECT_API_URL, else a server of this process.

Nothing here imports prefect before its environment is set: prefect reads its settings, and starts its telemetry, when
it is imported. What a server knows is for people to look at; no result and no decision rests on it.
"""

from __future__ import annotations

import fcntl
import gc
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 10.0
LOCK_PATIENCE_S = 15.0
MAX_LOG_BYTES = 5 << 20
IN_MEMORY = "sqlite+aiosqlite:///file::memory:?cache=shared&uri=true&check_same_thread=false"

SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # Tracebacks go to the log file and to the UI, never to a user's terminal.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}
"""Prefect sends anonymous usage from its server, from every import of it and to its cloud; its UI carries promotion."""


@dataclass(frozen=True)
class Running:
    """The server of a `headroom up`, as it says itself in WORKSPACE/prefect/server.json."""

    url: str
    """Without /api: the address of the UI."""
    pid: int
    started_at: float
    """Of the process, so that a process that got the same id later is not taken for it."""


def home(root: Path) -> Path:
    """The folder of everything Prefect keeps for a workspace; made on first use."""
    made = root / "prefect"
    made.mkdir(parents=True, exist_ok=True)
    return made


def environment(root: Path) -> dict[str, str]:
    """What prefect must find in its environment when it is imported."""
    return {**SILENT, "PREFECT_HOME": str(home(root))}


def database(root: Path) -> int | None:
    """Which file is the workspace's Prefect database now: one that was deleted has another in its place, or none."""
    try:
        return (home(root) / "prefect.db").stat().st_ino
    except FileNotFoundError:
        return None


def lost_database(root: Path) -> str:
    return f"{home(root) / 'prefect.db'} was deleted or replaced while a Prefect server had it open"


def running(root: Path) -> Running | None:
    """The workspace's `headroom up`, if it lives and its server answers."""
    file = home(root) / "server.json"
    try:
        told = Running(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not same_process(told.pid, told.started_at) or not healthy(told.url, timeout_s=5):
        return None
    return told


def announce(root: Path, url: str, pid: int) -> Running:
    """Writes server.json in one step."""
    told = Running(url, pid, psutil.Process(pid).create_time())
    file = home(root) / "server.json"
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(told)))
    fresh.replace(file)
    return told


def same_process(pid: int, started_at: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - started_at) < 1)
    except psutil.NoSuchProcess:
        return False


def healthy(url: str, timeout_s: float) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", "/api/health")
        status: int = connection.getresponse().status
        return status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class Child:
    """A process of ours that ends with us: it watches the pipe we hold (flows/child.py)."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """Ends it and everything below it."""
        descendants = below(self.process.pid)
        if self.process.poll() is None:
            self.process.terminate()
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        end(descendants)

    def failure(self) -> str:
        """What it said last, for an error."""
        said = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        if said:
            return said[-1]
        ended = self.process.poll()
        return "it was not ready in time, the machine may be busy" if ended is None else f"exit status {ended}"


def start_child(root: Path, name: str, arguments: list[str], env: Mapping[str, str], fds: tuple[int, ...]) -> Child:
    """`python -m flows.child ARGUMENTS`, its output in WORKSPACE/prefect/NAME.log."""
    log = home(root) / f"{name}.log"
    with open_log(log) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.child", *arguments],
            env={**os.environ, **environment(root), "PYTHONPATH": python_path(), **env},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C reaches us alone; we end our children ourselves
        )
    return Child(name, process, log)


def open_log(file: Path) -> IO[bytes]:
    """For appending; begun anew when it has grown large."""
    large = file.exists() and file.stat().st_size > MAX_LOG_BYTES
    return file.open("wb" if large else "ab")


def end(processes: list[psutil.Process]) -> None:
    """Ends processes gently, then not."""
    for process in processes:
        _signal(process, "terminate")
    _, alive = psutil.wait_procs(processes, timeout=STOP_TIMEOUT_S)
    for process in alive:
        _signal(process, "kill")
    psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)


def start_server(root: Path, port: int, *, lasting: bool, env: Mapping[str, str] | None = None) -> tuple[Child, str]:
    """A Prefect server on 127.0.0.1 (port 0: any free one) and its URL; it may still be starting, see `wait_for`.

    The socket is opened here, so that no other process can take the port meanwhile, and who connects early waits. One
    server at a time has the workspace's database; another one meanwhile keeps its own in memory if it is not `lasting`.
    Raises ValueError when the port is taken, or the database for a lasting one.
    """
    with socket.socket() as listener, (home(root) / "lock").open("a") as lock:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} is taken ({error.strerror}); give another one, or 0 for any") from error
        listener.listen(128)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        told = {"PREFECT_UI_API_URL": f"{url}/api", "PREFECT_API_URL": f"{url}/api", **(env or {})}
        if not lasting:
            told |= {"PREFECT_UI_ENABLED": "0", "PREFECT_API_BLOCKS_REGISTER_ON_START": "0"}
        if not _locked(lock, patience_s=LOCK_PATIENCE_S if lasting else 0):
            if lasting:
                raise ValueError(f"{home(root)} is in use by a running headroom curate; start again when it has ended")
            told["PREFECT_API_DATABASE_CONNECTION_URL"] = IN_MEMORY
        arguments = ["server", str(listener.fileno()), "lasting" if lasting else "ephemeral"]
        # The child inherits the lock: it is free again when both of us are gone.
        return start_child(root, "server", arguments, told, (listener.fileno(), lock.fileno())), url


def wait_for(child: Child, url: str) -> None:
    """Returns once the server answers. Raises RuntimeError when it does not."""
    began = time.monotonic()
    while not healthy(url, timeout_s=START_TIMEOUT_S):
        if child.process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
            raise RuntimeError(f"the Prefect server did not start: {child.failure()}; all of it is in {child.log}")
        time.sleep(0.05)


@contextmanager
def prefect_api(root: Path) -> Iterator[str]:
    """Makes prefect usable for this workspace and gives the API's URL; a server of our own ends with the block."""
    found = running(root)
    url = f"{found.url}/api" if found else os.environ.get("PREFECT_API_URL", "")
    with ExitStack() as stack:
        own: Child | None = None
        if not url:
            own, address = start_server(root, 0, lasting=False)
            stack.callback(own.stop)
            url = f"{address}/api"
        told = {**environment(root), "PREFECT_API_URL": url}
        stack.enter_context(environ(told))
        stack.enter_context(_settings(told))  # imports prefect, which takes as long as the server's start beside it
        stack.enter_context(_log_file(home(root) / "prefect.log"))
        if own:
            wait_for(own, address)
        stack.callback(_deliver)
        held = database(root)
        try:
            yield url
        except Exception as error:
            if database(root) != held and type(error).__module__.split(".")[0] in ("prefect", "httpx"):
                what = (
                    "start headroom up again, then run the same command again"
                    if found
                    else "run the same command again"
                )
                raise RuntimeError(f"{lost_database(root)}; what was committed stands, {what} to go on") from error
            if own and own.process.poll() is not None:
                raise RuntimeError(
                    f"the Prefect server of this run ended by itself ({own.failure()}); what was committed stands, "
                    f"run the same command again to go on"
                ) from error
            raise


@contextmanager
def environ(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for this block; what it starts inherits them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _settings(told: Mapping[str, str]) -> Iterator[None]:
    """The same for a prefect that this process had imported before, perhaps for another workspace."""
    gc.disable()  # 0.3 s less to import
    try:
        from prefect import flow, settings
    finally:
        gc.enable()
    assert flow.__module__  # prefect loads it late; now is the time, beside the start of the server
    updates: dict[Any, Any] = {
        settings.PREFECT_API_URL: told["PREFECT_API_URL"],
        settings.PREFECT_HOME: Path(told["PREFECT_HOME"]),
    }
    with settings.temporary_settings(updates=updates):
        yield


@contextmanager
def _log_file(file: Path) -> Iterator[None]:
    open_log(file).close()
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("prefect")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _deliver() -> None:
    """Sends the states and logs that prefect still holds in its background threads, and ends those."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=STOP_TIMEOUT_S)
    APILogWorker.drain_all(timeout=STOP_TIMEOUT_S)


def _locked(lock: IO[str], patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.2)


def below(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, how: str) -> None:
    try:
        getattr(process, how)()
    except psutil.NoSuchProcess:
        return


def python_path() -> str:
    """So that a child finds these packages wherever it runs."""
    root = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
