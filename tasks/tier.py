"""Tiers of a workspace: listed, queried, explained, frozen. SQL lives in files; the engine of it in `store`."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from store import funnel as funnels
from store import guard, snapshot, snapshot_diff, tier_sql
from store.categories import signals_read
from store.ledger import SNAPSHOTS_BY_AGE, Manifest
from store.ledger import signals as signals_table
from store.ledger import snapshots as snapshots_table
from store.schema import PROVENANCE
from store.tier_sql import Tier
from store.workspace import Reader, Workspace
from tasks import corpus, plan, rollout, stale
from tasks.balance import Targets, balanced
from tasks.card import as_files, card
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
        where = workspace.settings.workspace / "tiers" / f"{name}.sql"
        raise ValueError(f"tier {name!r} is none of {', '.join(sorted(known))}; write it to {where}")
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
    return pl.DataFrame(guarded(workspace, manifest, beside)(sql))


def members(workspace: Workspace, name: str) -> pl.DataFrame:
    """One row per clip now in the tier: columns of clips, then of signals."""
    tier = parsed(workspace, name)
    with workspace.views() as reader:
        _refuse_missing(reader, tier)
    inside = f"clip_id IN (SELECT clip_id FROM {name})"
    return query(workspace, f"SELECT * FROM clips JOIN signals USING (clip_id) WHERE {inside} ORDER BY clip_id")


def build(workspace: Workspace, name: str, targets: Targets | None = None) -> dict[str, Any]:
    """Freezes the tier, with weights where there are targets; over unchanged data it gives the snapshot that is there.

    Raises ValueError while a clip of it is undecided, and for targets that can't be judged.
    """
    tier = parsed(workspace, name)
    by = [t.by for t in targets.targets] if targets else []
    read = signals_read(by, (*clip_signals(), *adopted(workspace)))
    with workspace.views() as reader:
        serving = rollout.serving(reader, [*tier.signals, *read])
    fingerprints = {**adopted(workspace), **serving}
    asked = targets and {"asked": targets.to_dict(), "fingerprints": {s: fingerprints[s] for s in read}}
    table = snapshots_table
    rows = workspace.ledger.rows(table.select().where(table.c.tier == name).order_by(*SNAPSHOTS_BY_AGE))
    latest = rows[-1] if rows else None
    if latest and latest["manifest_id"] == workspace.ledger.manifest().id:
        header = _loaded(workspace, latest).header
        same = header["inlined"] == tier.inlined and header["fingerprints"] == {
            s: fingerprints[s] for s in tier.signals
        }
        if same and _asked(header) == asked:
            return _built(workspace, latest, header)
    with workspace.views() as reader:
        _refuse_missing(reader, tier)
        corpus.refuse_stale(reader, tier)
        late = stale.stale_clips(reader, plan.wanted_signals(plan.computable([*tier.signals, *read])), served=True)
        undecided = {str(k[0]): set(part["clip_id"]) for k, part in late.group_by("name")}
        query = guarded(workspace, reader.manifest)
        made = snapshot.freeze(
            query,
            tier,
            fingerprints=fingerprints,
            manifest=reader.manifest.versions,
            secret=workspace.ledger.secret(),
            undecided={s: clips for s, clips in undecided.items() if s in tier.signals},
            created_at=time.time(),
        )
        if targets is not None:
            _refuse_unweighable(made, {s: undecided.get(s, set()) for s in read})
            made = balanced(made, query, targets, {s: fingerprints[s] for s in read})
        manifest_id = reader.manifest.id
    if latest and _same(held := _loaded(workspace, latest), made) and _kept(workspace, held):
        workspace.ledger.put(table, [{**latest, "manifest_id": manifest_id}])  # the next build need not look again
        return _built(workspace, latest, held.header)
    for ending, data in as_files(card(workspace, made)).items():
        workspace.objects.put_bytes(data, f"snapshots/{made.id}.{ending}")
    saved = snapshot.save(made, workspace.scratch / "snapshots")
    row = {
        "id": made.id,
        "tier": name,
        "sha256": made.sha256,
        "uri": workspace.objects.put(saved, f"snapshots/{made.file_name}"),
        "num_clips": len(made.clip_ids),
        "manifest_id": manifest_id,
        "created_at": made.created_at,
    }
    workspace.ledger.put(table, [row])
    return _built(workspace, row, made.header)


def _asked(header: Mapping[str, Any]) -> dict[str, Any] | None:
    held = header.get("balance")
    return held and {k: held[k] for k in ("asked", "fingerprints")}


def _refuse_unweighable(made: snapshot.Snapshot, late: Mapping[str, set[str]]) -> None:
    for signal, clips in late.items():
        if waiting := clips.intersection(made.clip_ids):
            raise ValueError(
                f"tier {made.tier}: {signal}, which a target reads, is missing or stale for {len(waiting)} of its clips; "
                f"run headroom curate --signal {signal}, then balance it again"
            )


def _same(before: snapshot.Snapshot, now: snapshot.Snapshot) -> bool:
    """Whether nothing of the tier changed: its text, its signals, its clips and their values. Tables it does not read
    may have new versions all the same."""
    return {**before.header, "manifest": None} == {**now.header, "manifest": None}


def _kept(workspace: Workspace, held: snapshot.Snapshot) -> bool:
    """Whether the tables' versions that the snapshot was frozen at are still there: what reads it for training opens
    them, and they go by the nightly clean-up and by an erasure."""
    return workspace.record.readable(Manifest(0, {str(k): int(v) for k, v in held.header["manifest"].items()}, ""))


def _built(workspace: Workspace, row: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Any]:
    told = {"tier": row["tier"], "snapshot": row["id"], "clips": row["num_clips"], "sha256": row["sha256"]}
    shares = {"margins": header["balance"]["margins"]} if "balance" in header else {}
    return {**told, "path": workspace.objects.uri(row["uri"]), **shares}


def explain(workspace: Workspace, clip_id: str, name: str) -> list[dict[str, Any]]:
    """Each clause of the tier with the clip's values and verdict. Raises ValueError for an unknown clip."""
    tier = parsed(workspace, name)
    with workspace.views() as reader:
        _refuse_missing(reader, tier)
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
        _refuse_missing(reader, tier)
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


def diff(workspace: Workspace, first: str, second: str | None = None) -> dict[str, Any]:
    """Two snapshots by id, or the latest two of a tier: clips that came and went, and the clause that decided."""
    old, new = _pair(workspace, first, second)
    made = snapshot_diff.diff(_loaded(workspace, old), _loaded(workspace, new), guarded(workspace))

    def told(changes: Any) -> list[dict[str, Any]]:
        return [{"clip_id": c.clip_id, "because": "; ".join(c.because)} for c in changes]

    return {"from": old["id"], "to": new["id"], "came": told(made.came), "went": told(made.went)}


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


def _refuse_missing(reader: Reader, tier: Tier) -> None:
    if missing := _missing_columns(reader, tier):
        raise ValueError(f"tier {tier.name}: {missing[0]} was never computed here; run headroom curate PATH first")


def _missing_columns(reader: Reader, tier: Tier) -> list[str]:
    """Columns of signals that the tier reads and that no clip of this workspace has been asked for yet."""
    present = set(reader.columns("signals"))
    read = [c.removeprefix("signals.") for c in tier.columns if c.startswith("signals.")]
    return [c for c in (*read, *(f"{s}_status" for s in tier.signals)) if c not in present]


def _pair(workspace: Workspace, first: str, second: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    table = snapshots_table
    rows = workspace.ledger.rows(table.select().order_by(*SNAPSHOTS_BY_AGE))
    if second is None:
        of_tier = [r for r in rows if r["tier"] == first]
        if not of_tier:
            raise ValueError(f"{first!r} is no tier with a snapshot; headroom tier build NAME freezes one")
        if len(of_tier) == 1:
            raise ValueError(
                f"tier {first} has one snapshot, {of_tier[0]['id']}; headroom tier build {first} freezes another once it changed"
            )
        return of_tier[-2], of_tier[-1]
    pair = []
    for name in (first, second):
        found = [r for r in rows if r["id"].startswith(name)]
        if len(found) != 1:
            raise ValueError(
                f"snapshot {name!r}: {len(found)} have an id that begins so; headroom tier list shows them"
            )
        pair.append(found[0])
    return pair[0], pair[1]


def _loaded(workspace: Workspace, row: Mapping[str, Any]) -> snapshot.Snapshot:
    return snapshot.load(workspace.objects.local(row["uri"]))
