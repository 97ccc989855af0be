"""Signalling: what is answered, what is refused and why, and what a client names but nobody looks up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aioice.ice
import numpy as np
import pytest
from starlette.testclient import TestClient

from serving import webrtc
from serving.inbox import TICK_SAMPLES, Inbox
from serving.offer import MOST_CANDIDATES, OfferError, checked
from serving.routing import Gateway
from tests.unit.serving.flashing import connected, offered
from tests.unit.serving.test_gateway import opened


def test_a_session_is_reached_by_its_token_alone_and_refusals_say_why(flashed: tuple[Gateway, TestClient]) -> None:
    _, client = flashed
    made, offer = opened(client), offered()
    path = f"/api/sessions/{made['id']}/webrtc"

    def refused(told: Any, at: str = path) -> tuple[int, str]:
        answer = client.post(at, json=told)
        return answer.status_code, answer.json()["error"]

    for token in ("wrong", None, 3):
        assert refused({"token": token, "sdp": offer}) == (404, "no session with this id and token; open one")
    surrogate = json.dumps({"token": "\ud800", "sdp": offer})
    assert client.post(path, content=surrogate, headers={"content-type": "application/json"}).status_code == 404
    assert refused({"token": made["token"], "sdp": offer}, "/api/sessions/nobody/webrtc")[0] == 404
    assert refused({"token": made["token"]}) == (
        400,
        'give JSON as {"token": TOKEN, "sdp": OFFER}, up to 64 kB, and say Content-Type: application/json',
    )
    assert refused({"token": made["token"], "sdp": offer + "a=x\r\n" * 16_000})[0] == 400
    assert refused({"token": made["token"], "sdp": "hello"})[0] == 400
    without = offer.replace("H264", "AV1")
    assert refused({"token": made["token"], "sdp": without}) == (
        406,
        "this browser takes no H.264 by WebRTC; choose the stream instead",
    )
    broken = offer.replace("a=ice-ufrag", "a=nothing").replace("a=setup:actpass", "a=setup:nonsense")
    assert refused({"token": made["token"], "sdp": broken}) == (
        400,
        "the offer can't be answered; it must be SDP as browsers make it",
    )


def test_one_offer_of_a_session_is_answered_at_a_time(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = flashed
    made, offer, answer = opened(client), offered(), webrtc.Peer.answer

    async def slow(peer: webrtc.Peer, sdp: str) -> str:
        await asyncio.sleep(0.5)
        return await answer(peer, sdp)

    monkeypatch.setattr(webrtc.Peer, "answer", slow)

    def post() -> int:
        told = {"token": made["token"], "sdp": offer}
        return client.post(f"/api/sessions/{made['id']}/webrtc", json=told).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: post(), range(2))) == [200, 409]


def test_sound_is_as_old_as_its_first_sample() -> None:
    inbox = Inbox()
    inbox.hear(np.ones(TICK_SAMPLES + 640, np.int16), held_s=2.0)
    inbox.hear(np.ones(640, np.int16))
    ages = []
    for _ in range(3):
        inbox.due()
        said = inbox.said()
        ages.append(None if said.heard_at is None else round(time.monotonic() - said.heard_at))
    assert ages == [2, 2, None]


def test_a_broken_offer_breaks_nothing_else(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S", 0.2)
    _, client = flashed
    made, lines = opened(client), offered().splitlines(keepends=True)
    path, told = f"/api/sessions/{made['id']}/webrtc", set()
    for number, line in enumerate(lines):
        key, _, value = line.rstrip().partition("=")
        ways = ("", f"{key}=\r\n", f"{key}={value[: len(value) // 2]}\r\n", f"{key}={value} 99999999999 %s\r\n")
        offer = "".join([*lines[:number], ways[number % len(ways)], *lines[number + 1 :]])
        told.add(client.post(path, json={"token": made["token"], "sdp": offer}).status_code)
    assert told <= {200, 400, 406}
    assert {200, 400} <= told

    async def look() -> None:
        async with connected(client, made, speaks=False):
            pass

    asyncio.run(look())


def test_candidates_that_a_client_names_are_neither_looked_up_nor_tried() -> None:
    offer = offered()
    named = "".join(
        f"a=candidate:{n} 1 udp 1 {host} 9 typ host\r\n"
        for n, host in enumerate(("evil.example", "abc.local", "file:///etc/passwd", "192.0.2.7", "224.0.0.1", *("192.0.2.9",) * 40))
    )  # fmt: skip
    lines = offer.splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith("m=")) + 1
    hostile = "".join([*lines[:at], named, "a=candidate:1 1 tcp 1 192.0.2.8 9 typ host\r\n", *lines[at:]])
    assert "a=candidate" not in checked(hostile, is_reached=True)
    assert "end-of-candidates" not in checked(hostile, is_reached=True)
    kept = [line.split()[4] for line in checked(hostile, is_reached=False).splitlines() if "a=candidate" in line]
    assert len(kept) == MOST_CANDIDATES
    assert set(kept) == {"192.0.2.7", "192.0.2.9"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda sdp: sdp.replace("m=video", "m=image"), "one audio, one video"),
        (lambda sdp: sdp + sdp[sdp.index("m=video") :], "one audio, one video"),
        (lambda sdp: sdp.replace("m=application", "m=message"), "it may have no others"),
        (lambda sdp: sdp.replace("opus", "speex"), "takes no Opus"),
    ],
)
def test_an_offer_of_something_else_is_refused(change: Callable[[str], str], why: str) -> None:
    with pytest.raises(OfferError, match=why):
        checked(change(offered()), is_reached=True)


def test_a_machine_without_an_address_says_so(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = flashed
    made, offer = opened(client), offered()
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [])
    answer = client.post(f"/api/sessions/{made['id']}/webrtc", json={"token": made["token"], "sdp": offer})
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("this server has no network address for WebRTC")
