"""What goes out to a viewer and when, and viewers who take nothing of it, against a server on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import httpx
import numpy as np
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from serving import ends, remote, viewer
from serving.checkpoints import Checkpoints
from serving.ends import SocketEnd, little_unsent
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.fragments import one_by_one
from serving.inbox import TICK_SAMPLES
from serving.live import LiveSession
from serving.publish import Fragments
from serving.routing import Gateway
from serving.serve import listening
from serving.watching import SLOW
from tests.unit.serving.talker import head, pipeline, served
from tests.unit.serving.test_publish import picture, tone

SIDE = (128, 128)


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


def test_a_ticks_frames_go_out_one_by_one_and_the_first_at_once() -> None:
    stream = Fragments(SIDE)
    made = [stream.write(n, picture(n), tone(n)) for n in range(4)]
    assert one_by_one(b"".join(made)) == made
    assert one_by_one(stream.header + made[0] + made[1]) == [stream.header + made[0], made[1]]
    assert one_by_one(stream.header) == [stream.header]

    async def take() -> tuple[list[bytes | str], list[float]]:
        queue, loop = viewer.Queue(), asyncio.get_running_loop()
        began, told, came = loop.time(), [], []
        for message in (made[0] + made[1], "clock"):
            queue.put(message)
        for _ in range(3):
            told.append(await queue.get())
            came.append(loop.time() - began)
        for _ in range(viewer.MOST_QUEUED // 2):
            queue.put(made[2] + made[3])
        with pytest.raises(asyncio.QueueFull):
            queue.put("clock")
        return told, came

    told, came = asyncio.run(take())
    assert told == [made[0], made[1], "clock"]
    assert came[1] >= 0.039, "when it is due"
    assert came[0] < came[1] <= came[2]


def test_a_tick_that_takes_longer_is_seen_once_and_what_a_lost_worker_left_is_not_held_back() -> None:
    stream = Fragments(SIDE)
    tick = b"".join(stream.write(n, picture(n), tone(n)) for n in range(2))

    class Clock:
        now = 0.0

        def time(self) -> float:
            return self.now

    async def dues(*made_at: float) -> np.ndarray:
        queue = viewer.Queue()
        queue._loop = clock = Clock()  # type: ignore[assignment]
        for clock.now in made_at:
            queue.put(tick)
        return np.array([queue._waiting.get_nowait()[0] for _ in range(2 * len(made_at))])

    gaps = np.diff(asyncio.run(dues(0, 0.08, 0.18, 0.24, 0.34, 0.4)))
    assert gaps[3] == pytest.approx(0.06, abs=0.001), "the first tick that is 20 ms late"
    assert np.delete(gaps, 3) == pytest.approx(0.04, abs=0.001), "and no other, be it as late again or in time"
    caught_up = asyncio.run(dues(0, 1, 1, 1, 1))
    assert caught_up.max() <= 1.08


def test_the_picture_of_a_session_that_was_left_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, np.ndarray]] = []
    write = Fragments.write

    def kept(stream: Fragments, number: int, shape: np.ndarray, sound_N: np.ndarray) -> bytes:
        shown.append((number, shape.astype(int)))
        return write(stream, number, shape, sound_N)

    monkeypatch.setattr(Fragments, "write", kept)
    live = LiveSession(pipeline(), head(), SIDE)
    sound = (6000 * np.sin(np.arange(60 * TICK_SAMPLES) * 0.2)).astype(np.int16)
    firsts = []
    for half in np.split(sound, 2):
        live.watch()
        for part in half.reshape(-1, TICK_SAMPLES):
            live.tick(part)
        firsts.append(live.stream.sent.first_frame)
    assert [number for number, _ in shown] == list(range(len(shown))), "no picture is left out, none comes twice"
    steps = [float(np.abs(after - before).mean()) for (_, before), (_, after) in pairwise(shown)]
    back = firsts[1] - 1
    assert steps[back] <= max(np.delete(steps, back))
