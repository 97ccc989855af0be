"""What a run would compute, before anything is: per signal the clips, the cost, and what is spared by which clause.

The state of each clause over each clip is true, false or not known yet; a clip that one false clause keeps out is not
computed any further. What the cheap signals will decide is not known before they are computed: the plan says at most
how much there is to do and, where enough clips were judged before, how much is to be expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from store import ledger as tables
from store.tier_sql import Clause, Tier
from store.workspace import Reader, Workspace
from tasks import plan, stale, tier
from tasks.ingest import Source, find_sources
from tasks.jobs import Job
from tasks.reclip import params_in_force
from tasks.signals import discover

MIN_JUDGED = 20
"""Clips that a clause must have judged before its share of passes is taken for that of other clips."""
BYTES_PER_S = 250_000
"""Of typical source video: its length is not known before it is read."""


@dataclass
class Line:
    """One signal of the plan, in order of computing. Seconds are CPU-seconds by the signal's measured cost."""

    signal: str
    grain: str
    stale: int
    """Rows that are missing or out of date: clips, or windows of 60 s."""
    to_compute: int
    """Of these, at most."""
    expected: int
    cpu_s: float
    """At most."""
    expected_cpu_s: float
    cpu_s_per_s: float
    skipped: list[dict[str, Any]] = field(default_factory=list)
    """{"tier", "clause", "clips"}: the first clause that keeps these clips out already."""


def outlook(
    workspace: Workspace,
    *,
    paths: Sequence[str] = (),
    tiers: Sequence[str] = (),
    signals: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What `curate` would compute with these arguments; writes nothing. Raises ValueError as `curate` does.

    Files under `paths` that are not known yet are counted, not planned: their clips are chosen first.
    """
    parsed = [tier.parsed(workspace, name) for name in tiers]
    wanted = plan.wanted_signals(plan.computable(s for t in parsed for s in t.signals) if parsed else signals)
    run = params_in_force(workspace).fingerprint
    with workspace.views() as reader:
        lines = [*_windows(reader, wanted), *_clips(reader, wanted, parsed)]
        to_normalise = plan.jobs_of(reader, "normalise", wanted, run)
        to_clip = plan.jobs_of(reader, "clip", wanted, run)
    return {
        "tiers": list(tiers),
        "new_files": _new_files(workspace, paths),
        "to_normalise": _sized(to_normalise),
        "to_clip": len(to_clip),
        "signals": [asdict(line) for line in lines],
        "cpu_s": round(sum(line.cpu_s for line in lines), 1),
        "expected_cpu_s": round(sum(line.expected_cpu_s for line in lines), 1),
        "all_cpu_s": round(_all(workspace), 1),
    }


def _windows(reader: Reader, wanted: Sequence[str]) -> list[Line]:
    """Video signals: every window of every video that is stale; no clause rules them out, clips need them first."""
    names = [n for n in wanted if discover()[n].spec.grain == "video"]
    counts = Counter(name for name, _, _ in stale.stale_windows(reader, names).iter_rows())
    seconds = _window_s(reader)
    return [
        Line(n, "video", counts[n], counts[n], counts[n], c := counts[n] * seconds * _cost(n), c, _cost(n))
        for n in names
        if counts[n]
    ]


def _clips(reader: Reader, wanted: Sequence[str], tiers: Sequence[Tier]) -> list[Line]:
    late = stale.stale_clips(reader, wanted)
    missing = plan.missing_of(late)
    verdicts = {t.name: plan.decided(reader, t, missing) for t in tiers}
    needed = plan.demanded(reader, tiers, late, verdicts) if tiers else late
    out = [plan.kept_out(reader, t, verdicts[t.name]) for t in tiers]
    order = plan.by_cost(set(late["name"]))
    shares = _shares(reader, tiers, verdicts, order)
    lengths = dict(reader.sql("SELECT clip_id, duration_s FROM clips").iter_rows())
    lines = []
    for name in order:
        of = needed.filter(pl.col("name") == name)["clip_id"].to_list()
        spared = set(late.filter(pl.col("name") == name)["clip_id"]) - set(of)
        cpu_s = _cost(name) * sum(lengths[c] for c in of)
        expected = round(len(of) * shares[name])
        line = Line(name, "clip", len(of) + len(spared), len(of), expected, cpu_s, cpu_s * shares[name], _cost(name))
        line.skipped = _because(spared, out)
        lines.append(line)
    return lines


def _because(spared: set[str], out: Sequence[Mapping[str, Clause]]) -> list[dict[str, Any]]:
    """The clauses that spare the clips, the one that spares most first; a clip counts for the first tier asked for."""
    told: Counter[tuple[str, str]] = Counter()
    for clause in (out[0].get(clip) for clip in spared if out):
        if clause is not None:
            told[clause.tier, clause.text] += 1
    return [{"tier": t, "clause": text, "clips": clips} for (t, text), clips in told.most_common()]


def _shares(
    reader: Reader, tiers: Sequence[Tier], verdicts: Mapping[str, plan.Verdicts], order: Sequence[str]
) -> dict[str, float]:
    """By signal the share of its clips that is to be expected when its turn comes, by what clauses let through before.

    As if clauses were independent of each other. Of several tiers a clip is out only when all keep it out: nothing is
    forecast then.
    """
    if len(tiers) != 1:
        return dict.fromkeys(order, 1.0)
    held, own = verdicts[tiers[0].name], plan.clauses_of(reader, tiers[0])
    groups: dict[frozenset[str], list[int]] = {}
    for i, clause in enumerate(own):
        read = frozenset(n for s in clause.signals for n in plan.with_needs(s)) & set(order)
        if read:  # others are known of all clips already
            groups.setdefault(read, []).append(i)
    shares: dict[str, float] = {}
    share, known = 1.0, set[str]()
    for group in plan.rounds(order):
        shares |= dict.fromkeys(group, share)
        known |= set(group)
        for read in [r for r in groups if r <= known]:
            members = groups.pop(read)
            judged = [all(v[i] for i in members) for v in held.values() if all(i in v for i in members)]
            share *= sum(judged) / len(judged) if len(judged) >= MIN_JUDGED else 1.0
    return shares


def _cost(name: str) -> float:
    return float(discover()[name].spec.cost_cpu_s)


def _window_s(reader: Reader) -> float:
    """Mean length of a window: the last one of a video is shorter."""
    row = reader.sql("""SELECT coalesce(sum(num_frames), 0) / 25, coalesce(sum(ceil(num_frames / 1500.0)), 0) FROM videos
        WHERE proxy_sha256 IS NOT NULL AND prefilter_reason IS NULL""").row(0)
    return float(row[0]) / float(row[1]) if row[1] else 0.0


def _all(workspace: Workspace) -> float:
    """What `--all` would cost over the same workspace: everything stale, nothing spared."""
    wanted = plan.wanted_signals(None)
    with workspace.views() as reader:
        lines = [*_windows(reader, wanted), *_clips(reader, wanted, ())]
    return sum(line.cpu_s for line in lines)


def _sized(jobs: Sequence[Job]) -> dict[str, Any]:
    return {"videos": len(jobs), "about_s": round(sum(j.media_s for j in jobs))}


def _new_files(workspace: Workspace, paths: Sequence[str]) -> dict[str, Any]:
    """Sources that no curate has met, or that changed since: by address and hint, without reading them."""
    known = {r["uri"]: r["hint"] for r in workspace.ledger.rows(tables.sources.select())}
    found = [s for p in paths for s in find_sources(p) if isinstance(s, Source) and known.get(s.uri) != s.hint]
    size = sum(s.num_bytes for s in found)
    return {"files": len(found), "bytes": size, "about_s": round(size / BYTES_PER_S)}
