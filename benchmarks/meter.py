"""Processor time of the engine by part, taken from the engine itself while it runs.

`Meter.installed()` puts a clock around the doors of the engine (signals, frames, pyramid, sound, prefilter) and takes
it off again. Time is exclusive: what a signal spends in the pyramid counts for the pyramid. It is that of all threads
of this process; children are counted by whoever waits for them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import tasks.transnet
from tasks.media.media import Media
from tasks.media.prefilter import GrayStream
from tasks.media.reader import Reader
from tasks.signal import LoadedSignal
from tasks.signals import discover


def process_cpu_s(pid: int) -> float:
    """Processor time of another process of this user, in steps of nanoseconds (Linux: its CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


@dataclass(frozen=True)
class Call:
    """One request for frames that the engine made: `method` of Reader with these arguments."""

    method: str
    proxy: Path
    arguments: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Ask:
    """One level of the pyramid that a signal asked for, or one crop, of which `longest_side_px` is the side."""

    signal: str
    frame: int
    longest_side_px: int | None
    pixels: str
    to_image: tuple[float, ...] | None = None


Span = tuple[int, int]


@dataclass
class Meter:
    """`cpu_s` by (stage, part). `asks` are by call and span of the Media that was asked; `spans` lists all."""

    cpu_s: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    asks: dict[tuple[Call, Span], list[Ask]] = field(default_factory=lambda: defaultdict(list))
    calls: list[Call] = field(default_factory=list)
    _parts: list[tuple[str, str]] = field(default_factory=list)
    _since: float = 0.0
    _looking: tuple[Call, Span] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Parts within are this stage's; what is in no part of it is its "engine"."""
        with self._timed((name, "engine")):
            yield

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        stage = self._parts[-1][0] if self._parts else ""
        with self._timed((stage, name)):
            yield

    @contextmanager
    def _timed(self, part: tuple[str, str]) -> Iterator[None]:
        self._switch()
        self._parts.append(part)
        try:
            yield
        finally:
            self._switch()
            self._parts.pop()

    def _switch(self) -> None:
        now = time.process_time()
        if self._parts:
            self.cpu_s[self._parts[-1]] += now - self._since
        self._since = now

    @contextmanager
    def installed(self) -> Iterator[None]:
        signals = {name: replace(s, compute=self._compute(s)) for name, s in discover().items()}
        with ExitStack() as stack:
            stack.enter_context(patch.dict(discover(), signals))
            stack.enter_context(patch.object(Media, "image", self._image(Media.image)))
            stack.enter_context(patch.object(Media, "crop", self._crop(Media.crop)))
            stack.enter_context(patch.object(Reader, "blocks", self._blocks(Reader.blocks)))
            stack.enter_context(patch.object(Reader, "sampled", self._sampled(Reader.sampled)))
            stack.enter_context(patch.object(Reader, "read_audio", self._plain("sound", Reader.read_audio)))
            stack.enter_context(patch.object(GrayStream, "take", self._plain("prefilter", GrayStream.take)))
            # `cuts` has bound the name, so it is patched there.
            transnet = self._plain("transnetv2", tasks.transnet.transitions)
            stack.enter_context(patch("tasks.signals.cuts.transitions", transnet))
            yield

    def _plain(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return call(*arguments, **named)

        return timed

    def _compute(self, signal: LoadedSignal) -> Callable[..., Any]:
        return self._plain(signal.name, signal.compute)

    def _image(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def image(media: Media, frame: int, longest_side_px: int | None = None, pixels: str = "rgb") -> Any:
            if self._parts[-1][1] == "resample":  # a level made of another one
                return call(media, frame, longest_side_px, pixels)
            if self._looking:
                self.asks[self._looking].append(Ask(self._parts[-1][1], frame, longest_side_px, pixels))
            with self.part("resample"):
                return call(media, frame, longest_side_px, pixels)

        return image

    def _crop(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def crop(media: Media, frame: int, to_image: np.ndarray, size_px: int) -> Any:
            if self._looking:
                told = Ask(self._parts[-1][1], frame, size_px, "rgb", tuple(to_image.ravel().tolist()))
                self.asks[self._looking].append(told)
            with self.part("crops"):
                return call(media, frame, to_image, size_px)

        return crop

    def _blocks(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def blocks(reader: Reader, proxy: Path, audio: Any, num_frames: int, start: int, end: int, **named: Any) -> Any:
            told = {"num_frames": num_frames, "start": start, "end": end, **named}
            seen = self._called("blocks", proxy, told)
            made = call(reader, proxy, audio, num_frames, start, end, **named)
            while True:
                with self.part("frames"):
                    media = next(made, None)
                if media is None:
                    return
                self._looking = (seen, (media.start_frame, media.end_frame))
                yield media

        return blocks

    def _sampled(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def sampled(reader: Reader, proxy: Path, audio: Any, start: int, end: int, fps: Any, **named: Any) -> Any:
            seen = self._called("sampled", proxy, {"start": start, "end": end, "fps": fps, **named})
            self._looking = (seen, (start, end))
            with self.part("frames"):
                return call(reader, proxy, audio, start, end, fps, **named)

        return sampled

    def _called(self, method: str, proxy: Path, arguments: dict[str, Any]) -> Call:
        self.calls.append(Call(method, proxy, tuple(arguments.items())))
        return self.calls[-1]
