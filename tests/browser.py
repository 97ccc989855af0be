"""A headless Chromium driven over its DevTools protocol: pages, keys, screenshots. One tab, one thread."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_NAMED = {"Enter": 13, "Backspace": 8, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}


class Tab:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **told: Any) -> dict[str, Any]:
        key = next(self._ids)
        self._connection.send(json.dumps({"id": key, "method": method, "params": told}))
        while True:
            got = json.loads(self._connection.recv(timeout=60))
            if got.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(got["params"]["exceptionDetails"])[:500])
            if got.get("method") == "Log.entryAdded" and "Content Security" in got["params"]["entry"]["text"]:
                self.complaints.append(got["params"]["entry"]["text"])
            if got.get("id") == key:
                assert "error" not in got, got
                return dict(got["result"])

    def go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, condition: str, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.run(f"Boolean({condition})"):
                    return
            except AssertionError:
                pass  # between two pages there is nothing to ask
            time.sleep(0.05)
        raise AssertionError(f"never came true: {condition}; the page says {self.run('document.body.innerText')}")

    def keys(self, *names: str, shift: bool = False) -> None:
        for name in names:
            told: dict[str, Any] = {"key": name, "windowsVirtualKeyCode": _NAMED.get(name, ord(name[0].upper()))}
            text = "\r" if name == "Enter" else name if len(name) == 1 else ""
            modifiers = 8 if shift else 0
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, modifiers=modifiers, **told)
            self.call("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **told)

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        phone = width < 500
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def offline(self, off: bool) -> None:
        told = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", offline=off, **told)

    def picture(self, out: Path) -> None:
        out.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    quiet = [
        "--disable-background-networking",
        "--no-first-run",
        "--disable-component-update",
        "--disable-sync",
        "--mute-audio",
    ]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.PIPE, text=True
    )
    try:
        port = _port(profile / "DevToolsActivePort")
        with connect(_tab(port), max_size=None) as connection:
            yield Tab(connection)
    finally:
        process.terminate()
        process.wait(30)
        assert process.stderr is not None
        process.stderr.close()


def _port(file: Path) -> int:
    until = time.monotonic() + 60
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < until, "chromium did not start"
        time.sleep(0.05)
    return int(file.read_text().splitlines()[0])


def _tab(port: int) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
        return str(next(t for t in json.load(reply) if t["type"] == "page")["webSocketDebuggerUrl"])
