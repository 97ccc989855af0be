"""The sound of a session as the gateway holds it: what waits to be said, the clock, and a ring of what was said of late.

A tick is two frames. Each tick takes its sound from what has arrived, or silence, so the clock never stops. A tick's sound
stays due until a worker has acknowledged what it made of it: when that worker dies, another one is warmed up on the ring and
given the same tick again, so that nothing is lost and nothing is said twice.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from serving.engine import SAMPLE_HZ, SAMPLES_PER_FRAME

TICK_FRAMES = 2
TICK_SAMPLES = TICK_FRAMES * SAMPLES_PER_FRAME
TICK_S = TICK_SAMPLES / SAMPLE_HZ
MOST_AHEAD_S = 30.0
"""Of sound that streams in and was not said yet."""
MOST_QUEUED_S = 600.0
"""Of whole sounds, a file's or a text's, that were not said yet."""
SETTLE_S = 0.2
"""When less than a tick is left and nothing more comes for so long, it is said with silence after it."""
RING_S = 4.0
"""Of sound that was said: twice what a network is warmed up on (serving/speech_motion.py)."""


class TooFarAheadError(Exception):
    """More sound has arrived than a session holds."""


@dataclass(frozen=True)
class Due:
    """A tick's sound, int16 (TICK_SAMPLES,), how many samples of it streamed in from the viewer, and when the first of these
    arrived (`time.monotonic`; None when none is)."""

    sound: np.ndarray
    taken: int
    heard_at: float | None


class Inbox:
    """`hear`, `queue` and `interrupt` from the viewer's side; `due` and `said` from the clock's."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[np.ndarray, float | None]] = deque()
        """Sound and when it arrived; None of a sound that was queued whole."""
        self._num_waiting = self._num_queued = 0
        self._last_heard_at = 0.0
        self._due: Due | None = None
        self._ring: deque[np.ndarray] = deque(maxlen=round(RING_S / TICK_S))
        self._asked_at: float | None = None
        self.taken = 0
        """Samples that streamed in from the viewer and were said."""
        self.heard = self.dropped = 0
        """... that arrived, and that will not be said any more."""
        self.interrupts = 0
        self.place = 0
        """Frames of sound that were said: the session's clock."""
        self.first_s: float | None = None
        """From the first sound to the first tick that said some of it."""

    @property
    def ahead_s(self) -> float:
        """Of sound that waits to be said."""
        return self._num_waiting / SAMPLE_HZ

    def queue(self, sound_N: np.ndarray) -> None:
        """A whole sound, int16 at 16 kHz, to be said after what waits. Raises TooFarAheadError, and holds none of it, beyond
        the limit."""
        if self._num_queued + len(sound_N) > MOST_QUEUED_S * SAMPLE_HZ:
            raise TooFarAheadError(
                f"more than {MOST_QUEUED_S / 60:.0f} minutes of sound wait to be said; wait, or interrupt"
            )
        self._waiting.append((sound_N, None))
        self._num_waiting += len(sound_N)
        self._num_queued += len(sound_N)

    def hear(self, sound_N: np.ndarray, held_s: float = 0.0) -> None:
        """Sound, int16 at 16 kHz, that arrived so long ago. Raises TooFarAheadError, and holds none of it, beyond the limit."""
        if self._num_waiting - self._num_queued + len(sound_N) > MOST_AHEAD_S * SAMPLE_HZ:
            raise TooFarAheadError(
                f"more than {MOST_AHEAD_S:.0f} s of sound wait to be said; send it no faster than it is said"
            )
        self._last_heard_at = time.monotonic()
        self._waiting.append((sound_N, self._last_heard_at - held_s))
        self._num_waiting += len(sound_N)
        self.heard += len(sound_N)
        if self._asked_at is None:
            self._asked_at = self._last_heard_at

    def interrupt(self) -> None:
        """What waits is not said any more: somebody else speaks."""
        self._waiting.clear()
        self.dropped += self._num_waiting - self._num_queued
        self._num_waiting = self._num_queued = 0
        self.interrupts += 1

    def due(self) -> np.ndarray:
        """The sound of the next tick, int16 (TICK_SAMPLES,); the same until `said`."""
        if self._due is None:
            self._due = self._next()
        return self._due.sound

    def said(self) -> Due:
        """What was due was put out: this."""
        assert self._due is not None, "nothing was due"
        said, self._due = self._due, None
        self._ring.append(said.sound)
        self.place += TICK_FRAMES
        self.taken += said.taken
        if self.taken and self.first_s is None and self._asked_at is not None:
            self.first_s = time.monotonic() - self._asked_at
        return said

    def past(self) -> tuple[int, np.ndarray]:
        """The ring: the frame at which it begins, and its sound up to `place`, int16."""
        sound = np.concatenate(self._ring) if self._ring else np.zeros(0, np.int16)
        return self.place - len(sound) // SAMPLES_PER_FRAME, sound

    def _next(self) -> Due:
        sound = np.zeros(TICK_SAMPLES, np.int16)
        whole = self._num_waiting >= TICK_SAMPLES
        if not whole and (not self._num_waiting or time.monotonic() - self._last_heard_at < SETTLE_S):
            return Due(sound, 0, None)
        filled, taken, heard_at = 0, 0, None
        while self._waiting and filled < TICK_SAMPLES:
            part, at = self._waiting.popleft()
            room = TICK_SAMPLES - filled
            if len(part) > room:
                self._waiting.appendleft((part[room:], at))
                part = part[:room]
            sound[filled : filled + len(part)] = part
            filled += len(part)
            if at is None:
                self._num_queued -= len(part)
            else:
                taken, heard_at = taken + len(part), at if heard_at is None else heard_at
        self._num_waiting -= filled
        return Due(sound, taken, heard_at)
