"""The gateway by its routes and its WebSocket; what goes out is decoded."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from serving import routing
from serving.checkpoints import Split
from serving.gateway import make_app
from serving.inbox import TICK_SAMPLES, Inbox, TooFarAheadError
from serving.live import LiveSession
from serving.routing import Gateway
from serving.sessions import Sessions
from serving.watching import FULL, OVER, REPLACED, WRONG
from tests.unit.serving.talker import head, held, local_worker, pipeline, served


@pytest.fixture
def both() -> tuple[Gateway, Any]:
    gateway, _, app = served(held(), [head("anna"), head("ben")], capacity=2)
    return gateway, app


@pytest.fixture
def gateway(both: tuple[Gateway, Any]) -> Gateway:
    return both[0]


@pytest.fixture
def client(both: tuple[Gateway, Any]) -> Iterator[TestClient]:
    with TestClient(both[1]) as made:
        yield ready(made)


def ready(client: TestClient) -> TestClient:
    while client.get("/api/avatars").status_code != 200:
        time.sleep(0.01)
    return client


def test_without_a_worker_nobody_is_offered_and_nothing_is_ready() -> None:
    with TestClient(make_app(Gateway([head("anna")], "secret"))) as client:
        for answer in (
            client.get("/api/avatars"),
            client.post("/api/sessions", json={"avatar": "anna"}),
            client.get("/api/checkpoints", headers=PROBE),
        ):
            assert answer.status_code == 503
            assert answer.json()["error"].startswith("no worker is here")
        assert "headroom_sessions_free 0.0" in client.get("/metrics").text
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/workers"):
            pass


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
        data, told = watched(socket, 13)
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


def test_a_viewer_who_lost_the_line_comes_back_to_a_session_that_goes_on(client: TestClient, gateway: Gateway) -> None:
    made = opened(client)
    for turn in range(2):
        with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
            socket.send_text(json.dumps({"token": made["token"]}))
            data, _ = watched(socket, 5)
            with av.open(io.BytesIO(data)) as container:
                first = next(iter(container.decode(video=0)))
            assert (int(first.pts), first.key_frame) == (1024, True)
        assert gateway.talks[made["id"]].next_frame >= 3 * (turn + 1)


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


def test_sessions_that_are_being_made_count_too(gateway: Gateway) -> None:
    async def three() -> list[bool]:
        sessions = Sessions(held(), 2)
        worker = asyncio.create_task(local_worker(gateway, sessions))
        await gateway.came.wait()
        made = [made is not None for made in await asyncio.gather(*(gateway.open("anna") for _ in range(3)))]
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return made

    assert asyncio.run(three()) == [True, True, False]


def test_a_session_that_nobody_watches_makes_room(
    client: TestClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(client)
    opened(client)
    monkeypatch.setattr(routing, "KEPT_S", -1.0)
    opened(client)
    assert len(gateway.talks) == 1


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
    with pytest.raises(ValueError, match="there is no avatar to show; give --avatar PICTURE"):
        Gateway([])
    with pytest.raises(ValueError, match="room for 0 sessions; must be at least 1"):
        Sessions(held(), 0)


# The sound below it, without a network


def test_silence_goes_on_and_what_is_left_of_a_tick_waits_until_nothing_more_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Inbox()

    def taken() -> int:
        made.due()
        made.said()
        return made.taken

    assert taken() == 0
    made.hear(np.ones(TICK_SAMPLES + 100, np.int16))
    assert [taken(), taken()] == [TICK_SAMPLES, TICK_SAMPLES]
    monkeypatch.setattr("serving.inbox.SETTLE_S", 0.0)
    assert taken() == TICK_SAMPLES + 100
    assert made.place == 8


def test_a_tick_is_due_until_it_was_said_and_the_ring_holds_what_was_said_of_late() -> None:
    made = Inbox()
    made.hear(np.arange(16_000, dtype=np.int16))
    assert (made.due() == made.due()).all()
    assert made.place == made.taken == 0
    for _ in range(100):
        made.due()
        made.said()
    first, sound = made.past()
    assert (first, len(sound)) == (200 - 100, 100 * 640)
    other = Inbox()
    other.hear(np.arange(16_000, dtype=np.int16))
    other.due()
    other.said()
    first, sound = other.past()
    assert first == 0
    assert (sound == np.arange(TICK_SAMPLES)).all()


def test_an_interruption_drops_what_waits() -> None:
    made = Inbox()
    made.hear(np.ones(16_000, np.int16))
    made.due()
    made.said()
    assert made.ahead_s == pytest.approx(1 - 0.08)
    made.interrupt()
    assert made.ahead_s == 0
    made.due()
    made.said()
    assert made.taken == TICK_SAMPLES


def test_what_a_session_cannot_hold_is_refused_whole() -> None:
    made = Inbox()
    made.hear(np.zeros(29 * 16_000, np.int16))
    with pytest.raises(TooFarAheadError, match="more than 30 s of sound wait to be said"):
        made.hear(np.zeros(2 * 16_000, np.int16))
    assert made.ahead_s == 29


# Checkpoints and metrics


@pytest.fixture
def two() -> Iterator[TestClient]:
    checkpoints = held("c1")
    checkpoints.follow(Split("c0", "c1", 0.0, 1))
    _, _, app = served(checkpoints, [head("anna")], 1, "secret")
    with TestClient(app) as made:
        yield ready(made)


PROBE = {"x-headroom-probe": "secret"}


def test_probes_have_room_of_their_own_and_choose_checkpoint_and_seed(
    two: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(two)
    asked, opening, seeds = {"avatar": "anna", "checkpoint": "c1"}, Gateway.open, list[Any]()
    monkeypatch.setattr(Gateway, "open", lambda self, *a, **k: (seeds.append(k["seed"]), opening(self, *a, **k))[1])
    assert two.post("/api/sessions", json={**asked, "seed": 7}).status_code == 503, "others have no key and no choice"
    assert two.post("/api/sessions", json={**asked, "checkpoint": "c9"}, headers=PROBE).status_code == 409
    for seed in (-1, 2**31, 1.5, True, "7"):
        refused = two.post("/api/sessions", json={**asked, "seed": seed}, headers=PROBE)
        assert (refused.status_code, refused.json()["error"][:6]) == (400, "a seed")
    assert two.post("/api/sessions", json={**asked, "seed": 7}, headers=PROBE).status_code == 201
    assert two.post("/api/sessions", json=asked, headers=PROBE).status_code == 201
    assert two.post("/api/sessions", json=asked, headers=PROBE).json()["error"].startswith("2 probes are under way")
    assert seeds == [None, None, 7, None, None], "of the one that was refused for its room, of c9, and of the probes"
    told = two.get("/api/checkpoints", headers=PROBE).json()
    assert told["moving"] == 0
    assert (told["serving"], told["canary"], told["sessions"]) == ("c0", "c1", {"c0": 1, "c1": 2})
    assert two.get("/api/checkpoints").status_code == 403
    assert two.get("/api/checkpoints", headers={"x-headroom-probe": ""}).status_code == 403


def test_metrics_are_told_by_checkpoint_in_prometheus_text(two: TestClient) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    made = two.post("/api/sessions", json={"avatar": "anna", "checkpoint": "c1"}, headers=PROBE).json()
    with two.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(json.dumps({"token": made["token"]}))
        socket.send_bytes(noise(TICK_SAMPLES * 5))
        watched(socket, 13)
        answer = two.get("/metrics")
    until = time.monotonic() + 10
    while (left := two.get("/api/checkpoints", headers=PROBE).json()["sessions"]["c1"]) and time.monotonic() < until:
        time.sleep(0.05)  # the server hears of it when it next sends
    assert left == 0, "a probe ends with its line"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    told = {
        (s.name, s.labels.get("checkpoint", "")): s.value if s.labels.get("renderer", "none") == "none" else None
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }
    assert told["headroom_sessions", "c1"] == 1
    assert told["headroom_sessions", "c0"] == 0
    assert told["headroom_frames_total", "c1"] >= 10
    assert told["headroom_engine_fps", "c1"] > 0
    assert told["headroom_av_skew_seconds", "c1"] == 0
    assert told["headroom_frame_change_gray_levels", "c1"] > 0
    assert told["headroom_mouth_range", "c1"] > 0
    assert told["headroom_mouth_shown_gray_levels", "c1"] >= 0
    assert ("headroom_mouth_range", "c0") not in told, "nothing is told of what was not measured"
    assert told["headroom_first_fragment_seconds_count", "c1"] == 1
    assert told["headroom_checkpoint_role", "c1"] == 1


def test_a_lost_frame_is_seen_as_skew_and_a_late_tick_as_an_underrun() -> None:
    made, sound = LiveSession(pipeline(), head(), (128, 128)), np.zeros(TICK_SAMPLES, np.int16)
    made.watch()
    made.tick(sound)
    assert made.vitals.figures()["skew_ms"] in (None, 0.0)
    coded = made.stream
    write = coded.write
    coded.write = lambda number, picture, sound: write(number + 1, picture, sound)  # type: ignore[method-assign]
    made.tick(sound)
    assert coded.skew_ms == pytest.approx(-40)
    made.late(0.05, None)
    made.late(0.2, 0.4)
    assert made.vitals.figures()["underrun_ratio"] == 0.5
    assert made.vitals.figures()["first_fragment_s"] == 0.4


def test_a_frozen_mouth_and_a_frozen_picture_are_seen() -> None:
    from serving.vitals import Watch

    shown = head()
    loud = np.random.default_rng(0).normal(0, 1, 640 * 50) * np.repeat(2000 + 1000 * np.sin(np.arange(50)), 640)
    sound, still = loud.astype(np.int16), [shown.plate.picture] * 50
    motion = np.zeros((50, 9), np.float32)
    frozen, alive = Watch(shown), Watch(shown)
    frozen.saw(motion, still, sound)
    motion[:, 0] = np.sin(np.arange(50))
    alive.saw(motion, [np.roll(p, n % 3, axis=0) for n, p in enumerate(still)], sound)
    told, other = frozen.vitals.figures(), alive.vitals.figures()
    assert (told["mouth_range"], told["mouth_loudness"], told["frame_change"]) == (0, 0, 0)
    assert told["mouth_shown"] is None, "nobody said where the mouth lies"
    assert other["mouth_range"] == pytest.approx(0.7, abs=0.05)
    assert (other["mouth_loudness"] or 0) > 0.9
    assert (other["frame_change"] or 0) > 1


def test_the_dashboard_asks_for_what_is_told(two: TestClient) -> None:
    import re
    from pathlib import Path

    board = json.loads((Path(__file__).parents[3] / "infra" / "grafana" / "live_avatars.json").read_text())
    asked = {name for p in board["panels"] for t in p["targets"] for name in re.findall(r"headroom_\w+", t["expr"])}
    told = set(re.findall(r"^# TYPE (\w+) \w+$", two.get("/metrics").text, re.MULTILINE))
    assert asked
    assert {re.sub(r"_(sum|count)$", "", name) for name in asked} <= told
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
