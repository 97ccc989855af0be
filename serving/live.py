"""One live session on its worker: sound goes in tick by tick, a viewer's stream comes out, with idle motion in silence.

Whoever gives the ticks keeps the clock (serving/inbox.py). A session that another worker began goes on here from a ring of
what was said: the frame, the fragment and the run of sound after the last ones that were acknowledged come next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.checkpoints import checkpoint_of
from serving.engine import SAMPLES_PER_FRAME, Chunk, Pipeline, Session
from serving.publish import Fragments, Sent, frames_of
from serving.vitals import UNDERRUN_S, Vitals, Watch
from store.deployments import parts_of

PREPARE_TRIES = 3
"""Another checkpoint is made ready beside a session so often; when that ticks each time meanwhile, it waits for the next."""


@dataclass(frozen=True)
class Past:
    """What was said of late: its sound from `first_frame` on, int16, a whole number of frames; the frame that is to be put
    out next; and where the viewer's stream stands, if there is a viewer."""

    first_frame: int
    sound: np.ndarray
    next_frame: int
    sent: Sent | None


class LiveSession:
    """`watch`, `tick` and `switch` from any thread; a tick may still be under way when a viewer is gone and another comes."""

    def __init__(
        self, pipeline: Pipeline[Chunk], avatar: Any, side_px: tuple[int, int], seed: int = 0, past: Past | None = None
    ) -> None:
        first = past.first_frame if past else 0
        self.session = Session(avatar, seed, first)
        self._running = pipeline.open(self.session)
        self.checkpoint = checkpoint_of(pipeline)
        """The pair of them."""
        self._watch = Watch(avatar)
        self._drawing = threading.Lock()
        self._side_px = side_px
        self._place = self._next_frame = first
        self._stream: Fragments | None = None
        self.num_frames, self.busy_s = 0, 0.0
        if past is not None:
            self._go_on(past)

    @property
    def vitals(self) -> Vitals:
        """How it does on the checkpoint that it is on."""
        return self._watch.vitals

    def switch(self, pipeline: Pipeline[Chunk]) -> tuple[float, Vitals]:
        """Goes on with other checkpoints, from the next tick on. Gives the seconds that the session stood still for it, and
        how it did on the one before. The other one is made ready beside it, which takes about as long as a tick."""
        name = checkpoint_of(pipeline)
        for _ in range(PREPARE_TRIES):
            flip = self._running.prepare(pipeline)
            with self._drawing:
                if (done := self._switched(name, flip, time.perf_counter())) is not None:
                    return done
        with self._drawing:
            began = time.perf_counter()
            done = self._switched(name, self._running.prepare(pipeline), began)
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
            self._stream = Fragments(self._side_px, self._next_frame)
            return self._stream.mime, self._stream.header

    @property
    def stream(self) -> Fragments:
        assert self._stream is not None, "watch first"
        return self._stream

    def tick(self, sound_N: np.ndarray) -> tuple[bytes, Sent]:
        """Goes on by this sound, int16, whole frames: the fragments that are ready, and where the stream stands then."""
        with self._drawing:
            return self._ticked(sound_N)

    def _ticked(self, sound: np.ndarray) -> tuple[bytes, Sent]:
        began, stream = time.perf_counter(), self.stream
        made = []
        for chunk in self._running.step(Chunk(self._place, sound)):
            self._watch.saw(chunk.motion, chunk.frames, chunk.sound, chunk.squares)
            for number, picture, part in frames_of(chunk.first_frame, chunk.frames, chunk.sound):
                made.append(stream.write(number, picture, part))
                self._next_frame = number + 1
                self.num_frames += 1
        self._place += len(sound) // SAMPLES_PER_FRAME
        spent = time.perf_counter() - began
        self.busy_s += spent
        told = self._watch.vitals
        told.ticks, told.busy_s = told.ticks + 1, told.busy_s + spent
        if made and (skew := stream.skew_ms) is not None:
            told.skews, told.skew_ms = told.skews + 1, told.skew_ms + skew
        return b"".join(made), stream.sent

    def late(self, late_s: float, first_s: float | None) -> None:
        """Of the tick before: how long after its time it came, and, if it said the first sound, how long after that one."""
        told = self._watch.vitals
        told.underruns += late_s > UNDERRUN_S
        if first_s is not None:
            told.first_fragments, told.first_fragment_s = told.first_fragments + 1, told.first_fragment_s + first_s

    def told(self) -> dict[str, Any]:
        """For the viewer: the checkpoints that move and draw it ("" for the plain warp), how it does, and frames a second that
        this core would make."""
        fps = self.num_frames / self.busy_s if self.busy_s else 0.0
        motion, renderer = parts_of(self.checkpoint)
        return {
            "checkpoint": motion,
            "renderer": renderer,
            "vitals": self._watch.vitals.figures(),
            "fps": round(fps, 1),
        }

    def _go_on(self, past: Past) -> None:
        """Hears the past once more, without drawing it, and takes the stream up where it stands."""
        if len(past.sound):
            self._running.warm(Chunk(past.first_frame, past.sound))
        self._place += len(past.sound) // SAMPLES_PER_FRAME
        self._next_frame = past.next_frame
        if past.sent is not None:
            heard = past.sound[: (past.next_frame - past.first_frame) * SAMPLES_PER_FRAME]
            self._stream = Fragments(self._side_px, past.sent.first_frame, (past.sent, heard))
