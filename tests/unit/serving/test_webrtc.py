"""A viewer by WebRTC: an aiortc client against a gateway in this process, and what is given out when."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import aioice.ice
import av
import numpy as np
import pytest
from starlette.testclient import TestClient

from benchmarks.webrtc_viewer import Peer
from serving import paced, webrtc
from serving.checkpoints import Checkpoints
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.fragments import parameter_sets, pieces, split_units
from serving.gateway import make_app
from serving.inbox import TICK_SAMPLES, Inbox
from serving.offer import MOST_CANDIDATES, OfferError, checked
from serving.paced import MOST_PICTURES, MOST_SOUND, Paced, Timed
from serving.publish import PRIMING, Fragments
from serving.routing import Gateway
from serving.watching import OVER, REPLACED
from tests.unit.serving.talker import head, held, served
from tests.unit.serving.test_failover import Workers
from tests.unit.serving.test_gateway import closed, opened, ready, watched
from tests.unit.serving.test_outputs import STILL
from tests.unit.serving.test_publish import SIDE, picture, tone

LOUD = 1000
SPEECH = (8000 * np.sin(np.arange(16_000) * 0.3)).astype(np.int16)
"""A tone of a second."""


class Flash:
    """The stage that shows white while it hears something, and black else: what is seen says when it was heard."""

    name, remembers = "flash", False

    def begin(self, session: Session) -> None:
        return None

    def step(self, state: None, chunk: Chunk) -> Iterator[Chunk]:
        parts = chunk.sound.reshape(-1, SAMPLES_PER_FRAME).astype(int)
        shown = [np.full((128, 128, 3), 255 * (abs(part).max() > LOUD), np.uint8) for part in parts]
        yield replace(chunk, motion=np.zeros((len(parts), 9), np.float32), frames=shown)

    def end(self, state: None) -> Iterator[Chunk]:
        yield from ()


def flashing() -> Checkpoints:
    made: Pipeline[Chunk] = Pipeline([Module("flash", "c0", None)], [Flash()])
    return Checkpoints(made, lambda name: made)


def poster(client: TestClient) -> Callable[[str, dict[str, str]], Awaitable[dict[str, Any]]]:
    async def post(path: str, told: dict[str, str]) -> dict[str, Any]:
        answer = await asyncio.to_thread(client.post, path, json=told)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return post


@asynccontextmanager
async def connected(client: TestClient, made: dict[str, str], *, speaks: bool = True) -> AsyncIterator[Peer]:
    peer = Peer(speaks=speaks)
    try:
        await peer.connect(made, poster(client))
        await peer.until(lambda: peer.streams["video"].num and peer.streams["audio"].num)
        yield peer
    finally:
        await peer.close()


@pytest.fixture
def both() -> Iterator[tuple[Gateway, TestClient]]:
    gateway, _, app = served(flashing(), [head("anna")], 2)
    with TestClient(app) as client:
        yield gateway, ready(client)


def apart_s(peer: Peer) -> float:
    """By how much later the first loud sound than the first white picture was meant to be heard."""
    seen, said = peer.streams["video"], peer.streams["audio"]
    flash = next(c for c in seen.came if c.data.mean() > 128)
    loud = next(c for c in said.came if np.abs(c.data).max() > 3000)
    return said.moment_s(loud.pts, int(np.argmax(np.abs(loud.data) > 3000)) / 48_000) - seen.moment_s(flash.pts)


async def seen_and_heard(peer: Peer) -> None:
    seen, said = peer.streams["video"], peer.streams["audio"]
    await peer.until(lambda: seen.came[-1].data.mean() > 128)
    await peer.until(lambda: np.abs(said.came[-1].data).max() > 3000)


def test_sound_and_picture_are_of_one_moment(both: tuple[Gateway, TestClient]) -> None:
    _, client = both
    made = opened(client)

    async def talk() -> None:
        async with connected(client, made, speaks=False) as peer:
            seen, said = peer.streams["video"], peer.streams["audio"]
            await peer.until(lambda: seen.report and said.report and seen.num > 25)
            assert max(c.data.mean() for c in seen.came) < 60, "it is dark while nobody speaks"
            peer.channel.send(SPEECH.astype("<i2").tobytes())  # begins with a frame
            await seen_and_heard(peer)
            assert abs(apart_s(peer)) < 0.04
            steps = {b.pts - a.pts for a, b in pairwise(seen.came)}
            assert steps == {3600}, "a picture every 40 ms, none left out"
            assert {b.pts - a.pts for a, b in pairwise(said.came)} == {960}

    asyncio.run(talk())


def test_what_is_said_into_the_microphone_is_seen_and_heard(both: tuple[Gateway, TestClient]) -> None:
    _, client = both
    made = opened(client)

    async def talk() -> None:
        async with connected(client, made) as peer:
            assert peer.voice is not None
            seen, said = peer.streams["video"], peer.streams["audio"]
            await peer.until(lambda: seen.report and said.report and seen.num > 25)
            peer.voice.say(SPEECH)
            began = time.monotonic()
            await seen_and_heard(peer)
            assert time.monotonic() - began < 3
            assert -0.04 < apart_s(peer) < 0.08, "it begins anywhere within the picture's 40 ms"
            await peer.until(lambda: any("latency_ms" in w for w in peer.words))

    asyncio.run(talk())


def test_what_waits_shrinks_while_the_microphone_is_quiet(both: tuple[Gateway, TestClient]) -> None:
    gateway, client = both
    made = opened(client)
    inbox = gateway.talks[made["id"]].inbox

    async def talk() -> None:
        async with connected(client, made) as peer:
            await peer.until(lambda: inbox.taken)
            peer.channel.send(SPEECH.astype("<i2").tobytes())  # as if the machine had stood still for a second
            await peer.until(lambda: inbox.ahead_s > 0.7)
            await peer.until(lambda: inbox.ahead_s < 0.4, 15)

    asyncio.run(talk())


def test_words_go_by_the_data_channel_and_the_end_says_why(both: tuple[Gateway, TestClient]) -> None:
    gateway, client = both
    made = opened(client)

    async def talk() -> None:
        async with connected(client, made, speaks=False) as peer:
            seen, inbox = peer.streams["video"], gateway.talks[made["id"]].inbox
            for _ in range(10):
                peer.channel.send(SPEECH.astype("<i2").tobytes())
            await peer.until(lambda: seen.came[-1].data.mean() > 128)
            assert inbox.ahead_s > 5
            peer.channel.send("interrupt")  # barge-in
            await peer.until(lambda: seen.came[-1].data.mean() < 60, 5)
            assert inbox.ahead_s == 0
            number = seen.num
            await peer.until(lambda: seen.num > number + 25, 10)  # idle motion goes on
            peer.channel.send("end")
            await peer.until(lambda: peer.words[-1]["type"] == "over")
            assert (peer.words[-1]["code"], peer.words[-1]["reason"]) == (OVER, "the session is over")
            await peer.until(lambda: peer.connection.connectionState == "closed")

    asyncio.run(talk())
    assert client.get("/api/avatars").json()["free"] == 2


@pytest.mark.parametrize("word", ["dance", b"odd"])
def test_what_is_neither_sound_nor_a_word_ends_the_connection(
    both: tuple[Gateway, TestClient], word: str | bytes
) -> None:
    _, client = both
    made = opened(client)

    async def talk() -> None:
        async with connected(client, made, speaks=False) as peer:
            peer.channel.send(word)
            await peer.until(lambda: peer.words[-1]["type"] == "over")
            assert peer.words[-1]["code"] == 1003

    asyncio.run(talk())


def test_whoever_comes_last_watches_by_whatever_line(both: tuple[Gateway, TestClient]) -> None:
    gateway, client = both
    made = opened(client)

    async def talk() -> None:
        with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
            socket.send_json({"token": made["token"]})
            watched(socket, 3)
            async with connected(client, made, speaks=False) as peer:
                assert (await asyncio.to_thread(closed, socket))[0] == REPLACED
                frame = gateway.talks[made["id"]].next_frame
                async with connected(client, made, speaks=False):
                    await peer.until(lambda: peer.words[-1]["type"] == "over")
                    assert peer.words[-1]["code"] == REPLACED
                assert gateway.talks[made["id"]].next_frame > frame

    asyncio.run(talk())


def test_a_viewer_who_vanishes_without_a_word_is_let_go_and_may_come_back(
    both: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    gateway, client = both
    made = opened(client)
    talk = gateway.talks[made["id"]]

    async def vanish() -> None:
        peer = Peer(speaks=False)
        await peer.connect(made, poster(client))
        await peer.until(lambda: peer.streams["video"].num)
        assert talk.viewer is not None
        ice = peer.connection.getTransceivers()[0].receiver.transport.transport
        await ice.stop()  # its sockets are shut; nothing is said
        await peer.until(lambda: talk.viewer is None)
        await peer.close()
        assert talk.paced is None
        async with connected(client, made, speaks=False):
            assert talk.viewer is not None

    asyncio.run(vanish())


def test_a_viewer_who_never_connects_is_let_go(
    both: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S", 0.3)
    gateway, client = both
    made = opened(client)
    talk = gateway.talks[made["id"]]
    answer = client.post(f"/api/sessions/{made['id']}/webrtc", json={"token": made["token"], "sdp": offered()})
    assert answer.status_code == 200
    assert answer.json()["sdp"].count("m=") == 3
    until = time.monotonic() + 10
    while (talk.viewer is not None or talk.seen_at < until - 10) and time.monotonic() < until:
        time.sleep(0.02)
    assert talk.viewer is None
    assert talk.next_frame == 0, "nothing was drawn for it"


def test_a_worker_that_dies_leaves_out_no_picture_and_no_sound() -> None:
    gateway = Gateway([head("anna")])
    workers = Workers(gateway)

    async def both_work() -> None:
        await workers.start("one", checkpoints=flashing())
        await workers.start("two", checkpoints=flashing())
        await asyncio.gather(*workers.tasks)

    with TestClient(make_app(gateway, both_work)) as client:
        made = opened(ready(client))

        async def talk() -> None:
            async with connected(client, made, speaks=False) as peer:
                seen, said, name = peer.streams["video"], peer.streams["audio"], gateway.talks[made["id"]].worker.name
                await peer.until(lambda: seen.num > 25)
                assert client.portal is not None
                client.portal.call(workers.lines[name].cut)
                number = seen.num
                await peer.until(lambda: seen.num > number + 50)
                assert gateway.moves == 1
                assert gateway.talks[made["id"]].worker.name != name
                assert {b.pts - a.pts for a, b in pairwise(seen.came)} == {3600}
                assert {b.pts - a.pts for a, b in pairwise(said.came)} == {960}

        asyncio.run(talk())


def test_a_line_that_loses_pictures_gets_fewer_and_all_of_the_sound(both: tuple[Gateway, TestClient]) -> None:
    gateway, client = both
    made = opened(client)
    talk = gateway.talks[made["id"]]

    async def lose() -> None:
        async with connected(client, made, speaks=False) as peer:
            assert talk.paced is not None
            peer.loses = 0.4
            await peer.until(lambda: talk.paced is not None and talk.paced.thin)
            peer.loses = 0.0
            await peer.until(lambda: talk.paced is not None and not talk.paced.thin)
            seen, said = peer.streams["video"], peer.streams["audio"]
            number = seen.num
            await peer.until(lambda: seen.num > number + 30)
            assert {b.pts - a.pts for a, b in pairwise(said.came)} == {960}

    asyncio.run(lose())


def test_a_viewers_pictures_are_not_taken(both: tuple[Gateway, TestClient]) -> None:
    """They would have to be decoded."""
    _, client = both
    made, offer = opened(client), offered()
    at = offer.index("m=video")
    sdp = offer[:at] + offer[at:].replace("a=recvonly", "a=sendrecv", 1)
    answer = client.post(f"/api/sessions/{made['id']}/webrtc", json={"token": made["token"], "sdp": sdp}).json()["sdp"]
    assert "a=sendonly" in answer[answer.index("m=video") :].split("m=application")[0]


def test_a_server_that_ends_lets_its_viewers_go() -> None:
    gateway, _, app = served(flashing(), [head("anna")], 1)
    client = TestClient(app)
    client.__enter__()
    made = opened(ready(client))

    async def talk() -> None:
        async with connected(client, made, speaks=False) as peer:
            await asyncio.to_thread(client.__exit__, None, None, None)
            await peer.until(lambda: peer.connection.connectionState == "closed")

    asyncio.run(talk())
    assert gateway.talks[made["id"]].paced is None


def test_viewers_who_come_and_go_leave_nothing(both: tuple[Gateway, TestClient]) -> None:
    gateway, client = both

    async def come_and_go(number: int) -> None:
        made = opened(client)
        async with connected(client, made) as peer:
            if number % 2:
                peer.channel.send("end")
                await peer.until(lambda: peer.words[-1]["type"] == "over")
        talk = gateway.talks.get(made["id"])
        while talk is not None and talk.viewer is not None:
            await asyncio.sleep(0.02)
        if talk is not None:
            gateway.talks.pop(talk.id)

    async def kept() -> tuple[int, int]:
        await asyncio.sleep(0.5)
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    async def cycles() -> None:
        for number in range(3):
            await come_and_go(number)
        before = await kept()
        for number in range(6):
            await come_and_go(number)
        threads, files = await kept()
        assert threads <= before[0] + 1, "a pool may still grow"
        assert files <= before[1]

    asyncio.run(cycles())


# Signalling


def offered() -> str:
    """What an aiortc client offers."""

    async def make() -> str:
        peer = Peer(speaks=False)
        await peer.connection.setLocalDescription(await peer.connection.createOffer())
        sdp = str(peer.connection.localDescription.sdp)
        await peer.close()
        return sdp

    return asyncio.run(make())


def test_a_session_is_reached_by_its_token_alone_and_refusals_say_why(both: tuple[Gateway, TestClient]) -> None:
    _, client = both
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
    assert refused({"token": made["token"]}) == (400, 'give JSON as {"token": TOKEN, "sdp": OFFER}, up to 64 kB')
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
    both: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = both
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


def test_a_broken_offer_breaks_nothing_else(both: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S", 0.2)
    _, client = both
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
    both: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = both
    made, offer = opened(client), offered()
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [])
    answer = client.post(f"/api/sessions/{made['id']}/webrtc", json={"token": made["token"], "sdp": offer})
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("this server has no network address for WebRTC")


def test_servers_to_get_through_are_the_operators_and_none_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert webrtc.ice_servers() == []
    monkeypatch.setenv(webrtc.SERVERS, "stun:192.0.2.1:3478 turn:192.0.2.2:3478")
    with pytest.raises(ValueError, match="needs HEADROOM_TURN_USER and HEADROOM_TURN_PASSWORD"):
        webrtc.ice_servers()
    monkeypatch.setenv(webrtc.USER, "u")
    monkeypatch.setenv(webrtc.PASSWORD, "p")
    assert [(s.urls, s.username) for s in webrtc.ice_servers()] == [
        ("stun:192.0.2.1:3478", None),
        ("turn:192.0.2.2:3478", "u"),
    ]
    for told, why in (("http://host", "must be stun:HOST:PORT"), ("stun:a:1 stun:b:1", "names two stun servers")):
        monkeypatch.setenv(webrtc.SERVERS, told)
        with pytest.raises(ValueError, match=why):
            webrtc.ice_servers()


# What is given out when


def fed(made: Paced, stream: Fragments, ticks: range, shown: Callable[[int], np.ndarray] = picture) -> None:
    for tick in ticks:
        numbers = (2 * tick, 2 * tick + 1)
        made.say(2 * tick, np.concatenate([tone(n) for n in numbers]), None)
        made.put(b"".join(stream.write(n, shown(n), tone(n)) for n in numbers))


def test_pictures_and_sound_count_one_clock_and_come_when_they_are_due() -> None:
    async def take() -> tuple[list[tuple[float, Timed]], list[tuple[float, Timed]]]:
        made, stream = Paced(), Fragments(SIDE)
        made.begin(stream.header)
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, Timed]] = []
        said: list[tuple[float, Timed]] = []

        async def pictures() -> None:
            while len(seen) < 10:
                told = await made.picture()
                seen.append((loop.time(), told))

        async def sounds() -> None:
            while len(said) < 20:
                told = await made.sound()
                said.append((loop.time(), told))

        tasks = [asyncio.create_task(pictures()), asyncio.create_task(sounds())]
        for tick in range(5):
            fed(made, stream, range(tick, tick + 1))
            await asyncio.sleep(0.08)
        await asyncio.gather(*tasks)
        return seen, said

    seen, said = asyncio.run(take())
    assert [t.time for _, t in seen] == [PRIMING + 640 * n for n in range(10)]
    assert [t.time for _, t in said] == [said[0][1].time + 320 * n for n in range(20)]
    assert -160 < said[0][1].time - PRIMING <= 0, "an Opus coder is 6.5 ms behind what it hears"
    for came, (first_at, first) in ((seen, seen[0]), (said, seen[0])):
        late = [at - first_at - (told.time - first.time) / 16_000 for at, told in came]
        assert min(late) > -0.02
        assert max(late) < 0.2
    decoder = av.CodecContext.create("h264", "r")
    shown = [f for _, told in seen for f in decoder.decode(av.Packet(told.data))] + decoder.decode(None)
    assert len(shown) == 10
    assert shown[5].to_ndarray(format="rgb24").mean() == pytest.approx(35, abs=4)


def test_old_pictures_go_when_a_viewer_is_slow_and_sound_never_does() -> None:
    async def feed() -> Paced:
        made, stream = Paced(), Fragments(SIDE)
        made.begin(stream.header)
        fed(made, stream, range(MOST_SOUND // 4))
        assert not made.is_full
        assert (await made.picture()).is_key, "what is given out after a gap stands for itself"
        fed(made, stream, range(MOST_SOUND // 4, MOST_SOUND // 4 + 1))
        return made

    made = asyncio.run(feed())
    assert len(made._pictures) <= MOST_PICTURES
    assert made.dropped > 0
    assert len(made._sounds) == MOST_SOUND + 4
    assert made.is_full, "then the viewer is let go"


def test_a_line_that_loses_much_gets_whole_pictures_only() -> None:
    made, stream = Paced(), Fragments(SIDE)
    made.begin(stream.header)
    made.thin = True
    fed(made, stream, range(50), lambda n: STILL)
    assert [told.is_key for told in made._pictures] == [True] * 4
    made.thin = False
    fed(made, stream, range(50, 60), lambda n: STILL)
    assert len(made._pictures) == 4 + 20
    assert len(made._sounds) == 60 * TICK_SAMPLES // 320


def test_what_a_viewer_fell_behind_by_is_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(paced.time, "monotonic", lambda: now[0])
    made, stream = Paced(), Fragments(SIDE)
    made.begin(stream.header)
    fed(made, stream, range(1))
    zero = max(made._zeros)
    now[0] += 0.5  # a worker died
    fed(made, stream, range(1, 7))
    assert max(made._zeros) == pytest.approx(zero + 0.42)
    for tick in range(7, 7 + paced.REMEMBERED):
        now[0] = 100 + tick * 0.08
        fed(made, stream, range(tick, tick + 1))
    assert max(made._zeros) == pytest.approx(zero)


def test_a_picture_is_found_in_its_fragment() -> None:
    stream = Fragments(SIDE)
    made = stream.write(0, picture(0), tone(0))
    sets = parameter_sets(stream.header)
    assert [unit[0] & 31 for unit in split_units(sets)] == [7, 8]
    (piece,) = pieces(made)
    assert 5 in [unit[0] & 31 for unit in split_units(piece.picture)]
    assert len(av.CodecContext.create("h264", "r").decode(av.Packet(sets + piece.picture))) in (0, 1)


def test_the_networks_own_head_is_shown_too() -> None:
    _, _, app = served(held(), [head("anna")], 1)
    with TestClient(app) as client:
        made = opened(ready(client))

        async def look() -> None:
            async with connected(client, made, speaks=False) as peer:
                seen = peer.streams["video"]
                await peer.until(lambda: seen.num > 60)
                first, last = seen.came[5].data.astype(int), seen.came[-1].data.astype(int)
                assert first.shape == (128, 128)
                assert np.abs(first - last).max() > 10, "the head moves though nobody speaks"

        asyncio.run(look())
