"""The clients of docs/serving.md, run as they are printed there."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from serving import remote
from serving.inbox import Inbox
from tests.unit.serving.flashing import flashing
from tests.unit.serving.sounds import HZ, TONE, sound_file, whites
from tests.unit.serving.talker import head, served
from tests.unit.serving.test_spoken import HIBARI

DOCS = Path(__file__).parents[3] / "docs" / "serving.md"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote, "LOST_S", 30.0)
    _, _, app = served(flashing(), [head("anna")], 3)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def test_the_clients_of_the_docs_are_heard(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("requests")
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    by_curl = re.search(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert by_curl is not None
    begin, opus, whole = (b.replace("http://127.0.0.1:8700", address).replace("watch(10", "watch(2") for b in blocks)
    (tmp_path / "said.ogg").write_bytes(sound_file("ogg", "libopus", TONE))
    (tmp_path / "said.mp3").write_bytes(sound_file("mp3", "libmp3lame", TONE))
    (tmp_path / "hibari.py").write_text(HIBARI)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    given, queue = [], Inbox.queue
    monkeypatch.setattr(Inbox, "queue", lambda inbox, sound: (given.append(len(sound)), queue(inbox, sound)))
    exec(begin + opus, {})
    assert 11 <= whites((tmp_path / "out.mp4").read_bytes()) <= 15, "half a second, by Opus"
    exec(begin + whole, {})
    assert given == [pytest.approx(HZ // 2, abs=1600), pytest.approx(7 * HZ // 10, abs=100)]
    assert whites((tmp_path / "out.mp4").read_bytes()) >= 11, "the file, and then the text"
    assert capsys.readouterr().out.count("'seconds'") == 2

    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("no curl or no jq for the rest")
    script = by_curl[1].replace("http://127.0.0.1:8700", address).replace("--max-time 10", "--max-time 4")
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 28, told.stderr
    assert told.stdout.count('"seconds"') == 2
    assert whites((tmp_path / "out.mp4").read_bytes()) >= 11
