"""What the web app refuses: every route to every role that it is not for, forms from elsewhere, and whatever is no answer."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Mount
from starlette.testclient import TestClient

from dashboards.annotation import visit
from dashboards.annotation.app import make_app
from dashboards.annotation.visit import COOKIE
from tests.unit.dashboards.annotation.conftest import PASSWORD, ROLES, House, both_databases

A, R, D, S = "annotator", "reviewer", "designer", "administrator"
ALLOWED: dict[tuple[str, str], tuple[str, ...] | None] = {
    ("GET", "/sign-in"): None, ("POST", "/sign-in"): None,
    ("GET", "/join/{token}"): None, ("POST", "/join/{token}"): None,
    ("GET", "/reset/{key}"): None, ("POST", "/reset/{key}"): None,
    ("GET", "/password"): (A, R, D, S), ("POST", "/password"): (A, R, D, S),
    ("POST", "/people/invitations/{invitation}/revoke"): (S,), ("POST", "/people/{person_id:int}/reset"): (S,),
    ("GET", "/media/{packed}"): None,
    ("POST", "/sign-out"): (A, R, D, S), ("GET", "/"): (A, R, D, S), ("GET", "/leaderboard"): (A, R, D, S),
    ("GET", "/pay"): (A, R), ("GET", "/label"): (A, R),
    ("POST", "/api/claim"): (A, R), ("POST", "/api/keep"): (A, R), ("POST", "/api/submit"): (A, R),
    ("POST", "/api/clips"): (A, R), ("POST", "/api/report"): (A, R),
    ("GET", "/guidelines/{schema_id:int}"): (A, R, D, S), ("POST", "/guidelines/{schema_id:int}"): (A,),
    ("GET", "/batches"): (D, S), ("GET", "/batches/new"): (D, S), ("POST", "/batches/new"): (D, S),
    ("GET", "/batches/{batch_id:int}"): (D, S), ("POST", "/batches/{batch_id:int}"): (D, S),
    ("GET", "/batches/{batch_id:int}/labels.csv"): (D, S), ("POST", "/batches/{batch_id:int}/look-again"): (D, S),
    ("GET", "/batches/{batch_id:int}/answers.csv"): (D, S),
    ("GET", "/batches/{batch_id:int}/items/{item_id:int}"): (D, S), ("POST", "/batches/{batch_id:int}/review"): (D, S),
    ("POST", "/schemas/preview"): (D, S), ("GET", "/schemas/{schema_id:int}/preview"): (D, S),
    ("GET", "/schemas/new"): (D, S), ("POST", "/schemas/new"): (D, S),
    ("GET", "/people"): (S,), ("POST", "/people/invite"): (S,), ("POST", "/people/{person_id:int}"): (S,),
    ("POST", "/people/{person_id:int}/reinstate/{schema_id:int}"): (S,), ("POST", "/regions"): (S,),
    ("GET", "/payouts"): (S,), ("POST", "/payouts"): (S,), ("GET", "/payouts/{period}/pay.csv"): (S,), ("GET", "/log"): (S,),
    ("GET", "/openapi.json"): (D, S),
}  # fmt: skip
"""Written by hand beside the app's own table: who is let in by mistake there is not let in here. None: everybody."""


def routes(house: House) -> list[tuple[str, str]]:
    """Of the app as it runs, whatever way a route came into it."""
    found = []
    for route in make_app(house.site).routes:
        if isinstance(route, Mount):
            assert route.path == "/static", f"{route.path}: a new mount needs a look at what it shows"
            continue
        assert isinstance(route, APIRoute), route
        found += [(method, route.path) for method in sorted(route.methods)]
    return found


def url(path: str, value: str = "1") -> str:
    return re.sub(r"\{\w+(:int)?\}", value, path)


def test_every_route_of_the_app_is_in_the_matrix_and_closed_to_all_others(house: House) -> None:
    known = routes(house)
    assert sorted(known) == sorted(ALLOWED), "a route without an entry: say above who may take it"
    clients, nobody = {role: house.client(role) for role in ROLES}, house.client()
    for method, path in known:
        allowed = ALLOWED[method, path]
        if allowed is None:
            continue
        assert nobody.request(method, url(path)).status_code == (401 if path.startswith("/api/") else 303), (
            method,
            path,
        )
        for role in set(ROLES) - set(allowed):
            reply = clients[role].request(method, url(path))
            assert (reply.status_code, "there is no such page" in reply.text.lower()) == (404, True), (
                method,
                path,
                role,
            )
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD"):
        assert clients[S].request(method, "/people").status_code == 405


def test_no_post_works_without_the_pages_own_token_or_from_elsewhere(house: House) -> None:
    for (method, path), allowed in ALLOWED.items():
        if method != "POST" or allowed is None:
            continue
        for role in allowed:
            client = house.client(role)
            token = client.headers.pop("x-csrf")
            other = house.client(role).headers["x-csrf"]
            for sent in ({}, {"x-csrf": ""}, {"x-csrf": other}, {"x-csrf": token, "origin": "https://evil.example"}):
                assert client.post(url(path), headers=sent).status_code == 403, (path, role, sent)
            assert client.post(f"{url(path)}?csrf={token}").status_code == 403, "an address is no form"


def test_a_session_that_somebody_planted_never_becomes_that_of_who_signs_in(house: House) -> None:
    planted = house.client("other").cookies[COOKIE]
    boss = house.client("administrator")
    page = boss.post("/people/invite", data={"role": "reviewer", "region": "eu"})
    link = re.search(r"http://testserver(/join/[\w-]+)", page.text)
    assert link is not None
    for path, told in (("/sign-in", {"login": "annotator"}), (link.group(1), {"login": "newcomer"})):
        victim = house.client()
        victim.cookies.set(COOKIE, planted)
        reply = victim.post(path, data={**told, "password": PASSWORD})
        made = re.search(rf"{COOKIE}=([\w-]+)", reply.headers["set-cookie"])
        assert made is not None
        assert made.group(1) != planted
        thief = house.client()
        thief.cookies.set(COOKIE, planted)
        assert ">other<" in thief.get("/").text, "who planted it still is himself, and nobody else"


@pytest.mark.parametrize(
    "path",
    ["../../ledger.sqlite", "..%2f..%2fledger.sqlite", "%2e%2e/app.py", "....//app.py", "%00", "a" * 5000, "é", "x\n"],
)
def test_no_path_leads_out_of_what_is_shown(house: House, path: str) -> None:
    client = house.client("administrator")
    for place in ("/static/", "/media/", "/join/", "/payouts/"):
        reply = client.get(place + quote(path, safe="%/."))
        assert reply.status_code in (404, 422), (place, path)
        assert b"SQLite" not in reply.content
        assert "import annotations" not in reply.text
    assert client.get("/static/annotation.css").status_code == 200


def test_a_flood_is_refused_before_it_is_read(house: House) -> None:
    read, told = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 65536, "more_body": read < 1000}

    async def send(message: dict[str, Any]) -> None:
        told.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": "/sign-in", "headers": [], "query_string": b"", "scheme": "http",
             "server": ("testserver", 80), "client": ("1.2.3.4", 1), "root_path": "", "http_version": "1.1"}  # fmt: skip
    asyncio.run(make_app(house.site)(scope, receive, send))
    assert (told[0], read < 10) == (413, True), "the rest of 65 MB is left unread"
    client = house.client("annotator")
    assert client.post("/api/submit", content=b"x" * (visit.MAX_BODY + 1)).status_code == 413
    assert client.post("/api/submit", content=b"x" * visit.MAX_BODY).status_code == 404, "that much is read"
    page = house.client("designer").post("/batches/new", files={"source": ("../../evil.sql", b"SELECT 1")})
    assert (page.status_code, "name" in page.text) == (422, True), "a file is no form: nothing of it is taken"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, -(10**30), "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "login",
    "password",
    "csrf",
    "role",
    "region",
    "active",
    "name",
    "currency",
    "floor",
    "rate",
    "media_host",
    "period",
    "state",
    "priority",
    "schema_id",
    "source",
    "goal",
    "limit",
    "overlap",
    "max_raters",
    "price",
    "budget",
    "head_start_min",
    "uncertainty",
    "task_type",
    "body",
    "guidelines",
    "num_training",
    "num_exam",
    "old",
]
VALUE = st.sampled_from(["", "0", "-1", "1e999", "nan", str(10**30), "\0", "' OR 1=1 --", "<script>", "{}", "[" * 5000, "é", "eu"]) | st.text(max_size=12)  # fmt: skip


NUMBERS = count()


@pytest.mark.parametrize("annotation_url", ["postgresql"], indirect=True)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_whatever_is_sent_gets_an_answer_and_never_a_crash(house: House, data: st.DataObject) -> None:
    """Every route with whatever its role may send: what the app makes of it is an answer of its own, with its headers. On
    PostgreSQL, which refuses more; test_description.py sends as much with SQLite."""
    clients = {role: _brave(house, role) for role in ROLES}
    house.batch("likert", "t_wide", name=f"b{next(NUMBERS)}")
    held = [t["token"] for t in clients[A].post("/api/claim", json={}).json()["tasks"]]
    for method, path in ALLOWED:
        if path == "/sign-out":
            continue
        role = data.draw(st.sampled_from(ALLOWED[method, path] or ROLES))
        place = url(path, data.draw(st.sampled_from(["1", "0", "999999", str(10**30), "2026-W01", "%00", "%ED%A0%80"])))
        if path.startswith("/api/"):
            body = {
                "token": ([*held, "x", "x", "x"])[data.draw(st.integers(0, 2))],
                "key": "a" * 9,
                "active_s": data.draw(JSON),
                "reason": data.draw(st.sampled_from(["other", "gone", 1])),
                "told": data.draw(JSON),
            }
            body["value"] = data.draw(JSON | st.fixed_dictionaries(dict.fromkeys(("visual_quality", "lip_sync"), JSON)))
            told: dict[str, Any] = {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
        else:
            told = {"data": data.draw(st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=8)) | {"active": "yes"}}
        reply = clients[role].request(method, place, **(told if method == "POST" else {}))
        assert reply.status_code < 500, (method, place, told, reply.text[:300])
        assert "default-src 'self'" in reply.headers["content-security-policy"]
        assert "<script>" not in reply.text.replace('<script src="/static/', ""), "what was sent is never markup"


@both_databases
@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_a_text_that_no_database_holds_is_refused_on_both(house: House, text: str) -> None:
    """SQLite takes a NUL in a text, PostgreSQL none."""
    house.batch("likert", "t_wide")
    clients = {role: _brave(house, role) for role in ROLES}
    token = clients[A].post("/api/claim", json={}).json()["tasks"][0]["token"]
    told = {"token": token, "reason": "other", "told": text, "key": text * 9, "value": {"visual_quality": text}}
    for path in ("/api/report", "/api/submit", "/api/keep"):
        assert clients[A].post(path, json=told).status_code == 422, path
        assert clients[A].post(path, json={**told, "token": text}).status_code in (404, 422), path
    for path, role in (
        ("/sign-in", S),
        ("/regions", S),
        ("/people/invite", S),
        ("/payouts", S),
        ("/batches/new", D),
        ("/schemas/new", D),
    ):
        reply = clients[role].post(path, data=dict.fromkeys(FIELDS, text))
        assert reply.status_code == 422, path


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b"[]", b"null", b'{"value": 1e400}', b"{" * 50])
def test_what_is_no_json_object_is_told_so(house: House, body: bytes) -> None:
    reply = house.client("annotator").post("/api/keep", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (404, 422)
    assert "error" in reply.json()


def _brave(house: House, role: str) -> TestClient:
    """A crash is an answer of 500, as it is in the wild."""
    client = house.client(role)
    app = client.app
    brave = TestClient(app, base_url="http://testserver", follow_redirects=False, raise_server_exceptions=False)
    brave.cookies.update(client.cookies)
    brave.headers["x-csrf"] = client.headers["x-csrf"]
    return brave
