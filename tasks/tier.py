"""Tiers of a workspace: listed, queried, explained. SQL lives in files; the engine of it in `store`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from store import funnel as funnels
from store import guard, snapshot, tier_sql
from store.ledger import SNAPSHOTS_BY_AGE, Manifest
from store.ledger import signals as signals_table
from store.ledger import snapshots as snapshots_table
from store.schema import PROVENANCE
from store.tier_sql import Tier
from store.workspace import Reader, Workspace
from tasks import plan, rollout
from tasks.signals import discover

SHIPPED = Path(snapshot.__file__).parent / "tiers"


def sources(workspace: Workspace) -> dict[str, Path]:
    """The files of all tiers by name: those shipped, and WORKSPACE/tiers/NAME.sql, which win."""
    own = workspace.settings.workspace / "tiers"
    found = {f.stem: f for f in sorted(SHIPPED.glob("*.sql"))}
    return found | {f.stem: f for f in sorted(own.glob("*.sql"))}


def texts(workspace: Workspace) -> dict[str, str]:
    return {name: file.read_text("utf-8", errors="replace") for name, file in sources(workspace).items()}


def parsed(workspace: Workspace, name: str) -> Tier:
    """Raises ValueError for an unknown tier, or one whose SQL is not allowed."""
    known = texts(workspace)
    if name not in known:
        listed = ", ".join(sorted(known))
        raise ValueError(f"tier {name!r} is none of {listed}; name one of these, or add it as WORKSPACE/tiers/NAME.sql")
    found = _parsed(name, tuple(known.items()), (*clip_signals(), *adopted(workspace)))
    _refuse_unknown_columns(found)
    return found


@lru_cache(maxsize=256)
def _parsed(name: str, known: tuple[tuple[str, str], ...], signals: tuple[str, ...]) -> Tier:
    """A tier that builds on others takes 0.1 s to parse, and one command asks for it several times."""
    return tier_sql.parse_tier(name, dict(known)[name], dict(known), signals)


def clip_signals() -> list[str]:
    return [n for n, s in discover().items() if s.spec.grain == "clip"]


def adopted(workspace: Workspace) -> dict[str, str]:
    """Fingerprints of the signals that came in by a table, by name."""
    table = signals_table
    rows = workspace.ledger.rows(table.select().where(table.c.grain == "adopted").order_by(table.c.name))
    return {r["name"]: r["fingerprint"] for r in rows}


def signals_of(workspace: Workspace, name: str) -> tuple[str, ...]:
    """The signals that must be computed to decide the tier, without what those need."""
    return tuple(plan.computable(parsed(workspace, name).signals))


def guarded(
    workspace: Workspace, manifest: Manifest | None = None, candidates: Mapping[str, str] | None = None
) -> guard.Query:
    """Runs tier SQL where it can do no harm: in a child process with limits, at one manifest (None: the newest).

    `candidates` are narrow tables by signal, read in place of what readers see.
    """
    pinned = manifest or workspace.ledger.manifest()
    root = workspace.record.root
    return guard.in_child(root, pinned.versions, known_tiers=texts(workspace), candidates=candidates)


def query(workspace: Workspace, sql: str, candidates: Sequence[str] = ()) -> pl.DataFrame:
    """A guarded query over the newest manifest, in a child process; with the candidates' rows of these signals, and
    theirs alone, in place of those that serve. Raises ValueError for SQL that is refused or fails, and for a signal
    without a candidate."""
    manifest = workspace.ledger.manifest()
    with workspace.views(manifest) as reader:
        beside = {n: c.table for n, c in rollout.candidates(reader, candidates).items() if c.table in manifest.versions}
    if missing := [n for n in candidates if n not in beside]:
        raise ValueError(f"signal {missing[0]}: has no candidate with rows; headroom status lists those that roll out")
    found = guarded(workspace, manifest, beside)(sql)
    if spans := [f.name for f in found.schema if str(f.type) == "month_day_nano_interval"]:
        raise ValueError(f"sql: column {spans[0]} is an INTERVAL, which no table holds; cast it to VARCHAR")
    return pl.DataFrame(found.rename_columns(_told_apart(found.column_names)))


def _told_apart(names: Sequence[str]) -> list[str]:
    """SQL may give a name twice, as `SELECT * FROM a JOIN b ON ...` does: the second column is NAME_1."""
    made: list[str] = []
    for name in names:
        number = made.count(name)
        while number and f"{name}_{number}" in {*names, *made}:
            number += 1
        made.append(f"{name}_{number}" if number else name)
    return made


def members(workspace: Workspace, name: str) -> pl.DataFrame:
    """One row per clip now in the tier: columns of clips, then of signals."""
    tier = parsed(workspace, name)
    with workspace.views() as reader:
        refuse_missing(reader, tier)
    inside = f"clip_id IN (SELECT clip_id FROM {name})"
    return query(workspace, f"SELECT * FROM clips JOIN signals USING (clip_id) WHERE {inside} ORDER BY clip_id")


def explain(workspace: Workspace, clip_id: str, name: str) -> list[dict[str, Any]]:
    """Each clause of the tier with the clip's values and verdict. Raises ValueError for an unknown clip."""
    tier = parsed(workspace, name)
    with workspace.views() as reader:
        refuse_missing(reader, tier)
    told = funnels.explain(guarded(workspace, reader.manifest), tier, clip_id)
    return [
        {
            "clause": v.clause.text,
            "tier": v.clause.tier,
            "passed": bool(v.passed),
            "values": {column.split(".", 1)[-1]: value for column, value in v.values.items()},
            "source": v.clause.source,
        }
        for v in told
    ]


def counted(workspace: Workspace, name: str, *, thresholds: bool = True) -> funnels.Funnel:
    """The tier's funnel with the measured cost of each signal as its price."""
    tier = parsed(workspace, name)
    costs = {n: s.spec.cost_cpu_s for n, s in discover().items()}
    with workspace.views() as reader:
        refuse_missing(reader, tier)
    return funnels.funnel(guarded(workspace, reader.manifest), tier, costs, thresholds=thresholds)


def funnel(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """Each clause with the clips that pass it alone and after those before it, and what another threshold would bring."""
    made = counted(workspace, name)
    return [
        {
            "clause": c.clause.text,
            "tier": c.clause.tier,
            "source": c.clause.source,
            "alone": c.alone,
            "cumulative": c.cumulative,
            "removed_alone": c.removed_alone,
            "removed_after": c.removed_after,
            "removed_only": c.removed_only,
            "nulls": c.unknown,
            "why_null": dict(c.why_unknown),
            "hours_removed": round(c.hours_removed_after, 4),
            "cpu_s": round(c.cpu_s, 1),
            "thresholds": [
                {"value": t.value, "clips": t.clips, "hours": round(t.hours, 4), "tighter": t.tighter}
                for t in c.thresholds
            ],
        }
        for c in made.clauses
    ]


def shown(workspace: Workspace, name: str) -> dict[str, Any]:
    tier = parsed(workspace, name)
    clauses = [{"text": c.text, "tier": c.tier, "source": c.source} for c in tier.clauses]
    path = str(sources(workspace)[name])
    return {"tier": name, "path": path, "sql": tier.sql, "clauses": clauses, "signals": list(tier.signals)}


def listed(workspace: Workspace, reader: Reader | None = None) -> list[dict[str, Any]]:
    """All tiers: clips and hours now, the latest snapshot; an error instead where the SQL is not allowed or fails."""
    if reader is None:
        with workspace.views() as opened:
            return listed(workspace, opened)
    table = snapshots_table
    latest = {r["tier"]: r for r in workspace.ledger.rows(table.select().order_by(*SNAPSHOTS_BY_AGE))}
    rows: dict[str, dict[str, Any]] = {
        name: {"tier": name, "clips": None, "hours": None, "snapshot": None} for name in sources(workspace)
    }
    computed = []
    for name, row in rows.items():
        try:
            computed += [name] if not _missing_columns(reader, parsed(workspace, name)) else []
        except ValueError as error:
            row["error"] = str(error)
        if name in latest:
            snap = latest[name]
            row["snapshot"] = {"id": snap["id"], "clips": snap["num_clips"], "created_at": snap["created_at"]}
    for name, told in _sizes(guarded(workspace, reader.manifest), computed).items():
        rows[name] |= told
    return list(rows.values())


def _sizes(run: guard.Query, names: list[str]) -> dict[str, dict[str, Any]]:
    """Clips and hours per tier, by one query; by one each when that fails, to tell whose fault it is."""
    if not names:
        return {}
    one = "SELECT '{0}' AS tier, count(*) AS clips, sum(duration_s) / 3600 AS hours FROM clips WHERE clip_id IN (SELECT clip_id FROM {0})"
    try:
        found = run(" UNION ALL ".join(one.format(n) for n in names)).to_pylist()
    except ValueError as error:
        if len(names) == 1:
            return {names[0]: {"error": str(error)}}
        return {k: v for n in names for k, v in _sizes(run, [n]).items()}
    return {r["tier"]: {"clips": r["clips"], "hours": round(float(r["hours"] or 0), 4)} for r in found}


def _refuse_unknown_columns(tier: Tier) -> None:
    """A column that no signal declares would look like one that was never computed."""
    declared = {f"{n}_{c.name}" for n in clip_signals() for c in discover()[n].spec.columns}
    for column in (c.removeprefix("signals.") for c in tier.columns if c.startswith("signals.")):
        owner = max((n for n in clip_signals() if column.startswith(f"{n}_")), key=len, default=None)
        if owner is None or column in declared or column.removeprefix(f"{owner}_") in dict(PROVENANCE):
            continue
        own = sorted(c for c in declared if c.startswith(f"{owner}_"))
        near = difflib.get_close_matches(column, own, 3) or own
        raise ValueError(f"tier {tier.name}: signal {owner} has no column {column}; it has {', '.join(near)}")


def refuse_missing(reader: Reader, tier: Tier) -> None:
    if missing := _missing_columns(reader, tier):
        raise ValueError(f"tier {tier.name}: {missing[0]} was never computed here; run headroom curate PATH first")


def _missing_columns(reader: Reader, tier: Tier) -> list[str]:
    """Columns of signals that the tier reads and that no clip of this workspace has been asked for yet."""
    present = set(reader.columns("signals"))
    read = [c.removeprefix("signals.") for c in tier.columns if c.startswith("signals.")]
    return [c for c in (*read, *(f"{s}_status" for s in tier.signals)) if c not in present]
