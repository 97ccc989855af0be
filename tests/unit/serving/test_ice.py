"""STUN and TURN servers of the operator's: what both ends of a connection are told, and who is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from starlette.testclient import TestClient

from infra import settings
from serving import webrtc
from serving.gateway import make_app
from serving.ice import IceServers, ice_of
from serving.routing import LONGEST_S, Gateway
from serving.sessions import Sessions
from tests.unit.serving.flashing import flashing, offered
from tests.unit.serving.talker import head, local_worker
from tests.unit.serving.test_gateway import opened, ready

STUN, TURN = "stun:192.0.2.1:3478", "turn:192.0.2.2:3478"


@pytest.fixture
def client() -> Iterator[TestClient]:
    gateway = Gateway([head("anna")])
    work = partial(local_worker, gateway, Sessions(flashing(), 2))
    with TestClient(make_app(gateway, work, ice_servers=IceServers((STUN, TURN), "u", "hush-hush"))) as made:
        yield ready(made)


def told(client: TestClient, made: dict[str, str], token: str) -> Any:
    return client.get(f"/api/sessions/{made['id']}/ice", headers={"Authorization": f"Bearer {token}"})


def test_both_ends_get_the_servers_and_nobody_else_the_credentials(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    class Recorded(RTCPeerConnection):
        """Asks none of them."""

        def __init__(self, configuration: RTCConfiguration) -> None:
            given.extend(configuration.iceServers or [])
            super().__init__(RTCConfiguration([]))

    monkeypatch.setattr(webrtc, "RTCPeerConnection", Recorded)
    made, other = opened(client), opened(client)
    answer = client.post(f"/api/sessions/{made['id']}/webrtc", json={"token": made["token"], "sdp": offered()})
    assert answer.status_code == 200
    assert [(s.urls, s.username, s.credential) for s in given] == [(STUN, None, None), (TURN, "u", "hush-hush")]
    assert told(client, made, made["token"]).json() == {
        "ice_servers": [{"urls": STUN}, {"urls": TURN, "username": "u", "credential": "hush-hush"}]
    }
    for token in (other["token"], made["watch"].split("/")[3], ""):
        refused = told(client, made, token)
        assert refused.status_code == 404
        assert "hush" not in refused.text
    everything = [client.get(at).text for at in ("/", "/api/avatars", "/metrics", "/api/openapi.json")]
    assert not any(":3478" in text or "hush" in text for text in [*everything, str(made), answer.text])


def test_a_secret_gives_each_session_credentials_of_its_own_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = IceServers((TURN,), secret="shared")
    (one,), (ours,) = servers.of("s1"), servers.ours("s1")
    until, name = one["username"].split(":")
    assert name == "s1"
    assert 0 < int(until) - time.time() <= LONGEST_S
    mac = hmac.new(b"shared", one["username"].encode(), hashlib.sha1).digest()
    assert one["credential"] == ours.credential == base64.b64encode(mac).decode()
    assert servers.of("s2")[0]["credential"] != one["credential"]
    assert "shared" not in repr(servers)


def test_they_are_settings_and_what_cannot_be_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(**more: str) -> IceServers:
        for name in ("ICE_SERVERS", "TURN_USER", "TURN_PASSWORD", "TURN_SECRET"):
            monkeypatch.setenv(f"HEADROOM_{name}", more.get(name, ""))
        return ice_of(settings.load(tmp_path))

    assert read() == IceServers()
    assert read().ours("s1") == [], "none, and not a public server of others"
    assert read(ICE_SERVERS=f"{STUN} {TURN}", TURN_USER="u", TURN_PASSWORD="p") == IceServers((STUN, TURN), "u", "p")
    assert read(ICE_SERVERS=TURN, TURN_SECRET="s").secret == "s"
    assert "hidden" not in repr(settings.Settings(tmp_path, "", "", turn_password="hidden", turn_secret="hidden"))
    for named, why in (
        ("http://host", "must be stun:HOST:PORT"),
        ("stun:a:1 stun:b:1", "names two stun servers"),
        (TURN, "needs HEADROOM_TURN_USER and HEADROOM_TURN_PASSWORD, or HEADROOM_TURN_SECRET"),
    ):
        with pytest.raises(ValueError, match=why):
            read(ICE_SERVERS=named, TURN_USER="u")
