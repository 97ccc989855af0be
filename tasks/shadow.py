"""A candidate on a sample of clips, beside the version that serves: what it says otherwise, and what tiers would do.

The sample is spread over videos, a third of it lies nearest to the thresholds of tiers that read the signal. Rows are
stored beside those that readers see, so a roll-out need not compute them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from store.funnel import comparison, judged_clauses
from store.record import quoted
from store.tier_sql import Clause, Tier, base_of
from store.workspace import Reader, Workspace
from tasks import plan, promote, tier
from tasks.jobs import run_batch
from tasks.reclip import params_in_force
from tasks.rollout import Candidate, candidates, with_candidate
from tasks.signals import discover
from tasks.stale import stale_clips, stale_windows

NEAR_SHARE = 1 / 3
MOST_MOVED = 5
"""Clips shown per column."""
SAME = 1e-9


def shadow(workspace: Workspace, name: str, *, num_clips: int = 200, hold: bool = False) -> dict[str, Any]:
    """Computes the candidate of a signal, the version in the code and the settings, on at most `num_clips` clips and
    compares. Clips that it was computed on before count into the sample and cost nothing.

    Raises ValueError when the version in the code serves already, or what it needs is out of date.
    """
    with workspace.views() as reader:
        candidate = candidates(reader, [name]).get(name)
        if candidate is None:
            raise ValueError(
                f"signal {name}: has no candidate, its present version serves or nothing of it is computed; raise its "
                "version or name another with --backend"
            )
        clips = sample(reader, name, tiers_reading(workspace, name), num_clips)
        _refuse_late_needs(reader, name, clips)
        late = stale_clips(reader, [name]).filter(pl.col("clip_id").is_in(clips))
        jobs = plan.signal_jobs(reader, late, (name,))
    if hold:
        promote.hold(workspace, name, candidate.fingerprint, held=True)
    for group in plan.batches(jobs):
        workspace.commit(run_batch(workspace, reader.manifest, group, params_in_force(workspace)).batch)
    with workspace.views() as reader:
        state = promote.states(workspace, reader, [name])[0]
        return {
            **asdict(state),
            "computed_now": len(late),
            "clips": len(clips),
            "columns": _columns(reader, candidate, clips),
            "statuses": _statuses(reader, candidate, clips),
            "cost": _cost(reader, candidate),
            "tiers": [_moves(workspace, reader, candidate, t, clips) for t in tiers_reading(workspace, name)],
        }


def tiers_reading(workspace: Workspace, name: str) -> list[Tier]:
    """Tiers with a clause over the signal; one that can't be parsed is left out."""
    found = []
    for told in sorted(tier.sources(workspace)):
        try:
            parsed = tier.parsed(workspace, told)
        except ValueError:
            continue  # `headroom tier list` tells what is wrong with it
        if any(name in c.signals for c in parsed.clauses):
            found.append(parsed)
    return found


def sample(reader: Reader, name: str, tiers: Sequence[Tier], num_clips: int) -> list[str]:
    """Clips that have a row of the signal: a share nearest to thresholds, the rest one of each video, then a second.

    Ids are hashes, so their order is a fair draw.
    """
    compared = {c.sql: told for t in tiers for c in t.clauses if (told := _own_comparison(c, name))}
    near: list[str] = []
    for value, _, threshold in compared.values():
        rows = reader.sql(
            f"""SELECT clip_id FROM signals WHERE {name}_status IS NOT NULL AND ({value}) IS NOT NULL
                ORDER BY abs(({value}) - {threshold!r}), clip_id LIMIT ?""",
            [max(1, round(num_clips * NEAR_SHARE / len(compared)))],
        )
        near += rows["clip_id"].to_list()
    spread = reader.sql(
        f"""SELECT clip_id FROM signals JOIN clips USING (clip_id) WHERE {name}_status IS NOT NULL
            ORDER BY row_number() OVER (PARTITION BY video_id ORDER BY clip_id), clip_id LIMIT ?""",
        [num_clips],
    )
    return list(dict.fromkeys([*near, *spread["clip_id"]]))[:num_clips]


def _own_comparison(clause: Clause, name: str) -> tuple[str, str, float] | None:
    """A clause over this signal's columns alone that compares with a number."""
    if clause.reads != "own" or clause.signals != (name,):
        return None
    if any(not c.startswith("signals.") for c in clause.columns):
        return None
    return comparison(clause.sql)


def _refuse_late_needs(reader: Reader, name: str, clips: Sequence[str]) -> None:
    needs = discover()[name].spec.needs
    of_videos = [n for n in needs if discover()[n].spec.grain == "video"]
    videos = set(reader.sql(f"SELECT video_id FROM clips WHERE clip_id IN ({quoted(clips)})")["video_id"])
    late = {n for n, video, _ in stale_windows(reader, of_videos).iter_rows() if video in videos}
    served = stale_clips(reader, [n for n in needs if n not in of_videos], served=True)
    late |= {n for n, _, clip in served.iter_rows() if clip in set(clips)}
    if late:
        raise ValueError(
            f"signal {name}: needs {sorted(late)[0]}, which is out of date here; headroom curate --signal "
            f"{sorted(late)[0]} brings it up to date"
        )


def _joined(reader: Reader, candidate: Candidate, clips: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """Columns of both versions, as `before_COLUMN` and `after_COLUMN`, on the clips that both have a row of."""
    beside = with_candidate(reader, candidate)
    n = candidate.signal
    told = ", ".join(f"s.{n}_{c} AS before_{c}, k.{n}_{c} AS after_{c}" for c in columns)
    return reader.sql(
        f"""SELECT s.clip_id, {told} FROM signals s JOIN {beside} k USING (clip_id)
            WHERE s.clip_id IN ({quoted(clips)}) AND k.{n}_status IS NOT NULL ORDER BY s.clip_id"""
    )


def _columns(reader: Reader, candidate: Candidate, clips: Sequence[str]) -> list[dict[str, Any]]:
    present = set(reader.columns("signals"))
    declared = [c.name for c in discover()[candidate.signal].spec.columns]
    shared = [c for c in declared if f"{candidate.signal}_{c}" in present]
    rows = _joined(reader, candidate, clips, ["status", *shared])
    told = [_compared(rows, c) for c in shared]
    return told + [{"column": c, "new": True} for c in declared if c not in shared]


def _compared(rows: pl.DataFrame, column: str) -> dict[str, Any]:
    """One column, on the clips where both versions have a value."""
    both = rows.select("clip_id", pl.col(f"before_{column}").alias("before"), pl.col(f"after_{column}").alias("after"))
    both = both.drop_nulls()
    told: dict[str, Any] = {"column": column, "new": False, "clips": len(both)}
    if not both["before"].dtype.is_numeric() or not both["after"].dtype.is_numeric():
        kinds = both.group_by("before", "after").len().filter(pl.col("before") != pl.col("after"))
        kinds = kinds.sort(["len", "before", "after"], descending=[True, False, False])
        changed = int(kinds["len"].sum())
        return told | {
            "changed_ratio": round(changed / len(both), 4) if len(both) else None,
            "changes": [{"from": a, "to": b, "clips": n} for a, b, n in kinds.head(MOST_MOVED).iter_rows()],
        }
    both = both.with_columns(pl.col("before", "after").cast(pl.Float64))
    moved = both.with_columns((pl.col("after") - pl.col("before")).alias("by"))
    moved = moved.filter(pl.col("by").abs() > SAME).sort(pl.col("by").abs(), "clip_id", descending=[True, False])
    spearman = both.select(pl.corr("before", "after", method="spearman")).item() if len(both) > 2 else None
    return told | {
        "changed_ratio": round(len(moved) / len(both), 4) if len(both) else None,
        "spearman": None if spearman is None or spearman != spearman else round(float(spearman), 4),
        "before": _spread(both["before"]),
        "after": _spread(both["after"]),
        "most_moved": [
            {"clip_id": c, "from": a, "to": b}
            for c, a, b in moved.select("clip_id", "before", "after").head(MOST_MOVED).iter_rows()
        ],
    }


def _spread(values: pl.Series) -> dict[str, Any]:
    told = {"p5": 0.05, "median": 0.5, "p95": 0.95}
    return {k: values.quantile(q, "nearest") if len(values) else None for k, q in told.items()}


def _statuses(reader: Reader, candidate: Candidate, clips: Sequence[str]) -> list[dict[str, Any]]:
    rows = _joined(reader, candidate, clips, ["status", "reason"])
    told = rows.group_by("before_status", "after_status").len().sort("len", "before_status", descending=[True, False])
    first = {(a, b): why for a, b, why in rows.select("before_status", "after_status", "after_reason").iter_rows()}
    return [{"from": a, "to": b, "clips": n, "reason": first[a, b]} for a, b, n in told.iter_rows()]


def _cost(reader: Reader, candidate: Candidate) -> dict[str, float | None]:
    """CPU-seconds per second of clip, as the log tells."""
    rows = reader.sql(
        """SELECT fingerprint, sum(cpu_s) / nullif(sum(media_s), 0) FROM log
           WHERE signal = ? AND clip_id IS NOT NULL GROUP BY fingerprint""",
        [candidate.signal],
    )
    found = dict(rows.iter_rows())
    return {"before": found.get(candidate.serving), "after": found.get(candidate.fingerprint)}


def _moves(
    workspace: Workspace, reader: Reader, candidate: Candidate, parsed: Tier, clips: Sequence[str]
) -> dict[str, Any]:
    """Clips of the sample that would enter or leave the tier, with the clauses over the signal that turn.

    A clause that compares a clip with others can't be judged on a sample: it is taken to stay as it is.
    """
    clauses = judged_clauses(parsed)
    unjudged = [c.text for c in clauses if candidate.signal in c.signals and c.reads != "own"]
    verdicts = ", ".join(f"coalesce({c.sql}, false) AS c{i}" for i, c in enumerate(clauses))
    sql = f"SELECT clips.clip_id, {verdicts} FROM {base_of(parsed.joins, everything=True)} "
    sql += f"WHERE clips.clip_id IN ({quoted(clips)}) ORDER BY clips.clip_id"
    before = tier.guarded(workspace, reader.manifest)(sql).to_pylist()
    beside = {candidate.signal: candidate.table}
    after = {r["clip_id"]: r for r in tier.guarded(workspace, reader.manifest, beside)(sql).to_pylist()}
    told: dict[str, Any] = {"tier": parsed.name, "inside": 0, "enter": [], "leave": [], "not_judged": unjudged}
    for row in before:
        now = after[row["clip_id"]]
        judged = [
            now[f"c{i}"] if c.reads == "own" and candidate.signal in c.signals else row[f"c{i}"]
            for i, c in enumerate(clauses)
        ]
        was, is_in = all(row[f"c{i}"] for i in range(len(clauses))), all(judged)
        told["inside"] += was
        if was != is_in:
            turned = [c.text for i, c in enumerate(clauses) if judged[i] != row[f"c{i}"]]
            told["enter" if is_in else "leave"].append({"clip_id": row["clip_id"], "clauses": turned})
    return told
