"""The order of chunks, with a stand-in model that says which job made each frame."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.chunks import ChunkPlan, Job, Model, run

Told = tuple[int, str]
"""The frame, and the job that made it."""


class StandIn:
    """Makes each frame as (its number, who made it), and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, list[Told], list[Told]]] = []

    def model(self) -> Model[Told]:
        return Model(self.next_frames, self.between)

    def next_frames(self, job: Job, before: Sequence[Told]) -> list[Told]:
        self.shown.append((f"N{job.number}", list(before), []))
        return [(frame, f"N{job.number}") for frame in range(job.start, job.end)]

    def between(self, job: Job, before: Sequence[Told], after: Sequence[Told]) -> list[Told]:
        self.shown.append((f"I{job.number}", list(before), list(after)))
        return [(frame, f"I{job.number}") for frame in range(job.start, job.end)]


def test_an_i_chunk_follows_the_second_of_its_neighbours_and_replaces_the_seam_alone() -> None:
    stand_in = StandIn()
    made = list(run(ChunkPlan(10, seam_frames=4, anchor_frames=2), 30, stand_in.model()))
    assert [f"{job.kind}{job.number}" for job, _ in made] == ["N0", "N1", "I0", "N2", "I1"]
    frames = [f for _, leaving in made for f in leaving]
    assert [f for f, _ in frames] == list(range(30))
    assert {who: [f for f, w in frames if w == who] for who in ("N0", "I0", "N1", "I1", "N2")} == {
        "N0": list(range(8)), "I0": [8, 9, 10, 11], "N1": list(range(12, 18)), "I1": [18, 19, 20, 21],
        "N2": list(range(22, 30)),
    }  # fmt: skip
    shown = {who: (before, after) for who, before, after in stand_in.shown}
    assert shown["I0"] == ([(6, "N0"), (7, "N0")], [(12, "N1"), (13, "N1")])
    assert next(job for job, _ in made if job.kind == "I") == Job("I", 0, 6, 14)  # with the anchors that are dropped


def test_frames_leave_as_soon_as_their_seam_is_smooth() -> None:
    leaving = [len(frames) for _, frames in run(ChunkPlan(10, 4, 2), 30, StandIn().model())]
    assert leaving == [8, 0, 10, 0, 12]


def test_without_i_chunks_each_chunk_leaves_at_once_and_the_next_sees_its_end() -> None:
    stand_in = StandIn()
    made = list(run(ChunkPlan(10, anchor_frames=3), 25, stand_in.model()))
    assert [(job.kind, job.number, len(frames)) for job, frames in made] == [("N", 0, 10), ("N", 1, 10), ("N", 2, 5)]
    assert stand_in.shown[1][1] == [(7, "N0"), (8, "N0"), (9, "N0")]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 6), st.integers(1, 60))
def test_every_frame_leaves_once_and_in_order(half: int, anchor: int, more: int, num: int) -> None:
    plan = ChunkPlan(2 * half + 2 * anchor + more, 2 * half, anchor)
    made = list(run(plan, num, StandIn().model()))
    assert [frame for _, leaving in made for frame, _ in leaving] == list(range(num))
    kinds = [job.kind for job, _ in made]
    assert kinds == ["N", *["N", "I"] * ((num - 1) // plan.chunk_frames)]


def test_what_cannot_be_says_so() -> None:
    with pytest.raises(ValueError, match="has no frames, or a seam that can't be halved"):
        ChunkPlan(10, seam_frames=3, anchor_frames=1)
    with pytest.raises(ValueError, match="doesn't fit a chunk of 10"):
        ChunkPlan(10, seam_frames=8, anchor_frames=2)
    with pytest.raises(ValueError, match="there must be an anchor"):
        ChunkPlan(10, seam_frames=4)
    short: Model[int] = Model(lambda job, before: [0], lambda job, before, after: [0])
    with pytest.raises(ValueError, match="chunk N0: the model gave 1 frames, asked were 10"):
        list(run(ChunkPlan(10), 20, short))
