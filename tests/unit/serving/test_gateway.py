"""The gateway by its routes and its WebSocket; what goes out is decoded."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from serving import gateway as gateways
from serving.gateway import FULL, OVER, REPLACED, WRONG, Gateway, make_app
from serving.live import TICK_SAMPLES, LiveSession, TooFarAheadError
from tests.unit.serving.talker import head, pipeline


@pytest.fixture
def served() -> Gateway:
    return Gateway(pipeline(), [head("anna"), head("ben")], capacity=2)


@pytest.fixture
def client(served: Gateway) -> Iterator[TestClient]:
    with TestClient(make_app(served)) as made:
        yield made


def opened(client: TestClient, avatar: str = "anna") -> dict[str, str]:
    answer = client.post("/api/sessions", json={"avatar": avatar})
    assert answer.status_code == 201
    return dict(answer.json())


def watched(socket: Any, until: int) -> tuple[bytes, list[dict[str, Any]]]:
    """What comes until so many bytes messages are there."""
    data, told, number = b"", [], 0
    while number < until:
        message = socket.receive()
        if message.get("bytes"):
            data, number = data + message["bytes"], number + 1
        elif message.get("text"):
            told.append(json.loads(message["text"]))
        else:
            raise WebSocketDisconnect(message["code"], message.get("reason"))
    return data, told


def closed(socket: Any) -> tuple[int, str]:
    with pytest.raises(WebSocketDisconnect) as ended:
        watched(socket, 10**9)
    return ended.value.code, ended.value.reason


def noise(num: int) -> bytes:
    return np.random.default_rng(0).normal(0, 3000, num).astype("<i2").tobytes()


def test_a_viewer_talks_and_gets_a_stream_in_real_time_with_idle_motion_in_between(client: TestClient) -> None:
    made = opened(client)
    with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(json.dumps({"token": made["token"]}))
        socket.send_bytes(noise(3200))
        data, told = watched(socket, 6)
        with av.open(io.BytesIO(data)) as container:
            times = [int(f.pts) for f in container.decode(video=0)]
        assert times == [1024 + 640 * n for n in range(len(times))]
        assert len(times) >= 8
        assert told[0]["mime"].startswith('video/mp4; codecs="avc1.42')
        clocks = [t for t in told if t["type"] == "clock"]
        assert max(c["taken"] for c in clocks) == 3200
        assert clocks[1]["at_s"] - clocks[0]["at_s"] == pytest.approx(0.08)
        state = next(t for t in told if t["type"] == "state")
        assert state["fps"] > 0
        socket.send_text("end")
        assert closed(socket) == (OVER, "the session is over")
    assert client.get("/api/avatars").json()["free"] == 2


def test_a_viewer_who_lost_the_line_comes_back_to_a_session_that_goes_on(client: TestClient, served: Gateway) -> None:
    made = opened(client)
    for turn in range(2):
        with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
            socket.send_text(json.dumps({"token": made["token"]}))
            data, _ = watched(socket, 3)
            with av.open(io.BytesIO(data)) as container:
                first = next(iter(container.decode(video=0)))
            assert (int(first.pts), first.key_frame) == (1024, True)
        assert served.talks[made["id"]].live.num_frames >= 3 * (turn + 1)


def test_whoever_comes_last_watches(client: TestClient) -> None:
    made = opened(client)
    with client.websocket_connect(f"/api/sessions/{made['id']}") as first:
        first.send_text(json.dumps({"token": made["token"]}))
        watched(first, 2)
        with client.websocket_connect(f"/api/sessions/{made['id']}") as second:
            second.send_text(json.dumps({"token": made["token"]}))
            assert closed(first) == (REPLACED, "watched from elsewhere")
            watched(second, 3)


def test_when_all_sessions_are_taken_another_is_refused(client: TestClient) -> None:
    opened(client)
    opened(client, "ben")
    answer = client.post("/api/sessions", json={"avatar": "anna"})
    assert answer.status_code == 503
    assert answer.json()["error"] == "all 2 sessions are taken; try again in a minute"


def test_sessions_that_are_being_made_count_too(served: Gateway) -> None:
    async def three() -> list[bool]:
        return [made is not None for made in await asyncio.gather(*(served.open("anna") for _ in range(3)))]

    assert asyncio.run(three()) == [True, True, False]


def test_a_session_that_nobody_watches_makes_room(
    client: TestClient, served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(client)
    opened(client)
    monkeypatch.setattr(gateways, "KEPT_S", -1.0)
    opened(client)
    assert len(served.talks) == 1


def test_a_session_is_reached_by_its_token_alone(client: TestClient) -> None:
    made = opened(client)
    for session, greeting in (
        (made["id"], json.dumps({"token": "wrong"})),
        (made["id"], json.dumps({"token": None})),
        (made["id"], "no json"),
        ("nobody", json.dumps({"token": made["token"]})),
    ):
        with client.websocket_connect(f"/api/sessions/{session}") as socket:
            socket.send_text(greeting)
            assert closed(socket)[0] == WRONG


@pytest.mark.parametrize(
    ("sent", "code", "why"),
    [
        (b"odd", 1003, "sound is 16-bit PCM"),
        (b"\0" * 64_002, 1003, "at most 64000 bytes"),
        ("dance", 1003, 'words are "interrupt"'),
    ],
)
def test_what_is_neither_sound_nor_a_word_ends_the_line(
    client: TestClient, sent: bytes | str, code: int, why: str
) -> None:
    made = opened(client)
    with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(json.dumps({"token": made["token"]}))
        if isinstance(sent, bytes):
            socket.send_bytes(sent)
        else:
            socket.send_text(sent)
        ended = closed(socket)
    assert ended[0] == code
    assert why in ended[1]


def test_more_sound_than_a_session_holds_ends_the_line(client: TestClient) -> None:
    made = opened(client)
    with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(json.dumps({"token": made["token"]}))
        for _ in range(17):
            socket.send_bytes(bytes(64_000))
        assert closed(socket)[0] == FULL


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"avatar": "../../etc/passwd"}', 404),
        (b'{"avatar": "http://example.org/a.png"}', 404),
        (b'{"avatar": 3}', 400),
        (b"[]", 400),
        (b"no json", 400),
        (b'{"avatar": "' + b"x" * 3000 + b'"}', 400),
    ],
)
def test_an_avatar_is_named_by_its_key_and_nothing_else_is_opened(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/api/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert client.post("/api/sessions", content=body).status_code == 400  # other sites can't send JSON unasked
    assert client.get("/api/avatars").json()["free"] == 2


def test_the_page_and_its_avatars_are_served_with_strict_headers(client: TestClient) -> None:
    page = client.get("/")
    assert "Headroom" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert client.get("/static/talk.js").status_code == 200
    assert client.get("/static/../gateway.py").status_code == 404
    picture = client.get("/api/avatars/anna.jpg")
    assert picture.content[:2] == b"\xff\xd8"
    assert client.get("/api/avatars/carl.jpg").status_code == 404
    assert [a["key"] for a in client.get("/api/avatars").json()["avatars"]] == ["anna", "ben"]


def test_a_gateway_needs_avatars_and_room() -> None:
    with pytest.raises(ValueError, match="0 avatars and room for 2 sessions; both must be at least 1"):
        Gateway(pipeline(), [], 2)


# The session below it, without a network


def live() -> LiveSession:
    made = LiveSession(pipeline(), head(), (128, 128))
    made.watch()
    return made


def test_silence_goes_on_and_what_is_left_of_a_tick_waits_until_nothing_more_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = live()
    assert made.tick()[1]["taken"] == 0
    made.hear(np.ones(TICK_SAMPLES + 100, np.int16))
    assert [made.tick()[1]["taken"], made.tick()[1]["taken"]] == [TICK_SAMPLES, TICK_SAMPLES]
    monkeypatch.setattr("serving.live.SETTLE_S", 0.0)
    assert made.tick()[1]["taken"] == TICK_SAMPLES + 100


def test_an_interruption_drops_what_waits() -> None:
    made = live()
    made.hear(np.ones(16_000, np.int16))
    made.tick()
    assert made.ahead_s == pytest.approx(1 - 0.08)
    made.interrupt()
    assert made.ahead_s == 0
    assert made.tick()[1]["taken"] == TICK_SAMPLES


def test_what_a_session_cannot_hold_is_refused_whole() -> None:
    made = live()
    made.hear(np.zeros(29 * 16_000, np.int16))
    with pytest.raises(TooFarAheadError, match="more than 30 s of sound wait to be said"):
        made.hear(np.zeros(2 * 16_000, np.int16))
    assert made.ahead_s == 29
