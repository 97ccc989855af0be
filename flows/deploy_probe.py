"""Probe sessions: known speech through a running server, and what came back, as a viewer gets it.

Picture and sound are decoded from the stream. Skew is where the speech lies in the sound track against the picture that it
was said with, by the clock that the server tells. The engine's rate, the mouth and its pixels are what the server measured of
this session (serving/vitals.py).
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from flows.deploy_sync import mouth_lag
from store.deployments import Server

SAMPLE_HZ, TICK_SAMPLES, FRAME_SAMPLES = 16_000, 1280, 640
PRIMING = 1024
MESSAGE_SAMPLES = 16_000
HEADER = "x-headroom-probe"
TIMEOUT_S = 5.0
PATIENCE_S = 60.0
"""Another probe may be under way; that of a killed deployment goes when its line does."""
LATEST = 4.0
"""A probe that is not done after so many times its length, and 15 s, is given up."""


class ProbeError(RuntimeError):
    """A probe that did not come to its end, and why."""


def state_of(server: Server) -> dict[str, Any] | None:
    """What a server holds and serves; None when it does not answer."""
    try:
        answer = httpx.get(f"{server.url}/api/checkpoints", headers={HEADER: server.key}, timeout=TIMEOUT_S)
        found: dict[str, Any] = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
    return found


def speech(seconds: float, from_s: float = 0.0) -> np.ndarray:
    """The known speech: a reading voice from the sample footage, int16. Raises ValueError when its package is missing."""
    import soundfile

    from tasks.samples.carriers import SPEECH

    sound, rate = soundfile.read(SPEECH.path(), dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)[round(from_s * rate) : round((from_s + seconds) * rate)]
    at = np.arange(round(len(mono) * SAMPLE_HZ / rate)) * rate / SAMPLE_HZ
    even = np.interp(at, np.arange(len(mono)), mono)
    return np.asarray(even / max(1e-6, np.abs(even).max()) * 20_000).astype(np.int16)


@dataclass
class Seen:
    """What has come so far of a session."""

    data: bytearray = field(default_factory=bytearray)
    first_s: float | None = None
    began_at_s: float | None = None
    """Of the stream: where the picture shows the first of the speech."""
    vitals: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""


def probe(server: Server, pair: str, sound: np.ndarray, seed: int = 0) -> dict[str, float | None]:
    """Figures of one session on this pair of checkpoints, with the blinks and the sway of this seed. Raises ProbeError when the
    server does not say all of it."""
    shown = _avatars(server)[0]
    asked = {"avatar": shown["key"], "checkpoint": pair, "seed": seed}
    seen = watched(server, asked, {HEADER: server.key}, sound)
    return figures(seen, sound, shown.get("mouth"))


def offered(server: Server) -> list[str]:
    """Keys of the avatars that a server shows. Raises ProbeError when it does not answer."""
    return [str(shown["key"]) for shown in _avatars(server)]


def _avatars(server: Server) -> list[dict[str, Any]]:
    try:
        answer = httpx.get(f"{server.url}/api/avatars", timeout=TIMEOUT_S).raise_for_status()
        there: list[dict[str, Any]] = answer.json()["avatars"]
        return there
    except httpx.HTTPError as error:
        raise ProbeError(f"the server does not tell its avatars ({type(error).__name__}: {error})") from error


def watched(server: Server, asked: Mapping[str, str | int], headers: dict[str, str], sound: np.ndarray) -> Seen:
    """A session in which this sound, int16 at 16 kHz, was said. Raises ProbeError when the server does not say all of it."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        made = _opened(server, asked, headers)
        url = server.url.replace("http", "ws", 1)
        with connect(f"{url}/api/sessions/{made['id']}", max_size=None, open_timeout=TIMEOUT_S) as line:
            line.send(json.dumps({"token": made["token"]}))
            for at in range(0, len(sound), MESSAGE_SAMPLES):
                line.send(sound[at : at + MESSAGE_SAMPLES].astype("<i2").tobytes())
            seen = _watch(line, sound)
            line.send("end")
    except (httpx.HTTPError, WebSocketException, OSError) as error:
        raise ProbeError(f"the server did not say the speech to its end ({type(error).__name__}: {error})") from error
    return seen


def _opened(server: Server, asked: Mapping[str, str | int], headers: dict[str, str]) -> dict[str, str]:
    until = time.monotonic() + PATIENCE_S
    while True:
        answer = httpx.post(f"{server.url}/api/sessions", json=dict(asked), headers=headers, timeout=TIMEOUT_S * 4)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > until:
            break
        time.sleep(1)
    if answer.status_code != httpx.codes.CREATED:
        raise ProbeError(f"the server opened no session ({answer.json().get('error', answer.status_code)})")
    made: dict[str, str] = answer.json()
    return made


def _watch(line: Any, sound: np.ndarray) -> Seen:
    seen, began = Seen(), time.monotonic()
    most_s = LATEST * len(sound) / SAMPLE_HZ + 15
    while True:
        left = most_s - (time.monotonic() - began)
        try:
            message = line.recv(timeout=max(0.01, left))
        except TimeoutError:
            raise ProbeError(
                f"{len(sound) / SAMPLE_HZ:.1f} s of speech were not said after {most_s:.0f} s: it is too slow"
            ) from None
        if isinstance(message, bytes):
            seen.data += message
            if seen.first_s is None and seen.began_at_s is not None:
                seen.first_s = time.monotonic() - began
            continue
        told = json.loads(message)
        if told["type"] == "clock" and told["taken"] and seen.began_at_s is None:
            seen.began_at_s = told["at_s"] - min(told["taken"], TICK_SAMPLES) / SAMPLE_HZ
            seen.first_s = time.monotonic() - began  # its fragments came just before
        elif told["type"] == "state":
            seen.vitals, seen.checkpoint = told["vitals"], told["checkpoint"]
            if told["said_s"] >= len(sound) / SAMPLE_HZ - 0.001:
                return seen


def figures(seen: Seen, sound: np.ndarray, mouth: Sequence[int] | None = None) -> dict[str, float | None]:
    """`mouth` is where it lies in the pictures; without it nothing is said of when it moves."""
    import av

    def decoded(kind: str) -> list[Any]:
        with av.open(io.BytesIO(bytes(seen.data))) as container:
            return list(container.decode(**{kind: 0}))  # type: ignore[union-attr]

    shown = decoded("video")
    times = [int(f.pts) for f in shown]
    heard = _heard([(int(f.pts), f.to_ndarray()[0]) for f in decoded("audio")])
    lost = (times[-1] - times[0]) // FRAME_SAMPLES + 1 - len(times) if times else len(sound) // FRAME_SAMPLES
    kept = ("fps", "underrun_ratio", "frame_change", "mouth_range", "mouth_loudness", "mouth_shown")
    lag_ms, clearness = None, 0.0
    if mouth is not None:
        lag_ms, clearness = mouth_lag([f.to_ndarray(format="gray") for f in shown], times, heard, mouth)
    return {
        "frames": float(len(times)),
        "lost_frames": float(lost),
        "first_fragment_s": seen.first_s,
        "skew_ms": _skew_ms(heard, sound, seen.began_at_s),
        "mouth_lag_ms": lag_ms,
        "mouth_lag_clearness": clearness,
        **{name: seen.vitals.get(name) for name in kept},
    }


def _heard(runs: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The decoded sound from the stream's begin on, -1 to 1."""
    heard = np.zeros(runs[-1][0] + len(runs[-1][1]) if runs else 0, np.float64)
    for at, run in runs:
        heard[at : at + len(run)] = run
    return heard


def _skew_ms(heard: np.ndarray, sound: np.ndarray, shown_s: float | None) -> float | None:
    """By how much the speech is heard away from its picture, without sign; None when it is not heard."""
    if shown_s is None:
        return None
    said = sound[: min(len(sound), 3 * SAMPLE_HZ)].astype(np.float64) / 32768
    if len(heard) < len(said):
        return None
    size = 1 << (len(heard) + len(said)).bit_length()
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)[
        : len(heard) - len(said) + 1
    ]
    place = int(np.argmax(match))
    likeness = match[place] / (np.linalg.norm(said) * np.linalg.norm(heard[place : place + len(said)]) + 1e-9)
    return 1000 * abs(place / SAMPLE_HZ - shown_s) if likeness > 0.5 else None
