"""Decode and resample as the engine asked for them, against a bare PyAV pass over the same proxies.

All ways are run over each file in turn and again, so that a slow moment of the machine meets all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.meter import Ask, Call, Meter, Span, process_cpu_s
from tasks.media.media import Media
from tasks.media.reader import Reader
from tasks.signals import discover

LIMIT_RATIO = 1.2

Asks = dict[Span, list[Ask]]


@dataclass
class Spent:
    """CPU-seconds of one way through all files, by who spends them.

    Crops, which nobody shares, are told apart and are in no sum.
    """

    child_s: float = 0.0
    reader_s: float = 0.0
    resample_s: float = 0.0
    crops_s: float = 0.0

    @property
    def sum_s(self) -> float:
        return self.child_s + self.reader_s + self.resample_s


@dataclass
class Round:
    """One run over all files. `own` is what each signal's own decode and pyramid would cost, by signal."""

    bare_s: float = 0.0
    timelines: Spent = field(default_factory=Spent)
    clips: Spent = field(default_factory=Spent)
    own: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.timelines.sum_s / self.bare_s

    @property
    def ratio_with_clips(self) -> float:
        return (self.timelines.sum_s + self.clips.sum_s) / self.bare_s

    @property
    def saved_ratio(self) -> float:
        """Own decodes over shared ones."""
        return sum(self.own.values()) / (self.timelines.sum_s + self.clips.sum_s)


def bare_pass(video: Path) -> tuple[float, int]:
    """CPU-seconds of decoding alone, by PyAV in this thread, and the number of frames."""
    import av

    began, count = time.process_time(), 0
    with av.open(f"file:{video}") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.thread_count = 1
        for _ in container.decode(stream):
            count += 1
    return time.process_time() - began, count


def child_start_s(proxy: Path) -> float:
    """CPU-seconds that a decoding child takes before its first frame."""
    with Reader() as reader:
        reader.sampled(proxy, None, 0, 1, 25)
        assert reader.child_pid is not None
        return process_cpu_s(reader.child_pid)


def rounds(meter: Meter, repeats: int) -> list[Round]:
    """The engine's calls again, `repeats` times, each time with fresh readers."""
    by_proxy: dict[Path, list[Call]] = {}
    for call in dict.fromkeys(meter.calls):
        by_proxy.setdefault(call.proxy, []).append(call)
    asks: dict[Call, Asks] = {}
    for (call, span), asked in meter.asks.items():
        asks.setdefault(call, {})[span] = asked
    return [_round(by_proxy, asks) for _ in range(repeats)]


def _round(by_proxy: dict[Path, list[Call]], asks: dict[Call, Asks]) -> Round:
    made = Round()
    with Reader() as reader:
        reader.sampled(next(iter(by_proxy)), None, 0, 1, 25)  # its start is told apart
        for proxy, calls in by_proxy.items():
            made.bare_s += bare_pass(proxy)[0]
            for call in calls:
                spent = made.timelines if call.method == "blocks" else made.clips
                replay(reader, call, asks.get(call, {}), spent)
            for name, own, asked in _own_calls(calls, asks):
                spent = Spent()
                replay(reader, own, asked, spent)
                made.own[name] = made.own.get(name, 0.0) + spent.sum_s
    return made


def _own_calls(calls: Sequence[Call], asks: dict[Call, Asks]) -> Iterator[tuple[str, Call, Asks]]:
    """What each signal would ask for alone: its frame rate, its context, its levels."""
    for call in calls:
        grain = "video" if call.method == "blocks" else "clip"
        for name, signal in discover().items():
            look = signal.spec.look
            if signal.spec.grain != grain or not look.frames_fps:
                continue
            context = {"context_frames": look.context_frames} if grain == "video" else {}
            told = {**dict(call.arguments), "fps": look.frames_fps, **context}
            mine = {s: [a for a in asked if a.signal == name] for s, asked in asks.get(call, {}).items()}
            yield name, Call(call.method, call.proxy, tuple(told.items())), mine


def replay(reader: Reader, call: Call, asks: Asks, spent: Spent) -> None:
    """Decodes as the call says and makes the levels asked for; adds the cost to `spent`."""
    assert reader.child_pid is not None
    pid, child_began = reader.child_pid, process_cpu_s(reader.child_pid)
    began = time.process_time()
    for media in _medias(reader, call):
        decoded = time.process_time()
        spent.reader_s += decoded - began
        asked = asks.get((media.start_frame, media.end_frame), [])
        for ask in asked:
            if ask.to_image is None:
                media.image(ask.frame, ask.longest_side_px, ask.pixels)  # type: ignore[arg-type]
        resampled = time.process_time()
        spent.resample_s += resampled - decoded
        for ask in asked:
            if ask.to_image is not None and ask.longest_side_px is not None:
                media.crop(ask.frame, np.array(ask.to_image).reshape(2, 3), ask.longest_side_px)
        began = time.process_time()
        spent.crops_s += began - resampled
    spent.reader_s += time.process_time() - began
    if reader.child_pid != pid:  # recycled in between: all of the new one is this call's
        pid, child_began = reader.child_pid, 0.0
    spent.child_s += process_cpu_s(pid) - child_began


def _medias(reader: Reader, call: Call) -> Iterator[Media]:
    told: dict[str, Any] = dict(call.arguments)
    if call.method == "sampled":
        yield reader.sampled(call.proxy, None, **told)
    else:
        yield from reader.blocks(call.proxy, None, **told)


def report(made: Sequence[Round], start_s: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Tells and returns the ratios, medians and ranges over the rounds."""
    frames_s = {
        "bare PyAV pass": _values(made, lambda r: r.bare_s),
        "timelines: decoding child": _values(made, lambda r: r.timelines.child_s),
        "timelines: reader": _values(made, lambda r: r.timelines.reader_s),
        "timelines: resample": _values(made, lambda r: r.timelines.resample_s),
        "timelines: crops": _values(made, lambda r: r.timelines.crops_s),
        "clips: decoding child": _values(made, lambda r: r.clips.child_s),
        "clips: reader": _values(made, lambda r: r.clips.reader_s),
        "clips: resample": _values(made, lambda r: r.clips.resample_s),
    }
    say("| decoding, CPU-s over all files | median (range) | over the bare pass |\n|---|---|---|")
    bare = statistics.median(frames_s["bare PyAV pass"])
    for name, values in frames_s.items():
        say(f"| {name} | {spread(values)} | {statistics.median(values) / bare:.2f} |")
    ratios = {
        "ratio": _values(made, lambda r: r.ratio),
        "ratio_with_crops": _values(made, lambda r: r.ratio + r.timelines.crops_s / r.bare_s),
        "ratio_with_clips": _values(made, lambda r: r.ratio_with_clips),
        "own_over_shared": _values(made, lambda r: r.saved_ratio),
    }
    say(f"\ndecode and resample of the timelines over a bare pass: {spread(ratios['ratio'])}, limit {LIMIT_RATIO}")
    say(f"with the crops of single signals: {spread(ratios['ratio_with_crops'])}")
    say(f"with the decode of the clips: {spread(ratios['ratio_with_clips'])}")
    say(f"each signal with a decode of its own, over shared: {spread(ratios['own_over_shared'])}")
    say(f"a decoding child's start: {start_s:.2f} CPU-s, not in the ratios")
    told = {name: round(statistics.median(values), 4) for name, values in ratios.items()}
    ranges = {f"{n}_range": [round(min(v), 4), round(max(v), 4)] for n, v in ratios.items()}
    return {**told, **ranges, "limit": LIMIT_RATIO, "bare_s": round(bare, 3), "child_start_s": round(start_s, 3)}


def _values(made: Sequence[Round], what: Callable[[Round], float]) -> list[float]:
    return [what(r) for r in made]


def spread(values: Sequence[float]) -> str:
    """Median and range, as "1.120 (1.100 to 1.170)"."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
