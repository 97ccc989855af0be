"""Errors look alike whoever finds them, and the description says so; the stream alone by HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from serving import remote, routing
from serving.routing import Gateway
from tests.unit.serving.flashing import flashing
from tests.unit.serving.sounds import TONE, sound_file, whites
from tests.unit.serving.talker import head, served


def test_what_the_framework_refuses_looks_as_what_we_do(flashed: tuple[Gateway, TestClient]) -> None:
    _, client = flashed
    for method, path, status in (
        ("GET", "/nowhere", 404), ("GET", "/static/nothing.js", 404), ("DELETE", "/api/avatars", 405),
        ("GET", "/api/sessions/a/stream", 404), ("GET", "/api/sessions/a/ice", 404), ("POST", "/api/sessions/a/say", 404),
        ("GET", "/hls/a/b/index.m3u8", 404), ("GET", "/api/avatars/a.jpg", 404), ("POST", "/api/sessions", 400),
    ):  # fmt: skip
        answer = client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert client.get("/nowhere").json()["error"] == "GET /nowhere: Not Found"
    assert client.delete("/api/avatars").headers["allow"] == "GET"


def test_a_failure_of_the_server_is_told_as_one_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, _, app = served(flashing(), [head("anna")], 1)
    monkeypatch.setattr(type(gateway), "free", property(lambda self: 1 // 0))
    with TestClient(app, raise_server_exceptions=False) as client:
        while not gateway.workers:
            time.sleep(0.01)
        answer = client.get("/api/avatars")
    assert (answer.status_code, answer.json()) == (500, {"error": "the server failed at this; its log says why"})


def test_the_description_says_what_is_taken_and_how_it_is_refused(flashed: tuple[Gateway, TestClient]) -> None:
    _, client = flashed
    told = client.get("/api/openapi.json").json()
    paths: dict[str, dict[str, Any]] = told["paths"]
    assert {"/api/sessions", "/api/sessions/{session_id}/say", "/api/sessions/{session_id}/stream"} <= set(paths)
    for method in (method for path in paths.values() for method in path.values()):
        assert {"4XX", "5XX"} <= set(method["responses"])
        assert "422" not in method["responses"]
        refused = method["responses"]["4XX"]["content"]["application/json"]["schema"]
        assert list(refused["properties"]) == refused["required"] == ["error"]
    assert "HTTPValidationError" not in str(told)
    asked = paths["/api/sessions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    opened = client.post("/api/sessions", json=dict.fromkeys(asked["required"], "anna"))
    made = paths["/api/sessions"]["post"]["responses"][str(opened.status_code)]["content"]["application/json"]["schema"]
    assert list(opened.json()) == made["required"]
    assert paths["/api/sessions/{session_id}/say"]["post"]["parameters"][-1]["name"] == "Authorization"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gateway, str]]:
    monkeypatch.setattr(remote, "LOST_S", 30.0)
    gateway, _, app = served(flashing(), [head("anna")], 1)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and gateway.workers):
        time.sleep(0.02)
    yield gateway, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def test_the_stream_comes_by_http_for_as_long_as_it_is_read(
    address: tuple[Gateway, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, at = address
    made = httpx.post(f"{at}/api/sessions", json={"avatar": "anna"}).json()
    here, mine = f"{at}/api/sessions/{made['id']}", {"Authorization": f"Bearer {made['token']}"}
    said = httpx.post(f"{here}/sound", content=sound_file("wav", "pcm_s16le", TONE), headers=mine)
    assert said.status_code == 202

    def read(enough: int) -> bytes:
        data = b""
        with httpx.stream("GET", f"{here}/stream", headers=mine, timeout=30) as answer:
            assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
            for part in answer.iter_bytes():
                data += part
                if data.count(b"moof") >= enough:
                    break
        return data

    assert whites(read(25)) >= 11, "half a second of sound"
    until = time.monotonic() + 20
    while gateway.talks[made["id"]].viewer is not None and time.monotonic() < until:
        time.sleep(0.02)
    assert gateway.talks[made["id"]].viewer is None, "it stands still once nobody reads it"
    monkeypatch.setattr(routing, "LONGEST_S", 0.0)
    monkeypatch.setattr("serving.watching.LONGEST_S", 0.0)
    assert read(1000).count(b"moof") < 1000, "and ends when the session does"
    assert httpx.get(f"{here}/stream", headers=mine).status_code == 404
