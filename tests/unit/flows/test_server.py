"""Where the Prefect API is found, and that our servers end with us."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows import server
from flows.server import announce, end, environment, home, running, start_child, start_server, wait_for
from tests.unit.flows import footage


def wait_until_gone(process: psutil.Process, seconds: float = 30) -> bool:
    return not psutil.wait_procs([process], timeout=seconds)[1]


def test_telemetry_is_off_and_everything_lies_in_the_workspace(tmp_path: Path) -> None:
    told = environment(tmp_path)
    assert told["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert (told["DO_NOT_TRACK"], told["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("1", "false")


def test_a_server_that_is_gone_is_not_found(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    (home(tmp_path) / "server.json").write_text("{")
    assert running(tmp_path) is None
    announce(tmp_path, "http://127.0.0.1:1", os.getpid())
    assert running(tmp_path) is None
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    started_at = psutil.Process(gone.pid).create_time()
    gone.wait()
    assert not server.same_process(gone.pid, started_at)
    assert not server.same_process(os.getpid(), started_at - 60)


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is taken"):
            start_server(tmp_path, port, lasting=False)


def test_one_lasting_server_at_a_time_has_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(server, "LOCK_PATIENCE_S", 0.3)
    with (home(tmp_path) / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="is in use by a running headroom curate"):
            start_server(tmp_path, 0, lasting=True)


def test_a_server_that_fails_says_why(tmp_path: Path) -> None:
    child = start_child(tmp_path, "server", ["server", "999", "ephemeral"], {}, ())
    with pytest.raises(RuntimeError, match=r"did not start: .*Bad file descriptor.*server\.log"):
        wait_for(child, "http://127.0.0.1:1")
    child.stop()


def test_processes_that_do_not_listen_are_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_TIMEOUT_S", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout
        stubborn.stdout.readline()
        end([psutil.Process(stubborn.pid)])
        assert not psutil.pid_exists(stubborn.pid)


HOLDS_A_SERVER = """
import sys, time
from pathlib import Path
from flows.server import prefect_api
if __name__ == "__main__":
    with prefect_api(Path(sys.argv[1])) as url:
        print(url, flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
def test_two_servers_at_once_and_none_outlives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS_A_SERVER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": footage.environment()}
    with subprocess.Popen(command, **pipes, text=True) as first:  # type: ignore[call-overload]
        urls = [first.stdout.readline()]
        with subprocess.Popen(command, **pipes, text=True) as second:  # type: ignore[call-overload]
            urls.append(second.stdout.readline())
            assert urls[0].startswith("http://127.0.0.1:")
            assert urls[1].startswith("http://127.0.0.1:")
            assert urls[0] != urls[1]
            children = [psutil.Process(p.pid).children()[0] for p in (first, second)]
            first.kill()
            assert wait_until_gone(children[0])
            second.stdin.close()
            assert second.wait(30) == 0
            assert wait_until_gone(children[1])
    assert (home(tmp_path) / "prefect.db").exists()


def test_a_server_that_is_slow_is_not_told_as_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child = server.Child("server", process, tmp_path / "server.log")
    try:
        assert "not ready in time" in child.failure()
    finally:
        process.kill()
        process.wait()
    assert child.failure() == "exit status -9"
    child.log.write_text("started\nport is taken\n")
    assert child.failure() == "port is taken"


def lose_the_database(root: Path, error: Exception) -> None:
    from flows.server import prefect_api

    with prefect_api(root):
        (home(root) / "prefect.db").unlink()
        raise error


def test_a_database_that_is_deleted_under_a_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    (home(tmp_path) / "prefect.db").write_bytes(b"")
    told = (
        r"prefect\.db was deleted or replaced while .*; what was committed stands, run the same command again to go on"
    )
    with pytest.raises(RuntimeError, match=told):
        lose_the_database(tmp_path, httpx.HTTPError("500 Internal Server Error"))
    (home(tmp_path) / "prefect.db").write_bytes(b"")
    with pytest.raises(ValueError, match="no such tier"):  # that has nothing to do with it
        lose_the_database(tmp_path, ValueError("no such tier"))
