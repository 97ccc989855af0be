"""The stage of a generating family: a model makes frames of what is heard, in N and I chunks, and not one by one.

Who is shown is encoded once a session. Frames are whatever the model makes, pictures or latents that a stage after this one
decodes. They come out `plan.delay_frames` after they were heard at the latest; what was said to the session meanwhile, an
interrupt or another checkpoint, is seen from the next chunk on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from serving.chunks import ChunkPlan, Chunks, Job, Model
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Session
from serving.inbox import RING_S
from store.media import GRID_FPS


class Generator(Protocol):
    """A model that makes frames. `who` is what `encode` gave for the session; `heard` is the job's span, sound and what the
    stages before made of it. What it draws by lot must follow from the session's seed and the job, and from nothing else: the
    same session is then the same however its sound is cut."""

    plan: ChunkPlan

    def encode(self, session: Session) -> Any: ...

    def next_frames(self, who: Any, job: Job, heard: Chunk, before: Sequence[np.ndarray]) -> Sequence[np.ndarray]: ...

    def between(
        self, who: Any, job: Job, heard: Chunk, before: Sequence[np.ndarray], after: Sequence[np.ndarray]
    ) -> Sequence[np.ndarray]: ...


class Generated:
    """The stage. Raises ValueError for chunks so long that a session could not be taken up from the ring of what was said."""

    name, remembers = "generate", True

    def __init__(self, module: Module[Generator]) -> None:
        self.module = module
        plan, most = module.model.plan, round(RING_S * GRID_FPS)
        # The ring ends anywhere in a chunk and begins anywhere in another one, and the frame to go on with lies between.
        if 2 * plan.chunk_frames + plan.delay_frames > most:
            raise ValueError(
                f"{module.name} {module.checkpoint}: chunks of {plan.chunk_frames} frames with seams of {plan.seam_frames} are too "
                f"long; two and a delay of {plan.delay_frames} must lie within the {most} that are kept of a session"
            )

    def begin(self, session: Session) -> _Making:
        return _Making(session, self.module)

    def step(self, state: _Making, chunk: Chunk) -> Iterator[Chunk]:
        for decided in state.chunks.push(state.frames(chunk)):
            yield _joined(decided.heard, decided.frames)

    def end(self, state: _Making) -> Iterator[Chunk]:
        for decided in chain(state.chunks.push(state.last_frame()), state.chunks.finish()):
            yield _joined(decided.heard, decided.frames)

    def prepare(self, state: _Making, other: Generated) -> Callable[[], bool]:
        """Encodes who is shown for the other model. It goes on from the frames of this one, so their chunks must be alike:
        raises ValueError for others."""
        if other.module is state.module:
            return lambda: True
        mine, theirs = (made.model.plan for made in (state.module, other.module))
        if mine != theirs:
            raise ValueError(
                f"{other.module.name} {other.module.checkpoint}: has {theirs}, a session under way has {mine}; it ends as it is, "
                "new ones get the other"
            )
        model = _model_of(other.module.model, other.module.model.encode(state.session))

        def flip() -> bool:
            state.module, state.chunks.model = other.module, model
            return True

        return flip


class _Making:
    """Of one session."""

    def __init__(self, session: Session, module: Module[Generator]) -> None:
        self.session, self.module = session, module
        model = _model_of(module.model, module.model.encode(session))
        self.chunks: Chunks[Chunk, np.ndarray] = Chunks(module.model.plan, model, session.first_frame)
        self._frame, self._rest = session.first_frame, np.zeros(0, np.int16)

    def frames(self, chunk: Chunk) -> list[Chunk]:
        """A chunk for each whole frame; what is left waits for more sound."""
        sound = np.concatenate([self._rest, chunk.sound])
        num, first = len(sound) // SAMPLES_PER_FRAME, self._frame
        self._frame, self._rest = first + num, sound[num * SAMPLES_PER_FRAME :].copy()
        parts = sound[: num * SAMPLES_PER_FRAME].reshape(num, SAMPLES_PER_FRAME)
        rows = [None] * num if chunk.motion is None else [chunk.motion[n : n + 1] for n in range(num)]
        return [Chunk(first + n, parts[n].copy(), rows[n]) for n in range(num)]

    def last_frame(self) -> list[Chunk]:
        """One that was begun is filled up with silence."""
        missing = -len(self._rest) % SAMPLES_PER_FRAME
        return self.frames(Chunk(self._frame, np.zeros(missing, np.int16)))


def _model_of(generator: Generator, who: Any) -> Model[Chunk, np.ndarray]:
    return Model(
        lambda job, heard, before: generator.next_frames(who, job, _joined(heard), before),
        lambda job, heard, before, after: generator.between(who, job, _joined(heard), before, after),
    )


def _joined(heard: Sequence[Chunk], frames: Sequence[np.ndarray] = ()) -> Chunk:
    rows = [one.motion for one in heard if one.motion is not None]
    motion = np.concatenate(rows) if rows else None
    sound = np.concatenate([one.sound for one in heard])
    return Chunk(heard[0].first_frame, sound, motion, frames)
