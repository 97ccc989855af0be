"""The order of chunks, with a stand-in model that says which job made each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.chunks import ChunkPlan, Chunks, Decided, Job, Model

Told = tuple[int, str]
"""The frame, and the job that made it."""


class StandIn:
    """Makes each frame as (its number, who made it), and keeps what it was shown."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.shown: dict[str, tuple[list[Told], list[Told]]] = {}

    def chunks(self, plan: ChunkPlan, first_frame: int = 0) -> Chunks[int, Told]:
        return Chunks(plan, Model(self.next_frames, self.between), first_frame)

    def next_frames(self, job: Job, heard: Sequence[int], before: Sequence[Told]) -> list[Told]:
        return self.between(job, heard, before, [])

    def between(self, job: Job, heard: Sequence[int], before: Sequence[Told], after: Sequence[Told]) -> list[Told]:
        assert list(heard) == list(range(job.start, job.end)), "what was heard in its frames, and nothing else"
        self.jobs.append(job)
        self.shown[f"{job.kind}{job.number}"] = (list(before), list(after))
        return [(frame, f"{job.kind}{job.number}") for frame in range(job.start, job.end)]

    @property
    def order(self) -> list[str]:
        return [f"{job.kind}{job.number}" for job in self.jobs]


def frames_of(decided: Iterator[Decided[int, Told]]) -> list[Told]:
    made = list(decided)
    for one in made:
        assert (
            list(one.heard)
            == [f for f, _ in one.frames]
            == list(range(one.first_frame, one.first_frame + len(one.frames)))
        )
    return [frame for one in made for frame in one.frames]


def whole(plan: ChunkPlan, num: int) -> list[Told]:
    """By whom each frame of a timeline of known length is made: an I chunk has the seam around a begin of a chunk, which a last
    chunk that must keep an anchor may cut short."""
    made = []
    for frame in range(num):
        told = f"N{frame // plan.chunk_frames}"
        for begin in range(plan.chunk_frames, num, plan.chunk_frames):
            half = min(plan.half, max(0, min(num - begin, plan.chunk_frames) - plan.anchor_frames))
            if half and begin - plan.half <= frame < begin + half:
                told = f"I{begin // plan.chunk_frames - 1}"
        made.append((frame, told))
    return made


def test_an_i_chunk_follows_the_second_of_its_neighbours_and_replaces_the_seam_alone() -> None:
    stand_in = StandIn()
    chunks = stand_in.chunks(ChunkPlan(10, seam_frames=4, anchor_frames=2))
    frames = frames_of(chunks.push(range(30))) + frames_of(chunks.finish())
    assert stand_in.order == ["N0", "N1", "I0", "N2", "I1"]
    assert [f for f, _ in frames] == list(range(30))
    assert {who: [f for f, w in frames if w == who] for who in ("N0", "I0", "N1", "I1", "N2")} == {
        "N0": list(range(8)), "I0": [8, 9, 10, 11], "N1": list(range(12, 18)), "I1": [18, 19, 20, 21],
        "N2": list(range(22, 30)),
    }  # fmt: skip
    assert stand_in.shown["I0"] == ([(6, "N0"), (7, "N0")], [(12, "N1"), (13, "N1")])
    assert stand_in.shown["N2"] == ([(18, "N1"), (19, "N1")], [])
    assert stand_in.jobs[2] == Job("I", 0, 6, 14)  # with the anchors that are dropped


def test_frames_leave_as_soon_as_their_seam_is_smooth() -> None:
    chunks = StandIn().chunks(ChunkPlan(10, 4, 2))
    leaving = [(n, len(frames)) for n in range(33) if (frames := frames_of(chunks.push([n])))]
    assert leaving == [(9, 8), (19, 10), (29, 10)]
    assert [f for f, _ in frames_of(chunks.finish())] == [28, 29, 30, 31, 32]
    assert frames_of(chunks.finish()) == []


def test_without_i_chunks_each_chunk_leaves_at_once_and_the_next_sees_its_end() -> None:
    stand_in = StandIn()
    chunks = stand_in.chunks(ChunkPlan(10, anchor_frames=3))
    assert [len(frames_of(chunks.push(range(n, n + 10)))) for n in (0, 10)] == [10, 10]
    assert frames_of(chunks.push(range(20, 25))) == []
    assert [f for f, _ in frames_of(chunks.finish())] == list(range(20, 25))
    assert stand_in.order == ["N0", "N1", "N2"]
    assert stand_in.shown["N1"][0] == [(7, "N0"), (8, "N0"), (9, "N0")]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 4),
    st.integers(1, 4),
    st.integers(0, 6),
    st.integers(0, 60),
    st.lists(st.integers(1, 25), max_size=8),
)
def test_every_frame_leaves_once_in_order_and_as_of_a_whole_sound_however_it_is_cut(
    half: int, anchor: int, more: int, num: int, cuts: list[int]
) -> None:
    plan = ChunkPlan(2 * half + 2 * anchor + more, 2 * half, anchor)
    chunks, made, at = StandIn().chunks(plan), list[Told](), 0
    for size in [*cuts, num]:
        made += frames_of(chunks.push(range(at, min(at + size, num))))
        at = min(at + size, num)
    assert made + frames_of(chunks.finish()) == whole(plan, num)


def test_a_session_without_end_leaves_a_chunk_for_each_that_it_hears_and_holds_no_more() -> None:
    stand_in = StandIn()
    chunks, held = stand_in.chunks(ChunkPlan(10, 4, 2)), set[int]()
    last = -1
    for decided in islice(chunks.push(count()), 2000):
        assert decided.first_frame == last + 1
        last += len(decided.frames)
        held.add(len(chunks._heard) + len(chunks._made))
        stand_in.jobs.clear()
        stand_in.shown.clear()
    assert last == 2000 * 10 - 3
    assert max(held) == 10 + 10 + 2 + 2, "a chunk, what was heard of the next, half a seam and an anchor"


def test_one_that_goes_on_elsewhere_is_taken_up_at_a_chunk_and_made_alike_from_the_second_on() -> None:
    plan = ChunkPlan(10, 4, 2)
    chunks = StandIn().chunks(plan, first_frame=33)
    made = frames_of(chunks.push(range(33, 75))) + frames_of(chunks.finish())
    assert [f for f, _ in made] == list(range(40, 75))
    assert made[2:] == whole(plan, 75)[42:], "but for the seam before it"


def test_what_cannot_be_says_so() -> None:
    with pytest.raises(ValueError, match="has no frames, or a seam that can't be halved"):
        ChunkPlan(10, seam_frames=3, anchor_frames=1)
    with pytest.raises(ValueError, match="doesn't fit a chunk of 10"):
        ChunkPlan(10, seam_frames=8, anchor_frames=2)
    with pytest.raises(ValueError, match="there must be an anchor"):
        ChunkPlan(10, seam_frames=4)
    short: Model[int, int] = Model(lambda job, heard, before: [0], lambda job, heard, before, after: [0])
    with pytest.raises(ValueError, match="chunk N0: the model gave 1 frames, asked were 10"):
        list(Chunks(ChunkPlan(10), short).push(range(20)))
