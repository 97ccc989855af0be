"""A diffusion family with N and I chunks, through the engine that the motion-first family goes through: live and offline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serving import render as rendering
from serving.checkpoints import Checkpoints, Split
from serving.chunks import ChunkPlan
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.generated import Generated, Generator
from serving.inbox import TICK_SAMPLES, Inbox
from serving.live import LiveSession, Past
from serving.publish import Recording
from serving.render import Studio
from serving.sessions import Sessions
from tests.unit.serving.generating import Flow, generating, opening
from tests.unit.serving.talker import head, pipeline
from tests.unit.serving.test_failover import times

SIDE = (128, 128)
TONE = (8000 * np.sign(np.sin(np.arange(100 * SAMPLES_PER_FRAME) * 0.3))).astype(np.int16)
"""Four seconds, as loud all the time: a mouth is as open as there is sound in its frame."""


def seen(live: LiveSession) -> list[np.ndarray]:
    """Pictures, as they leave the pipeline."""
    kept: list[np.ndarray] = []
    step = live._running.step

    def watched(chunk: Chunk) -> Iterator[Chunk]:
        for made in step(chunk):
            kept.extend(made.frames)
            yield made

    live._running.step = watched  # type: ignore[method-assign]
    return kept


def offline(sound: np.ndarray, made: Pipeline[Chunk], seed: int = 0) -> list[np.ndarray]:
    running = made.open(Session(head(), seed))
    return [f for c in [*running.step(Chunk(0, sound)), *running.end()] for f in c.frames]


def mouths(pictures: list[np.ndarray]) -> np.ndarray:
    return np.array([opening(picture, head().plate) for picture in pictures])


def test_a_live_session_shows_chunk_by_chunk_what_the_whole_sound_gives() -> None:
    flow = Flow()
    live = LiveSession(generating(flow=flow), head(), SIDE, 5)
    pictures, (_, data), leaving = seen(live), live.watch(), list[int]()
    for at in range(0, 60 * SAMPLES_PER_FRAME, TICK_SAMPLES):
        data += live.tick(TONE[at : at + TICK_SAMPLES])[0]
        leaving.append(live.num_frames)
    assert leaving == [8 + 10 * (n // 5 - 1) if n >= 5 else 0 for n in range(1, 31)], (
        "8, then 10 with each chunk that was heard"
    )
    assert flow.called == ["N0", "N1", "I0", "N2", "I1", "N3", "I2", "N4", "I3", "N5", "I4"]
    assert times(data, "video") == [1024 + 640 * n for n in range(58)]
    assert live.stream.skew_ms == 0
    whole = offline(TONE[: 60 * SAMPLES_PER_FRAME], generating(), 5)
    assert len(whole) == 60
    assert all(np.array_equal(one, other) for one, other in zip(pictures, whole, strict=False))
    assert not np.array_equal(whole[20], offline(TONE[: 60 * SAMPLES_PER_FRAME], generating(), 6)[20]), (
        "a seed is a draw"
    )
    told = live.vitals.figures()
    assert (told["frames"], told["mouth_range"]) == (58, None), "nothing is said of a motion that is not there"
    assert (told["frame_change"] or 0) > 0


def test_it_idles_in_silence_and_an_interrupt_is_seen_from_what_was_not_heard_yet() -> None:
    live, inbox = LiveSession(generating(), head(), SIDE), Inbox()
    pictures = seen(live)
    live.watch()

    def ticks(num: int) -> None:
        for _ in range(num):
            live.tick(inbox.due())
            inbox.said()

    ticks(10)
    inbox.queue(TONE)
    ticks(12)
    inbox.interrupt()
    ticks(15)
    shown = mouths(pictures)
    assert np.abs(shown[:20]).max() < 0.1, "at rest"
    assert np.ptp([p.astype(int) for p in pictures[:18]], axis=0).max() > 0, "and not frozen"
    assert shown[21:44].min() > 0.8
    assert np.abs(shown[45:]).max() < 0.1, "of four seconds one was said"


def test_another_checkpoint_goes_on_from_the_anchors_of_this_one_with_the_next_chunk() -> None:
    async def work() -> None:
        held = {"g0": generating(), "g1": generating("g1", Flow(seed=1, loud=0.5)), "m0": pipeline("m0")}
        sessions = Sessions(Checkpoints(held["g0"], held.__getitem__), 1)
        sessions.avatars["drawn"] = head()
        live = await sessions.open("s", "drawn", 5)
        pictures = seen(live)
        _, data = live.watch()
        for number in range(30):
            if number == 12:
                await sessions.follow(Split("g1", "", 0.0, 1))
                assert live.checkpoint == "g1"
            if number == 24:
                await sessions.follow(Split("m0", "", 0.0, 2))  # of another family: this session goes on as it is
                assert (live.checkpoint, sessions.state()["moving"]) == ("g1", 1)
            part = TONE[number * TICK_SAMPLES : (number + 1) * TICK_SAMPLES]
            data += live.tick(part)[0]
        shown, before = mouths(pictures), offline(TONE, generating(), 5)
        assert all(np.array_equal(one, other) for one, other in zip(pictures[:18], before, strict=False))
        assert shown[:18].min() > 0.9
        assert 0.4 < shown[19:].min() <= shown[19:].max() < 0.6, (
            "24 frames were heard; the chunk of 20 to 29 is the other's"
        )
        assert times(data, "video") == [1024 + 640 * n for n in range(58)]
        sessions.end()

    asyncio.run(work())


def test_chunks_of_other_lengths_are_for_new_sessions() -> None:
    live = LiveSession(generating(), head(), SIDE)
    with pytest.raises(ValueError, match="flow g1: has ChunkPlan.*it ends as it is, new ones get the other"):
        live.switch(generating("g1", Flow(ChunkPlan(12, 4, 2))))
    with pytest.raises(
        ValueError, match="session: runs generate, decode, and can't go on with motion, draw; new ones can"
    ):
        live.switch(pipeline())
    assert live.checkpoint == "g0"
    long: Module[Generator] = Module("flow", "g1", Flow(ChunkPlan(40, 4, 2)))
    with pytest.raises(ValueError, match="flow g1: chunks of 40 frames with seams of 4 are too long"):
        Generated(long)


def test_another_worker_goes_on_with_the_frame_that_comes_next() -> None:
    inbox, one = Inbox(), LiveSession(generating(), head(), SIDE, 5)
    data = one.watch()[1]
    inbox.queue(np.concatenate([TONE, TONE]))
    for _ in range(72):
        made, sent = one.tick(inbox.due())
        inbox.said()
        data += made
    assert sent.next_frame == 138
    first, past = inbox.past()
    assert first == 44, "the ring begins within a chunk"
    other = LiveSession(generating(), head(), SIDE, 5, Past(first, past, sent.next_frame, sent))
    for _ in range(10):
        made, sent = other.tick(inbox.due())
        inbox.said()
        data += made
    assert times(data, "video") == [1024 + 640 * n for n in range(158)]
    assert times(data, "audio") == [1024 * n for n in range(sent.runs)]


def test_a_recording_is_made_of_the_same_frames_as_a_live_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[np.ndarray] = []

    class Kept(Recording):
        def write(self, number: int, picture: np.ndarray, sound_N: np.ndarray) -> None:
            assert number == len(written)
            written.append(picture)
            super().write(number, picture, sound_N)

    monkeypatch.setattr(rendering, "Recording", Kept)
    said = TONE[: 63 * SAMPLES_PER_FRAME - 100]
    soundfile.write(tmp_path / "said.wav", said, 16_000)
    studio = Studio(generating(), head(), 5)
    told = dict(studio.said([(tmp_path / "said.wav", tmp_path / "out.mp4")]))[tmp_path / "said.wav"]
    assert not isinstance(told, ValueError)
    assert (told["frames"], told["checkpoint"], told["renderer"]) == (63, "g0", "")
    whole = offline(said, generating(), 5)
    assert len(whole) == 63
    assert all(np.array_equal(one, other) for one, other in zip(written, whole, strict=True))
    assert times((tmp_path / "out.mp4").read_bytes(), "video")[-1] > 0


def test_what_is_held_of_a_session_does_not_grow() -> None:
    flow = Flow()
    module: Module[Generator] = Module("flow", "g0", flow)
    running = Pipeline([module], [Generated(module)]).open(Session(head()))

    def bytes_held(told: Any) -> int:
        if isinstance(told, np.ndarray):
            return int(told.base.nbytes if told.base is not None else told.nbytes)
        if isinstance(told, list | tuple):
            return sum(bytes_held(one) for one in told)
        return sum(bytes_held(one) for one in vars(told).values()) if hasattr(told, "__dict__") else 0

    held = []
    for number in range(600):
        list(running.step(Chunk(number, TONE[:SAMPLES_PER_FRAME])))
        flow.called.clear()
        if number % 10 == 5:
            state = running._states[0]
            held.append(bytes_held([state.chunks._heard, state.chunks._made, state._rest]))
    assert set(held[2:]) == {held[2]}, "from the second chunk on"
