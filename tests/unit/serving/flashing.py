"""Viewers by WebRTC, and an avatar that is white while it hears something and black else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from benchmarks.webrtc_viewer import Peer
from serving.checkpoints import Checkpoints
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session

LOUD = 1000
SPEECH = (8000 * np.sin(np.arange(16_000) * 0.3)).astype(np.int16)
"""A tone of a second."""


class Flash:
    """The stage that shows white while it hears something, and black else: what is seen says when it was heard."""

    name, remembers = "flash", False

    def begin(self, session: Session) -> None:
        return None

    def step(self, state: None, chunk: Chunk) -> Iterator[Chunk]:
        parts = chunk.sound.reshape(-1, SAMPLES_PER_FRAME).astype(int)
        shown = [np.full((128, 128, 3), 255 * (abs(part).max() > LOUD), np.uint8) for part in parts]
        yield replace(chunk, motion=np.zeros((len(parts), 9), np.float32), frames=shown)

    def end(self, state: None) -> Iterator[Chunk]:
        yield from ()


def flashing() -> Checkpoints:
    made: Pipeline[Chunk] = Pipeline([Module("flash", "c0", None)], [Flash()])
    return Checkpoints(made, lambda name: made)


def poster(client: TestClient) -> Callable[[str, dict[str, str]], Awaitable[dict[str, Any]]]:
    async def post(path: str, told: dict[str, str]) -> dict[str, Any]:
        answer = await asyncio.to_thread(client.post, path, json=told)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return post


@asynccontextmanager
async def connected(client: TestClient, made: dict[str, str], *, speaks: bool = True) -> AsyncIterator[Peer]:
    peer = Peer(speaks=speaks)
    try:
        await peer.connect(made, poster(client))
        await peer.until(lambda: peer.streams["video"].num and peer.streams["audio"].num)
        yield peer
    finally:
        await peer.close()


def offered() -> str:
    """What an aiortc client offers."""

    async def make() -> str:
        peer = Peer(speaks=False)
        await peer.connection.setLocalDescription(await peer.connection.createOffer())
        sdp = str(peer.connection.localDescription.sdp)
        await peer.close()
        return sdp

    return asyncio.run(make())
