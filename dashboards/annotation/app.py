"""The annotation web app: its routes, who may take them, and the headers that every answer carries."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from dashboards.annotation import items, labelling, pages, passwords, people, preview, staff, worded
from dashboards.annotation.visit import (
    EVERYBODY,
    MEDIA_THREADS,
    PUBLIC,
    TEMPLATES,
    THREADS,
    Handler,
    Site,
    add_route,
    problem,
)
from store import annotation_people
from store.annotation_database import Database
from tasks.annotation import batches, money, reporting, sign_in

RATERS = ("annotator", "reviewer")
STAFF = ("designer", "administrator")
ADMINISTRATOR = ("administrator",)

ROUTES: list[tuple[str, str, tuple[str, ...], Handler]] = [
    ("GET", "/sign-in", PUBLIC, pages.sign_in_page),
    ("POST", "/sign-in", PUBLIC, pages.signs_in),
    ("GET", "/join/{token}", PUBLIC, pages.join_page),
    ("POST", "/join/{token}", PUBLIC, pages.joins),
    ("GET", "/reset/{key}", PUBLIC, passwords.reset_page),
    ("POST", "/reset/{key}", PUBLIC, passwords.resets),
    ("GET", "/media/{packed}", PUBLIC, labelling.clip),  # the address is the right to see it
    ("POST", "/sign-out", EVERYBODY, pages.signs_out),
    ("GET", "/password", EVERYBODY, passwords.password_page),
    ("POST", "/password", EVERYBODY, passwords.changes_password),
    ("GET", "/", EVERYBODY, pages.home),
    ("GET", "/pay", RATERS, pages.pay),
    ("GET", "/leaderboard", EVERYBODY, pages.leaderboard),
    ("GET", "/guidelines/{schema_id:int}", EVERYBODY, pages.guidelines),
    ("POST", "/guidelines/{schema_id:int}", ("annotator",), pages.acknowledges),
    ("GET", "/label", RATERS, labelling.page),
    ("POST", "/api/claim", RATERS, labelling.claim),
    ("POST", "/api/keep", RATERS, labelling.keep),
    ("POST", "/api/clips", RATERS, labelling.clips),
    ("POST", "/api/submit", RATERS, labelling.submit),
    ("POST", "/api/report", RATERS, labelling.report),
    ("GET", "/batches", STAFF, staff.all_batches),
    ("GET", "/batches/new", STAFF, staff.batch_form),
    ("POST", "/batches/new", STAFF, staff.makes_batch),
    ("GET", "/batches/{batch_id:int}", STAFF, staff.one_batch),
    ("POST", "/batches/{batch_id:int}", STAFF, staff.changes_batch),
    ("POST", "/batches/{batch_id:int}/look-again", STAFF, staff.looks_again),
    ("GET", "/batches/{batch_id:int}/labels.csv", STAFF, items.labels_csv),
    ("GET", "/batches/{batch_id:int}/answers.csv", STAFF, items.answers_csv),
    ("GET", "/batches/{batch_id:int}/items/{item_id:int}", STAFF, items.one_item),
    ("POST", "/batches/{batch_id:int}/review", STAFF, items.sends),
    ("GET", "/schemas/new", STAFF, staff.schema_form),
    ("POST", "/schemas/new", STAFF, staff.makes_schema),
    ("POST", "/schemas/preview", STAFF, preview.of_form),
    ("GET", "/schemas/{schema_id:int}/preview", STAFF, preview.of_schema),
    ("GET", "/people", ADMINISTRATOR, people.people),
    ("POST", "/people/invite", ADMINISTRATOR, people.invites),
    ("POST", "/people/invitations/{invitation}/revoke", ADMINISTRATOR, passwords.revokes),
    ("POST", "/people/{person_id:int}/reset", ADMINISTRATOR, passwords.allows_reset),
    ("POST", "/people/{person_id:int}", ADMINISTRATOR, people.changes_person),
    ("POST", "/people/{person_id:int}/reinstate/{schema_id:int}", ADMINISTRATOR, people.reinstates),
    ("POST", "/regions", ADMINISTRATOR, people.puts_region),
    ("GET", "/payouts", ADMINISTRATOR, staff.payouts),
    ("POST", "/payouts", ADMINISTRATOR, staff.closes_week),
    ("GET", "/payouts/{period}/pay.csv", ADMINISTRATOR, staff.payout_file),
    ("GET", "/log", ADMINISTRATOR, staff.log),
    ("GET", "/openapi.json", STAFF, staff.description),
]

_HOSTS = "'self' http: https:"
"""Of media: a region may have a host of its own."""
HEADERS = {
    "content-security-policy": f"default-src 'self'; media-src {_HOSTS}; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with none, browsers hide where a form of ours comes from
    "cache-control": "no-store",
}


def make_app(site: Site) -> FastAPI:
    app = FastAPI(title="Headroom annotation", docs_url=None, redoc_url=None, openapi_url=None)
    for method, path, roles, handler in ROUTES:
        add_route(app, site, method, path, roles, handler, MEDIA_THREADS if handler is labelling.clip else THREADS)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    app.add_middleware(_Headers)
    trusted: Any = ProxyHeadersMiddleware  # uvicorn has types of its own for what Starlette calls ASGIApp
    app.add_middleware(trusted, trusted_hosts=list(site.proxies))
    app.add_exception_handler(404, _not_found)
    return app


async def _not_found(request: Request, _error: Exception) -> Response:
    return problem(request.url.path.startswith("/api/"), 404, "there is no such page")


def first_invitation(database: Database) -> str | None:
    """A token for the first administrator; None where there is one already."""

    def work(c: object) -> str | None:
        if any(p["role"] == "administrator" for p in annotation_people.everybody(c)):  # type: ignore[arg-type]
            return None
        if not annotation_people.regions_by_name(c):  # type: ignore[arg-type]
            home = {"name": "home", "currency": "EUR", "hourly_floor_minor": 0, "rate": 1.0, "media_host": ""}
            annotation_people.put_region(c, home)  # type: ignore[arg-type]
        return sign_in.invite(c, None, "administrator", "home", time.time())

    return database.write(work)


class _Headers:
    """Adds the headers that an answer lacks. Starlette's own way for functions runs each request in a task more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sends(message: Message) -> None:
            if message["type"] == "http.response.start":
                held = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    held.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sends if scope["type"] == "http" else send)


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _figure(value: float | None) -> str:
    """A figure in two or three digits; a dash where it is not defined."""
    return "–" if value is None or value != value else f"{value:.2f}"


TEMPLATES.filters.update(money=money.decimal, date=_date, day=_day, figure=_figure, reference=money.reference)
TEMPLATES.filters.update(reason=reporting.WORDS.__getitem__, prose=worded.prose, part=worded.part)
TEMPLATES.globals.update(asked_of=worded.asked_of, short=worded.short, said=worded.value, doubts=worded.doubts)
TEMPLATES.tests.update(spent=batches.is_spent)
