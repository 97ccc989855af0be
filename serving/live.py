"""One live session: sound comes in as it comes, a viewer's stream goes out in real time, with idle motion in between.

A tick is two frames. Each tick takes its sound from what has arrived, or silence, so the clock never stops; everything
held is bounded. Drawing runs in a thread of its own; nothing here knows of the network.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from serving.checkpoints import checkpoint_of
from serving.engine import SAMPLE_HZ, SAMPLES_PER_FRAME, Chunk, Pipeline, Session
from serving.publish import Fragments, frames_of
from serving.vitals import UNDERRUN_S, Vitals, Watch
from store.media import GRID_FPS

TICK_FRAMES = 2
TICK_SAMPLES = TICK_FRAMES * SAMPLES_PER_FRAME
TICK_S = TICK_SAMPLES / SAMPLE_HZ
MOST_AHEAD_S = 30.0
"""Of sound that has arrived and was not said yet."""
SETTLE_S = 0.2
"""When less than a tick is left and nothing more comes for so long, it is said with silence after it."""
PREPARE_TRIES = 3
"""Another checkpoint is made ready beside a session so often; when that ticks each time meanwhile, it waits for the next."""


class TooFarAheadError(Exception):
    """More sound has arrived than a session holds."""


class LiveSession:
    """`hear` and `interrupt` from the network's side, `watch` and `tick` from drawing threads, one of them at a time: a tick
    may still be under way when its viewer is gone and another one comes."""

    def __init__(self, pipeline: Pipeline[Chunk], avatar: Any, side_px: tuple[int, int], seed: int = 0) -> None:
        self.session = Session(avatar, seed)
        self._running = pipeline.open(self.session)
        self.checkpoint = checkpoint_of(pipeline)
        self._watch = Watch(avatar)
        self._asked_at: float | None = None
        self._drawing = threading.Lock()
        self._side_px = side_px
        self._inbox: deque[np.ndarray] = deque()
        self._waiting = 0
        self._last_heard_at = 0.0
        self._taken = 0
        self._place = 0
        self._next_frame = 0
        self._stream: Fragments | None = None
        self._first_frame = 0
        self.num_frames, self.busy_s, self.late_ticks = 0, 0.0, 0

    @property
    def vitals(self) -> Vitals:
        """How it does on the checkpoint that it is on."""
        return self._watch.vitals

    @property
    def ahead_s(self) -> float:
        """Of sound that waits to be said."""
        return self._waiting / SAMPLE_HZ

    def hear(self, sound_N: np.ndarray) -> None:
        """Sound that has arrived, int16 at 16 kHz. Raises TooFarAheadError, and holds none of it, beyond the limit."""
        if self._waiting + len(sound_N) > MOST_AHEAD_S * SAMPLE_HZ:
            raise TooFarAheadError(
                f"more than {MOST_AHEAD_S:.0f} s of sound wait to be said; send it no faster than it is said"
            )
        self._inbox.append(sound_N)
        self._waiting += len(sound_N)
        if self._taken == 0 and self._asked_at is None:
            self._asked_at = time.monotonic()
        self._last_heard_at = time.monotonic()

    def interrupt(self) -> None:
        """What waits is not said any more: somebody else speaks."""
        self._inbox.clear()
        self._waiting = 0

    def switch(self, pipeline: Pipeline[Chunk]) -> tuple[float, Vitals]:
        """Goes on with another checkpoint, from the next tick on. Gives the seconds that the session stood still for it, and
        how it did on the one before. The other one is made ready beside it, which takes about as long as a tick."""
        module = pipeline.modules[0]
        for _ in range(PREPARE_TRIES):
            flip = self._running.prepare(module)
            with self._drawing:
                if (done := self._switched(module.checkpoint, flip, time.perf_counter())) is not None:
                    return done
        with self._drawing:
            began = time.perf_counter()
            done = self._switched(module.checkpoint, self._running.prepare(module), began)
        assert done is not None, "nobody else runs the session now"
        return done

    def _switched(self, checkpoint: str, flip: Callable[[], bool], began: float) -> tuple[float, Vitals] | None:
        """None when the session went on meanwhile."""
        if not flip():
            return None
        self.checkpoint = checkpoint
        before, self._watch.vitals = self._watch.vitals, Vitals(sessions=1)
        return time.perf_counter() - began, before

    def watch(self) -> tuple[str, bytes]:
        """Begins a stream for a viewer who comes, or comes back: its MIME type and its header. The session goes on."""
        with self._drawing:
            self._first_frame = self._next_frame
            self._stream = Fragments(self._side_px, self._first_frame)
            return self._stream.mime, self._stream.header

    def tick(self) -> tuple[bytes, dict[str, float]]:
        """Goes on by two frames: fragments that are ready, and where the clock stands: `taken`, samples of the viewer's
        sound that were said so far, and `at_s`, when in the stream they will have been."""
        with self._drawing:
            return self._ticked()

    def _ticked(self) -> tuple[bytes, dict[str, float]]:
        assert self._stream is not None, "watch first"
        began = time.perf_counter()
        sound = self._next_sound()
        made = []
        for chunk in self._running.step(Chunk(self._place, sound)):
            assert chunk.motion is not None
            self._watch.saw(chunk.motion, chunk.frames, chunk.sound)
            for number, picture, part in frames_of(chunk.first_frame, chunk.frames, chunk.sound):
                made.append(self._stream.write(number, picture, part))
                self._next_frame = number + 1
                self.num_frames += 1
        self._place += TICK_FRAMES
        spent = time.perf_counter() - began
        self.busy_s += spent
        told = self._watch.vitals
        told.ticks, told.busy_s = told.ticks + 1, told.busy_s + spent
        if made and (skew := self._stream.skew_ms) is not None:
            told.skews, told.skew_ms = told.skews + 1, told.skew_ms + skew
        if self._taken and self._asked_at is not None:
            told.first_fragments += 1
            told.first_fragment_s += time.monotonic() - self._asked_at
            self._asked_at = None
        at_s = (self._place - self._first_frame) / GRID_FPS + 1024 / SAMPLE_HZ
        return b"".join(made), {"taken": float(self._taken), "at_s": at_s}

    def late(self, late_s: float) -> None:
        """Of the tick just done: how long after its time."""
        self._watch.vitals.underruns += late_s > UNDERRUN_S

    def told(self) -> str:
        """For the viewer, as JSON: frames a second that this core would make, and what waits."""
        fps = self.num_frames / self.busy_s if self.busy_s else 0.0
        return json.dumps({
            "type": "state", "checkpoint": self.checkpoint, "vitals": self._watch.vitals.figures(),
            "fps": round(fps, 1), "ahead_s": round(self.ahead_s, 2), "late_ticks": self.late_ticks,
            "said_s": round(self._taken / SAMPLE_HZ, 2),
        })  # fmt: skip

    def _next_sound(self) -> np.ndarray:
        sound = np.zeros(TICK_SAMPLES, np.int16)
        whole = self._waiting >= TICK_SAMPLES
        if not whole and (not self._waiting or time.monotonic() - self._last_heard_at < SETTLE_S):
            return sound
        filled = 0
        while self._inbox and filled < TICK_SAMPLES:
            part = self._inbox.popleft()
            room = TICK_SAMPLES - filled
            if len(part) > room:
                self._inbox.appendleft(part[room:])
                part = part[:room]
            sound[filled : filled + len(part)] = part
            filled += len(part)
        self._waiting -= filled
        self._taken += filled
        return sound
