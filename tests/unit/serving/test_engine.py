"""The engine with stages whose output is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.engine import Chunk, Module, Pipeline, Session


def chunk(number: int, level: int = 1) -> Chunk:
    return Chunk(number, np.full(640, level, np.int16))


class Doubling:
    """Holds one chunk back, and doubles its sound."""

    remembers = True

    def __init__(self, name: str) -> None:
        self.name, self.begun = name, 0

    def begin(self, session: Session) -> list[Chunk]:
        self.begun += 1
        return []

    def step(self, state: list[Chunk], chunk: Chunk) -> Iterator[Chunk]:
        state.append(replace(chunk, sound=2 * chunk.sound))
        if len(state) > 1:
            yield state.pop(0)

    def end(self, state: list[Chunk]) -> Iterator[Chunk]:
        yield from state
        state.clear()


def levels(chunks: Any) -> list[tuple[int, int]]:
    return [(c.first_frame, int(c.sound[0])) for c in chunks]


def test_chunks_go_through_all_stages_in_order_and_what_is_held_back_comes_at_the_end() -> None:
    stages = [Doubling("a"), Doubling("b")]
    session = Session("somebody")
    running = Pipeline([Module("m", "c1", None)], stages).open(session)
    during = [levels(running.step(chunk(n, n + 1))) for n in range(4)]
    assert during == [[], [], [(0, 4)], [(1, 8)]]
    assert levels(running.end()) == [(2, 12), (3, 16)]
    assert levels(running.end()) == []
    assert [s.begun for s in stages] == [1, 1]
    assert set(session.told) == {"a", "b"}
    assert chunk(3).first_sample == 3 * 640


def test_sessions_know_nothing_of_each_other() -> None:
    pipeline = Pipeline([], [Doubling("a")])
    first, second = pipeline.open(Session(1)), pipeline.open(Session(2))
    assert levels(first.step(chunk(0, 1))) == []
    assert levels(second.step(chunk(0, 5))) == []
    assert levels(first.step(chunk(1, 1))) == [(0, 2)]
    assert levels(second.end()) == [(0, 10)]


def test_what_cannot_be_says_so() -> None:
    with pytest.raises(ValueError, match="must be there and have names of their own"):
        Pipeline([], [])
    with pytest.raises(ValueError, match="must be there and have names of their own"):
        Pipeline([], [Doubling("a"), Doubling("a")])
    running = Pipeline([], [Doubling("a")]).open(Session(1))
    list(running.end())
    with pytest.raises(ValueError, match="its sound has ended; open another one"):
        list(running.step(chunk(0)))
