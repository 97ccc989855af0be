"""What the report tells in figures: one pinned view of the workspace, as plain values for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboards.charts import Mark, number
from dashboards.distributions import CLIP_COLUMNS, Distribution, comparisons, distributions
from dashboards.tier_facts import TierFacts
from store.workspace import Reader
from tasks import signal_counts
from tasks.signals import discover


@dataclass(frozen=True)
class Saving:
    """What the prefilter turned away, what that cost, and what going on would have cost. None where never measured."""

    videos: int
    footage_s: float
    spent_cpu_s: float
    saved_cpu_s: float | None
    video_cost: float
    clip_cost: float
    clip_share: float


@dataclass
class SignalFacts:
    """One signal: its rows by state, its measured price, and why it did not apply or failed."""

    name: str
    grain: str
    summary: str
    counts: signal_counts.Counts
    cost: float | None
    reasons: list[tuple[str, str, int]] = field(default_factory=list)
    """(status, reason, rows), most first."""
    distributions: list[Distribution] = field(default_factory=list)


def videos_of(reader: Reader) -> list[dict[str, Any]]:
    """All videos by name, with what the report says of them."""
    rows = reader.sql(
        """SELECT video_id, name, uri, state, stage, reason, tool_version, prefilter_reason, num_bytes, proxy_uri,
           proxy_sha256, num_frames, coalesce(num_frames, 0) / 25.0 AS footage_s,
           coalesce(normalise_cpu_s, 0.0) AS normalise_cpu_s
           FROM videos WHERE state <> 'removed' ORDER BY name, video_id"""
    )
    return rows.to_dicts()


def outcome(video: dict[str, Any]) -> str:
    """quarantined | rejected | no_clip | clipped | new."""
    if video["state"] == "quarantined":
        return "quarantined"
    if video["prefilter_reason"]:
        return "rejected"
    if video["state"] == "done":
        return "no_clip" if video["stage"] == "clip" else "clipped"
    return "new"


def costs_of() -> dict[str, tuple[float, float]]:
    """CPU-seconds per second of footage by signal, as its declaration tells: the log misses threads that models own."""
    return {n: (s.spec.cost_cpu_s, s.spec.cost_cpu_s) for n, s in discover().items() if not s.spec.on_request}


def saving_of(videos: Sequence[dict[str, Any]], clip_s: float, costs: dict[str, tuple[float, float]]) -> Saving:
    """What going on would have cost: the mean price of each signal on this corpus, times the footage turned away.

    Clip signals count for the share of passed footage that became clips.
    """
    rejected = [v for v in videos if outcome(v) == "rejected"]
    passed_s = sum(v["footage_s"] for v in videos if outcome(v) in ("no_clip", "clipped"))
    grains = {n: s.spec.grain for n, s in discover().items()}
    video_cost = sum(mean for n, (_, mean) in costs.items() if grains.get(n) == "video")
    clip_cost = sum(mean for n, (_, mean) in costs.items() if grains.get(n) == "clip")
    footage_s = sum(v["footage_s"] for v in rejected)
    share = clip_s / passed_s if passed_s else 0.0
    return Saving(
        videos=len(rejected),
        footage_s=footage_s,
        spent_cpu_s=sum(v["normalise_cpu_s"] for v in rejected),
        saved_cpu_s=footage_s * (video_cost + share * clip_cost) if costs else None,
        video_cost=video_cost,
        clip_cost=clip_cost,
        clip_share=share,
    )


def signal_facts(
    reader: Reader, costs: dict[str, tuple[float, float]], marks: dict[str, list[Mark]]
) -> list[SignalFacts]:
    """All signals in the order of computing, with the distributions of those that clips have."""
    columns = reader.columns("signals")
    counts = signal_counts.counts(reader)
    found = []
    for name, signal in discover().items():
        facts = SignalFacts(
            name, signal.spec.grain, signal.spec.summary, counts[name], costs.get(name, (signal.spec.cost_cpu_s,))[0]
        )
        if signal.spec.grain == "video":
            table, status, reason = "timelines", "status", "reason"
            where = f"name = '{name}' AND clip_id IS NULL"
        else:
            table, status, reason, where = "signals", f"{name}_status", f"{name}_reason", "TRUE"
        if signal.spec.grain == "video" or status in columns:
            rows = reader.sql(
                f"""SELECT {status} AS s, coalesce({reason}, '') AS r, count(*) AS n FROM {table}
                    WHERE {where} AND {status} <> 'ok' GROUP BY ALL ORDER BY n DESC, s, r LIMIT 6"""
            )
            facts.reasons = list(rows.iter_rows())
        if signal.spec.grain == "clip" and status in columns:
            facts.distributions = list(distributions(reader, signal.spec.columns, f"{name}_", "signals", marks))
        found.append(facts)
    return found


def clip_distributions(reader: Reader, marks: dict[str, list[Mark]]) -> list[Distribution]:
    """Of the clips' own columns: length, size and rate of the source."""
    return list(distributions(reader, CLIP_COLUMNS, "", "clips", marks))


def marks_of(found: Sequence[TierFacts]) -> dict[str, list[Mark]]:
    """The thresholds in the tiers' clauses by column. A clause that a tier takes over from another stands once."""
    colours = {t.name: t.colour for t in found}
    made: dict[str, list[Mark]] = {}
    for tier in found:
        for clause in tier.parsed.clauses if tier.parsed else ():
            for column, operator, value in comparisons(clause):
                mark = Mark(clause.tier, value, f"{operator} {number(value)}", colours.get(clause.tier, tier.colour))
                marks = made.setdefault(column, [])
                if mark not in marks:
                    marks.append(mark)
    return made
