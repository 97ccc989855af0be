"""The page in a real browser: it plays what the engine makes, and says how late it is."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.browser import CHROMIUM, Tab, chromium
from tests.unit.serving.talker import head, held, served

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


def click(tab: Tab, selector: str) -> None:
    """As a person does: a page may play sound only after it."""
    box = tab.run(
        f"(() => {{ const r = document.querySelector('{selector}').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)


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


def test_the_avatar_plays_and_says_a_file(address: str, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as tab:
        tab.size(1100, 760)
        tab.go(address)
        tab.wait("document.querySelectorAll('#avatars img').length === 2")
        click(tab, "#avatars button")
        tab.wait("document.getElementById('screen').currentTime > 0.5")
        before = tab.run("document.getElementById('screen').currentTime")
        tab.run(VOICE)
        tab.wait("document.getElementById('latency').textContent.endsWith('ms')")
        tab.wait(f"document.getElementById('screen').currentTime > {before} + 1")
        assert tab.run("document.getElementById('screen').videoWidth") == 128
        assert tab.run("parseInt(document.getElementById('latency').textContent)") < 3000
        tab.picture(tmp_path / "live.png")
        assert not tab.run("document.getElementById('screen').paused || document.getElementById('screen').muted")
        click(tab, "#leave")
        tab.wait("document.getElementById('line').textContent === 'Choose who speaks.'")
        assert tab.complaints == []
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)
