"""What a session is given to say whole, by HTTP: a sound file, or a text that a synthesizer of this machine reads.

It is said in the order in which it was asked for, after what waits already; an interrupt drops it, also while it is being made.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import Awaitable, Callable
from typing import IO

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from serving import sound_files, tts
from serving.inbox import TooFarAheadError
from serving.routing import Gateway, Talk
from serving.sound_files import MOST_FILE_BYTES, SoundError, seconds_of
from serving.web import BEARER, NO_SESSION, TEXT, given, refused, session_of, taken

MOST_ASKED = 4
"""Of one session, made or waiting for their turn."""
MOST_AT_ONCE = 2
"""Children of all sessions that make sound."""
BODY_S = 60.0
MOST_TEXT_BYTES = 16_000
TOO_LARGE = "the file is larger than {}; send it in parts"
TOO_LONG = f"the text is too long: at most {tts.MOST_CHARACTERS:,} characters are said at a time"


def routes(gateway: Gateway) -> APIRouter:
    router, turns = APIRouter(), asyncio.Semaphore(MOST_AT_ONCE)

    said = given(202, "It will be said", {"seconds": {"type": "number"}, "ahead_s": {"type": "number"}})

    @router.post(
        "/api/sessions/{session_id}/sound",
        status_code=202,
        responses=said,
        openapi_extra={
            **BEARER,
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {}}}},
        },
    )
    async def sound(request: Request, session_id: str) -> Response:
        async def made() -> np.ndarray:
            with tempfile.TemporaryFile() as file:
                await _read(request, file, MOST_FILE_BYTES, TOO_LARGE.format(f"{MOST_FILE_BYTES / 1e6:g} MB"))
                async with turns:
                    return await sound_files.decoded(file)

        return await _asked(gateway, request, session_id, made)

    @router.post(
        "/api/sessions/{session_id}/say",
        status_code=202,
        responses=said,
        openapi_extra=taken({"text": {**TEXT, "maxLength": tts.MOST_CHARACTERS}}, bearer=True),
    )
    async def say(request: Request, session_id: str) -> Response:
        async def made() -> np.ndarray:
            text = await _text(request)
            async with turns:
                return await tts.read_aloud(text)

        return await _asked(gateway, request, session_id, made)

    return router


async def _asked(
    gateway: Gateway, request: Request, session_id: str, make: Callable[[], Awaitable[np.ndarray]]
) -> Response:
    talk = session_of(gateway, request, session_id)
    try:
        if talk is None:
            raise SoundError(404, NO_SESSION)
        return JSONResponse(await _queued(gateway, talk, make), 202)
    except SoundError as error:
        return refused(error.status, str(error))


async def _queued(gateway: Gateway, talk: Talk, make: Callable[[], Awaitable[np.ndarray]]) -> dict[str, float]:
    """How long what was made lasts, and how much waits with it. Raises SoundError."""
    if talk.asked >= MOST_ASKED:
        raise SoundError(429, f"{MOST_ASKED} sounds of this session are being made; wait for their answers")
    talk.asked += 1
    inbox = talk.inbox
    interrupts = inbox.interrupts
    try:
        async with talk.asking:  # in order, and one at a time
            made = await make()
            if talk.id not in gateway.talks:
                raise SoundError(404, "the session is over; open another one")
            if inbox.interrupts != interrupts:
                raise SoundError(409, "it was interrupted before it was said")
            try:
                inbox.queue(made)
            except TooFarAheadError as error:
                raise SoundError(429, str(error)) from error
    finally:
        talk.asked -= 1
    return {"seconds": seconds_of(made), "ahead_s": round(inbox.ahead_s, 2)}


async def _text(request: Request) -> str:
    """Raises SoundError."""
    held = io.BytesIO()
    await _read(request, held, MOST_TEXT_BYTES, TOO_LONG)
    try:
        told = json.loads(held.getvalue())
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("text"), str):
        raise SoundError(400, 'give JSON as {"text": TEXT}')
    return str(told["text"])


async def _read(request: Request, file: IO[bytes], most_bytes: int, why: str) -> None:
    """The body, into the file. Raises SoundError for one that is too large, which `why` says, too slow or broken off."""
    too_large = SoundError(413, why)
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told) > most_bytes:
        raise too_large
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                if file.tell() + len(part) > most_bytes:
                    raise too_large
                file.write(part)
    except TimeoutError:
        raise SoundError(408, f"the body did not come within {BODY_S:.0f} s") from None
    except ClientDisconnect:
        raise SoundError(400, "the body broke off") from None
    file.flush()
