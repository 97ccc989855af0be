"""A viewer by WebRTC: an aiortc client against a gateway in this process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from itertools import pairwise

import aioice.ice
import numpy as np
import pytest
from starlette.testclient import TestClient

from benchmarks.webrtc_viewer import Peer
from serving import webrtc
from serving.gateway import make_app
from serving.routing import Gateway
from serving.watching import OVER, REPLACED
from tests.unit.serving.flashing import SPEECH, connected, flashing, offered, poster
from tests.unit.serving.talker import head, held, served
from tests.unit.serving.test_failover import Workers
from tests.unit.serving.test_gateway import closed, opened, ready, watched


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


def test_sound_and_picture_are_of_one_moment(flashed: tuple[Gateway, TestClient]) -> None:
    _, client = flashed
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


def test_what_is_said_into_the_microphone_is_seen_and_heard(flashed: tuple[Gateway, TestClient]) -> None:
    _, client = flashed
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


def test_what_waits_shrinks_while_the_microphone_is_quiet(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
    made = opened(client)
    inbox = gateway.talks[made["id"]].inbox

    async def talk() -> None:
        async with connected(client, made) as peer:
            await peer.until(lambda: inbox.taken)
            peer.channel.send(SPEECH.astype("<i2").tobytes())  # as if the machine had stood still for a second
            await peer.until(lambda: inbox.ahead_s > 0.7)
            await peer.until(lambda: inbox.ahead_s < 0.4, 15)

    asyncio.run(talk())


def test_words_go_by_the_data_channel_and_the_end_says_why(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
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
    flashed: tuple[Gateway, TestClient], word: str | bytes
) -> None:
    _, client = flashed
    made = opened(client)

    async def talk() -> None:
        async with connected(client, made, speaks=False) as peer:
            peer.channel.send(word)
            await peer.until(lambda: peer.words[-1]["type"] == "over")
            assert peer.words[-1]["code"] == 1003

    asyncio.run(talk())


def test_whoever_comes_last_watches_by_whatever_line(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
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
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    gateway, client = flashed
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
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S", 0.3)
    gateway, client = flashed
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


def test_a_line_that_loses_pictures_gets_fewer_and_all_of_the_sound(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
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


def test_a_viewers_pictures_are_not_taken(flashed: tuple[Gateway, TestClient]) -> None:
    """They would have to be decoded."""
    _, client = flashed
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


def test_viewers_who_come_and_go_leave_nothing(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed

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
