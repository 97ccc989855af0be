"""`headroom serve`: a page, sessions over WebSocket, and the workers' end of theirs; the engine runs in the workers.

A client names an avatar by its key, never by a path or an address: nothing that it sends is ever opened. A session is
reached by its id and a token that only its maker was told.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.requests import HTTPConnection
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from serving import tts
from serving.avatar import Avatar
from serving.clients import TooManyError, client_of
from serving.ice import IceServers
from serving.lines import KEY_HEADER, LostError, Message, packed, unpacked
from serving.metrics import CONTENT_TYPE, exposition, held_by_all
from serving.offer import MOST_OFFER_BYTES, OfferError
from serving.remote import RefusedError
from serving.routing import MOST_PROBES, Gateway
from serving.spoken import routes
from serving.viewer import Streamed, greeted, watched_by_socket
from serving.vitals import mouth_box
from serving.watching import reached
from serving.web import BEARER, ERRORS, NO_SESSION, TEXT, all_alike, given, json_body, refused, session_of, taken
from serving.webrtc import Peers

PAGES = Path(__file__).parent / "pages"
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(
    gateway: Gateway, *beside: Callable[[], Awaitable[None]], ice_servers: IceServers | None = None,
    proxies: Sequence[str] = (),
) -> FastAPI:  # fmt: skip
    """The page, its avatars, sessions, workers and metrics. `beside` runs as long as the server does; `ice_servers` are for
    viewers by WebRTC who can't reach this machine directly; `proxies` are believed when they say whose address a client has."""
    ice = ice_servers or IceServers()
    peers = Peers(gateway, ice)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs = [asyncio.ensure_future(job) for job in (_sweep(gateway), *(work() for work in beside))]
        yield
        await peers.end()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    app = FastAPI(
        title="Headroom live", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        responses=ERRORS,
    )  # fmt: skip
    all_alike(app)
    if proxies:
        trusted: Any = ProxyHeadersMiddleware  # uvicorn has types of its own for what Starlette calls ASGIApp
        app.add_middleware(trusted, trusted_hosts=list(proxies))

    @app.middleware("http")
    async def secured(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        answer.headers.update(SECURITY)
        return answer

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGES / "index.html")

    @app.get("/api/avatars")
    async def avatars() -> Response:
        if not gateway.workers:
            return refused(503, "no worker is here yet to draw them; try again in a minute")
        offered = [{"key": a.key, "name": a.name, "mouth": mouth_box(a)} for a in gateway.avatars.values()]
        return JSONResponse({"avatars": offered, "free": gateway.free, "tts": tts.installed()})

    @app.get("/api/avatars/{key}.jpg")
    async def picture(key: str) -> Response:
        found = gateway.avatars.get(key)
        return Response(_jpeg(found), media_type="image/jpeg") if found else refused(404, "there is no such avatar")

    @app.post(
        "/api/sessions",
        status_code=201,
        openapi_extra=taken({"avatar": TEXT}),
        responses=given(201, "A session", {"id": TEXT, "token": TEXT, "watch": TEXT}),
    )
    async def opens(request: Request) -> Response:
        told = await json_body(request)
        if told is None or not isinstance(told.get("avatar"), str):
            return refused(
                400, 'give JSON as {"avatar": KEY}, with a key of /api/avatars, and say Content-Type: application/json'
            )
        if told["avatar"] not in gateway.avatars:
            return refused(404, "there is no such avatar; /api/avatars lists them")
        probe = _is_probe(gateway, request)
        chosen, seed = (told.get("checkpoint"), told.get("seed")) if probe else (None, None)
        if seed is not None and not (type(seed) is int and 0 <= seed < 2**31):
            return refused(400, "a seed is a whole number from 0 to 2147483647")
        client = client_of(request.client.host if request.client else "")
        try:
            made = await gateway.open(told["avatar"], chosen, probe=probe, client=client, seed=seed)
        except TooManyError as error:
            return refused(429, str(error), {"Retry-After": str(error.again_s)})
        except RefusedError:
            return refused(409, f"checkpoint {chosen} is not held by this server")
        if made is None and probe:
            return refused(503, f"{MOST_PROBES} probes are under way; try again in a minute")
        if made is None and not gateway.workers:
            return refused(503, "no worker is here to draw it; try again in a minute")
        if made is None:
            return refused(503, f"all {gateway.capacity} sessions are taken; try again in a minute")
        watch = f"/hls/{made.id}/{made.watch_token}/index.m3u8"
        return JSONResponse({"id": made.id, "token": made.token, "watch": watch}, 201)

    @app.get("/api/checkpoints")
    async def checkpoints(request: Request) -> Response:
        if not _is_probe(gateway, request):
            return refused(403, f"give the server's key in {KEY_HEADER}")
        if not gateway.workers:
            return refused(503, "no worker is here yet; try again in a minute")
        await gateway.refresh()
        return JSONResponse(held_by_all(gateway))

    @app.get("/metrics")
    async def metrics() -> Response:
        await gateway.refresh()
        return Response(exposition(gateway), media_type=CONTENT_TYPE)

    @app.websocket("/api/sessions/{session_id}")
    async def talks(socket: WebSocket, session_id: str) -> None:
        await socket.accept()
        if (greeting := await greeted(gateway, socket, session_id)) is not None:
            await watched_by_socket(gateway, *greeting, socket)

    @app.get("/api/sessions/{session_id}/stream", openapi_extra=BEARER)
    async def stream(request: Request, session_id: str) -> Response:
        talk = session_of(gateway, request, session_id)
        return Streamed(gateway, talk) if talk else refused(404, NO_SESSION)

    @app.get(
        "/api/sessions/{session_id}/ice",
        openapi_extra=BEARER,
        responses=given(200, "STUN and TURN servers", {"ice_servers": {"type": "array", "items": {"type": "object"}}}),
    )
    async def servers(request: Request, session_id: str) -> Response:
        talk = session_of(gateway, request, session_id)
        return JSONResponse({"ice_servers": ice.of(talk.id)}) if talk else refused(404, NO_SESSION)

    @app.post(
        "/api/sessions/{session_id}/webrtc",
        openapi_extra=taken({"token": TEXT, "sdp": TEXT}),
        responses=given(200, "The answer", {"type": TEXT, "sdp": TEXT}),
    )
    async def offers(request: Request, session_id: str) -> Response:
        told = await json_body(request, MOST_OFFER_BYTES)
        if told is None or not isinstance(told.get("sdp"), str):
            return refused(
                400, 'give JSON as {"token": TOKEN, "sdp": OFFER}, up to 64 kB, and say Content-Type: application/json'
            )
        talk = reached(gateway, session_id, told.get("token"))
        if talk is None:
            return refused(404, "no session with this id and token; open one")
        try:
            return JSONResponse({"type": "answer", "sdp": await peers.answer(talk, told["sdp"])})
        except OfferError as error:
            return refused(error.status, str(error))

    @app.websocket("/api/workers")
    async def works(socket: WebSocket) -> None:
        if not _is_probe(gateway, socket):
            await socket.close(4401, f"give the server's key in {KEY_HEADER}")
            return
        await socket.accept()
        with suppress(LostError, TimeoutError, RuntimeError):
            await gateway.attach(SocketLine(socket))

    @app.get("/hls/{session_id}/{token}/{name}")
    async def hls(session_id: str, token: str, name: str) -> Response:
        talk = gateway.talks.get(session_id)
        if talk is None or not hmac.compare_digest(token.encode(), talk.watch_token.encode()):
            return refused(404, "there is no such session to watch")
        found = talk.hls.playlist() if name == "index.m3u8" else talk.hls.file(name)
        kind = "application/vnd.apple.mpegurl" if name == "index.m3u8" else "video/mp4"
        return Response(found, media_type=kind) if found else refused(404, "it is not there yet, or not any more")

    app.include_router(routes(gateway))
    app.mount("/static", StaticFiles(directory=PAGES), name="static")
    return app


class SocketLine:
    """A worker's line, as this end has it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def send(self, told: Mapping[str, Any], body: bytes = b"") -> None:
        try:
            await self._socket.send_bytes(packed(told, body))
        except (RuntimeError, WebSocketDisconnect) as error:
            raise LostError("its line is closed") from error

    async def receive(self) -> Message:
        try:
            return unpacked(await self._socket.receive_bytes())
        except (RuntimeError, KeyError, WebSocketDisconnect) as error:
            raise LostError("its line is closed") from error


async def _sweep(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(5)
        gateway.sweep()


def _is_probe(gateway: Gateway, request: HTTPConnection) -> bool:
    told = request.headers.get(KEY_HEADER, "")
    return bool(gateway.probe_key) and hmac.compare_digest(told.encode(), gateway.probe_key.encode())


def _jpeg(avatar: Avatar) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", avatar.plate.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return bytes(data)
