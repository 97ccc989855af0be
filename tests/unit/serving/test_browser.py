"""The page in a real browser: it plays what the engine makes, and says how late it is."""

from __future__ import annotations

import re
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from serving import remote, tts
from serving.ice import IceServers
from serving.inbox import Due, Inbox
from tests.browser import CHROMIUM, FAKE_MICROPHONE, chromium, wait
from tests.unit.serving.sounds import TONE, sound_file
from tests.unit.serving.talker import head, held, served
from tests.unit.serving.test_spoken import HIBARI
from tests.unit.serving.wire import wired

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]

SCREEN = "document.getElementById('screen')"
LINE = "document.getElementById('line').textContent"
SAY = """
(([seconds, ramp]) => {
  const hz = 16000, num = seconds * hz, data = new DataView(new ArrayBuffer(44 + 2 * num));
  const text = (at, s) => [...s].forEach((c, i) => data.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); data.setUint32(4, 36 + 2 * num, true); text(8, "WAVEfmt "); data.setUint32(16, 16, true);
  data.setUint16(20, 1, true); data.setUint16(22, 1, true); data.setUint32(24, hz, true); data.setUint32(28, 2 * hz, true);
  data.setUint16(32, 2, true); data.setUint16(34, 16, true); text(36, "data"); data.setUint32(40, 2 * num, true);
  const tone = (i) => 8000 * Math.sin(i * 0.1) * Math.sin(i * 0.002), climb = (i) => 30000 * i / num;
  for (let i = 0; i < num; i++) data.setInt16(44 + 2 * i, ramp ? climb(i) : tone(i), true);
  const chosen = new DataTransfer();
  chosen.items.add(new File([data.buffer], "said.wav", { type: "audio/wav" }));
  const input = document.getElementById("file");
  input.files = chosen.files;
  input.dispatchEvent(new Event("change"));
})
"""
"""Chooses a sound file: a tone in syllables, or one whose samples climb from 0 to 30,000, so that each says where it lies."""

TOLD = "RTCPeerConnection = class extends RTCPeerConnection { constructor(told) { super(); window.told = told; } }"
"""Keeps what a connection is told to ask, and asks none."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote, "LOST_S", 30.0)  # a machine that is busy for seconds is no dead worker
    _, _, app = served(held(), [head("anna"), head("ben")], capacity=1)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def test_the_avatar_plays_and_says_a_file(address: str) -> None:
    with chromium() as browser:
        page = browser.page((1100, 760))
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        page.click("#avatars button")  # a page may play sound only after a touch
        wait(page, "document.getElementById('screen').currentTime > 0.5")
        before = page.evaluate("document.getElementById('screen').currentTime")
        page.evaluate(SAY, [2, False])
        wait(page, "document.getElementById('latency').textContent.endsWith('ms')")
        wait(page, f"document.getElementById('screen').currentTime > {before} + 1")
        assert page.evaluate("document.getElementById('screen').videoWidth") == 128
        assert page.evaluate("parseInt(document.getElementById('latency').textContent)") < 3000
        assert not page.evaluate("document.getElementById('screen').paused || document.getElementById('screen').muted")
        page.click("#leave")
        wait(page, "document.getElementById('line').textContent === 'Choose who speaks.'")


def test_interactive_plays_sound_and_picture_and_hears_a_microphone(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(IceServers, "of", lambda _, name: (asked.append(name), [{"urls": "stun:192.0.2.1:3478"}])[1])
    monkeypatch.setattr(IceServers, "ours", lambda *_: [])
    with chromium(*FAKE_MICROPHONE) as browser:
        page = browser.page((1100, 860))
        page.add_init_script(TOLD)
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        page.click("[data-line=interactive]")
        page.click("#avatars button")
        wait(page, "document.getElementById('screen').currentTime > 0.5")
        before = page.evaluate("document.getElementById('screen').currentTime")
        kinds = (
            "document.getElementById('screen').srcObject.getTracks().map((t) => t.kind + t.readyState + t.muted).sort()"
        )
        assert page.evaluate(kinds) == ["audiolivefalse", "videolivefalse"]
        assert page.evaluate("told") == {"iceServers": [{"urls": "stun:192.0.2.1:3478"}]}
        assert len(asked) == 1, "for the session's viewer"
        page.click("#microphone")
        wait(page, "document.getElementById('latency').textContent.endsWith('ms')")
        wait(page, f"document.getElementById('screen').currentTime > {before} + 2")
        wait(page, "parseInt(document.getElementById('shown').textContent) > 10")
        assert page.evaluate("document.getElementById('screen').videoWidth") == 128
        assert page.evaluate("parseInt(document.getElementById('latency').textContent)") < 3000
        assert not page.evaluate("document.getElementById('screen').paused || document.getElementById('screen').muted")
        page.click("#microphone")
        page.evaluate(SAY, [2, False])
        wait(page, "document.getElementById('line').textContent.startsWith('Saying said.wav (2.0 s)')")
        wait(page, "document.getElementById('line').textContent.startsWith('Live.')")
        page.click("[data-line=stream]")  # the same avatar by the other line
        wait(page, "document.getElementById('screen').srcObject === null")
        wait(page, "document.getElementById('screen').currentTime > 0.5 && !document.getElementById('screen').paused")
        page.click("#leave")
        wait(page, "document.getElementById('line').textContent === 'Choose who speaks.'")


def test_a_text_and_a_file_that_the_browser_cannot_decode_are_said_by_the_server(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hibari.py").write_text(HIBARI)
    monkeypatch.syspath_prepend(str(tmp_path))
    said, queue = [], Inbox.queue
    monkeypatch.setattr(Inbox, "queue", lambda inbox, sound: (said.append(len(sound)), queue(inbox, sound)))
    aiff = tmp_path / "said.aiff"
    aiff.write_bytes(sound_file("aiff", "pcm_s16be", np.tile(TONE, 600), 16_000))
    with chromium() as browser:
        page = browser.page((1100, 900))
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        wait(page, "!document.getElementById('say').hidden && document.getElementById('text').disabled")
        page.click("#avatars button")
        wait(page, "document.getElementById('screen').currentTime > 0.5")
        page.fill("#text", "x" * 1001)
        page.click("#read")
        assert page.text_content("#count").startswith("1,001 characters: at most 1,000 are said at a time.")
        assert not page.evaluate("document.getElementById('say').checkValidity()")
        page.fill("#text", "One two three.")
        assert page.text_content("#count") == "14 of 1,000 characters."
        below = "document.getElementById('microphone').getBoundingClientRect().top"
        assert 0 < page.evaluate(f"{below} - document.getElementById('line').getBoundingClientRect().bottom") < 40
        page.click("#read")
        wait(page, "document.getElementById('line').textContent === 'Saying your text …'")
        wait(page, "document.getElementById('line').textContent.startsWith('Live.')")
        assert said == [pytest.approx(4800, abs=100)]
        page.set_input_files("#file", aiff)
        wait(page, "document.getElementById('line').textContent === 'Saying said.aiff …'")
        assert said[1:] == [600 * len(TONE)]
        page.click("#interrupt")
        wait(page, "document.getElementById('line').textContent.startsWith('Live.')")
        no_sound = tmp_path / "notes.txt"
        no_sound.write_text("nothing that sounds")
        page.set_input_files("#file", no_sound)
        wait(page, "document.getElementById('line').textContent.startsWith('notes.txt: this is no sound file')")
        page.fill("#text", "\u4f60\u597d")
        page.click("#read")
        wait(page, "document.getElementById('line').textContent.startsWith('there is nothing in the text')")
        page.click("#leave")
        assert [page.text_content(f"#{name}") for name in ("latency", "fps", "ahead")] == ["–"] * 3


def test_without_a_synthesizer_the_page_has_no_field_for_a_text(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tts, "installed", lambda: None)
    with chromium() as browser:
        page = browser.page((1100, 760))
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        assert page.evaluate("document.getElementById('say').hidden && !document.getElementById('text').offsetParent")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The viewer's sound as it is said, tick by tick."""
    told: list[np.ndarray] = []
    say = Inbox.said

    def kept(inbox: Inbox) -> Due:
        due = say(inbox)
        if due.taken:
            told.append(due.sound[: due.taken].copy())
        return due

    monkeypatch.setattr(Inbox, "said", kept)
    return told


LOOK = """
(() => {
  const screen = document.getElementById("screen"), paper = new OffscreenCanvas(96, 96).getContext("2d", { willReadFrequently: true });
  let before = null, at = 0;
  window.steps = [];
  const look = (now) => {
    paper.drawImage(screen, 0, 0, 96, 96);
    const seen = paper.getImageData(0, 0, 96, 96).data;
    if (before) window.steps.push([now - at, seen.reduce((sum, value, i) => sum + Math.abs(value - before[i]), 0) / seen.length]);
    before = seen; at = now;
    screen.requestVideoFrameCallback(look);
  };
  screen.requestVideoFrameCallback(look);
})()
"""
"""Of each picture that is shown: milliseconds since the one before, and by how many gray levels it differs."""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["broken", "silent"])
def test_a_line_that_is_cut_for_a_quarter_of_a_minute_comes_back_without_a_jump(
    address: str, said: list[np.ndarray], how: str
) -> None:
    with wired(int(address.rpartition(":")[2])) as wire, chromium() as browser:
        page = browser.page((1100, 860))
        page.goto(f"http://127.0.0.1:{wire.port}")
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        page.click("#avatars button")
        wait(page, f"{SCREEN}.currentTime > 0.5")
        page.evaluate(LOOK)
        page.evaluate(SAY, [6, True])
        wait(page, f"{LINE}.startsWith('Saying')")
        page.wait_for_timeout(2000)
        wire.cut(how)
        wait(page, f"{LINE}.startsWith('Lost the line')")
        page.wait_for_timeout(15_000)
        assert page.evaluate(LINE).startswith("Lost the line")
        assert page.evaluate(f"{SCREEN}.videoWidth") == 128, "the last picture stays"
        wire.mend()
        wait(page, f"{LINE}.startsWith('Saying')")
        wait(page, "document.getElementById('still').hidden")
        wait(page, f"{LINE}.startsWith('Live.')")
        steps = np.array(page.evaluate("window.steps"))
        page.click("#leave")
    places = np.concatenate(said).astype(int) * 6 * 16_000 / 30_000
    hops = np.diff(places)
    assert places[-1] > 6 * 16_000 - 100
    assert hops.max() < 100, "nothing of the file is left out"
    assert (hops < -100).sum() <= 1, "and at most once something is said again"
    if how == "broken":  # else the session went on, with nobody there
        back = int(steps[:, 0].argmax())
        assert steps[back, 0] > 10_000
        assert steps[back, 1] < 10, (
            "the same face in much the same place; test_live_session holds what is drawn to a step"
        )


@pytest.fixture
def spoken(tmp_path: Path) -> list[str]:
    """A browser's arguments for a microphone into which somebody speaks for a second, every six seconds."""
    path, num = tmp_path / "spoken.wav", 16_000
    sound = np.concatenate([np.zeros(5 * num), 12_000 * np.sin(np.arange(num) * 0.3)]).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(num)
        file.writeframes(sound.tobytes())
    return [*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={path}"]


SENT = """
(() => {
  window.sent = "";
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    window.sent += typeof data !== "string" ? (data.byteLength === 640 ? "m" : "f") : data === "interrupt" ? "!" : "";
    return send.call(this, data);
  };
})()
"""
"""What a page sends by its WebSocket: 20 ms of the microphone, a part of a file, and the word that stops it."""


def test_the_stream_plays_sound_and_picture_and_hears_a_microphone(address: str, said: list[np.ndarray]) -> None:
    with chromium(*FAKE_MICROPHONE) as browser:
        page = browser.page((1100, 860))
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        page.click("#avatars button")
        wait(page, f"{SCREEN}.currentTime > 0.5")
        page.click("#microphone")
        wait(page, "document.getElementById('latency').textContent.endsWith('ms')")
        before = page.evaluate(f"{SCREEN}.currentTime")
        wait(page, f"{SCREEN}.currentTime > {before} + 2")
        wait(page, "parseInt(document.getElementById('shown').textContent) > 10")
        wait(page, f"{SCREEN}.webkitAudioDecodedByteCount > 0 && {SCREEN}.webkitVideoDecodedByteCount > 0")
        assert page.evaluate(f"{SCREEN}.videoWidth") == 128
        assert not page.evaluate(f"{SCREEN}.paused || {SCREEN}.muted")
        wait(page, "parseInt(document.getElementById('latency').textContent) < 3000")  # what waits is caught up with
        page.click("#microphone")
        page.click("#leave")
    assert np.abs(np.concatenate(said)).max() > 300, "it beeps"


def test_who_speaks_into_the_microphone_ends_the_file_that_is_said(address: str, spoken: list[str]) -> None:
    with chromium(*spoken) as browser:
        page = browser.page((1100, 860))
        page.add_init_script(SENT)
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        page.click("#avatars button")
        wait(page, f"{SCREEN}.currentTime > 0.5")
        page.click("#microphone")
        wait(page, "window.sent.includes('m')")
        page.evaluate(SAY, [60, False])
        wait(page, "/f.*!.*m{50}/.test(window.sent)")
        sent = page.evaluate("window.sent")
        assert re.fullmatch("m*f+!m+", sent), "never one within the other"
        assert page.evaluate(LINE).startswith("Live."), "it is not said any more"
        page.click("[data-line=interactive]")
        wait(page, f"{SCREEN}.srcObject && {SCREEN}.currentTime > 0.5")
        page.click("#microphone")
        page.evaluate(SAY, [60, False])
        wait(page, f"{LINE}.startsWith('Saying')")
        wait(page, f"{LINE}.startsWith('Live.')", 30)
        page.click("#leave")


def test_a_file_is_said_whole(address: str, said: list[np.ndarray]) -> None:
    with chromium() as browser:
        page = browser.page((1100, 860))
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        page.click("#avatars button")
        wait(page, f"{SCREEN}.currentTime > 0.5")
        page.evaluate(SAY, [3, True])
        wait(page, f"{LINE}.startsWith('Saying')")
        wait(page, f"{LINE}.startsWith('Live.')")
        page.click("#leave")
    sound = np.concatenate(said).astype(int)
    assert len(sound) == 3 * 16_000
    assert np.abs(sound - 30_000 * np.arange(len(sound)) / len(sound)).max() < 3
