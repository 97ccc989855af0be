"""What is given out when, to a viewer whose player keeps no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import av
import numpy as np
import pytest

from serving import paced
from serving.fragments import parameter_sets, pieces, split_units
from serving.inbox import TICK_SAMPLES
from serving.paced import MOST_PICTURES, MOST_SOUND, Paced, Timed
from serving.publish import PRIMING, Fragments
from tests.unit.serving.test_outputs import STILL
from tests.unit.serving.test_publish import SIDE, picture, tone


def fed(made: Paced, stream: Fragments, ticks: range, shown: Callable[[int], np.ndarray] = picture) -> None:
    for tick in ticks:
        numbers = (2 * tick, 2 * tick + 1)
        made.say(2 * tick, np.concatenate([tone(n) for n in numbers]), None)
        made.put(b"".join(stream.write(n, shown(n), tone(n)) for n in numbers))


def test_pictures_and_sound_count_one_clock_and_come_when_they_are_due() -> None:
    async def take() -> tuple[list[tuple[float, Timed]], list[tuple[float, Timed]]]:
        made, stream = Paced(), Fragments(SIDE)
        made.begin(stream.header)
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, Timed]] = []
        said: list[tuple[float, Timed]] = []

        async def pictures() -> None:
            while len(seen) < 10:
                told = await made.picture()
                seen.append((loop.time(), told))

        async def sounds() -> None:
            while len(said) < 20:
                told = await made.sound()
                said.append((loop.time(), told))

        tasks = [asyncio.create_task(pictures()), asyncio.create_task(sounds())]
        for tick in range(5):
            fed(made, stream, range(tick, tick + 1))
            await asyncio.sleep(0.08)
        await asyncio.gather(*tasks)
        return seen, said

    seen, said = asyncio.run(take())
    assert [t.time for _, t in seen] == [PRIMING + 640 * n for n in range(10)]
    assert [t.time for _, t in said] == [said[0][1].time + 320 * n for n in range(20)]
    assert -160 < said[0][1].time - PRIMING <= 0, "an Opus coder is 6.5 ms behind what it hears"
    for came, (first_at, first) in ((seen, seen[0]), (said, seen[0])):
        late = [at - first_at - (told.time - first.time) / 16_000 for at, told in came]
        assert min(late) > -0.02
        assert max(late) < 0.2
    decoder = av.CodecContext.create("h264", "r")
    shown = [f for _, told in seen for f in decoder.decode(av.Packet(told.data))] + decoder.decode(None)
    assert len(shown) == 10
    assert shown[5].to_ndarray(format="rgb24").mean() == pytest.approx(35, abs=4)


def test_old_pictures_go_when_a_viewer_is_slow_and_sound_never_does() -> None:
    async def feed() -> Paced:
        made, stream = Paced(), Fragments(SIDE)
        made.begin(stream.header)
        fed(made, stream, range(MOST_SOUND // 4))
        assert not made.is_full
        assert (await made.picture()).is_key, "what is given out after a gap stands for itself"
        fed(made, stream, range(MOST_SOUND // 4, MOST_SOUND // 4 + 1))
        return made

    made = asyncio.run(feed())
    assert len(made._pictures) <= MOST_PICTURES
    assert made.dropped > 0
    assert len(made._sounds) == MOST_SOUND + 4
    assert made.is_full, "then the viewer is let go"


def test_a_line_that_loses_much_gets_whole_pictures_only() -> None:
    made, stream = Paced(), Fragments(SIDE)
    made.begin(stream.header)
    made.thin = True
    fed(made, stream, range(50), lambda n: STILL)
    assert [told.is_key for told in made._pictures] == [True] * 4
    made.thin = False
    fed(made, stream, range(50, 60), lambda n: STILL)
    assert len(made._pictures) == 4 + 20
    assert len(made._sounds) == 60 * TICK_SAMPLES // 320


def test_what_a_viewer_fell_behind_by_is_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(paced.time, "monotonic", lambda: now[0])
    made, stream = Paced(), Fragments(SIDE)
    made.begin(stream.header)
    fed(made, stream, range(1))
    zero = max(made._zeros)
    now[0] += 0.5  # a worker died
    fed(made, stream, range(1, 7))
    assert max(made._zeros) == pytest.approx(zero + 0.42)
    for tick in range(7, 7 + paced.REMEMBERED):
        now[0] = 100 + tick * 0.08
        fed(made, stream, range(tick, tick + 1))
    assert max(made._zeros) == pytest.approx(zero)


def test_a_picture_is_found_in_its_fragment() -> None:
    stream = Fragments(SIDE)
    made = stream.write(0, picture(0), tone(0))
    sets = parameter_sets(stream.header)
    assert [unit[0] & 31 for unit in split_units(sets)] == [7, 8]
    (piece,) = pieces(made)
    assert 5 in [unit[0] & 31 for unit in split_units(piece.picture)]
    assert len(av.CodecContext.create("h264", "r").decode(av.Packet(sets + piece.picture))) in (0, 1)
