"""The WebRTC benchmark on a small scale: it measures what it says, and says what is wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from benchmarks.serving_webrtc import codecs, come_and_go, faults, latency
from tests.unit.serving.conftest import one_thread  # noqa: F401 - for every test here
from tests.unit.serving.talker import head, held, served


@pytest.fixture
def place() -> Iterator[Any]:
    gateway, _, app = served(held(), [head("anna")], capacity=1)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and gateway.workers):
        time.sleep(0.02)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield SimpleNamespace(server=SimpleNamespace(url=url), gateway=gateway)
    server.should_exit = True
    thread.join(20)


def test_latency_is_that_of_what_was_sent(place: Any) -> None:
    told = asyncio.run(latency(place, 2, speaks=False))
    assert told["left_out"] == 0
    # 40 ms at least until a frame is whole; this client holds sound back, and no pictures.
    assert 0.04 < told["frame_ms"]["median"] / 1000 < 3
    assert told["sound_ms"]["median"] > 40


def test_who_comes_and_goes_leaves_no_session(place: Any) -> None:
    for number in range(2):
        asyncio.run(come_and_go(place, number))
    assert place.gateway.talks == {}


def test_passing_pictures_on_costs_less_than_coding_them_anew() -> None:
    told = codecs(50, 128)
    assert 0 < told["passed_h264_ms"] < told["decoding_ms"] + told["vp8_ms"] < told["h264_ms"] + 10


def test_what_is_not_as_it_must_be_is_named() -> None:
    good = {"left_out": 0}
    left = {"threads": 0, "files": 0, "processes": 0, "resident_mib": 0.3}
    found = {"sent": good, "spoken": good, "load": good, "cycles": left}
    assert faults(found) == []
    assert faults({**found, "load": {"left_out": 2}, "cycles": {**left, "files": 1}}) == [
        "load: 2 frames left out",
        "left behind: {'threads': 0, 'files': 1, 'processes': 0, 'resident_mib': 0.3}",
    ]
