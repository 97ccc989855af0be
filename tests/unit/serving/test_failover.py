"""A session whose worker dies goes on with another one: frames, times, sound and motion, from what the gateway holds."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

from serving import remote, routing
from serving.checkpoints import Checkpoints, Split
from serving.engine import SAMPLE_HZ, Chunk, Pipeline, Session
from serving.inbox import RING_S, TICK_FRAMES, TICK_SAMPLES, Inbox
from serving.lines import LocalLine, LostError, packed, pair, unpacked
from serving.live import LiveSession, Past
from serving.publish import Fragments, Sent
from serving.remote import RefusedError
from serving.routing import Gateway, NoWorkerError, Talk
from serving.sessions import Sessions
from serving.speech_motion import SpeechMotion
from serving.worker import work
from tests.unit.serving.talker import head, held, pipeline

SIDE = (128, 128)


def voice(num: int) -> np.ndarray:
    """A tone in syllables: where it lies can be found again in what was coded."""
    t = np.arange(num) / SAMPLE_HZ
    return (9000 * np.sin(2 * np.pi * (300 + 40 * t) * t) * np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)).astype(np.int16)


def times(data: bytes, kind: str) -> list[int]:
    with av.open(io.BytesIO(data)) as container:
        return [int(f.pts) for f in container.decode(**{kind: 0})]  # type: ignore[union-attr]


def heard(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])


def apart(coded: np.ndarray, sound: np.ndarray) -> float:
    """The largest difference, RMS over a run, between a stream's sound and what was to be said."""
    runs = [(coded[at + 1024 : at + 2048], sound[at : at + 1024] / 32768) for at in range(0, len(coded) - 2048, 1024)]
    return max(float(np.sqrt(np.mean((one - other) ** 2))) for one, other in runs if len(other) == 1024)


def said(live: LiveSession, inbox: Inbox) -> tuple[bytes, Sent]:
    made = live.tick(inbox.due())
    inbox.said()
    return made


def recorded(live: LiveSession) -> list[np.ndarray]:
    """Motion as it is drawn."""
    kept: list[np.ndarray] = []
    saw = live._watch.saw

    def see(motion: np.ndarray, *told: Any) -> None:
        kept.extend(motion)
        saw(motion, *told)

    live._watch.saw = see  # type: ignore[method-assign]
    return kept


@pytest.mark.parametrize("before", [0, 1, 3, 45])
def test_what_another_worker_goes_on_with_is_the_same_stream(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.inbox.RING_S", 2.4)
    sound, inbox = voice(TICK_SAMPLES * 55), Inbox()
    whole_session = SpeechMotion(pipeline().modules[0])
    motion = next(iter(whole_session.step(whole_session.begin(Session(head(), 7)), Chunk(0, sound)))).motion
    assert motion is not None
    inbox.hear(sound)
    one = LiveSession(pipeline(), head(), SIDE, 7)
    data, sent = one.watch()[1], one.stream.sent
    for _ in range(before):
        made, sent = said(one, inbox)
        data += made
    first, past = inbox.past()
    other = LiveSession(pipeline(), head(), SIDE, 7, Past(first, past, sent.next_frame, sent))
    assert other.stream.header == one.stream.header
    again = recorded(other)
    for _ in range(55 - before):
        made, sent = said(other, inbox)
        data += made
    assert times(data, "video") == [1024 + 640 * n for n in range(109)]
    assert times(data, "audio") == [1024 * n for n in range(sent.runs)]
    assert other.stream.skew_ms == 0
    assert apart(heard(data), sound) < 0.03, "nothing is left out or said twice"
    assert np.abs(np.array(again) - motion[109 - len(again) : 109]).max() < 0.05


def test_a_ring_is_of_one_size_however_long_a_session_lasts() -> None:
    inbox = Inbox()
    for _ in range(1000):
        inbox.due()
        inbox.said()
    first, sound = inbox.past()
    assert len(sound) == RING_S * SAMPLE_HZ
    assert first + len(sound) // 640 == inbox.place == 1000 * TICK_FRAMES


class Workers:
    """Workers of one process, each of whose lines can be cut, or made to say nothing any more."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.lines: dict[str, LocalLine] = {}
        self.sessions: dict[str, Sessions] = {}
        self.tasks: list[asyncio.Task[Any]] = []

    async def start(self, name: str, capacity: int = 2, checkpoints: Checkpoints | None = None) -> None:
        ours, theirs = pair()
        self.lines[name], self.sessions[name] = ours, Sessions(checkpoints or held("c1"), capacity)
        self.tasks += [
            asyncio.create_task(self.gateway.attach(ours)),
            asyncio.create_task(work(self.sessions[name], theirs, name)),
        ]
        while name not in self.gateway.workers:
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def run(to_do: Callable[[Gateway, Workers], Awaitable[None]]) -> Gateway:
    gateway = Gateway([head()], "key")

    async def main() -> None:
        workers = Workers(gateway)
        try:
            await to_do(gateway, workers)
        finally:
            await workers.end()

    asyncio.run(main())
    return gateway


async def opened(gateway: Gateway) -> Talk:
    made = await gateway.open("drawn")
    assert made is not None
    return made


def test_a_session_moves_to_another_worker_and_its_viewer_gets_every_frame_once() -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        await workers.start("b")
        talk, sound = await opened(gateway), voice(TICK_SAMPLES * 60)
        talk.inbox.hear(sound)
        data = (await gateway.watch(talk))[1]
        for number in range(60):
            if number == 19:
                await gateway.refresh()
            if number in (20, 40):  # in the middle of a tick, and between two
                doing = asyncio.create_task(gateway.tick(talk))
                if number == 20:
                    await asyncio.sleep(0.005)
                workers.lines[talk.worker.name].cut()
                if number == 40:
                    await workers.start("c")
                data += (await doing)[0]
            else:
                data += (await gateway.tick(talk))[0]
        assert times(data, "video") == [1024 + 640 * n for n in range(119)]
        assert talk.inbox.place == 120
        assert apart(heard(data), sound) < 0.03
        assert (talk.worker.name, gateway.moves, gateway.lost_workers) == ("c", 2, 2)

    gateway = run(to_do)
    assert gateway.slowest_move_s < 5
    told = sum(v.sessions for v in gateway.vitals().values())
    assert told >= 1, "what dead workers told last still counts"


def test_a_worker_that_says_nothing_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LOST_S", 0.3)
    monkeypatch.setattr("serving.worker.STATE_S", 0.05)

    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        talk = await opened(gateway)
        await workers.start("b")
        await gateway.watch(talk)
        workers.tasks[1].cancel()  # it hangs: its line stays open
        began = time.monotonic()
        await gateway.tick(talk)
        assert talk.worker.name == "b"
        assert 0.1 < time.monotonic() - began < 3

    run(to_do)


def test_when_no_other_worker_is_there_a_session_waits_for_one_and_then_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing, "PATIENCE_S", 0.5)

    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a", capacity=1)
        talk = await opened(gateway)
        await gateway.watch(talk)
        await gateway.tick(talk)
        workers.lines["a"].cut()
        doing = asyncio.create_task(gateway.tick(talk))
        await asyncio.sleep(0.1)
        await workers.start("b", capacity=1)
        await doing
        assert talk.next_frame == 3
        workers.lines["b"].cut()
        with pytest.raises(NoWorkerError, match="its worker died, and there is no other"):
            await gateway.tick(talk)
        assert (gateway.free, gateway.capacity) == (0, 0)
        assert await gateway.open("drawn") is None

    run(to_do)


def test_moved_sessions_may_crowd_a_worker_but_new_ones_are_refused() -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a", capacity=1)
        await workers.start("b", capacity=1)
        talks = [await opened(gateway), await opened(gateway)]
        assert {t.worker.name for t in talks} == {"a", "b"}, "each on the one with most room"
        for talk in talks:
            await gateway.watch(talk)
        workers.lines["a"].cut()
        for talk in talks:
            await gateway.tick(talk)
        assert [t.worker.name for t in talks] == ["b", "b"]
        assert await gateway.open("drawn") is None
        await workers.start("a2", capacity=2)
        assert (await opened(gateway)).worker.name == "a2"

    run(to_do)


def test_a_session_keeps_its_checkpoint_where_the_other_worker_holds_it() -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        await workers.start("b")
        await gateway.follow(Split("c0", "c1", 0.5, 1))
        while not all("c1" in w.state["held"] for w in gateway.workers.values()):
            await asyncio.sleep(0.01)
        talk = await gateway.open("drawn", "c1")
        assert talk is not None
        await gateway.watch(talk)
        await gateway.tick(talk)
        workers.lines[talk.worker.name].cut()
        await gateway.tick(talk)
        assert talk.checkpoint == "c1"
        await gateway.follow(Split("c0", "", 0.0, 2))
        until = time.monotonic() + 10
        while talk.checkpoint != "c0" and time.monotonic() < until:
            await gateway.refresh()
        assert talk.checkpoint == "c0"
        with pytest.raises(RefusedError, match="there is no 'c9' here"):
            await gateway.open("drawn", "c9")

    run(to_do)


def test_a_viewer_who_leaves_in_the_middle_of_a_tick_leaves_the_clock_whole() -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        talk = await opened(gateway)
        await gateway.watch(talk)
        await gateway.tick(talk)
        doing = asyncio.create_task(gateway.tick(talk))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        doing.cancel()
        data = (await gateway.watch(talk))[1]
        assert (talk.inbox.place, talk.sent) == (4, Sent(3, 3, 0, 0))
        data += (await gateway.tick(talk))[0]
        assert times(data, "video")[:2] == [1024, 1664]

    run(to_do)


def test_whoever_goes_away_while_a_session_opens_leaves_none_that_nobody_knows() -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        doing = asyncio.create_task(gateway.open("drawn"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        doing.cancel()
        while not workers.sessions["a"].lives:
            await asyncio.sleep(0.005)
        await gateway.refresh()
        assert set(gateway.talks) == set(workers.sessions["a"].lives)
        for talk in list(gateway.talks.values()):
            gateway.close(talk)
        while workers.sessions["a"].lives:
            await asyncio.sleep(0.005)
        assert gateway.free == 2

    run(to_do)


def test_a_model_that_fails_ends_its_session_and_no_other() -> None:
    def broken(name: str) -> Pipeline[Chunk]:
        made = pipeline(name)

        def fail(*_: object) -> None:
            raise RuntimeError("it can't draw")

        made.stages[1].step = fail  # type: ignore[method-assign, assignment]
        return made

    async def to_do(gateway: Gateway, workers: Workers) -> None:
        checkpoints = Checkpoints(pipeline("c0"), broken)
        checkpoints.follow(Split("c0", "c1", 0.5, 1))
        await workers.start("a", checkpoints=checkpoints)
        bad, good = await gateway.open("drawn", "c1"), await gateway.open("drawn", "c0")
        assert bad is not None
        assert good is not None
        for talk in (bad, good):
            await gateway.watch(talk)
        with pytest.raises(RefusedError, match="worker a: tick: RuntimeError: it can't draw"):
            await gateway.tick(bad)
        assert (await gateway.tick(good))[0]

    run(to_do)


def test_a_worker_with_a_name_that_is_taken_is_turned_away() -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        ours, theirs = pair()
        await theirs.send({"hello": "a", "capacity": 1, "state": {}})
        with pytest.raises(LostError, match="a worker named a is here already"):
            await gateway.attach(ours)

    run(to_do)


def test_a_stream_whose_header_changes_tells_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def to_do(gateway: Gateway, workers: Workers) -> None:
        await workers.start("a")
        talk = await opened(gateway)
        await gateway.watch(talk)
        await gateway.tick(talk)
        await workers.start("b")
        talk.header = talk.header[:-1] + b"x"
        workers.lines["a"].cut()
        assert (await gateway.tick(talk))[0].startswith(Fragments(SIDE).header[:8])
        assert not (await gateway.tick(talk))[0].startswith(Fragments(SIDE).header[:8])

    run(to_do)


def test_messages_are_words_and_bytes() -> None:
    assert unpacked(packed({"n": 3}, b"abc")) == ({"n": 3}, b"abc")
    for data in (b"", b"\0\0\0\x05{", packed({})[:4] + b"[]"):
        with pytest.raises(LostError, match="can't be read|must be an object"):
            unpacked(data)
    assert replace(Sent(0, 1, 2, 3), runs=4) == Sent(0, 1, 2, 4)
