"""What a corpus costs by arithmetic: core-hours, GPU-hours, machines, storage and money, from the costs that signals declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from tasks.plan import ROUND_CPU_S
from tasks.signals import discover


@dataclass(frozen=True)
class Assumptions:
    """What no benchmark can know. Prices are examples in dollars, before discounts; put in yours."""

    video_s: float = 60.0
    clip_ratio: float = 0.5
    """Seconds of clips per second of video."""
    clip_s: float = 8.0
    source_mb_per_s: float = 0.31
    """2.5 Mbit/s."""
    proxy_mb_per_s: float = 0.12
    days: float = 30.0
    """In which the corpus is to be done."""
    cores_per_machine: int = 64
    busy: float = 0.85
    """Share of the time that a machine computes; the rest is starts, retries and the end of each stage."""
    gpu_s_per_s: float = 0.05
    """GPU-seconds that one hub model takes per second of clip. Not measured here: `headroom survey` measures yours."""
    core_hour: float = 0.04
    gpu_hour: float = 2.0
    gb_month: float = 0.023
    per_million_requests: float = 5.0
    store_requests_s: float = 3500.0
    """Writes a second that a bucket's prefix takes."""
    store_mb_s: float = 10_000.0


@dataclass(frozen=True)
class PerSecond:
    """CPU-seconds per second of video and of clip, and GPU-seconds per second of clip."""

    video: float
    clip: float
    gpu: float

    def per_video(self, told: Assumptions) -> tuple[float, float]:
        """(CPU-seconds, GPU-seconds) of one video."""
        clips_s = told.video_s * told.clip_ratio
        return told.video_s * self.video + clips_s * self.clip, clips_s * self.gpu


def gpu_backends() -> dict[str, str]:
    """By signal the first of its backends that asks for a GPU."""
    found = {}
    for name, signal in discover().items():
        held = getattr(import_module(f"tasks.signals.{name}"), "BACKENDS", {})
        asking = [b for b, told in held.items() if (r := told.changes.get("resources")) and r.gpu_gib > 0]
        if asking and not signal.spec.on_request:
            found[name] = asking[0]
    return found


def declared(normalise_cpu_s: float, told: Assumptions, gpu: Mapping[str, str] | None = None) -> PerSecond:
    """From the signals' declared costs, all that are computed by default. With `gpu`, those signals' models run on a GPU
    instead, and each takes `gpu_s_per_s` of it."""
    gpu = gpu or {}
    specs = {n: s.spec for n, s in discover().items() if not s.spec.on_request}
    video = sum(s.cost_cpu_s for s in specs.values() if s.grain == "video")
    clip = sum(s.cost_cpu_s for n, s in specs.items() if s.grain == "clip" and n not in gpu)
    # A decode for each of the two passes over frames: timelines of the video, signals of its clips.
    return PerSecond(normalise_cpu_s + video + ROUND_CPU_S, clip + ROUND_CPU_S, len(gpu) * told.gpu_s_per_s)


@dataclass(frozen=True)
class Bill:
    """Of one corpus."""

    videos: int
    core_hours: float
    gpu_hours: float
    machines: int
    gpus: int
    terabytes: float
    dollars: float


def bill(videos: int, cost: PerSecond, requests_per_video: float, told: Assumptions) -> Bill:
    """Computing once, requests, and a month of storage of sources and proxies."""
    cpu_s, gpu_s = cost.per_video(told)
    core_hours, gpu_hours = videos * cpu_s / 3600, videos * gpu_s / 3600
    hours = told.days * 24 * told.busy
    gigabytes = videos * told.video_s * (told.source_mb_per_s + told.proxy_mb_per_s) / 1000
    dollars = core_hours / told.busy * told.core_hour + gpu_hours / told.busy * told.gpu_hour
    dollars += gigabytes * told.gb_month + videos * requests_per_video / 1e6 * told.per_million_requests
    machines, gpus = math.ceil(core_hours / hours / told.cores_per_machine), math.ceil(gpu_hours / hours)
    return Bill(videos, core_hours, gpu_hours, machines, gpus, gigabytes / 1000, dollars)
