"""Two checkpoints in one server: who gets which, and sessions that change it under way."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import av
import numpy as np
import pytest

from serving.checkpoints import Split, share_of
from serving.engine import Chunk, Module, Session
from serving.inbox import TICK_SAMPLES
from serving.live import LiveSession
from serving.sessions import Sessions
from serving.talking import talking
from tests.unit.serving.talker import IDLE, head, held, painter, pipeline, tiny


def noise(num: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3000, num).astype(np.int16)


def test_a_canary_gets_its_share_of_sessions_by_their_ids_alone() -> None:
    told = held("c1")
    told.follow(Split("c0", "c1", 0.1, 1))
    ids = [f"session {n}" for n in range(2000)]
    routed = [told.route(i).modules[0].checkpoint for i in ids]
    assert 0.07 < routed.count("c1") / len(ids) < 0.13
    assert routed == [told.route(i).modules[0].checkpoint for i in ids]
    assert all((share_of(i) < 0.1) == (r == "c1") for i, r in zip(ids, routed, strict=True))


def test_one_that_cannot_be_loaded_is_refused_and_everybody_stays() -> None:
    told = held("c1")
    told.follow(Split("c0", "bad", 0.5, 1))
    assert told.refused == {"bad": "checkpoint bad: its weights are not what was published"}
    assert {told.route(f"s{n}").modules[0].checkpoint for n in range(50)} == {"c0"}
    told.follow(Split("bad", "", 0.0, 2))
    assert told.serving == "c0"
    assert told.stays("c0")
    told.follow(Split("c1", "", 0.0, 3))
    assert (told.serving, told.refused) == ("c1", {})
    told.drop(set())
    assert set(told.pipelines) == {"c1"}


def run(work: Callable[[Sessions], Awaitable[None]]) -> Sessions:
    sessions = Sessions(held("c1", "c2"), capacity=8)
    sessions.avatars["drawn"] = head()

    async def main() -> None:
        await work(sessions)

    asyncio.run(main())
    return sessions


def test_sessions_on_what_no_longer_serves_are_moved_and_the_others_stay() -> None:
    async def opened(sessions: Sessions, checkpoint: str) -> LiveSession:
        made = await sessions.open(f"on {checkpoint}", "drawn", 0, checkpoint)
        made.watch()
        made.tick(noise(TICK_SAMPLES))
        return made

    async def work(sessions: Sessions) -> None:
        old = await opened(sessions, "c0")
        await sessions.follow(Split("c0", "c1", 0.5, 1))
        young = await opened(sessions, "c1")
        assert [t.checkpoint for t in (old, young)] == ["c0", "c1"]
        await sessions.follow(Split("c0", "", 0.0, 2))  # rolled back
        assert [t.checkpoint for t in (old, young)] == ["c0", "c0"]
        assert set(sessions.checkpoints.pipelines) == {"c0"}
        await sessions.follow(Split("c0", "c2", 0.5, 3))
        newest = await opened(sessions, "c2")
        await sessions.follow(Split("c2", "", 0.0, 4))  # promoted
        assert {t.checkpoint for t in (old, young, newest)} == {"c2"}
        assert set(sessions.checkpoints.pipelines) == {"c2"}
        for talk in (old, young, newest):
            talk.tick(noise(TICK_SAMPLES))

    sessions = run(work)
    assert sessions.switches == 3
    assert sessions.slowest_switch_s < 0.02
    told = sessions.vitals()
    assert {name: v.sessions for name, v in told.items()} == {"c0": 2, "c1": 1, "c2": 3}
    assert sum(v.ticks for v in told.values()) == 6
    with pytest.raises(KeyError):
        asyncio.run(sessions.open("s", "drawn", 0, "c9"))


def test_a_session_that_cannot_be_moved_stays_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def work(sessions: Sessions) -> None:
        stuck, free = await sessions.open("stuck", "drawn", 0), await sessions.open("free", "drawn", 0)

        def fail(other: object) -> Callable[[], bool]:
            raise RuntimeError("there is no mouth")

        stuck._running.prepare = fail  # type: ignore[method-assign]
        await sessions.follow(Split("c1", "", 0.0, 1))
        assert (stuck.checkpoint, free.checkpoint, sessions.state()["moving"]) == ("c0", "c1", 1)
        await sessions.follow(Split("c2", "", 0.0, 2))
        assert (stuck.checkpoint, free.checkpoint) == ("c0", "c2")
        stuck.watch()
        assert stuck.tick(noise(TICK_SAMPLES))

    run(work)
    assert "a session could not be moved from c0 to c1" in caplog.text


def test_a_session_that_is_switched_under_way_loses_no_frame_and_stands_still_for_under_a_millisecond() -> None:
    live = LiveSession(pipeline(), head(), (128, 128))
    others = [pipeline("c1", seed=1), pipeline("c0")]
    _, data = live.watch()
    stop = threading.Event()

    def ticking() -> None:
        nonlocal data
        while not stop.is_set():
            data += live.tick(noise(TICK_SAMPLES))[0]

    thread = threading.Thread(target=ticking)
    thread.start()
    still = []
    try:
        for number in range(12):
            spent, before = live.switch(others[number % 2])
            still.append(spent)
            assert before.sessions == 1
            assert live.checkpoint == f"c{1 - number % 2}"
            shown = live.num_frames
            while live.num_frames == shown:
                time.sleep(0.002)
    finally:
        stop.set()
        thread.join(20)
    with av.open(io.BytesIO(data)) as container:
        times = [int(f.pts) for f in container.decode(video=0)]
    assert times == [1024 + 640 * n for n in range(len(times))]
    assert len(times) == live.num_frames > 12
    assert np.median(still) < 1e-3


def test_a_renderer_is_switched_under_way_as_quickly_and_the_motion_goes_on_as_it_was() -> None:
    motion, other = (Module("audio_to_motion", f"c{n}", (tiny(seed=n), IDLE)) for n in (0, 1))
    drawn, second = painter("r0", 0), painter("r1", 1)
    way = [talking(motion, drawn), talking(motion, second), talking(other, drawn), talking(motion)]
    live = LiveSession(talking(motion), head(), (128, 128))
    alone = talking(motion).open(Session(head()))
    _, data = live.watch()
    sound, still, seen = noise(TICK_SAMPLES * 40), [], dict[str, int]()

    def tick(number: int) -> tuple[bytes, list[np.ndarray], list[np.ndarray]]:
        part = sound[number * TICK_SAMPLES : (number + 1) * TICK_SAMPLES]
        drawings, rows = list[np.ndarray](), list[np.ndarray]()
        step = live._running.step

        def watched(chunk: Chunk) -> Iterator[Chunk]:
            for made in step(chunk):
                drawings.extend(made.frames)
                rows.append(made.motion)  # type: ignore[arg-type]
                yield made

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(live._running, "step", watched)
            return live.tick(part)[0], drawings, rows

    for number in range(40):
        made, drawings, rows = tick(number)
        data += made
        plain = list(alone.step(Chunk(2 * number, sound[number * TICK_SAMPLES : (number + 1) * TICK_SAMPLES])))
        if number < 24:
            for row, chunk in zip(rows, plain, strict=True):
                assert np.array_equal(row, chunk.motion), "what makes the motion was not touched"
            warped = [f for c in plain for f in c.frames]
            apart = [np.abs(a.astype(int) - b).max() for a, b in zip(drawings, warped, strict=True)]
            seen[live.checkpoint] = max([seen.get(live.checkpoint, 0), *apart])
        if number % 8 == 7 and number < 32:
            spent, before = live.switch(way[number // 8])
            still.append(spent)
            assert before.sessions == 1
            assert live.checkpoint == ["c0+r0", "c0+r1", "c1+r0", "c0"][number // 8]
    assert live.told()["checkpoint"] == "c0"
    assert live.told()["renderer"] == ""
    with av.open(io.BytesIO(data)) as container:
        times = [int(f.pts) for f in container.decode(video=0)]
    assert times == [1024 + 640 * n for n in range(live.num_frames)]
    assert seen["c0"] == 0
    assert min(seen["c0+r0"], seen["c0+r1"]) > 5
    assert np.median(still) < 1e-3


def test_a_session_goes_on_with_a_renderer_that_has_settled_on_what_was_drawn_last() -> None:
    motion, drawn = Module("audio_to_motion", "c0", (tiny(), IDLE)), painter()
    running, silence = talking(motion).open(Session(head())), np.zeros(TICK_SAMPLES, np.int16)
    for number in range(5):
        list(running.step(Chunk(2 * number, silence)))
    assert running.prepare(talking(motion, drawn))()
    first, *_, last = [f for n in range(5, 9) for c in running.step(Chunk(2 * n, silence)) for f in c.frames]
    fresh = talking(motion, drawn).open(Session(head()))
    begun, *_ = [f for n in range(9) for c in fresh.step(Chunk(2 * n, silence)) for f in c.frames]
    assert np.abs(first.astype(int) - last).mean() < np.abs(begun.astype(int) - last).mean()


def test_one_that_ticks_each_time_meanwhile_is_switched_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveSession(pipeline(), head(), (128, 128))
    live.watch()
    prepare, tries = live._running.prepare, 0

    def slow(module: object) -> Callable[[], bool]:
        nonlocal tries
        flip, tries = prepare(module), tries + 1  # type: ignore[arg-type]
        if tries <= 3:
            live.tick(noise(TICK_SAMPLES))
        return flip

    monkeypatch.setattr(live._running, "prepare", slow)
    live.switch(pipeline("c1", seed=1))
    assert (live.checkpoint, tries) == ("c1", 4)
