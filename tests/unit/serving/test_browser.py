"""The page in a real browser: it plays what the engine makes, and says how late it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from serving import tts
from serving.inbox import Inbox
from tests.browser import CHROMIUM, FAKE_MICROPHONE, chromium, wait
from tests.unit.serving.sounds import TONE, sound_file
from tests.unit.serving.talker import head, held, served
from tests.unit.serving.test_spoken import HIBARI

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]

VOICE = """
(() => {
  const hz = 16000, num = 2 * hz, data = new DataView(new ArrayBuffer(44 + 2 * num));
  const text = (at, s) => [...s].forEach((c, i) => data.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); data.setUint32(4, 36 + 2 * num, true); text(8, "WAVEfmt "); data.setUint32(16, 16, true);
  data.setUint16(20, 1, true); data.setUint16(22, 1, true); data.setUint32(24, hz, true); data.setUint32(28, 2 * hz, true);
  data.setUint16(32, 2, true); data.setUint16(34, 16, true); text(36, "data"); data.setUint32(40, 2 * num, true);
  for (let i = 0; i < num; i++) data.setInt16(44 + 2 * i, 8000 * Math.sin(i * 0.1) * Math.sin(i * 0.002), true);
  const chosen = new DataTransfer();
  chosen.items.add(new File([data.buffer], "said.wav", { type: "audio/wav" }));
  const input = document.getElementById("file");
  input.files = chosen.files;
  input.dispatchEvent(new Event("change"));
})()
"""


@pytest.fixture
def address() -> Iterator[str]:
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
        page.evaluate(VOICE)
        wait(page, "document.getElementById('latency').textContent.endsWith('ms')")
        wait(page, f"document.getElementById('screen').currentTime > {before} + 1")
        assert page.evaluate("document.getElementById('screen').videoWidth") == 128
        assert page.evaluate("parseInt(document.getElementById('latency').textContent)") < 3000
        assert not page.evaluate("document.getElementById('screen').paused || document.getElementById('screen').muted")
        page.click("#leave")
        wait(page, "document.getElementById('line').textContent === 'Choose who speaks.'")


def test_interactive_plays_sound_and_picture_and_hears_a_microphone(address: str) -> None:
    with chromium(*FAKE_MICROPHONE) as browser:
        page = browser.page((1100, 860))
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
        page.click("#microphone")
        wait(page, "document.getElementById('latency').textContent.endsWith('ms')")
        wait(page, f"document.getElementById('screen').currentTime > {before} + 2")
        wait(page, "parseInt(document.getElementById('shown').textContent) > 10")
        assert page.evaluate("document.getElementById('screen').videoWidth") == 128
        assert page.evaluate("parseInt(document.getElementById('latency').textContent)") < 3000
        assert not page.evaluate("document.getElementById('screen').paused || document.getElementById('screen').muted")
        page.click("#microphone")
        page.evaluate(VOICE)
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
        page.fill("#text", "One two three.")
        page.click("#read")
        wait(page, "document.getElementById('line').textContent === 'Saying your text …'")
        wait(page, "document.getElementById('line').textContent.startsWith('Live.')")
        assert said == [pytest.approx(4800, abs=100)]
        page.set_input_files("#file", aiff)
        wait(page, "document.getElementById('line').textContent === 'Saying said.aiff …'")
        assert said[1:] == [600 * len(TONE)]
        page.click("#interrupt")
        wait(page, "document.getElementById('line').textContent.startsWith('Live.')")
        page.fill("#text", "\u4f60\u597d")
        page.click("#read")
        wait(page, "document.getElementById('line').textContent.startsWith('there is nothing in the text')")
        page.click("#leave")


def test_without_a_synthesizer_the_page_has_no_field_for_a_text(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tts, "installed", lambda: None)
    with chromium() as browser:
        page = browser.page((1100, 760))
        page.goto(address)
        wait(page, "document.querySelectorAll('#avatars img').length === 2")
        assert page.evaluate("document.getElementById('say').hidden && !document.getElementById('text').offsetParent")
