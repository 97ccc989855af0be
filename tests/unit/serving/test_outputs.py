"""HLS as a player reads it, and RTMP as a listening FFmpeg receives it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from serving import hls, remote
from serving.fragments import pieces
from serving.hls import HELD, TOLD, Hls
from serving.publish import Fragments
from serving.rtmp import MOST_WAITING, Rtmp
from serving.serve import published_to
from tasks.media.transcode import ffmpeg_binary
from tests.unit.serving.talker import head, held, served
from tests.unit.serving.test_gateway import opened, ready, watched
from tests.unit.serving.test_publish import SIDE, times, tone

STILL = np.full((*SIDE, 3), 90, np.uint8)
"""Else the encoder makes a whole picture wherever the scene changes."""


def streamed(frames: int) -> tuple[bytes, list[bytes]]:
    stream = Fragments(SIDE)
    return stream.header, [stream.write(n, STILL, tone(n)) for n in range(frames)]


def test_pieces_are_the_fragments_with_their_times() -> None:
    _, made = streamed(60)
    found = list(pieces(b"".join(made)))
    assert [p.data for p in found] == made
    assert [p.time for p in found] == [1024 + 640 * n for n in range(60)]
    assert [n for n, p in enumerate(found) if p.is_key] == [0, 25, 50]
    assert {p.duration for p in found} == {640}


def test_segments_begin_with_a_whole_picture_and_only_a_window_is_held(tmp_path: Path) -> None:
    header, made = streamed(25 * 2 * 12 + 10)
    shown = Hls()
    assert shown.playlist() is None
    shown.begin(header)
    for at in range(0, len(made), 2):  # two in a tick: a whole picture may be the second
        shown.put(b"".join(made[at : at + 2]))
    told = shown.playlist()
    assert told is not None
    assert told.count("#EXTINF:2.000") == TOLD
    assert f"#EXT-X-MEDIA-SEQUENCE:{12 - TOLD}\n" in told
    assert "#EXT-X-TARGETDURATION:2\n" in told
    assert [n for n in range(20) if shown.file(f"{n}.m4s")] == list(range(12 - HELD, 12))
    assert times((shown.file("1.mp4") or b"") + (shown.file("11.m4s") or b""), "video")[0] == 1024 + 640 * 50 * 11
    (tmp_path / "index.m3u8").write_text(told + "#EXT-X-ENDLIST\n")
    for name in (line for line in told.splitlines() if not line.startswith("#")):
        (tmp_path / name).write_bytes(shown.file(name) or b"")
    (tmp_path / "1.mp4").write_bytes(header)
    with av.open(
        str(tmp_path / "index.m3u8"), options={"live_start_index": "0", "allowed_extensions": "ALL"}
    ) as player:
        assert len(list(player.decode(video=0))) == TOLD * 50
    assert [shown.file(name) for name in ("99.m4s", "x.m4s", "11.txt", "../1.mp4", "9" * 20 + ".m4s")] == [None] * 5
    shown.end()
    assert (shown.playlist(), shown.file("1.mp4"), shown.file("11.m4s")) == (None, None, None)


def test_a_viewer_who_comes_back_makes_a_break_that_players_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "SEGMENT_S", 1.0)
    header, made = streamed(60)
    shown = Hls()
    for _ in range(2):
        shown.begin(header)
        shown.put(b"".join(made))
    told = (shown.playlist() or "").splitlines()
    assert [line for line in told if "MAP" in line] == ['#EXT-X-MAP:URI="1.mp4"', '#EXT-X-MAP:URI="2.mp4"']
    assert told.count("#EXT-X-DISCONTINUITY") == 1
    assert "#EXTINF:0.400," in told, "what was begun before the break is there too"
    for _ in range(6):
        shown.begin(header)
        shown.put(b"".join(made))
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:5" in (shown.playlist() or "")
    assert shown.file("1.mp4") is None


def test_many_watch_a_session_by_a_token_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "SEGMENT_S", 1.0)
    _, _, app = served(held(), [head("anna")], 1)
    with TestClient(app) as client:
        made = opened(ready(client))
        assert client.get(made["watch"]).status_code == 404
        with client.websocket_connect(f"/api/sessions/{made['id']}") as line:
            line.send_json({"token": made["token"]})
            watched(line, 30)
            told = client.get(made["watch"])
            assert told.headers["content-type"].startswith("application/vnd.apple.mpegurl")
            names = [n for n in told.text.splitlines() if not n.startswith("#")]
            folder = made["watch"].removesuffix("index.m3u8")
            data = client.get(f"{folder}1.mp4").content + client.get(f"{folder}{names[0]}").content
            assert times(data, "video") == [1024 + 640 * n for n in range(25)]
            for other in (made["token"], "nobody"):
                assert client.get(f"/hls/{made['id']}/{other}/index.m3u8").status_code == 404
            line.send_text("end")
            watched_to_its_end(line)
        assert client.get(made["watch"]).status_code == 404, "it goes with its session"


def watched_to_its_end(line: object) -> None:
    from tests.unit.serving.test_gateway import closed

    assert closed(line)[1] == "the session is over"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_session_is_published_to_a_media_server(tmp_path: Path) -> None:
    url, out = f"rtmp://127.0.0.1:{free_port()}/live/s1", tmp_path / "came.mp4"
    receiver = subprocess.Popen(
        [ffmpeg_binary(), "-v", "error", "-listen", "1", "-i", url, "-c", "copy", str(out)], stdin=subprocess.DEVNULL
    )
    header, made = streamed(75)

    async def publish() -> None:
        await asyncio.sleep(1)  # it must listen first
        told = Rtmp(url, ffmpeg_binary())
        told.begin(header)
        for at in range(0, 75, 5):
            told.put(b"".join(made[at : at + 5]))
        told.end()
        await told.ended()

    try:
        asyncio.run(publish())
        assert receiver.wait(30) == 0
    finally:
        receiver.kill()
        receiver.wait()
    with av.open(str(out)) as container:
        assert {s.type for s in container.streams} == {"video", "audio"}
        assert len(list(container.decode(video=0))) == 75
    with av.open(str(out)) as container:
        came = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert float(np.abs(came).max()) > 0.1


def test_a_media_server_that_is_not_there_or_too_slow_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    header, made = streamed(2)

    async def publish() -> float:
        told = Rtmp(f"rtmp://127.0.0.1:{free_port()}/live/s1", ffmpeg_binary())
        told.begin(header)
        for _ in range(MOST_WAITING + 1):
            told.put(made[0])
        assert told._queue is None
        told.put(made[1])
        began = time.monotonic()
        await told.ended()
        return time.monotonic() - began

    assert asyncio.run(publish()) < 20
    assert "the media server is too slow" in caplog.text


def test_an_address_that_is_none_of_a_media_server_says_so() -> None:
    for url in ("http://host/live/{session}", "rtmp://host/live/one"):
        with pytest.raises(ValueError, match="must be rtmp://HOST/APP/{session}"):
            published_to(url)
    assert published_to("rtmp://host/live/{session}")("abc")._url == "rtmp://host/live/abc"


def test_a_segment_can_be_decoded_by_itself() -> None:
    header, made = streamed(51)
    shown = Hls()
    shown.begin(header)
    shown.put(b"".join(made))
    with av.open(io.BytesIO((shown.file("1.mp4") or b"") + (shown.file("0.m4s") or b""))) as container:
        assert len(list(container.decode(video=0))) == 50


def test_a_player_plays_a_live_session_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's own player of HLS, which asks for the playlist again and again while the session goes on."""
    monkeypatch.setattr(hls, "SEGMENT_S", 1.0)
    monkeypatch.setattr(remote, "LOST_S", 30.0)  # a machine that is busy for seconds is no dead worker
    gateway, _, app = served(held(), [head("anna")], 1)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and gateway.workers):
            time.sleep(0.02)
        address = f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        made = httpx.post(f"http://{address}/api/sessions", json={"avatar": "anna"}).json()
        with connect(f"ws://{address}/api/sessions/{made['id']}", max_size=None) as line:
            line.send(json.dumps({"token": made["token"]}))
            line.send(tone_of(40).astype("<i2").tobytes())

            def take() -> None:
                with suppress(ConnectionClosed):
                    for _ in line:
                        pass

            taking = threading.Thread(target=take)
            taking.start()
            until = time.monotonic() + 60
            while httpx.get(f"http://{address}{made['watch']}").status_code != httpx.codes.OK:
                assert time.monotonic() < until
                time.sleep(0.1)
            with av.open(f"http://{address}{made['watch']}", timeout=60, options={"live_start_index": "0"}) as player:
                assert {stream.type for stream in player.streams} == {"video", "audio"}
                seen, loudest = [], 0.0
                for frame in player.decode(video=0, audio=0):
                    if isinstance(frame, av.VideoFrame):
                        seen.append(frame)
                    else:
                        loudest = max(loudest, float(np.abs(frame.to_ndarray()).max()))
                    if len(seen) == 75:  # beyond what there was when it began
                        break
                assert {(frame.width, frame.height) for frame in seen} == {(128, 128)}
                steps = np.diff([float(frame.time or 0) for frame in seen])
                assert np.allclose(steps, 0.04, atol=1e-3), "every frame, across segments too"
                assert loudest > 0.1
            line.send("end")
            taking.join(60)
    finally:
        server.should_exit = True
        thread.join(20)


def tone_of(frames: int) -> np.ndarray:
    return np.concatenate([tone(n) for n in range(frames)])
