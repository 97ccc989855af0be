"""A session for a viewer who gets it picture by picture: coded pictures and sound, each given out when its time has come.

Both tracks count 1 / 16000 s of one stream, as fragments do. What a tick made comes at once and is two frames long, so it is
given out by a clock: the moment at which time 0 was due. That clock follows the latest tick of the last second, so a tick that
is late puts both tracks off together, and what a viewer fell behind by is caught up with. Pictures are those that the worker
coded; the sound is coded here, as Opus.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from serving.engine import SAMPLE_HZ, SAMPLES_PER_FRAME
from serving.fragments import parameter_sets, pieces
from serving.inbox import TICK_S
from serving.publish import PRIMING, TIME_BASE

OPUS_SAMPLES = SAMPLE_HZ // 50
OPUS_BPS = 32_000
OPUS_OPTIONS = {"application": "voip", "fec": "1", "packet_loss": "5"}
MOST_PICTURES = 50
"""That wait, 2 s: beyond it old ones go, up to the newest whole picture."""
MOST_SOUND = 200
"""Runs of sound that wait, 4 s. None is ever left out: a viewer who is slower is let go."""
REMEMBERED = round(1 / TICK_S)
"""Ticks whose latest sets the clock."""


@dataclass(frozen=True)
class Timed:
    """A coded picture or 20 ms of sound, and its time in samples of the stream."""

    time: int
    data: bytes
    is_key: bool = True
    heard_at: float | None = None
    """Of sound: when the viewer's own, with which it begins, arrived (`time.monotonic`)."""


class Paced:
    """`begin`, `put` and `say` from the gateway; `picture` and `sound` wait for the next one's time, for one caller each."""

    def __init__(self) -> None:
        self.thin = False
        """Only whole pictures, one a second: what a line that loses too much still bears."""
        self.is_full = False
        """More sound waits than may."""
        self.dropped = 0
        """Pictures that were left out."""
        self.latency_s: float | None = None
        """From the arrival of the viewer's sound to its being given out again, with its picture: the last one."""
        self._sets, self._flows = b"", False
        self._pictures: deque[Timed] = deque()
        self._sounds: deque[Timed] = deque()
        self._came = asyncio.Event()
        self._zeros: deque[float] = deque(maxlen=REMEMBERED)
        self._opus: Any = av.CodecContext.create("libopus", "w")
        self._opus.sample_rate, self._opus.layout, self._opus.format = SAMPLE_HZ, "mono", "s16"
        self._opus.bit_rate, self._opus.time_base, self._opus.options = OPUS_BPS, TIME_BASE, dict(OPUS_OPTIONS)
        self._opus.open()

    def begin(self, header: bytes) -> None:
        """A stream's header; another one while it goes on when another worker draws it, who codes otherwise."""
        self._sets = parameter_sets(header)

    def say(self, frame_number: int, sound_N: np.ndarray, heard_at: float | None) -> None:
        """A tick's sound, int16, whole frames, the first of which is so many after the one that the stream began with."""
        at = PRIMING + frame_number * SAMPLES_PER_FRAME
        for begin in range(0, len(sound_N), OPUS_SAMPLES):
            frame = av.AudioFrame.from_ndarray(sound_N[None, begin : begin + OPUS_SAMPLES], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_HZ, at + begin, TIME_BASE
            # The packet's own time: the coder says what it hears a little later.
            first = None if begin else heard_at
            self._sounds += [Timed(int(p.pts), bytes(p), heard_at=first) for p in self._opus.encode(frame)]
        self.is_full = self.is_full or len(self._sounds) > MOST_SOUND

    def put(self, data: bytes) -> None:
        """A tick's fragments."""
        for number, piece in enumerate(pieces(data)):
            if not number:
                self._zeros.append(time.monotonic() - piece.time / SAMPLE_HZ)
            self._flows = piece.is_key or (self._flows and not self.thin)
            if not self._flows:
                self.dropped += 1
                continue
            picture = (self._sets if piece.is_key else b"") + piece.picture
            self._pictures.append(Timed(piece.time, picture, piece.is_key))
        if len(self._pictures) > MOST_PICTURES:
            self._drop()
        self._came.set()

    def end(self) -> None:
        self._pictures.clear()
        self._sounds.clear()

    async def picture(self) -> Timed:
        return await self._next(self._pictures)

    async def sound(self) -> Timed:
        told = await self._next(self._sounds)
        if told.heard_at is not None:
            self.latency_s = time.monotonic() - told.heard_at
        return told

    def _drop(self) -> None:
        """Pictures before the newest whole one; without one, all, and those to come need one."""
        whole = [n for n, picture in enumerate(self._pictures) if picture.is_key and n]
        num = whole[-1] if whole else len(self._pictures)
        for _ in range(num):
            self._pictures.popleft()
        self.dropped += num
        self._flows = bool(whole)

    async def _next(self, waiting: deque[Timed]) -> Timed:
        while True:
            if not waiting or not self._zeros:
                self._came.clear()
                await self._came.wait()
                continue
            left_s = max(self._zeros) + waiting[0].time / SAMPLE_HZ - time.monotonic()
            if left_s <= 0:
                return waiting.popleft()
            await asyncio.sleep(left_s)
