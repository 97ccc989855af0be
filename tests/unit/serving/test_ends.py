"""Viewers who take nothing of what they are sent, against a server on a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from serving import ends, remote
from serving.checkpoints import Checkpoints
from serving.ends import SocketEnd, little_unsent
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.routing import Gateway
from serving.serve import listening
from serving.watching import SLOW
from tests.unit.serving.talker import head, served


class Snow:
    """The stage that shows noise: a stream of two Mbit/s, so that a line is full soon."""

    name, remembers = "snow", False

    def begin(self, session: Session) -> np.random.Generator:
        return np.random.default_rng(0)

    def step(self, state: np.random.Generator, chunk: Chunk) -> Iterator[Chunk]:
        num = len(chunk.sound) // SAMPLES_PER_FRAME
        shown = [state.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(num)]
        yield replace(chunk, motion=np.zeros((num, 9), np.float32), frames=shown)

    def end(self, state: np.random.Generator) -> Iterator[Chunk]:
        yield from ()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Gateway, uvicorn.Server]]:
    monkeypatch.setattr(remote, "LOST_S", 30.0)  # a machine that is busy for seconds is no dead worker
    made: Pipeline[Chunk] = Pipeline([Module("snow", "c0", None)], [Snow()])
    gateway, _, app = served(Checkpoints(made, lambda name: made), [head("anna")], 2)
    with little_unsent(listening("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws=SocketEnd))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", gateway, server
        server.should_exit = True
        thread.join(20)


def opened(address: str) -> tuple[dict[str, str], ClientConnection]:
    """A session, and a line to it that holds little on its way."""
    until = time.monotonic() + 60
    while (told := httpx.post(f"http://{address}/api/sessions", json={"avatar": "anna"})).status_code != 201:
        assert time.monotonic() < until, told.text
        time.sleep(0.05)
    made = told.json()
    way = socket.socket()
    way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    host, _, port = address.partition(":")
    way.connect((host, int(port)))
    line = connect(
        f"ws://{address}/api/sessions/{made['id']}",
        sock=way,
        max_size=None,
        max_queue=1,
        open_timeout=60,
        close_timeout=0.5,
    )
    line.send(json.dumps({"token": made["token"]}))
    return made, line


def waited(done: object) -> None:
    until = time.monotonic() + 60
    while not done():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


def test_who_takes_nothing_is_let_go_with_4408_and_others_lose_nothing(
    running: tuple[str, Gateway, uvicorn.Server],
) -> None:
    address, gateway, _ = running
    made, stuck = opened(address)
    other, line = opened(address)
    talk, shown = gateway.talks[made["id"]], 0
    try:
        waited(lambda: talk.viewer is not None)
        while talk.viewer is not None:  # nothing is read of the stuck one
            shown += isinstance(line.recv(timeout=60), bytes)
        frames = talk.next_frame
        assert 50 < frames < 1000, "it was behind by seconds, not by minutes"
        assert shown > 0.5 * frames, "the other one got its frames meanwhile"
        assert gateway.talks[other["id"]].viewer is not None
        held_bytes: list[int] = []
        with pytest.raises(ConnectionClosed) as ended:
            held_bytes.extend(len(stuck.recv(timeout=60)) for _ in range(10_000))
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (SLOW, "the line is too slow; come again")
        assert sum(held_bytes) < 500_000, "which is all that was held for it on its way; the rest is gone"
        number = gateway.talks[other["id"]].next_frame
        for _ in range(20):
            line.recv(timeout=60)
        waited(lambda: gateway.talks[other["id"]].next_frame > number)
        assert made["id"] in gateway.talks, "it may come again"
    finally:
        stuck.close()
        line.close()


def test_who_takes_not_even_the_end_is_cut_off(
    running: tuple[str, Gateway, uvicorn.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "GIVEN_UP_S", 0.5)
    address, gateway, server = running
    made, stuck = opened(address)
    talk = gateway.talks[made["id"]]
    try:
        waited(lambda: talk.viewer is not None)
        waited(lambda: talk.viewer is None)
        waited(lambda: not server.server_state.connections)
    finally:
        stuck.close()
