"""Tiers frozen as snapshots, and what changed between two of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from store import snapshot, snapshot_diff
from store.categories import signals_read
from store.ledger import SNAPSHOTS_BY_AGE, Manifest
from store.ledger import snapshots as snapshots_table
from store.workspace import Workspace
from tasks import corpus, plan, rollout, stale
from tasks import tier as tiers
from tasks.balance import Targets, balanced
from tasks.card import as_files, card


def build(workspace: Workspace, name: str, targets: Targets | None = None) -> dict[str, Any]:
    """Freezes the tier, with weights where there are targets; over unchanged data it gives the snapshot that is there.

    Raises ValueError while a clip of it is undecided, and for targets that can't be judged.
    """
    tier = tiers.parsed(workspace, name)
    by = [t.by for t in targets.targets] if targets else []
    read = signals_read(by, (*tiers.clip_signals(), *tiers.adopted(workspace)))
    with workspace.views() as reader:
        serving = rollout.serving(reader, [*tier.signals, *read])
    fingerprints = {**tiers.adopted(workspace), **serving}
    asked = targets and {"asked": targets.to_dict(), "fingerprints": {s: fingerprints[s] for s in read}}
    table = snapshots_table
    rows = workspace.ledger.rows(table.select().where(table.c.tier == name).order_by(*SNAPSHOTS_BY_AGE))
    latest = rows[-1] if rows else None
    if latest and latest["manifest_id"] == workspace.ledger.manifest().id:
        header = snapshot.header_of(workspace.objects.local(latest["uri"]))
        same = header["inlined"] == tier.inlined and header["fingerprints"] == {
            s: fingerprints[s] for s in tier.signals
        }
        if same and _asked(header) == asked:
            return _built(workspace, latest, header)
    with workspace.views() as reader:
        tiers.refuse_missing(reader, tier)
        corpus.refuse_stale(reader, tier)
        late = stale.stale_clips(reader, plan.wanted_signals(plan.computable([*tier.signals, *read])), served=True)
        undecided = {str(k[0]): set(part["clip_id"]) for k, part in late.group_by("name")}
        query = tiers.guarded(workspace, reader.manifest)
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
    if latest:
        header = snapshot.header_of(workspace.objects.local(latest["uri"]))
        if _same(header, made.header) and _kept(workspace, header):
            workspace.ledger.put(table, [{**latest, "manifest_id": manifest_id}])  # the next build need not look again
            return _built(workspace, latest, header)
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


def diff(workspace: Workspace, first: str, second: str | None = None) -> dict[str, Any]:
    """Two snapshots by id, or the latest two of a tier: clips that came and went, the clause that decided, and what else
    the snapshots rest on that is not the same."""
    old, new = _pair(workspace, first, second)
    made = snapshot_diff.diff(_loaded(workspace, old), _loaded(workspace, new), tiers.guarded(workspace))

    def told(changes: Any) -> list[dict[str, Any]]:
        return [{"clip_id": c.clip_id, "because": "; ".join(c.because)} for c in changes]

    moves = {"came": told(made.came), "went": told(made.went)}
    return {"from": old["id"], "to": new["id"], **moves, "stayed": made.stayed, "changed": list(made.changed)}


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


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether nothing of the tier changed: its text, its signals, its clips and their values. Tables it does not read
    may have new versions all the same."""
    return {**before, "manifest": None} == {**now, "manifest": None}


def _kept(workspace: Workspace, held: Mapping[str, Any]) -> bool:
    """Whether the tables' versions that the snapshot was frozen at are still there: what reads it for training opens
    them, and they go by the nightly clean-up and by an erasure."""
    return workspace.record.readable(Manifest(0, {str(k): int(v) for k, v in held["manifest"].items()}, ""))


def _built(workspace: Workspace, row: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Any]:
    told = {"tier": row["tier"], "snapshot": row["id"], "clips": row["num_clips"], "sha256": row["sha256"]}
    shares = {"margins": header["balance"]["margins"]} if "balance" in header else {}
    return {**told, "path": workspace.objects.uri(row["uri"]), **shares}


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
