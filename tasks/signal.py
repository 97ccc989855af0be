"""What a signal is: the contract between `tasks/signals/*.py` and the engine that runs them.

A signal file holds one `SIGNAL = Signal(...)` and one `compute(media, needs)`; its file name is its name in the
store, in tier SQL and in reports. It gets media and the rows it needs and returns what it declared. It opens no
file and no table, keeps no state between calls, and gives the same answer for the same input.

Frames are counted on the proxy's grid: 25 fps, frame 0 at proxy time 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tasks.media.media import Media

GRID_FPS = 25
WINDOW_FRAMES = 60 * GRID_FPS
"""A timeline is stored in windows of 60 s; window k holds frames [k * 1500, (k + 1) * 1500)."""

Grain = Literal["video", "clip"]
Status = Literal["ok", "not_applicable", "failed_permanent", "failed_transient"]
Needs = Mapping[str, Any]
"""By signal name. Of a video signal: its timeline as a pyarrow Table, cut to the span asked for (column `frame`).
Of a clip signal: its row, a dict of column to value; its timeline, if it has one, under `NAME.timeline`,
its vectors, if it has any, under `NAME.VECTOR`. None for an optional need that is not ok."""


class NotApplicable(Exception):  # noqa: N818 - an outcome, not an error
    """Raised by `compute` when the signal has no meaning here; the message is the reason: "no audio", "no face"."""


@dataclass(frozen=True)
class Column:
    """One typed value. `unit` is one of the words of docs/signals.md (`px`, `ms`, `db`, `ratio`, `score`, `count`, ...)."""

    name: str
    dtype: pa.DataType
    unit: str
    meaning: str
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    """Floats are rounded to this many decimals before they are hashed and stored; every float declares it."""


@dataclass(frozen=True)
class Look:
    """What a signal looks at. Frames are sampled from the proxy's grid and scaled down (never up)."""

    frames_fps: float | None = None
    """Frames each second: a divisor of 25 (25, 12.5 is not, 5, 1) or below 1 (0.5: one frame in two seconds)."""
    context_frames: int = 0
    """Video grain only: frames of the grid given on both sides of the block, where the video has them."""
    audio: bool = False
    """16 kHz mono float32 in [-1, 1]."""


@dataclass(frozen=True)
class Resources:
    cpu: float = 1.0
    gpu_gib: float = 0.0


@dataclass(frozen=True)
class Output:
    """What `compute` returns. Video grain: `timeline` only, with an int32 column `frame`, sorted by it.
    Clip grain: `row` with every declared column, and the declared timeline and vectors, if any."""

    row: Mapping[str, Any] = field(default_factory=dict)
    timeline: pa.Table | None = None
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    objects: Mapping[str, bytes] = field(default_factory=dict)
    """Video grain only: what is too large for a table, by its address below the video's folder in object storage. The
    address names the content (a digest), and the timeline tells it; the engine puts objects there before the rows."""


@dataclass(frozen=True)
class Signal:
    """The declaration of one signal.

    `version` rises whenever the output may change. `needs` names signals whose rows are given to `compute`; a clip
    signal may need video and clip signals, a video signal only video signals. `timeline` lists the columns of the
    per-frame table beside `frame`; `vectors` maps a vector's name to its dimension.
    `cost_cpu_s` is CPU-seconds per second of clip, as last measured by benchmarks/curate.py.
    `weights` are names in infra/weights.toml. `params` is everything else that decides the output.
    """

    grain: Grain
    version: int
    columns: tuple[Column, ...] = ()
    timeline: tuple[Column, ...] = ()
    vectors: Mapping[str, int] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    """Those of `needs` that a clip signal can do without: where one is not ok, `compute` is given None for it."""
    on_request: bool = False
    """Computed only where it is asked for by name, or a tier reads it: large or costly, and not for everybody."""
    look: Look = Look()
    resources: Resources = Resources()
    cost_cpu_s: float = 0.0
    weights: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "default"
    summary: str = ""
    source: str = ""


Compute = Callable[[Media, Needs], Output]

MEDIA_VERSION = 1
"""Of what turns a proxy into the pixels and samples that all signals see (tasks/media: decoder, reader, media). Raised
when any of these values change: then the rows of all signals are stale."""


@dataclass(frozen=True)
class LoadedSignal:
    """A discovered signal: its name, declaration, function and fingerprint."""

    name: str
    spec: Signal
    compute: Compute
    fingerprint: str


def fingerprint_of(name: str, spec: Signal, weights_sha256: Mapping[str, str]) -> str:
    """Hash of how a signal computes: version, parameters, backend, weights and the declared schema."""
    told = {
        "name": name,
        "version": spec.version,
        "backend": spec.backend,
        "params": dict(spec.params),
        "weights": {w: weights_sha256[w] for w in spec.weights},
        "look": [spec.look.frames_fps, spec.look.context_frames, spec.look.audio],
        "columns": [[c.name, str(c.dtype), c.decimals] for c in (*spec.columns, *spec.timeline)],
        "vectors": dict(spec.vectors),
        "needs": list(spec.needs),
    }
    if spec.optional:
        told["optional"] = list(spec.optional)
    if MEDIA_VERSION > 1:
        told["media"] = MEDIA_VERSION
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]
