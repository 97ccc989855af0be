"""The order in which a generating model makes a session: N chunks along its timeline, I chunks over the seams between them.

N0 N1 I0 N2 I1 ...: an I chunk is made as soon as both of its neighbours are there. It sees anchor frames of each, predicts
them and the seam between them, and its predictions of the anchors are dropped: they were made before. Without I chunks
(`seam_frames` 0) the order is N0 N1 N2 ..., each frame leaves at once, and seams are as the model leaves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

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
class Model(Generic[F]):
    """`next_frames(job, before)` makes an N chunk from the last frames of the one before (none at first);
    `between(job, before, after)` makes an I chunk, anchors and all, from the anchor frames on both sides."""

    next_frames: Callable[[Job, Sequence[F]], Sequence[F]]
    between: Callable[[Job, Sequence[F], Sequence[F]], Sequence[F]]


def run(plan: ChunkPlan, num_frames: int, model: Model[F]) -> Iterator[tuple[Job, list[F]]]:
    """Each job with the frames that leave after it, which in their order are the whole timeline, each frame once.

    Holds at most two N chunks. Raises ValueError when the model gives another number of frames than it was asked for.
    """
    held: list[F] = []  # of the chunk before: what hasn't left yet, and its anchor, which has
    kept = 0  # of `held`, how many have left
    for number, start in enumerate(range(0, num_frames, plan.chunk_frames)):
        job = Job("N", number, start, min(start + plan.chunk_frames, num_frames))
        made = _asked(job, model.next_frames(job, held[-plan.anchor_frames :] if plan.anchor_frames else ()))
        last = job.end == num_frames
        if not plan.seam_frames:
            held = made[-plan.anchor_frames :] if plan.anchor_frames else []
            yield job, made
            continue
        if number == 0:
            kept = len(made) if last else len(made) - plan.half
            held = made
            yield job, made[:kept]
            continue
        yield job, []
        # A last chunk may be too short for a whole seam: then the seam is as long as both sides allow.
        half = min(plan.half, max(0, len(made) - plan.anchor_frames))
        seam = Job("I", number - 1, start - plan.half - plan.anchor_frames, start + half + plan.anchor_frames)
        begin = kept
        if half:
            before, after = held[begin - plan.anchor_frames : begin], made[half : half + plan.anchor_frames]
            smooth = _asked(seam, model.between(seam, before, after))
            smooth = smooth[plan.anchor_frames : len(smooth) - plan.anchor_frames]
        else:
            seam, smooth = Job("I", number - 1, start - plan.half, start), held[begin:]
        kept = len(made) if last else len(made) - plan.half
        held = made
        yield seam, [*smooth, *made[half:kept]]


def _asked(job: Job, made: Sequence[F]) -> list[F]:
    if len(made) != job.end - job.start:
        raise ValueError(
            f"chunk {job.kind}{job.number}: the model gave {len(made)} frames, asked were {job.end - job.start}"
        )
    return list(made)
