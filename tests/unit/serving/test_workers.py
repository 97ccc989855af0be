"""`headroom serve` with worker processes: one is killed under a session with sound, one hangs, and what they leave behind."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from serving.join import gateway_of
from serving.serve import check_there_is_one, local, shared_out
from store import deployments
from store.deployments import Server
from store.workspace import Workspace, open_workspace
from tests.unit.serving.talker import published
from tests.unit.serving.test_failover import apart, heard, voice
from tests.unit.serving.test_render import portrait

START_S = 150.0
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Server, psutil.Process]]:
    """Two workers, each with room for one session."""
    folder = tmp_path_factory.mktemp("served")
    place = open_workspace(folder / "ws")
    published(place)
    command = [sys.executable, "-m", "headroom", "serve", "--workspace", str(folder / "ws"), "--port", "0"]
    command += ["--workers", "2", "--sessions", "2", "--avatar", str(portrait(folder))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        until = time.monotonic() + START_S
        while not (there := deployments.servers(place)) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.2)
        assert there, (folder / "log").read_text()
        waited(lambda: len(workers_of(there[0])) == 2)
        yield place, there[0], psutil.Process(process.pid)
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.terminate()
        process.wait(30)
        _, alive = psutil.wait_procs(children, timeout=20)
        for child in alive:
            child.kill()
        assert not alive, "workers end with their gateway"


def waited(done: Callable[[], Any]) -> None:
    until = time.monotonic() + START_S
    while not done():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


def workers_of(server: Server) -> dict[str, dict[str, int]]:
    answer = httpx.get(f"{server.url}/api/checkpoints", headers={"x-headroom-probe": server.key}, timeout=20)
    return dict(answer.json().get("workers", {}))


def process_of(gateway: psutil.Process, worker: str) -> psutil.Process:
    return next(child for child in gateway.children() if worker in child.cmdline())


def opened(server: Server) -> httpx.Response:
    key = httpx.get(f"{server.url}/api/avatars", timeout=20).json()["avatars"][0]["key"]
    return httpx.post(f"{server.url}/api/sessions", json={"avatar": key}, timeout=30)


def line_of(server: Server, made: dict[str, str]) -> ClientConnection:
    line = connect(f"{server.url.replace('http', 'ws', 1)}/api/sessions/{made['id']}", max_size=None)
    line.send(json.dumps({"token": made["token"]}))
    return line


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_under_a_session_loses_no_frame_and_is_replaced(
    served: tuple[Workspace, Server, psutil.Process], how: signal.Signals
) -> None:
    _, server, gateway = served
    made = opened(server).json()
    name = next(worker for worker, told in workers_of(server).items() if told["sessions"])
    victim = process_of(gateway, name)
    sound, data, came = voice(16_000 * 6), b"", list[float]()
    clock: dict[str, float] = {}
    with line_of(server, made) as line:
        for at in range(0, len(sound), 16_000):
            line.send(sound[at : at + 16_000].astype("<i2").tobytes())
        killed_at = 0.0
        while clock.get("taken", 0) < len(sound):
            message = line.recv(timeout=30)
            if isinstance(message, bytes):
                data += message
                came.append(time.monotonic())
            elif (told := json.loads(message))["type"] == "clock":
                clock = told
                if not killed_at and clock["taken"] >= 16_000:
                    victim.send_signal(how)
                    killed_at = time.monotonic()
        line.send("end")
    with av.open(io.BytesIO(data)) as container:
        times = [int(f.pts) for f in container.decode(video=0)]
    assert times == [1024 + 640 * n for n in range(len(times))], "every frame once, in its place"
    assert len(times) == round((clock["at_s"] - 1024 / 16_000) * 25) - 1, "as many as the clock says, one is held back"
    begins = round((clock["at_s"] - 1024 / 16_000) * 16_000) - len(sound)
    assert apart(heard(data)[begins:], sound) < 0.05, "and what was said is heard, with its picture"
    gap = max(b - a for a, b in itertools.pairwise(came))
    assert gap < 5, f"it stood still for {gap:.1f} s"
    assert max(t for t in came) > killed_at
    waited(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)
    waited(lambda: len(workers_of(server)) == 2)
    told = httpx.get(f"{server.url}/metrics", timeout=20).text
    assert f'headroom_worker_capacity{{worker="{name}"}} 1.0' in told
    assert "headroom_workers_lost_total 0.0" not in told
    print(f"{how.name}: gap {gap:.2f} s")


@pytest.mark.slow
def test_when_capacity_is_gone_a_session_is_refused_and_room_comes_back(
    served: tuple[Workspace, Server, psutil.Process],
) -> None:
    _, server, _ = served
    waited(lambda: httpx.get(f"{server.url}/api/avatars", timeout=20).json()["free"] == 2)
    both = [opened(server).json(), opened(server).json()]
    refused = opened(server)
    assert (refused.status_code, refused.json()["error"]) == (503, "all 2 sessions are taken; try again in a minute")
    assert [told["sessions"] for told in workers_of(server).values()] == [1, 1]
    for made in both:
        with line_of(server, made) as line:
            line.send("end")
            with pytest.raises(ConnectionClosed, match="the session is over"):
                while True:
                    line.recv(timeout=20)
    waited(lambda: httpx.get(f"{server.url}/api/avatars", timeout=20).json()["free"] == 2)


@pytest.mark.slow
def test_whoever_has_no_key_is_no_worker(served: tuple[Workspace, Server, psutil.Process]) -> None:
    place, server, _ = served
    assert gateway_of(place, None) == (server.url, server.key)
    command = [sys.executable, "-m", "headroom", "worker", server.url, "--workspace", str(place.settings.workspace)]
    told = {**os.environ, "HEADROOM_GATEWAY_KEY": "wrong"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, timeout=START_S, check=False)
    assert done.returncode != 0
    assert "lets it in" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(workers_of(server)) == 2


def test_a_gateway_must_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = open_workspace(tmp_path / "ws")
    monkeypatch.delenv("HEADROOM_GATEWAY_KEY", raising=False)
    with pytest.raises(ValueError, match="gateway not named, the ledger knows none"):
        gateway_of(place, None)
    for name in ("a", "b"):
        deployments.announce(place, Server(name, f"http://{name}", f"key {name}", 1, 0.0))
    with pytest.raises(ValueError, match="the ledger knows http://a, http://b; give one of them"):
        gateway_of(place, None)
    assert gateway_of(place, "http://b") == ("http://b", "key b")
    monkeypatch.setenv("HEADROOM_GATEWAY_KEY", "told")
    assert gateway_of(place, "http://c") == ("http://c", "told")


def test_sessions_are_shared_out_and_a_checkpoint_must_be_there(tmp_path: Path) -> None:
    assert [shared_out(5, 2), shared_out(1, 2), shared_out(4, 0)] == [[3, 2], [1], []]
    assert [local("http://0.0.0.0:1"), local("http://[::]:1")] == ["http://127.0.0.1:1", "http://[::1]:1"]
    place = open_workspace(tmp_path / "ws")
    with pytest.raises(ValueError, match="headroom train audio_to_motion --tier a2v_bronze trains one"):
        check_there_is_one(place, None)
    with pytest.raises(ValueError, match="'abcdef': no checkpoint"):
        check_there_is_one(place, "abcdef")
    published(place)
    check_there_is_one(place, None)
