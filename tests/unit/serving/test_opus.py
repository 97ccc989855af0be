"""Opus on the WebSocket: the same sound as PCM, and nothing but Opus."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from serving.opus import MOST_PACKET_BYTES, OpusError, OpusPackets
from serving.routing import Gateway
from serving.speech_motion import MotionStream
from serving.watching import MALFORMED
from tests.unit.serving.sounds import TONE, opus_packets, syllable, whites
from tests.unit.serving.talker import IDLE, tiny
from tests.unit.serving.test_gateway import closed, opened, watched

LAG = 98
"""Samples, 6 ms: what libopus looks ahead, and resampling."""


def through(packets: list[bytes]) -> np.ndarray:
    decoder = OpusPackets()
    return np.concatenate([decoder.decoded(packet) for packet in packets])


@pytest.mark.parametrize(("frame_ms", "layout"), [(10, "mono"), (20, "mono"), (60, "mono"), (20, "stereo")])
def test_packets_become_the_sound_that_was_coded_each_as_it_comes(frame_ms: int, layout: str) -> None:
    sound, decoder = syllable(1.2), OpusPackets()
    parts = [decoder.decoded(packet) for packet in opus_packets(sound, frame_ms, layout)]
    assert {len(part) for part in parts[1:]} == {16 * frame_ms}, "nothing is held back"
    made = np.concatenate(parts)[LAG:]
    num = min(len(made), len(sound))
    assert np.corrcoef(made[:num], sound[:num])[0, 1] > 0.99


def test_a_mouth_follows_opus_as_it_follows_pcm() -> None:
    sound = syllable(2.4)
    motions = []
    for heard in (sound, through(opus_packets(sound))[LAG:]):
        stream = MotionStream(tiny(), IDLE, seed=3)
        scaled = heard.astype(np.float32) / 32768
        parts = [stream.push(scaled[at : at + 640])[0] for at in range(0, len(sound) // 640 * 640 - 640, 640)]
        motions.append(np.concatenate([*parts, stream.end()[0]])[:55])
    pcm, opus = motions
    spread = pcm.std(axis=0).max()
    assert spread > 0.01
    assert np.abs(pcm - opus).max() < spread / 4


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "has 1 to 4000 bytes, this message 0"),
        (bytes(MOST_PACKET_BYTES + 1), "has 1 to 4000 bytes, this message 4001"),
        (b"\x03\xff" * 300, "a message of 600 bytes is no Opus packet"),
        (b"OggS" + bytes(60), "this is Ogg; send Opus packets alone"),
        (b"\x1a\x45\xdf\xa3" + bytes(60), "this is WebM; send Opus packets alone"),
        (b"OpusHead" + bytes(11), "this is the head of an Ogg stream"),
    ],
)
def test_what_is_no_packet_is_refused_and_the_next_one_is_heard(message: bytes, why: str) -> None:
    decoder, good = OpusPackets(), opus_packets(syllable(0.2))
    with pytest.raises(OpusError, match=why):
        decoder.decoded(message)
    assert len(decoder.decoded(good[3])) > 300


def test_random_bytes_are_sound_or_refused_and_never_more_than_a_packet_holds() -> None:
    rng, decoder, refused = np.random.default_rng(0), OpusPackets(), 0
    for _ in range(500):
        try:
            assert len(decoder.decoded(rng.bytes(int(rng.choice([1, 2, 3, 60, 400, 4000]))))) <= 1920 + 64
        except OpusError:
            refused += 1
    assert 100 < refused < 500


def greeting(made: dict[str, str], **more: Any) -> str:
    return json.dumps({"token": made["token"], **more})


def test_a_session_hears_opus_when_its_viewer_says_so(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
    made = opened(client)
    packets = opus_packets(TONE)
    with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(greeting(made, sound="opus"))
        for packet in packets:
            socket.send_bytes(packet)
        data, told = watched(socket, 2)
        assert told[0]["sound"] == "opus"
        inbox = gateway.talks[made["id"]].inbox
        while inbox.ahead_s:
            data += watched(socket, 1)[0]
        data += watched(socket, 4)[0]
        assert 12 <= whites(data) <= 14, "half a second of tone"
        assert inbox.taken == pytest.approx(8000, abs=640)
        socket.send_text("end")
        closed(socket)


def test_a_packet_that_is_none_ends_that_line_alone(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
    bad, other = opened(client), opened(client)
    with client.websocket_connect(f"/api/sessions/{other['id']}") as beside:
        beside.send_text(greeting(other, sound="opus"))
        watched(beside, 2)
        with client.websocket_connect(f"/api/sessions/{bad['id']}") as socket:
            socket.send_text(greeting(bad, sound="opus"))
            socket.send_bytes(b"\x03\xff" * 300)
            assert closed(socket) == (MALFORMED, "a message of 600 bytes is no Opus packet")
        beside.send_bytes(opus_packets(syllable(0.1))[0])
        watched(beside, 3)
    assert (len(gateway.workers), gateway.lost_workers) == (1, 0)


@pytest.mark.parametrize("sound", ["mp3", None, 7, ["opus"], "\U0001f600" * 50])
def test_a_kind_of_sound_that_is_not_taken_is_told(flashed: tuple[Gateway, TestClient], sound: object) -> None:
    _, client = flashed
    made = opened(client)
    with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(greeting(made, sound=sound))
        code, reason = closed(socket)
    assert code == MALFORMED
    assert reason.endswith('is not taken; "pcm" and "opus" are')
    assert len(reason.encode()) < 124
