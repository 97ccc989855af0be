"""A viewer by WebRTC as a program: what it sees and hears, and when each was meant to be shown.

A browser puts sound and picture together by the sender's reports, which say for each stream which RTP timestamp belongs to
which moment. aiortc keeps them to itself, so they are taken from its receivers here.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket

SAMPLE_HZ = 16_000
RATES = {"audio": 48_000, "video": 90_000}
RUN = SAMPLE_HZ // 50
MOST_KEPT = 2000
Post = Callable[[str, dict[str, str]], Awaitable[dict[str, Any]]]
"""Sends JSON to a path of the server, and gives what it answers."""


class Voice(MediaStreamTrack):
    """A microphone that says what is put into it, and else nothing at all or silence."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._waiting, self._at = np.zeros(0, np.int16), 0
        self._began: float | None = None

    def say(self, sound_N: np.ndarray) -> None:
        """int16 at 16 kHz."""
        self._waiting = np.concatenate([self._waiting, sound_N])

    async def recv(self) -> av.AudioFrame:
        now = time.monotonic()
        self._began = self._began or now
        await asyncio.sleep(max(0.0, self._began + self._at / SAMPLE_HZ - now))
        part, self._waiting = self._waiting[:RUN], self._waiting[RUN:]
        sound = np.zeros(RUN, np.int16)
        sound[: len(part)] = part
        made = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        made.sample_rate, made.pts, self._at = SAMPLE_HZ, self._at, self._at + RUN
        return made


@dataclass
class Came:
    """A decoded picture or run of sound: when it was here, its RTP timestamp since the first, and itself."""

    at: float
    pts: int
    data: np.ndarray


@dataclass
class Stream:
    """What came of one kind."""

    kind: str
    came: list[Came] = field(default_factory=list)
    num: int = 0
    first_timestamp: int | None = None
    report: tuple[int, int] | None = None
    """Of the sender: moment (NTP, 1 / 2**32 s) and RTP timestamp."""

    def moment_s(self, pts: int, offset_s: float = 0.0) -> float:
        """When the sender meant it to be shown."""
        assert self.report is not None, "no report came yet"
        assert self.first_timestamp is not None
        moment, timestamp = self.report
        apart = (self.first_timestamp + pts - timestamp + 2**31) % 2**32 - 2**31
        return moment / 2**32 + apart / RATES[self.kind] + offset_s


class Peer:
    """One connection. `speaks`: it has a microphone."""

    def __init__(self, *, speaks: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration([]))
        self.streams = {kind: Stream(kind) for kind in ("audio", "video")}
        self.words: list[dict[str, Any]] = []
        self.loses = 0.0
        """Share of the picture packets that never come."""
        self._dice = random.Random(0)
        self.voice = Voice() if speaks else None
        self.channel = self.connection.createDataChannel("words")
        self.channel.on("message", lambda text: self.words.append(json.loads(text)))
        self.connection.addTransceiver(self.voice or "audio", "sendrecv" if speaks else "recvonly")
        self.connection.addTransceiver("video", "recvonly")
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, made: dict[str, str], post: Post) -> None:
        """Offers, and takes in what comes from then on."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = {"token": made["token"], "sdp": self.connection.localDescription.sdp}
        answer = await post(f"/api/sessions/{made['id']}/webrtc", offer)
        for transceiver in self.connection.getTransceivers():
            self._watch(transceiver.receiver, self.streams[transceiver.kind])
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        for transceiver in self.connection.getTransceivers():
            task = asyncio.create_task(self._take(transceiver.receiver.track, self.streams[transceiver.kind]))
            self._tasks.append(task)

    async def until(self, done: Callable[[], Any], seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < until, f"it never came; the last words were {self.words[-2:]}"
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.connection.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, track: MediaStreamTrack, stream: Stream) -> None:
        with suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                data = (
                    frame.to_ndarray(format="gray")
                    if stream.kind == "video"
                    else frame.to_ndarray().reshape(-1, 2)[:, 0]
                )
                stream.num += 1
                stream.came.append(Came(time.monotonic(), int(frame.pts), data))
                del stream.came[:-MOST_KEPT]

    def _watch(self, receiver: Any, stream: Stream) -> None:
        packet, report = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

        async def on_packet(came: Any, **told: Any) -> None:
            if stream.first_timestamp is None:
                stream.first_timestamp = came.timestamp
            if stream.kind == "audio" or self._dice.random() >= self.loses:
                await packet(came, **told)

        async def on_report(came: Any) -> None:
            if isinstance(came, RtcpSrPacket) and came.sender_info.packet_count:
                stream.report = came.sender_info.ntp_timestamp, came.sender_info.rtp_timestamp
            await report(came)

        receiver._handle_rtp_packet, receiver._handle_rtcp_packet = on_packet, on_report
