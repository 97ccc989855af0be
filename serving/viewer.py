"""A viewer's WebSocket, on which sound and words come in, and a stream and its clock go out; and the stream alone, as one answer.

A tick makes two frames at once. They go out one by one, the second when it is due: the first is no later for it, the
player's edge moves evenly, and a line's load does.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.fragments import one_by_one
from serving.opus import OPUS, PCM, OpusPackets
from serving.routing import Gateway, Talk
from serving.watching import GONE, MALFORMED, WRONG, Ended, heard, reached, run, watched
from store.media import GRID_FPS

GREETING_S = 5.0
"""Within which a viewer must tell the token."""
MOST_QUEUED = 150
"""Messages that wait for a viewer's line, three a tick, about 4 s: beyond it the line is too slow, and the viewer must come again."""
FRAME_S = 1 / GRID_FPS
CATCH_UP_S = 1e-4
"""By which frames come closer than they are long, until what held them up is made good: 2.5 ms a second."""
MOST_HELD_S = 0.03
"""A frame is held for so long at most, so that what a lost worker left undone is not kept back."""


class Queue:
    """What waits for a viewer's line, and when it is due.

    A frame is due 40 ms after the one before. A tick that took longer than others moves the frames after it, so that the next
    one that takes as long is not seen; it is made good slowly.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[float, bytes | str]] = asyncio.Queue(MOST_QUEUED)
        self._loop = asyncio.get_running_loop()
        self._due = -math.inf

    def put(self, message: bytes | str) -> None:
        """Words or a tick's fragments. Raises asyncio.QueueFull when the line is too slow."""
        now = self._loop.time()
        parts: Sequence[bytes | str] = [message] if isinstance(message, str) else one_by_one(message)
        for number, part in enumerate(parts):
            due = now
            if isinstance(part, bytes):
                latest = now + number * FRAME_S + MOST_HELD_S
                due = self._due = max(now, min(self._due + FRAME_S - CATCH_UP_S, latest))
            self._waiting.put_nowait((due, part))

    async def get(self) -> bytes | str:
        """The next one, when it is due."""
        due, message = await self._waiting.get()
        await asyncio.sleep(max(0.0, due - self._loop.time()))
        return message


async def greeted(gateway: Gateway, socket: WebSocket, session_id: str) -> tuple[Talk, str] | None:
    """The session, when the first message tells its token, and whether its sound will be PCM (unless told) or Opus."""
    told: Any = None
    with suppress(TimeoutError, ValueError, KeyError, WebSocketDisconnect):
        told = json.loads(await asyncio.wait_for(socket.receive_text(), GREETING_S))
    talk = reached(gateway, session_id, told.get("token") if isinstance(told, dict) else None)
    refused: Ended = (WRONG, "no session with this id and token; open one")
    if talk is not None:
        if (sound := told.get("sound", PCM)) in (PCM, OPUS):
            return talk, sound
        refused = (MALFORMED, f'sound {ascii(sound)[:20]} is not taken; "{PCM}" and "{OPUS}" are')
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(*refused)
    return None


async def watched_by_socket(gateway: Gateway, talk: Talk, sound: str, socket: WebSocket) -> None:
    """Runs a session for as long as this viewer watches it."""
    queue = Queue()
    parts = (
        partial(_listen, talk, socket, OpusPackets() if sound == OPUS else None),
        partial(run, gateway, talk, queue.put, sound),
        partial(_send, socket, queue),
    )
    code, reason = await watched(gateway, talk, parts)
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code, reason)


async def _listen(talk: Talk, socket: WebSocket, opus: OpusPackets | None) -> Ended:
    """Takes in sound and words of the viewer."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return GONE
        data = message.get("bytes")
        if (ended := heard(talk, message.get("text") or "" if data is None else data, opus)) is not None:
            return ended


async def _send(socket: WebSocket, queue: Queue) -> Ended:
    while True:
        message = await queue.get()
        try:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)
        except (RuntimeError, WebSocketDisconnect):
            return GONE


class Streamed(Response):
    """The stream without its words, for a client that only reads, until it goes or the session is over. What it is to hear is
    given as files and texts."""

    media_type = "video/mp4"

    def __init__(self, gateway: Gateway, talk: Talk) -> None:
        super().__init__()
        del self.headers["content-length"]  # nobody knows it yet
        self._gateway, self._talk = gateway, talk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        queue = Queue()

        async def put() -> Ended:
            while True:
                message = await queue.get()
                if isinstance(message, bytes):
                    await send({"type": "http.response.body", "body": message, "more_body": True})

        async def gone() -> Ended:
            while (await receive())["type"] != "http.disconnect":
                pass
            return GONE

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await watched(self._gateway, self._talk, (partial(run, self._gateway, self._talk, queue.put), put, gone))
        with suppress(OSError, RuntimeError):
            await send({"type": "http.response.body", "body": b""})
