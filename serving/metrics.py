"""What a server tells Prometheus: its sessions, and how they do by checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from serving.sessions import Gateway
from serving.vitals import Vitals

__all__ = ["CONTENT_TYPE", "exposition"]

LABELS = ("checkpoint",)
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
}


def exposition(gateway: Gateway) -> bytes:
    """All of it in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(gateway))
    return generate_latest(registry)


class _Collector:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        gateway, held = self._gateway, self._gateway.checkpoints
        told = gateway.vitals()
        roles = GaugeMetricFamily(
            "headroom_checkpoint_role", "1 for what a checkpoint is now", labels=(*LABELS, "role")
        )
        for name in held.pipelines:
            roles.add_metric([name, _role(gateway, name)], 1)
        yield roles
        now = GaugeMetricFamily("headroom_sessions", "Sessions now", labels=LABELS)
        for name in told:
            now.add_metric([name], sum(t.live.checkpoint == name for t in gateway.talks.values()))
        yield now
        yield GaugeMetricFamily("headroom_sessions_free", "Sessions that there is room for", gateway.free)
        yield GaugeMetricFamily("headroom_canary_share", "Share of new sessions that the canary gets", held.split.share)
        for name, (text, count) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for checkpoint, vitals in told.items():
                counter.add_metric([checkpoint], count(vitals))
            yield counter
        for name, (text, measure) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for checkpoint, vitals in told.items():
                if (value := measure(vitals)) is not None:
                    gauge.add_metric([checkpoint], value)
            yield gauge
        first = SummaryMetricFamily(
            "headroom_first_fragment_seconds",
            "From the first sound of a session to the first fragment with it",
            labels=LABELS,
        )
        for checkpoint, vitals in told.items():
            first.add_metric([checkpoint], vitals.first_fragments, vitals.first_fragment_s)
        yield first
        switches = SummaryMetricFamily("headroom_switch_seconds", "How long sessions stood still to change checkpoint")
        switches.add_metric([], gateway.switches, gateway.switched_s)
        yield switches
        refused = GaugeMetricFamily(
            "headroom_checkpoint_refused", "1 for a checkpoint that could not be loaded", labels=LABELS
        )
        for checkpoint in held.refused:
            refused.add_metric([checkpoint], 1)
        yield refused


def _role(gateway: Gateway, checkpoint: str) -> str:
    if checkpoint == gateway.checkpoints.serving:
        return "stable"
    return "canary" if checkpoint == gateway.checkpoints.split.canary else "leaving"
