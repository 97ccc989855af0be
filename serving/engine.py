"""The engine: modules, stages, and a pipeline that runs a session chunk by chunk until its sound ends.

A module is a model with its checkpoint, loaded once and shared by all sessions. A stage is one unit of work on a chunk; all
that it remembers of a session is the state that it made for it, of one size however long the session lasts. A pipeline is a
row of stages. Time is counted in samples of the sound, nowhere else, so that picture and sound can't drift apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

SAMPLE_HZ = 16_000
SAMPLES_PER_FRAME = 640

M = TypeVar("M")
C = TypeVar("C")


@dataclass(frozen=True)
class Module(Generic[M]):
    """A model, what it is called, and the checkpoint that it was loaded from ("" for one that needs no training)."""

    name: str
    checkpoint: str
    model: M


@dataclass
class Chunk:
    """A window of a session. Stages fill in what they make; `first_frame` counts from the session's begin.

    `sound` int16 (640 T,), `motion` float32 (T, 9), None in a family that makes none; `frames` T pictures RGB uint8 (H, W, 3), or
    what a later stage makes them of; `squares` T times where the mouth's square lies in the picture, (2, 3), as
    modeling/mouth_crop.py has it.
    """

    first_frame: int
    sound: np.ndarray
    motion: np.ndarray | None = None
    frames: Sequence[np.ndarray] = ()
    squares: Sequence[np.ndarray] = ()

    @property
    def first_sample(self) -> int:
        return self.first_frame * SAMPLES_PER_FRAME


class Stage(Protocol[C]):
    """`begin` makes the state of one session; `step` takes what the stage before gave, and gives nothing or more chunks;
    `end` gives what was held back. Both change the state."""

    name: str
    remembers: bool
    """False for one to whom the chunks before don't matter: it is left out when a session is warmed up."""

    def begin(self, session: Session) -> Any: ...

    def step(self, state: Any, chunk: C) -> Iterable[C]: ...

    def end(self, state: Any) -> Iterable[C]: ...


@runtime_checkable
class Switching(Protocol):
    """A stage whose module can be changed under way, for that of `other`, a stage of the same name. `prepare` may run beside a
    step; what it gives changes the module, between two steps, and is False when the session went on meanwhile."""

    def prepare(self, state: Any, other: Any) -> Callable[[], bool]: ...


@dataclass
class Session:
    """One viewer's stream: what was encoded once at its begin (the avatar), and its seed."""

    identity: Any
    seed: int = 0
    first_frame: int = 0
    """Of its first chunk; above 0 when it was begun elsewhere and goes on here."""
    told: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""


class Pipeline(Generic[C]):
    """A row of stages, and the modules that they share. `open` begins a session; one thread at a time runs it."""

    def __init__(self, modules: Sequence[Module[Any]], stages: Sequence[Stage[C]]) -> None:
        names = [s.name for s in stages]
        if not stages or len(set(names)) != len(names):
            raise ValueError(f"pipeline: stages {names} must be there and have names of their own")
        self.modules, self.stages = tuple(modules), tuple(stages)

    def open(self, session: Session) -> Running[C]:
        return Running(session, self.stages, [stage.begin(session) for stage in self.stages])

    def stage(self, name: str) -> Stage[C]:
        return next(stage for stage in self.stages if stage.name == name)


class Running(Generic[C]):
    """A session on its pipeline."""

    def __init__(self, session: Session, stages: Sequence[Stage[C]], states: list[Any]) -> None:
        self.session, self._stages, self._states = session, stages, states
        self._ended = False

    def step(self, chunk: C) -> Iterator[C]:
        """What the last stage gives for one more chunk. Raises ValueError after the end."""
        if self._ended:
            raise ValueError("session: its sound has ended; open another one")
        yield from self._through([chunk], 0)

    def warm(self, chunk: C) -> None:
        """Hears what was put out elsewhere: the stages up to the first that remembers nothing, and nothing comes of it."""
        made: list[C] = [chunk]
        for stage, state in zip(self._stages, self._states, strict=True):
            if not stage.remembers:
                return
            made = [after for one in made for after in stage.step(state, one)]

    def end(self) -> Iterator[C]:
        """What the stages still held back. A session ends once."""
        if self._ended:
            return
        self._ended = True
        for place in range(len(self._stages)):
            yield from self._through(self._timed(place, self._stages[place].end(self._states[place])), place + 1)

    def prepare(self, other: Pipeline[C]) -> Callable[[], bool]:
        """Makes the modules of another pipeline with the same stages ready beside those that run; any thread may call it.
        What it gives switches to them, between two steps and at the cost of some pointers. It is False when the session went
        on meanwhile, and nothing has changed: prepare again. Raises ValueError for a pipeline of other stages, and what its stages
        do: the session then stays as it is."""
        names, others = ([stage.name for stage in of] for of in (self._stages, other.stages))
        if names != others:
            raise ValueError(
                f"session: runs {', '.join(names)}, and can't go on with {', '.join(others)}; new ones can"
            )
        told = zip(self._stages, self._states, strict=True)
        flips = [stage.prepare(state, other.stage(stage.name)) for stage, state in told if isinstance(stage, Switching)]
        # All or none: that of the motion, which comes first, is the only one that the session's going on makes stale.
        return lambda: all(flip() for flip in flips)

    def _through(self, chunks: Iterable[C], place: int) -> Iterator[C]:
        if place == len(self._stages):
            yield from chunks
            return
        for chunk in chunks:
            yield from self._through(
                self._timed(place, self._stages[place].step(self._states[place], chunk)), place + 1
            )

    def _timed(self, place: int, made: Iterable[C]) -> Iterator[C]:
        """The same chunks; counts the time that making them takes."""
        told, name, rest = self.session.told, self._stages[place].name, iter(made)
        while True:
            began = time.perf_counter()
            chunk = next(rest, None)
            told[name] = told.get(name, 0.0) + time.perf_counter() - began
            if chunk is None:
                return
            yield chunk
