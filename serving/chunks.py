"""The order in which a generating model makes a session: N chunks along its timeline, I chunks over the seams between them.

N0 N1 I0 N2 I1 ...: an I chunk is made as soon as both of its neighbours are there. It sees anchor frames of each, predicts
them and the seam between them, and its predictions of the anchors are dropped: they were made before. Without I chunks
(`seam_frames` 0) the order is N0 N1 N2 ..., each frame leaves at once, and seams are as the model leaves them.

What the model is to say comes in frame by frame and nobody knows how much more will come: a chunk is made when all of it has
been heard, and its end waits for the seam. What is held is the end of one chunk and what was heard of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")
F = TypeVar("F")


@dataclass(frozen=True)
class ChunkPlan:
    """Frames of an N chunk; of a seam, half on each side; and of the anchor on each side of it."""

    chunk_frames: int
    seam_frames: int = 0
    anchor_frames: int = 0

    def __post_init__(self) -> None:
        if self.chunk_frames < 1 or self.seam_frames < 0 or self.seam_frames % 2 or self.anchor_frames < 0:
            raise ValueError(f"chunks: {self} has no frames, or a seam that can't be halved")
        if self.seam_frames and (
            not self.anchor_frames or self.seam_frames + 2 * self.anchor_frames > self.chunk_frames
        ):
            raise ValueError(
                f"chunks: a seam of {self.seam_frames} frames with anchors of {self.anchor_frames} doesn't fit a chunk of "
                f"{self.chunk_frames}: its halves and anchors on both ends must lie within it, and there must be an anchor"
            )

    @property
    def half(self) -> int:
        return self.seam_frames // 2

    @property
    def delay_frames(self) -> int:
        """The first frame of a chunk's second half waits so long for the next chunk."""
        return self.chunk_frames + self.half if self.seam_frames else self.chunk_frames


@dataclass(frozen=True)
class Job:
    """What the model is asked for: "N" or "I", its number, and its frames [start, end) of the timeline."""

    kind: str
    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Model(Generic[C, F]):
    """`next_frames(job, heard, before)` makes an N chunk of what was heard in its frames, from the last frames of the one before
    (none at first); `between(job, heard, before, after)` makes an I chunk, anchors and all, from the anchor frames on both
    sides."""

    next_frames: Callable[[Job, Sequence[C], Sequence[F]], Sequence[F]]
    between: Callable[[Job, Sequence[C], Sequence[F], Sequence[F]], Sequence[F]]


@dataclass(frozen=True)
class Decided(Generic[C, F]):
    """Frames that nothing changes any more, what was heard in each, and the first one's number."""

    first_frame: int
    heard: Sequence[C]
    frames: Sequence[F]


class Chunks(Generic[C, F]):
    """One session: `push` what is heard, `finish` at its end; each frame comes out once and in order. `model` may be changed
    between two pushes: the next chunk is the other one's."""

    def __init__(self, plan: ChunkPlan, model: Model[C, F], first_frame: int = 0) -> None:
        """Chunks lie at multiples of their length. A session that was begun elsewhere is taken up at the first of them."""
        self.model, self._plan = model, plan
        self._skip = -first_frame % plan.chunk_frames
        self._heard: list[C] = []
        self._made: list[F] = []
        """The chunk before, from `_begun` to `_end`."""
        self._begun = self._end = self._from = self._left = first_frame + self._skip
        """`_from`: the first frame of `_heard`. `_left`: the one that leaves next."""

    def push(self, heard: Iterable[C]) -> Iterator[Decided[C, F]]:
        """One of `heard` for each frame. Raises ValueError when the model gives another number of frames than it was asked for."""
        for one in heard:
            if self._skip:
                self._skip -= 1
                continue
            self._heard.append(one)
            if self._from + len(self._heard) - self._end == self._plan.chunk_frames:
                yield from self._next(self._plan.half)

    def finish(self) -> Iterator[Decided[C, F]]:
        """What is left: a last chunk, shorter than the others, or the end of the one before."""
        if self._from + len(self._heard) > self._end:
            yield from self._next(0)
        elif self._left < self._end:
            yield self._leave(self._made[self._left - self._begun :])

    def _next(self, held: int) -> Iterator[Decided[C, F]]:
        """Makes the chunk that was heard, and the seam before it; keeps the last frames for the seam to come."""
        plan, start, end = self._plan, self._end, self._from + len(self._heard)
        job, anchor = Job("N", start // plan.chunk_frames, start, end), plan.anchor_frames
        made = _asked(job, self.model.next_frames(job, self._of(job), self._made[-anchor:] if anchor else ()))
        leaving = self._made[self._left - self._begun :]
        # A last chunk may be too short for a whole seam: then the seam is as long as both sides allow.
        half = min(plan.half, max(0, len(made) - anchor)) if self._made else 0
        if half:
            seam = Job("I", job.number - 1, self._left - anchor, start + half + anchor)
            before = self._made[self._left - anchor - self._begun : self._left - self._begun]
            smooth = _asked(seam, self.model.between(seam, self._of(seam), before, made[half : half + anchor]))
            leaving = smooth[anchor : len(smooth) - anchor]
        self._made, self._begun, self._end = made, start, end
        yield self._leave([*leaving, *made[half : len(made) - held]])
        kept = max(self._from, self._left - anchor)
        self._heard, self._from = self._heard[kept - self._from :], kept

    def _leave(self, frames: list[F]) -> Decided[C, F]:
        at = self._left - self._from
        self._left += len(frames)
        return Decided(self._left - len(frames), self._heard[at : at + len(frames)], frames)

    def _of(self, job: Job) -> list[C]:
        return self._heard[job.start - self._from : job.end - self._from]


def _asked(job: Job, made: Sequence[F]) -> list[F]:
    if len(made) != job.end - job.start:
        raise ValueError(
            f"chunk {job.kind}{job.number}: the model gave {len(made)} frames, asked were {job.end - job.start}"
        )
    return list(made)
