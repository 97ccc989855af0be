"""The contract every signal keeps, also those yet to come: written once, run over all that are discovered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from infra import weights
from tasks.compute import Held, attempt
from tasks.digest import declared_table, digest_of_table, timeline_schema
from tasks.media.media import Media
from tasks.signal import LoadedSignal, NotApplicable, Output
from tasks.signals import discover

SIGNALS = discover()
WIDTH, HEIGHT = 96, 64


def planes(frames: list[int], pixel: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """I420 frames whose luma is `pixel(frame)` and whose colour is neutral."""
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    return [np.concatenate([pixel(f), chroma]) for f in frames]


def noise(frame: int) -> np.ndarray:
    return np.random.default_rng(frame).integers(16, 235, (HEIGHT, WIDTH), np.uint8)


def black(_frame: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), 16, np.uint8)


def media_for(signal: LoadedSignal, start: int, end: int, pixel: Callable[[int], np.ndarray], audio: bool) -> Media:
    fps = signal.spec.look.frames_fps
    frames = [f for f in range(start, end) if fps and f % max(1, round(25 / fps)) == 0] if fps else []
    frames = frames or ([start + (end - start) // 2] if fps else [])
    sound = np.random.default_rng(0).normal(0, 0.1, (end - start) * 640).astype(np.float32) if audio else None
    return Media(
        start, end, WIDTH, HEIGHT, frames, planes(frames, pixel), sound, source_width_px=WIDTH, video_has_audio=audio
    )


def run(name: str, start: int, end: int, pixel: Callable[[int], np.ndarray], audio: bool) -> Held:
    """The signal and all it needs over one span."""
    signal = SIGNALS[name]
    needs: dict[str, Any] = {}
    for need in signal.spec.needs:
        held = run_once(need, start, end, pixel, audio)
        if held.status != "ok" and need in signal.spec.optional:
            needs[need] = None
            continue
        if held.status != "ok":
            return held
        needs[need] = held.timeline if SIGNALS[need].spec.grain == "video" else held.row
        if SIGNALS[need].spec.grain == "clip" and held.timeline is not None:
            needs[f"{need}.timeline"] = held.timeline
        needs.update({f"{need}.{vector}": values for vector, values in held.vectors.items()})

    def compute() -> Output:
        made = signal.compute(media_for(signal, start, end, pixel, audio), needs)
        if signal.spec.grain == "video":
            assert made.timeline is not None
            return Output(timeline=declared_table(signal.spec.timeline, made.timeline))
        return made

    return attempt(signal, compute, 0, None, 0.0)


run_once = cache(run)
"""A need of many signals is computed once a span."""


@pytest.mark.parametrize("name", SIGNALS)
def test_it_declares_what_the_docs_and_the_store_need(name: str) -> None:
    spec = SIGNALS[name].spec
    columns = (*spec.columns, *spec.timeline)
    assert columns, "declares no column"
    assert spec.cost_cpu_s > 0, "declares no measured cost"
    assert spec.version >= 1
    for column in columns:
        assert column.meaning, f"{column.name} has no meaning"
        assert column.name == column.name.lower()
        assert not pa.types.is_floating(column.dtype) or column.decimals is not None, (
            f"{column.name} declares no decimals"
        )
    assert bool(spec.columns) == (spec.grain == "clip"), "clip signals have columns, video signals have a timeline"
    assert len({c.name for c in spec.columns}) == len(spec.columns)
    reserved = {
        "status",
        "reason",
        "fingerprint",
        "input_digest",
        "output_digest",
        "computed_at",
        "attempts",
        "not_before",
    }
    assert not reserved & {c.name for c in spec.columns}


@pytest.mark.parametrize("name", SIGNALS)
def test_its_weights_are_listed_with_licence_and_hash(name: str) -> None:
    for weight in SIGNALS[name].spec.weights:
        entry = weights.entry(weight)
        assert len(entry.sha256) == 64
        assert entry.licence
        assert entry.origin


HEAVY = (
    "torch",
    "onnxruntime",
    "cv2",
    "faster_whisper",
    "ctranslate2",
    "rapidocr",
    "av",
    "scipy",
    "sklearn",
    "ai_edge_litert",
)


def test_signals_are_discovered_without_importing_any_model_library() -> None:
    code = f"import sys; import tasks.signals as s; s.discover(); print([m for m in {HEAVY!r} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


CASES: Mapping[str, tuple[Callable[[int], np.ndarray], bool]] = {
    "noise with sound": (noise, True),
    "noise without sound": (noise, False),
    "black with sound": (black, True),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", SIGNALS)
def test_it_returns_what_it_declares_or_says_why_not(name: str, case: str) -> None:
    pixel, audio = CASES[case]
    held = run(name, 250, 325, pixel, audio)
    assert held.status in ("ok", "not_applicable"), held.reason
    assert held.reason if held.status == "not_applicable" else not held.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_it_is_deterministic(name: str) -> None:
    first, second = (run(name, 0, 75, noise, True) for _ in range(2))
    assert first.output_digest == second.output_digest


@pytest.mark.parametrize("name", [n for n in SIGNALS if SIGNALS[n].spec.look.frames_fps])
def test_one_frame_is_enough_not_to_fail(name: str) -> None:
    held = run(name, 0, 1, noise, False)
    assert held.status in ("ok", "not_applicable"), held.reason


@pytest.mark.parametrize("name", [n for n, s in SIGNALS.items() if s.spec.grain == "video" and s.spec.look.frames_fps])
def test_it_gives_the_same_rows_alone_and_beside_others(name: str) -> None:
    """A block decoded for others holds more frames than the signal asked for; that must not change its rows."""
    signal = SIGNALS[name]
    context = signal.spec.look.context_frames
    step = max(1, round(25 / (signal.spec.look.frames_fps or 25)))

    def block(step: int, context: int) -> Media:
        frames = [f for f in range(max(0, 100 - context), 150 + context) if f % step == 0]
        return Media(100, 150, WIDTH, HEIGHT, frames, planes(frames, noise), None, source_width_px=WIDTH)

    needs = {n: timeline_schema(SIGNALS[n].spec.timeline).empty_table() for n in signal.spec.needs}
    digests = set()
    for media in (block(step, context), block(1, max(context, 50))):
        try:
            made = signal.compute(media, needs).timeline
        except NotApplicable as outcome:
            digests.add(str(outcome))
            continue
        assert made is not None
        digests.add(digest_of_table(declared_table(signal.spec.timeline, made)))
    assert len(digests) == 1
