"""What a server tells Prometheus: its sessions, and how they do by the checkpoints that move and draw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from serving.checkpoints import WARP_ALONE, own_pair
from serving.remote import Worker
from serving.routing import Gateway
from serving.vitals import Vitals
from store.deployments import parts_of

__all__ = ["CONTENT_TYPE", "exposition", "held_by_all"]

LABELS = ("checkpoint", "renderer")
"""Of the motion, and of what draws it: "none" is the plain warp."""
COUNTERS: dict[str, tuple[str, Callable[[Vitals], float]]] = {
    "headroom_sessions_begun": ("Sessions that began on a checkpoint, or were moved to it", lambda v: v.sessions),
    "headroom_frames": ("Frames put out", lambda v: v.frames),
    "headroom_busy_seconds": ("Time that motion, drawing and coding took; frames over it is the engine's rate", lambda v: v.busy_s),
    "headroom_ticks": ("Ticks of two frames", lambda v: v.ticks),
    "headroom_underruns": ("Ticks so late that a viewer's picture stood still", lambda v: v.underruns),
}  # fmt: skip
GAUGES: dict[str, tuple[str, Callable[[Vitals], float | None]]] = {
    "headroom_engine_fps": ("Frames a second that a session's engine would make", lambda v: v.figures()["fps"]),
    "headroom_av_skew_seconds": (
        "How much later the sound track's clock stands than the picture track's",
        lambda v: None if (ms := v.figures()["skew_ms"]) is None else ms / 1000,
    ),
    "headroom_frame_change_gray_levels": (
        "Mean difference of the mouth's pixels from frame to frame; 0 is a frozen picture",
        lambda v: v.figures()["frame_change"],
    ),
    "headroom_mouth_range": (
        "Standard deviation of the mouth's opening in speech, normalised; 0 is a frozen mouth",
        Vitals.mouth_range,
    ),
    "headroom_mouth_loudness_correlation": (
        "Correlation of the mouth's opening with the loudness of the speech",
        Vitals.mouth_loudness,
    ),
    "headroom_mouth_shown_gray_levels": (
        "By how much the mouth's pixels follow its opening in speech; 0 is a mouth painted still",
        Vitals.mouth_shown,
    ),
}

WORKERS: tuple[tuple[str, str, Callable[[Gateway, Worker], float]], ...] = (
    ("headroom_worker_sessions", "Sessions that a worker has", lambda gateway, worker: gateway.on(worker)),
    ("headroom_worker_capacity", "Sessions that a worker has room for", lambda gateway, worker: worker.capacity),
    ("headroom_worker_resident_bytes", "Memory of a worker", lambda gateway, worker: worker.state["resident_bytes"]),
    ("headroom_worker_threads", "Threads of a worker", lambda gateway, worker: worker.state["threads"]),
)
NOTHING_HELD: dict[str, Any] = {"share": 0.0, "refused": {}, "switches": 0}


def held_by_all(gateway: Gateway) -> dict[str, Any]:
    """What the workers together serve, by pairs of motion and renderer: `held` by all of them, `refused` by one of them, and
    the oldest `revision` that one of them follows; `vitals` are the sums of all sessions, probes among them. `own_renderer`
    are the workers that draw by a renderer of their own; what they make of a pair stands for it. There must be a worker."""
    states = [worker.state for worker in gateway.workers.values()]
    oldest = min(states, key=lambda s: s["split"]["revision"])
    split, names = oldest["split"], gateway.vitals()
    told = {pair for s in states for pair in (*s["held"], *s["refused"])}
    if gateway.split is not None:
        told |= {gateway.split.stable, gateway.split.canary} - {""}
    return {
        "own_renderer": sorted(n for n, w in gateway.workers.items() if w.state["renderer"] is not None),
        "serving": oldest["serving"], "stable": split["stable"], "canary": split["canary"], "share": split["share"],
        "revision": split["revision"],
        "held": sorted(p for p in told if all(own_pair(p, s["renderer"]) in s["held"] for s in states)),
        "refused": {
            p: why for s in states for p in told if (why := s["refused"].get(own_pair(p, s["renderer"]))) is not None
        },
        "sessions": {name: sum(t.checkpoint == name for t in gateway.talks.values()) for name in names},
        "vitals": {name: asdict(vitals) for name, vitals in names.items()},
        "moving": sum(s["moving"] for s in states),
        "switches": gateway.switches + sum(s["switches"] for s in states),
        "slowest_switch_ms": round(1000 * max(s["slowest_switch_s"] for s in states), 3),
        "workers": {name: {"sessions": gateway.on(w), "capacity": w.capacity} for name, w in gateway.workers.items()},
    }  # fmt: skip


def exposition(gateway: Gateway) -> bytes:
    """All of it in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(gateway))
    return generate_latest(registry)


class _Collector:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        gateway = self._gateway
        told = gateway.vitals()
        held = held_by_all(gateway) if gateway.workers else NOTHING_HELD
        roles = GaugeMetricFamily(
            "headroom_checkpoint_role", "1 for what a checkpoint is now", labels=(*LABELS, "role")
        )
        states = [worker.state for worker in gateway.workers.values()]
        for name, role in sorted({(name, _role(state, name)) for state in states for name in state["held"]}):
            roles.add_metric([*_labels(name), role], 1)
        yield roles
        now = GaugeMetricFamily("headroom_sessions", "Sessions now", labels=LABELS)
        for name in told:
            now.add_metric(_labels(name), sum(t.checkpoint == name for t in gateway.talks.values()))
        yield now
        yield GaugeMetricFamily("headroom_sessions_free", "Sessions that there is room for", gateway.free)
        yield GaugeMetricFamily("headroom_canary_share", "Share of new sessions that the canary gets", held["share"])
        yield from _workers(gateway)
        for name, (text, count) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for checkpoint, vitals in told.items():
                counter.add_metric(_labels(checkpoint), count(vitals))
            yield counter
        for name, (text, measure) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for checkpoint, vitals in told.items():
                if (value := measure(vitals)) is not None:
                    gauge.add_metric(_labels(checkpoint), value)
            yield gauge
        first = SummaryMetricFamily(
            "headroom_first_fragment_seconds",
            "From the first sound of a session to the first fragment with it",
            labels=LABELS,
        )
        for checkpoint, vitals in told.items():
            first.add_metric(_labels(checkpoint), vitals.first_fragments, vitals.first_fragment_s)
        yield first
        switches = SummaryMetricFamily("headroom_switch_seconds", "How long sessions stood still to change checkpoint")
        spent_s = gateway.switched_s + sum(w.state["switched_s"] for w in gateway.workers.values())
        switches.add_metric([], held["switches"], spent_s)
        yield switches
        refused = GaugeMetricFamily(
            "headroom_checkpoint_refused", "1 for a checkpoint that could not be loaded", labels=LABELS
        )
        for checkpoint in held["refused"]:
            refused.add_metric(_labels(checkpoint), 1)
        yield refused


def _workers(gateway: Gateway) -> Iterator[Metric]:
    """Of each worker, and of those that died."""
    for name, text, measure in WORKERS:
        gauge = GaugeMetricFamily(name, text, labels=("worker",))
        for worker in gateway.workers.values():
            gauge.add_metric([worker.name], measure(gateway, worker))
        yield gauge
    yield CounterMetricFamily("headroom_workers_lost", "Workers that died or were cut off", gateway.lost_workers)
    moves = SummaryMetricFamily("headroom_move_seconds", "From a worker's death to its session's going on with another")
    moves.add_metric([], gateway.moves, gateway.moved_s)
    yield moves


def _role(state: Mapping[str, Any], pair: str) -> str:
    """For one worker."""
    if pair == state["serving"]:
        return "stable"
    return "canary" if pair == state["split"]["canary"] else "leaving"


def _labels(pair: str) -> list[str]:
    motion, renderer = parts_of(pair)
    return [motion, renderer or WARP_ALONE]
