"""Whoever watches a session, by whatever line: it runs while they do, in real time, and takes in what they say.

One viewer at a time; another one who comes takes over. Nothing here knows of the web.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import numpy as np

from serving.engine import SAMPLE_HZ
from serving.inbox import TICK_S, TooFarAheadError
from serving.opus import PCM, OpusError, OpusPackets
from serving.remote import RefusedError
from serving.routing import LONGEST_S, Gateway, NoWorkerError, Talk

MOST_MESSAGE_BYTES = 64_000
"""Two seconds of sound."""
MOST_LATE_S = 0.5
LEFT, MALFORMED = 1000, 1003
WRONG, FULL, SLOW, REPLACED, OVER, BROKEN = 4401, 4413, 4408, 4409, 4410, 4500
"""Codes with which a viewer's line is closed: token, too much sound, line too slow, watched elsewhere, session over, nobody
to draw it."""

Ended = tuple[int, str]
"""With which code and for which reason a viewer's line is closed."""
GONE: Ended = (LEFT, "the viewer left")
Part = Callable[[], Coroutine[Any, Any, Ended]]
"""Of what is done for a viewer; the first that returns ends the others."""


def reached(gateway: Gateway, session_id: str, token: object) -> Talk | None:
    """The session with this id, for whoever tells its token."""
    talk = gateway.talks.get(session_id)
    if talk is None or not isinstance(token, str) or not hmac.compare_digest(_bytes(token), _bytes(talk.token)):
        return None
    return talk


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")  # JSON may hold what no text does


async def watched(gateway: Gateway, talk: Talk, parts: Sequence[Part]) -> Ended:
    """Runs a session for as long as this viewer watches it. Whoever watched before is let go."""
    if talk.viewer is not None:
        talk.viewer.set()
    async with talk.lock:  # the one before is done with it
        another = talk.viewer = asyncio.Event()
        todo: list[Part] = [*parts, partial(_replaced, another)]
        tasks = [asyncio.create_task(part()) for part in todo]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            talk.viewer, talk.seen_at = None, time.monotonic()
            try:
                # Not gather: cut off itself, it would raise another's cancellation as its own.
                await asyncio.wait(tasks)
            finally:
                if talk.probe:  # nobody comes back to it, and there is room for few
                    gateway.close(talk)
        code, reason = next(task.result() for task in tasks if task in done)
        if code == OVER and not talk.probe:
            gateway.close(talk)
    return code, reason


def heard(talk: Talk, message: bytes | str, opus: OpusPackets | None = None) -> Ended | None:
    """Takes in sound, 16-bit PCM at 16 kHz or a packet for `opus`, or a word of the viewer; not None when that ends the line."""
    if isinstance(message, bytes) and opus is not None:
        try:
            return said(talk, opus.decoded(message))
        except OpusError as error:
            return MALFORMED, str(error)
    if isinstance(message, bytes):
        if len(message) % 2 or len(message) > MOST_MESSAGE_BYTES:
            return MALFORMED, f"sound is 16-bit PCM at 16 kHz, mono, at most {MOST_MESSAGE_BYTES} bytes a message"
        return said(talk, np.frombuffer(message, "<i2").astype(np.int16))
    if message == "interrupt":
        talk.inbox.interrupt()
        return None
    return (OVER, "the session is over") if message == "end" else (MALFORMED, 'words are "interrupt" and "end"')


def said(talk: Talk, sound_N: np.ndarray, held_s: float = 0.0) -> Ended | None:
    """Takes in sound, int16 at 16 kHz, that arrived so long ago; not None when there is more of it than a session holds."""
    try:
        talk.inbox.hear(sound_N, held_s)
    except TooFarAheadError as error:
        return FULL, str(error)
    return None


async def run(gateway: Gateway, talk: Talk, put: Callable[[bytes | str], None], sound: str = PCM) -> Ended:
    """Ticks in real time; `put` takes fragments and words for the viewer, and raises asyncio.QueueFull when its line is slow.
    `sound` is what the viewer's messages are taken for.

    A tick that comes late moves all later ones: the clock is the sound's, not the wall's. Only what a dead worker left undone
    is caught up with: its viewer would be behind for good.
    """
    loop = asyncio.get_running_loop()
    try:
        mime, header = await gateway.watch(talk)
        put(json.dumps({"type": "begin", "mime": mime, "sound": sound, "heard": talk.inbox.heard}))
        put(header)
        due, number, late, behind = loop.time(), 0, 0.0, False
        while time.monotonic() - talk.made_at < LONGEST_S:
            worker, tell = talk.worker, number % 12 == 0
            made, clock = await gateway.tick(talk, late, tell=tell)
            state = clock.pop("state", {})
            if made:
                put(made)
            put(json.dumps({"type": "clock", **clock}))
            if tell:
                put(_state(talk, state))
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
    more = {"latency_ms": round(1000 * s)} if talk.paced and (s := talk.paced.latency_s) is not None else {}
    return json.dumps({
        "type": "state", **told, "ahead_s": round(inbox.ahead_s, 2), "late_ticks": talk.late_ticks,
        "said_s": round(inbox.taken / SAMPLE_HZ, 2), **more,
    })  # fmt: skip


async def _replaced(another: asyncio.Event) -> Ended:
    await another.wait()
    return REPLACED, "watched from elsewhere"
