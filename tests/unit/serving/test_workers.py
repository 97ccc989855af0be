"""`headroom serve` with worker processes: one is killed under a session with sound, one hangs, and what viewers leave behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from benchmarks import serving_workers
from benchmarks.serving_workers import (
    ROOT,
    START_S,
    Served,
    Viewer,
    cycles,
    faults,
    first_fragment,
    killed,
    real_time,
    started,
    waited,
)  # fmt: skip
from serving.ends import EndingServer, SocketEnd
from serving.gateway import make_app
from serving.join import gateway_of, joined
from serving.routing import Gateway
from serving.serve import check_there_is_one, listening, local, shared_out
from serving.sessions import Sessions
from store import deployments
from store.deployments import Server
from store.workspace import open_workspace
from tests.browser import CHROMIUM, chromium, wait
from tests.unit.serving.flashing import flashing
from tests.unit.serving.talker import head, published
from tests.unit.serving.test_failover import apart, heard, voice
from tests.unit.serving.test_render import portrait


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers, each with room for one session."""
    folder = tmp_path_factory.mktemp("served")
    place = open_workspace(folder / "ws")
    published(place)
    with started(place, portrait(folder), 2, 2) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_under_a_session_loses_no_frame_and_is_replaced(
    served: Served, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewers: list[Viewer] = []

    class Kept(Viewer):
        def __init__(self, of: Served) -> None:
            super().__init__(of)
            viewers.append(self)

    monkeypatch.setattr(serving_workers, "Viewer", Kept)
    monkeypatch.setattr(serving_workers, "voice", voice)
    told = killed(served, how)
    assert told["gap_s"] < 5
    assert told["lost_frames"] == 0
    viewer = viewers[0]
    times = viewer.frames()
    assert times == [1024 + 640 * n for n in range(len(times))], "every frame once, in its place"
    sound, coded = voice(6 * 16_000), heard(bytes(viewer.data))
    fits = [at for at in range(0, 4 * 16_000, 640) if apart(coded[at:], sound) < 0.05]
    assert len(fits) == 1, "what was said is heard whole, at one place"
    assert fits[0] % 1280 == 0, "which is where a tick's pictures begin"
    metrics = httpx.get(f"{served.server.url}/metrics", timeout=30).text
    assert 'headroom_worker_capacity{worker="worker-1"} 1.0' in metrics
    assert "headroom_workers_lost_total 0.0" not in metrics


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_page_plays_on_when_its_worker_is_killed(served: Served) -> None:
    screen = "document.getElementById('screen')"
    with chromium() as browser:
        page = browser.page((1100, 760))
        page.goto(served.server.url)
        wait(page, "document.querySelectorAll('#avatars img').length === 1")
        page.click("#avatars button")
        wait(page, f"{screen}.currentTime > 1")
        name = next(worker for worker, told in served.workers().items() if told["sessions"])
        served.process_of(name).kill()
        stood = page.evaluate(f"{screen}.currentTime")
        wait(page, f"{screen}.currentTime > {stood} + 4")
        assert not page.evaluate(f"{screen}.paused")
        assert page.evaluate(f"{screen}.buffered.length") == 1, "there is no hole in what it was given"
        assert page.evaluate("document.getElementById('line').textContent") == "Live. Speak, or choose a sound file."
        page.click("#leave")
    waited(lambda: len(served.workers()) == 2)


@pytest.mark.slow
def test_the_first_fragment_and_two_sessions_at_once_are_timed(served: Served) -> None:
    first = first_fragment(served, 2)
    assert 0 < first["first_ms"]["median"] <= first["said_ms"]["median"] < 30_000
    told = real_time(served, 2, 2.0)
    assert [s["lost_frames"] for s in told["sessions"]] == [0, 0]
    assert all(s["fps"] > 0 for s in told["sessions"])


@pytest.mark.slow
def test_viewers_who_come_and_go_leave_nothing_behind(served: Served) -> None:
    left = cycles(served, 100)
    assert left["threads"] <= 0, left
    assert left["files"] <= 0, left
    assert left["processes"] == 0, left
    assert left["resident_mib"] <= 5, left


@pytest.mark.slow
def test_when_capacity_is_gone_a_session_is_refused_and_room_comes_back(served: Served) -> None:
    waited(lambda: served.free() == 2)
    viewers = [Viewer(served), Viewer(served)]
    made = [viewer.open().json() for viewer in viewers]
    refused = Viewer(served).open()
    assert (refused.status_code, refused.json()["error"]) == (503, "all 2 sessions are taken; try again in a minute")
    assert [told["sessions"] for told in served.workers().values()] == [1, 1]
    for viewer, told in zip(viewers, made, strict=True):
        with viewer.line(told) as line:
            viewer.leave(line)
    waited(lambda: served.free() == 2)


@pytest.mark.slow
def test_whoever_has_no_key_is_no_worker(served: Served) -> None:
    assert gateway_of(served.place, None) == (served.server.url, served.server.key)
    command = [sys.executable, "-m", "headroom", "worker", served.server.url]
    command += ["--workspace", str(served.place.settings.workspace)]
    told = {**os.environ, "HEADROOM_GATEWAY_KEY": "wrong"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, timeout=START_S, check=False)
    assert done.returncode != 0
    assert "lets it in" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(served.workers()) == 2


@pytest.mark.slow
def test_a_server_whose_workers_cannot_start_says_why(tmp_path: Path) -> None:
    place = open_workspace(tmp_path / "ws")
    name = published(place)
    (place.objects.local(str(checkpoint_uri(place, name))).parent / "weights.safetensors").write_bytes(b"other")
    command = [sys.executable, "-m", "headroom", "serve", "--port", "0", "--avatar", str(portrait(tmp_path))]
    command += ["--workspace", str(place.settings.workspace), "--workers", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False)
    assert done.returncode != 0
    assert "its weights are not what was published" in done.stderr
    assert "worker-1 could not start" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_ends_has_lost_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    gateway, came = Gateway([head("anna")], "key"), list[str]()
    listener = listening("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def works() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        await joined(Sessions(flashing(), 1), address, "key", "w1")

    async def ends() -> None:
        await gateway.came.wait()
        came.extend(gateway.workers)
        server.should_exit = True

    app = make_app(gateway, works, ends)
    server = EndingServer(uvicorn.Config(app, log_level="warning", access_log=False, ws=SocketEnd), gateway)
    asyncio.run(server.serve([listener]))
    assert (came, list(gateway.workers), gateway.lost_workers) == (["w1"], [], 1)
    assert "is lost" not in caplog.text


def checkpoint_uri(place: Any, name: str) -> str:
    from store import registry

    return str(registry.checkpoint_row(place, name)["uri"])


def test_the_benchmark_sees_what_is_not_as_it_must_be() -> None:
    good = {
        "real_time": {"sessions": [{"late_ratio": 0.01, "lost_frames": 0, "fps": 25.0, "p99_gap_ms": 45.0}]},
        "killed": [{"gap_s": 1.0, "lost_frames": 0}],
        "first_fragment": {"first_ms": {"worst": 499.0}},
        "cycles": {"threads": 0, "files": -1, "processes": 0, "resident_mib": 4.9},
    }
    assert faults(good) == []
    for part, bad in (
        ("real_time", {"sessions": [{"late_ratio": 0.06, "lost_frames": 0, "fps": 25.0, "p99_gap_ms": 45.0}]}),
        ("real_time", {"sessions": [{"late_ratio": 0.0, "lost_frames": 1, "fps": 25.0, "p99_gap_ms": 45.0}]}),
        ("real_time", {"sessions": [{"late_ratio": 0.0, "lost_frames": 0, "fps": 20.6, "p99_gap_ms": 45.0}]}),
        ("real_time", {"sessions": [{"late_ratio": 0.0, "lost_frames": 0, "fps": 25.0, "p99_gap_ms": 80.1}]}),
        ("killed", [{"gap_s": 5.1, "lost_frames": 0}]),
        ("first_fragment", {"first_ms": {"worst": 501.0}}),
        ("cycles", {"threads": 1, "files": 0, "processes": 0, "resident_mib": 0}),
        ("cycles", {"threads": 0, "files": 0, "processes": 0, "resident_mib": 5.1}),
    ):
        assert len(faults({**good, part: bad})) == 1


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


def test_a_gateway_loads_no_model() -> None:
    asked = "import sys, serving.serve; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], cwd=ROOT, check=False).returncode == 0
