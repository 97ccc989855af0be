"""`headroom serve`: a page, and sessions over WebSocket; the engine runs in this process, in threads.

A client names an avatar by its key, never by a path or an address: nothing that it sends is ever opened. A session is
reached by its id and a token that only its maker was told.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from serving.avatar import Avatar
from serving.engine import Chunk, Pipeline
from serving.live import TICK_S, LiveSession, TooFarAheadError

PAGES = Path(__file__).parent / "pages"
MOST_MESSAGE_BYTES = 64_000
"""Two seconds of sound."""
MOST_BODY_BYTES = 2_000
KEPT_S = 30.0
"""A session that nobody watches is held so long, for whoever comes back."""
LONGEST_S = 3600.0
GREETING_S = 5.0
"""Within which a viewer must tell the token."""
MOST_LATE_S = 0.5
MOST_QUEUED = 50
"""Messages that wait for a viewer's line, about 4 s: beyond it the line is too slow, and the viewer must come again."""
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
WRONG, FULL, SLOW, REPLACED, OVER = 4401, 4413, 4408, 4409, 4410
"""Codes with which a viewer's line is closed: token, too much sound, line too slow, watched elsewhere, session over."""


@dataclass
class Talk:
    """A session as the gateway holds it."""

    id: str
    token: str
    live: LiveSession
    made_at: float
    seen_at: float
    viewer: asyncio.Event | None = None
    """Of whoever watches now; set when another one comes."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Gateway:
    """Sessions by id, at most `capacity` of them; and what they share."""

    def __init__(self, pipeline: Pipeline[Chunk], avatars: Sequence[Avatar], capacity: int) -> None:
        if not avatars or capacity < 1:
            raise ValueError(f"serve: {len(avatars)} avatars and room for {capacity} sessions; both must be at least 1")
        self.pipeline, self.avatars, self.capacity = pipeline, {a.key: a for a in avatars}, capacity
        self.talks: dict[str, Talk] = {}
        self._opening = 0
        self.threads = ThreadPoolExecutor(capacity, thread_name_prefix="draw")

    async def open(self, key: str) -> Talk | None:
        """A new session; None when there is no room. Raises KeyError for an avatar that is not offered."""
        shown = self.avatars[key]
        self.sweep()
        if len(self.talks) + self._opening >= self.capacity:
            return None
        side, seed = shown.plate.picture.shape[:2], secrets.randbelow(2**31)
        self._opening += 1
        try:
            loop = asyncio.get_running_loop()
            live = await loop.run_in_executor(self.threads, LiveSession, self.pipeline, shown, side, seed)
        finally:
            self._opening -= 1
        now = time.monotonic()
        made = Talk(secrets.token_urlsafe(9), secrets.token_urlsafe(24), live, now, now)
        self.talks[made.id] = made
        return made

    def sweep(self) -> None:
        """Lets go of sessions that nobody has watched for a while, and of those that went on for too long."""
        now = time.monotonic()
        for talk in list(self.talks.values()):
            unwatched = talk.viewer is None and now - talk.seen_at > KEPT_S
            if unwatched or now - talk.made_at > LONGEST_S:
                self.close(talk)

    def close(self, talk: Talk) -> None:
        self.talks.pop(talk.id, None)


def make_app(gateway: Gateway) -> FastAPI:
    """The page, its avatars, and sessions."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(gateway))
        yield
        sweeper.cancel()
        gateway.threads.shutdown(wait=True)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def secured(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        answer.headers.update(SECURITY)
        return answer

    @app.get("/")
    async def page() -> Response:
        return FileResponse(PAGES / "index.html")

    @app.get("/api/avatars")
    async def avatars() -> Response:
        offered = [{"key": a.key, "name": a.name} for a in gateway.avatars.values()]
        return JSONResponse({"avatars": offered, "free": max(0, gateway.capacity - len(gateway.talks))})

    @app.get("/api/avatars/{key}.jpg")
    async def picture(key: str) -> Response:
        found = gateway.avatars.get(key)
        return Response(_jpeg(found), media_type="image/jpeg") if found else _refused(404, "there is no such avatar")

    @app.post("/api/sessions")
    async def opens(request: Request) -> Response:
        told = await _body(request)
        if told is None or not isinstance(told.get("avatar"), str):
            return _refused(400, 'give JSON as {"avatar": KEY}, with a key of /api/avatars')
        if told["avatar"] not in gateway.avatars:
            return _refused(404, "there is no such avatar; /api/avatars lists them")
        made = await gateway.open(told["avatar"])
        if made is None:
            return _refused(503, f"all {gateway.capacity} sessions are taken; try again in a minute")
        return JSONResponse({"id": made.id, "token": made.token}, 201)

    @app.websocket("/api/sessions/{session_id}")
    async def talks(socket: WebSocket, session_id: str) -> None:
        await socket.accept()
        talk = await _greeted(gateway, socket, session_id)
        if talk is not None:
            await _watched(gateway, talk, socket)

    app.mount("/static", StaticFiles(directory=PAGES), name="static")
    return app


async def _body(request: Request) -> Mapping[str, Any] | None:
    if "application/json" not in request.headers.get("content-type", ""):
        return None
    held = b""
    async for part in request.stream():
        held += part
        if len(held) > MOST_BODY_BYTES:
            return None
    with suppress(ValueError):
        told = json.loads(held)
        return told if isinstance(told, dict) else None
    return None


async def _greeted(gateway: Gateway, socket: WebSocket, session_id: str) -> Talk | None:
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


async def _watched(gateway: Gateway, talk: Talk, socket: WebSocket) -> None:
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
            await asyncio.wait(parts)  # not gather: cut off itself, it would raise another's cancellation as its own
        code, reason = next(part.result() for part in parts if part in done)
        if code == OVER:
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
                talk.live.hear(np.frombuffer(data, "<i2").astype(np.int16))
            except TooFarAheadError as error:
                return FULL, str(error)
        elif text == "interrupt":
            talk.live.interrupt()
        elif text == "end":
            return OVER, "the session is over"
        else:
            return 1003, 'words are "interrupt" and "end"'


async def _run(gateway: Gateway, talk: Talk, queue: asyncio.Queue[bytes | str]) -> Ended:
    """Ticks in real time. A tick that comes late moves all later ones: the clock is the sound's, not the wall's."""
    loop = asyncio.get_running_loop()
    try:
        mime, header = await loop.run_in_executor(gateway.threads, talk.live.watch)
        queue.put_nowait(json.dumps({"type": "begin", "mime": mime}))
        queue.put_nowait(header)
        due, number = loop.time(), 0
        while time.monotonic() - talk.made_at < LONGEST_S:
            made, clock = await loop.run_in_executor(gateway.threads, talk.live.tick)
            if made:
                queue.put_nowait(made)
            queue.put_nowait(json.dumps({"type": "clock", **clock}))
            if number % 12 == 0:
                queue.put_nowait(talk.live.told())
            number, due = number + 1, due + TICK_S
            late = loop.time() - due
            if late > MOST_LATE_S:
                talk.live.late_ticks, due = talk.live.late_ticks + 1, loop.time()
            await asyncio.sleep(max(0.0, due - loop.time()))
    except asyncio.QueueFull:
        return SLOW, "the line is too slow; come again"
    return OVER, "the session is over"


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


async def _sweep(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(5)
        gateway.sweep()


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)


def _jpeg(avatar: Avatar) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", avatar.plate.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return bytes(data)
