"""Sound files and texts given to a session: said in order by the avatar, and hostile ones refused with the reason."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from serving import sound_files, spoken, tts
from serving.inbox import TICK_SAMPLES, Inbox, TooFarAheadError
from serving.routing import Gateway
from serving.sound_files import SoundError
from tests.unit.serving.sounds import HZ, TONE, sound_file, syllable, whites
from tests.unit.serving.test_gateway import opened, watched

KINDS = [
    ("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("ogg", "flac"), ("flac", "flac"), ("ipod", "aac"),
    ("adts", "aac"), ("webm", "libopus"), ("aiff", "pcm_s16be"), ("matroska", "aac"), ("caf", "pcm_s16le"),
]  # fmt: skip
WAV = sound_file("wav", "pcm_s16le", TONE, HZ)


def decoded(data: bytes) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(min(len(data), 9))  # whoever made it may have read in it
        return asyncio.run(sound_files.decoded(file))


def bearer(made: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['token']}"}


def given(client: TestClient, made: dict[str, str], data: bytes) -> Any:
    return client.post(f"/api/sessions/{made['id']}/sound", content=data, headers=bearer(made))


def asked(client: TestClient, made: dict[str, str], text: object) -> Any:
    return client.post(f"/api/sessions/{made['id']}/say", json={"text": text}, headers=bearer(made))


def seen(client: TestClient, gateway: Gateway, made: dict[str, str]) -> int:
    """White frames of whoever watches until nothing waits."""
    with client.websocket_connect(f"/api/sessions/{made['id']}") as socket:
        socket.send_text(json.dumps({"token": made["token"]}))
        data = watched(socket, 2)[0]
        while gateway.talks[made["id"]].inbox.ahead_s:
            data += watched(socket, 1)[0]
        data += watched(socket, 4)[0]
        socket.send_text("end")
    return whites(data)


# Files


@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_a_file_is_known_by_its_bytes_and_becomes_its_sound(kind: str, codec: str) -> None:
    sound = syllable(1.0)
    made = decoded(sound_file(kind, codec, sound))
    assert len(made) == pytest.approx(HZ, abs=HZ // 10)
    lag = int(np.correlate(made.astype(float), sound.astype(float), "full").argmax()) - (len(sound) - 1)
    assert 0 <= lag < 2000
    num = min(len(made) - lag, len(sound))
    assert np.corrcoef(made[lag : lag + num], sound[:num])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (b"", 415, "the body is empty; send, as the body itself, WAV"),
        (b"#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1/a.mp3\n", 415, "no sound file"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, "no sound file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "no sound file"),
        (b"RIFF\xff\xff\xff\xffWAVE" + bytes(range(256)) * 20, 422, "can't be decoded"),
        (b"\0\0\0\x20ftypisom" + bytes(range(256)) * 20, 422, "can't be decoded"),
        (b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 20, 422, "can't be decoded"),
        (WAV[: WAV.index(b"data") + 8], 422, "no sound in it"),
    ],
)
def test_what_is_no_sound_is_refused(data: bytes, status: int, why: str) -> None:
    with pytest.raises(SoundError, match=why) as refused:
        decoded(data)
    assert refused.value.status == status


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    from tests import made

    silent = made.write(tmp_path / "silent.mp4", made.grid(1.0), made.moving())
    with pytest.raises(SoundError, match="no sound in it that can be decoded"):
        decoded(silent.read_bytes())


def test_a_broken_part_is_left_out() -> None:
    whole = bytearray(sound_file("mp3", "libmp3lame", syllable(2.0)))
    whole[len(whole) // 2 : len(whole) // 2 + 300] = bytes(range(150)) * 2
    assert len(decoded(bytes(whole))) > HZ


def test_more_than_is_taken_is_refused_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_files, "MOST_FILE_S", 0.4)
    with pytest.raises(SoundError, match="it lasts more than 0 minutes") as refused:
        decoded(WAV)
    assert refused.value.status == 413


def test_a_child_that_needs_too_much_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as tight:
        tight.setattr(sound_files, "MEMORY_BYTES", 1 << 20)
        with pytest.raises(SoundError, match="can't be"):
            decoded(WAV)
    with monkeypatch.context() as tight:
        tight.setattr(sound_files, "MOST_SOUND_BYTES", 1000)
        with pytest.raises(SoundError, match="more came of it than can be"):
            decoded(WAV)
    monkeypatch.setattr(sound_files, "WALL_S", 0.01)
    with pytest.raises(SoundError, match="could not be made into sound within"):
        decoded(WAV)


def test_a_file_is_said_after_what_waits_and_once(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
    made = opened(client)
    answer = given(client, made, WAV)
    assert (answer.status_code, answer.json()) == (202, {"seconds": 0.5, "ahead_s": 0.5})
    assert given(client, made, sound_file("ogg", "libopus", TONE)).json()["ahead_s"] == pytest.approx(1.0, abs=0.05)
    assert 24 <= seen(client, gateway, made) <= 28, "a second of tone"


def test_an_interrupt_drops_what_was_given_also_while_it_is_made(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, client = flashed
    made = opened(client)
    inbox = gateway.talks[made["id"]].inbox
    given(client, made, WAV)
    inbox.interrupt()
    assert inbox.ahead_s == 0

    async def interrupted(file: Any) -> np.ndarray:
        inbox.interrupt()
        return TONE

    monkeypatch.setattr(sound_files, "decoded", interrupted)
    answer = given(client, made, WAV)
    assert (answer.status_code, answer.json()["error"]) == (409, "it was interrupted before it was said")
    assert inbox.ahead_s == 0

    async def closed(file: Any) -> np.ndarray:
        gateway.close(gateway.talks[made["id"]])
        return TONE

    monkeypatch.setattr(sound_files, "decoded", closed)
    answer = given(client, made, WAV)
    assert (answer.status_code, answer.json()["error"]) == (404, "the session is over; open another one")


def test_a_session_is_given_sound_by_its_token_alone(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
    made, other = opened(client), opened(client)
    for headers in ({}, bearer(other), {"Authorization": f"Basic {made['token']}"}, {"Authorization": made["token"]}):
        for path in ("sound", "say"):
            answer = client.post(f"/api/sessions/{made['id']}/{path}", content=b'{"text": "a"}', headers=headers)
            assert answer.status_code == 404
            assert "send Authorization: Bearer TOKEN" in answer.json()["error"]
    assert given(client, {"id": "nobody", "token": "x"}, WAV).status_code == 404
    assert gateway.talks[made["id"]].inbox.ahead_s == 0


def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = flashed
    made = opened(client)
    monkeypatch.setattr(spoken, "MOST_FILE_BYTES", 1000)

    def unread() -> Any:
        yield from (bytes(400) for _ in range(3))

    for body in (WAV, unread()):  # told, and not told
        answer = given(client, made, body)
        assert (answer.status_code, answer.json()["error"]) == (
            413,
            "the file is larger than 0.001 MB; send it in parts",
        )
    monkeypatch.setattr(spoken, "MOST_FILE_BYTES", 100_000)
    assert given(client, made, WAV).status_code == 202
    answer = given(client, made, b"no sound")
    assert (answer.status_code, answer.json()["error"][:30]) == (415, "this is no sound file that is ")


class Slow:
    """A request whose body stands still, or whose client goes."""

    def __init__(self, *, goes: bool) -> None:
        self.headers: dict[str, str] = {}
        self._goes = goes

    async def stream(self) -> Any:
        yield b"some"
        if self._goes:
            raise ClientDisconnect
        await asyncio.Event().wait()


@pytest.mark.parametrize(("goes", "status", "why"), [(False, 408, "did not come within 0 s"), (True, 400, "broke off")])
def test_a_body_that_does_not_come_is_not_waited_for(
    goes: bool, status: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "BODY_S", 0.01)
    request: Any = Slow(goes=goes)
    with pytest.raises(SoundError, match=why) as refused:
        asyncio.run(spoken._read(request, io.BytesIO(), 1000, ""))
    assert refused.value.status == status


def test_few_are_made_at_once(flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, client = flashed
    made = opened(client)
    talk, go = gateway.talks[made["id"]], threading.Event()

    async def held(file: Any) -> np.ndarray:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return TONE

    monkeypatch.setattr(sound_files, "decoded", held)
    answers: list[Any] = []
    posts = [threading.Thread(target=lambda: answers.append(given(client, made, WAV))) for _ in range(4)]
    for post in posts:
        post.start()
    until = time.monotonic() + 60
    while talk.asked < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert given(client, made, WAV).status_code == 429
    go.set()
    for post in posts:
        post.join()
    assert sorted(a.json()["ahead_s"] for a in answers) == [0.5, 1.0, 1.5, 2.0]
    assert talk.asked == 0


# Texts


def test_without_a_synthesizer_a_text_is_refused_with_what_to_install(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = flashed
    monkeypatch.setattr(tts, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    assert client.get("/api/avatars").json()["tts"] is None
    answer = asked(client, opened(client), "Hello.")
    assert answer.status_code == 501
    assert "pip install 'headroom[tts]'" in answer.json()["error"]


HIBARI = """
import numpy as np
SAMPLE_RATE = 24000
class Hibari:
    def __call__(self, text):
        print("a library may print")
        assert len(text) <= 200
        return np.float32(0.3 * np.sin(np.arange(2400 * len(text.split())) * 0.2)) if text.isascii() else np.zeros(0)
"""
ESPEAK = f"""#!{sys.executable}
import sys
text = sys.stdin.read()
if "fail" in text:
    sys.exit(3)
if "wait" in text:
    import time
    time.sleep(60)
sys.stdout.buffer.write(bytes.fromhex("{WAV.hex()}"))
"""


@pytest.fixture
def hibari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hibari.py").write_text(HIBARI)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text(ESPEAK)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(tts, "find_spec", lambda name: None)


@pytest.mark.usefixtures("hibari")
def test_a_text_is_said_by_hibari(flashed: tuple[Gateway, TestClient]) -> None:
    gateway, client = flashed
    made = opened(client)
    assert client.get("/api/avatars").json()["tts"] == "hibari"
    answer = asked(client, made, "One two three. Four five!")
    assert (answer.status_code, answer.json()["seconds"]) == (202, pytest.approx(0.5, abs=0.01))
    assert 12 <= seen(client, gateway, made) <= 14
    made = opened(client)
    assert asked(client, made, "word " * 190).json()["seconds"] == pytest.approx(19, abs=0.1)
    assert (
        asked(client, made, "\u4f60\u597d").json()["error"].startswith("there is nothing in the text that can be said")
    )


@pytest.mark.usefixtures("espeak")
def test_a_text_is_said_by_espeak_where_there_is_no_hibari(
    flashed: tuple[Gateway, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, client = flashed
    made = opened(client)
    assert client.get("/api/avatars").json()["tts"] == "espeak-ng"
    assert asked(client, made, "Hello.").json() == {"seconds": 0.5, "ahead_s": 0.5}
    answer = asked(client, made, "fail")
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "espeak-ng can't say this text (status 3); send another",
    )
    assert 12 <= seen(client, gateway, made) <= 14
    monkeypatch.setattr(tts, "WALL_S", 0.1)
    answer = asked(client, opened(client), "wait")
    assert answer.json()["error"] == "espeak-ng can't say this text (status -9); send another"


@pytest.mark.usefixtures("hibari")
@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"no json", 400, 'give JSON as {"text": TEXT}'),
        (b'{"text": 3}', 400, 'give JSON as {"text": TEXT}'),
        (b'["text"]', 400, 'give JSON as {"text": TEXT}'),
        (b'{"text": " \\n\\u0000\\ud800"}', 422, "there is no text to say"),
        (
            json.dumps({"text": "x" * 1001}).encode(),
            413,
            "the text has 1,001 characters; at most 1,000 are said at a time",
        ),
        (
            json.dumps({"text": "x" * 20_000}).encode(),
            413,
            "the text is too long: at most 1,000 characters are said at a time",
        ),
    ],
)
def test_a_text_that_cannot_be_said_says_why(
    flashed: tuple[Gateway, TestClient], body: bytes, status: int, why: str
) -> None:
    _, client = flashed
    made = opened(client)
    answer = client.post(f"/api/sessions/{made['id']}/say", content=body, headers=bearer(made))
    assert (answer.status_code, answer.json()["error"]) == (status, why)


def test_the_real_hibari_speaks() -> None:
    pytest.importorskip("hibari", reason="needs pip install 'headroom[tts]'")
    made = asyncio.run(tts.read_aloud("Hello there. I say what you type."))
    assert 1.0 < len(made) / HZ < 6.0
    assert np.abs(made).max() > 3000


# The sound below it


def test_whole_sounds_wait_in_order_and_count_apart_from_what_streams_in() -> None:
    made = Inbox()
    first, second = np.full(TICK_SAMPLES, 5, np.int16), np.full(TICK_SAMPLES, 7, np.int16)
    made.queue(first)
    made.hear(second)
    told = []
    for _ in range(2):
        made.due()
        told.append(made.said())
    assert [int(due.sound[0]) for due in told] == [5, 7]
    assert [due.taken for due in told] == [0, TICK_SAMPLES]
    assert told[0].heard_at is None
    assert told[1].heard_at is not None
    made.queue(np.zeros(600 * HZ, np.int16))
    with pytest.raises(TooFarAheadError, match="more than 10 minutes of sound wait to be said; wait, or interrupt"):
        made.queue(first)
    made.hear(np.zeros(30 * HZ, np.int16))
    with pytest.raises(TooFarAheadError, match="more than 30 s"):
        made.hear(first)
    made.interrupt()
    made.queue(np.zeros(600 * HZ, np.int16))
    made.hear(np.zeros(30 * HZ, np.int16))
