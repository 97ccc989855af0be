"""The way in: every route names the roles that may take it, and whoever has none of them gets what a missing page gives."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape

from dashboards.annotation.description import described
from store import annotation_people
from store.annotation_database import Database
from store.workspace import Workspace
from tasks.annotation import sign_in
from tasks.annotation.desk import Gone

COOKIE = "headroom_session"
MAX_BODY = 256 * 1024
MAX_ID = 2**31
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(), trim_blocks=True
)
EVERYBODY = ("annotator", "reviewer", "designer", "administrator")
PUBLIC: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """What all visits share."""

    workspace: Workspace
    database: Database
    secret: bytes
    address: str
    """How people reach it, for links that are sent to them, and as browsers tell where a form comes from: http://host:port."""
    proxies: tuple[str, ...] = ("127.0.0.1",)
    """Addresses and networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""

    @property
    def secure(self) -> bool:
        return self.address.startswith("https://")

    @property
    def origin(self) -> str:
        """Of the address, as browsers write it: without a path, and without the port that its scheme has anyway."""
        told = urlsplit(self.address.lower())
        port = {"http": ":80", "https": ":443"}.get(told.scheme, "")
        return f"{told.scheme}://{told.netloc.removesuffix(port)}"


@dataclass
class Visit:
    """One request with who asks, what was sent, and when."""

    site: Site
    request: Request
    person: Mapping[str, Any]
    """The session's row with its person; empty where nobody is signed in."""
    told: Mapping[str, Any]
    now: float
    csrf: str

    def read(self, work: Callable[[Any], Any]) -> Any:
        return self.site.database.read(work)

    def write(self, work: Callable[[Any], Any], *, lasting: bool = True) -> Any:
        return self.site.database.write(work, lasting=lasting)

    def page(self, name: str, *, status: int = 200, **told: Any) -> HTMLResponse:
        common = {"person": self.person, "csrf": self.csrf, "path": self.request.url.path}
        return HTMLResponse(TEMPLATES.get_template(name).render(**common, **told), status)

    def refuse(self, name: str, error: ValueError, **told: Any) -> HTMLResponse:
        """The form again with what was entered, and the reason beside the entry that it names, else above."""
        return self.page(name, status=422, why=str(error), field=getattr(error, "field", ""), **told)

    def go(self, where: str) -> RedirectResponse:
        return RedirectResponse(where, 303)

    @property
    def by(self) -> int:
        return int(self.person["person_id"])

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else "unknown"


class Missing(Exception):  # noqa: N818 - the page for what is not there, or not the visitor's
    """404; with what the page says, where that is more than that it is not there."""


Handler = Callable[[Visit], Response]


THREADS = CapacityLimiter(8)
"""Requests worked on at once. More would only wait for each other, those among them that hold a lock in the database too."""
MEDIA_THREADS = CapacityLimiter(4)
"""Cutting a clip takes a second, and many wait for the same: they may not take the threads of those who want none."""


def add_route(
    app: FastAPI,
    site: Site,
    method: str,
    path: str,
    roles: tuple[str, ...],
    handler: Handler,
    threads: CapacityLimiter = THREADS,
) -> None:
    async def answer(request: Request) -> Response:
        body = await _body(request) if method == "POST" else b""
        if body is None:
            why = f"a request of more than {MAX_BODY} bytes is not read"
            return problem(request.url.path.startswith("/api/"), 413, why)
        return await to_thread.run_sync(_answer, site, request, body, roles, handler, limiter=threads)

    told = described(method, path, roles)
    app.add_api_route(path, answer, methods=[method], name=f"{method} {path}", response_class=Response, **told)


async def _body(request: Request) -> bytes | None:
    """What was sent; None when it is too much, and then the rest is left unread."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            return None
    return body


def _answer(site: Site, request: Request, body: bytes, roles: tuple[str, ...], handler: Handler) -> Response:
    now = time.time()
    token = request.cookies.get(COOKIE, "")
    session = site.database.read(lambda c: annotation_people.session(c, sign_in.digest(token), now)) if token else None
    api = request.url.path.startswith("/api/")
    visit = Visit(site, request, session or {}, {}, now, str((session or {}).get("csrf", "")))
    try:
        if roles and session is None:
            return problem(api, 401, "sign in first") if api else visit.go("/sign-in")
        if roles and visit.person["role"] not in roles:
            raise Missing
        if any(isinstance(p, int) and p >= MAX_ID for p in request.path_params.values()):
            raise Missing
        if request.method == "POST":
            visit.told = _told(request, body)
            if not _from_us(visit, needs_token=bool(roles)):
                return problem(api, 403, "this form is too old or from elsewhere; load the page again")
        made = handler(visit)
    except Missing as missing:
        made = problem(api, 404, str(missing) or "there is no such page")
    except Gone:
        made = problem(api, 404, "there is no such page")
    except ValueError as error:
        made = problem(api, 422, str(error))
    if session and roles and now - session["rotated_at"] > sign_in.ROTATE_S:
        opened = site.database.write(lambda c: sign_in.rotated(c, session, now))
        if opened:
            keep_session(made, visit, opened)
    return made


def keep_session(response: Response, visit: Visit, opened: sign_in.Opened) -> None:
    """Sets the cookie. Where people come by TLS it is sent by TLS only, whatever the proxy speaks to us."""
    secure = visit.site.secure or visit.request.url.scheme == "https"
    response.set_cookie(
        COOKIE, opened.token, max_age=int(sign_in.SESSION_S), httponly=True, samesite="strict", secure=secure
    )


def _told(request: Request, body: bytes) -> dict[str, Any]:
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            told = json_object(body)
        else:
            told = dict(parse_qsl(body.decode(), keep_blank_values=True))
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    if _holds_nul(told):
        raise ValueError("a text holds the character NUL; leave it out")  # SQLite takes it, PostgreSQL does not
    return told


def _holds_nul(told: Any) -> bool:
    left = [told]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str) and "\0" in one:
            return True
    return False


def json_object(text: str | bytes) -> dict[str, Any]:
    """Raises ValueError for what is no JSON object."""
    try:
        told = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(told, dict):
        raise ValueError("a JSON object is needed")
    return told


def _from_us(visit: Visit, *, needs_token: bool) -> bool:
    """Whether a page of ours sent it: browsers tell where a form comes from, and only our pages know the token."""
    origin = visit.request.headers.get("origin")
    asked = f"{visit.request.url.scheme}://{visit.request.headers.get('host')}"
    if origin not in (
        None,
        visit.site.origin,
        asked,
    ):  # behind a proxy that speaks TLS, only the first is what browsers see
        return False
    given = visit.request.headers.get("x-csrf", "") or str(visit.told.get("csrf", ""))
    return not needs_token or secrets.compare_digest(given.encode(), visit.csrf.encode())


def problem(api: bool, status: int, why: str) -> Response:
    """A refusal: a page for people, an object for the API."""
    if api:
        return JSONResponse({"error": why}, status)
    return HTMLResponse(TEMPLATES.get_template("problem.html").render(why=why, person={}, csrf="", path=""), status)
