"""A viewer's line: a WebSocket on which sound and words come in, and a stream and its clock go out."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from serving.engine import SAMPLE_HZ
from serving.inbox import TICK_S, TooFarAheadError
from serving.remote import RefusedError
from serving.routing import LONGEST_S, Gateway, NoWorkerError, Talk

MOST_MESSAGE_BYTES = 64_000
"""Two seconds of sound."""
GREETING_S = 5.0
"""Within which a viewer must tell the token."""
MOST_LATE_S = 0.5
MOST_QUEUED = 50
"""Messages that wait for a viewer's line, about 4 s: beyond it the line is too slow, and the viewer must come again."""
WRONG, FULL, SLOW, REPLACED, OVER, BROKEN = 4401, 4413, 4408, 4409, 4410, 4500
"""Codes with which a viewer's line is closed: token, too much sound, line too slow, watched elsewhere, session over, nobody
to draw it."""


async def greeted(gateway: Gateway, socket: WebSocket, session_id: str) -> Talk | None:
    """The session, when the first message tells its token."""
    told: Any = None
    with suppress(TimeoutError, ValueError, KeyError, WebSocketDisconnect):
        told = json.loads(await asyncio.wait_for(socket.receive_text(), GREETING_S))
    talk = gateway.talks.get(session_id)
    given = told.get("token") if isinstance(told, dict) else None
    if talk is None or not isinstance(given, str) or not hmac.compare_digest(given.encode(), talk.token.encode()):
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(WRONG, "no session with this id and token; open one")
        return None
    return talk


async def watched(gateway: Gateway, talk: Talk, socket: WebSocket) -> None:
    """Runs a session for as long as this viewer watches it. Whoever watched before is let go."""
    if talk.viewer is not None:
        talk.viewer.set()
    async with talk.lock:  # the one before is done with it
        queue: asyncio.Queue[bytes | str] = asyncio.Queue(MOST_QUEUED)
        talk.viewer = asyncio.Event()
        told = (_listen(talk, socket), _run(gateway, talk, queue), _send(socket, queue), _replaced(talk.viewer))
        parts = [asyncio.create_task(part) for part in told]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            talk.viewer, talk.seen_at = None, time.monotonic()
            try:
                # Not gather: cut off itself, it would raise another's cancellation as its own.
                await asyncio.wait(parts)
            finally:
                if talk.probe:  # nobody comes back to it, and there is room for one
                    gateway.close(talk)
        code, reason = next(part.result() for part in parts if part in done)
        if code == OVER and not talk.probe:
            gateway.close(talk)
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason)


Ended = tuple[int, str]
"""With which code and for which reason a viewer's line is closed."""


async def _listen(talk: Talk, socket: WebSocket) -> Ended:
    """Takes in sound and words of the viewer."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return 1000, "the viewer left"
        data, text = message.get("bytes"), message.get("text")
        if data is not None:
            if len(data) % 2 or len(data) > MOST_MESSAGE_BYTES:
                return 1003, f"sound is 16-bit PCM at 16 kHz, mono, at most {MOST_MESSAGE_BYTES} bytes a message"
            try:
                talk.inbox.hear(np.frombuffer(data, "<i2").astype(np.int16))
            except TooFarAheadError as error:
                return FULL, str(error)
        elif text == "interrupt":
            talk.inbox.interrupt()
        elif text == "end":
            return OVER, "the session is over"
        else:
            return 1003, 'words are "interrupt" and "end"'


async def _run(gateway: Gateway, talk: Talk, queue: asyncio.Queue[bytes | str]) -> Ended:
    """Ticks in real time. A tick that comes late moves all later ones: the clock is the sound's, not the wall's. Only what a
    dead worker left undone is caught up with: its viewer would be behind for good."""
    loop = asyncio.get_running_loop()
    try:
        mime, header = await gateway.watch(talk)
        queue.put_nowait(json.dumps({"type": "begin", "mime": mime}))
        queue.put_nowait(header)
        due, number, late, behind = loop.time(), 0, 0.0, False
        while time.monotonic() - talk.made_at < LONGEST_S:
            worker, tell = talk.worker, number % 12 == 0
            made, clock = await gateway.tick(talk, late, tell=tell)
            state = clock.pop("state", {})
            if made:
                queue.put_nowait(made)
            queue.put_nowait(json.dumps({"type": "clock", **clock}))
            if tell:
                queue.put_nowait(_state(talk, state))
            number, due = number + 1, due + TICK_S
            late = max(0.0, loop.time() - due)
            behind = late > 0 and (behind or talk.worker is not worker)
            if late > MOST_LATE_S and not behind:
                talk.late_ticks, due = talk.late_ticks + 1, loop.time()
            await asyncio.sleep(max(0.0, due - loop.time()))
    except asyncio.QueueFull:
        return SLOW, "the line is too slow; come again"
    except (NoWorkerError, RefusedError) as error:
        gateway.close(talk)
        return BROKEN, str(error)[:120]
    return OVER, "the session is over"


def _state(talk: Talk, told: dict[str, Any]) -> str:
    """For the viewer: how the session does on its worker, and what waits here."""
    inbox = talk.inbox
    return json.dumps({
        "type": "state", **told, "ahead_s": round(inbox.ahead_s, 2), "late_ticks": talk.late_ticks,
        "said_s": round(inbox.taken / SAMPLE_HZ, 2),
    })  # fmt: skip


async def _replaced(another: asyncio.Event) -> Ended:
    await another.wait()
    return REPLACED, "watched from elsewhere"


async def _send(socket: WebSocket, queue: asyncio.Queue[bytes | str]) -> Ended:
    while True:
        message = await queue.get()
        try:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)
        except (RuntimeError, WebSocketDisconnect):
            return 1000, "the viewer left"
