"""What the JSON of a clip in a shard says: rights, span, what the tier decided by, every signal, who it is, its caption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.frozen import Frozen
from store.ledger import Manifest
from store.schema import PROVENANCE
from store.snapshot import Snapshot
from store.workspace import Workspace
from tasks.signals import discover

CAPTIONS = ("short", "medium", "long")


def told_of(workspace: Workspace, held: Frozen, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """By clip, as the tables stood when the snapshot was frozen. "kind" is for grouping."""
    manifest = Manifest(0, dict(held.versions), "")
    read = workspace.record.read
    rights = {r["video_id"]: r for r in read(manifest, "rights").to_pylist()}
    clips = {r["clip_id"]: r for r in read(manifest, "clips").to_pylist()}
    signals = {r["clip_id"]: r for r in read(manifest, "signals").to_pylist()}
    decided = {r["clip_id"]: r for r in snapshot.clips.to_pylist() if r["clip_id"]}
    with workspace.views(manifest) as reader:
        who = dict(reader.sql("SELECT clip_id, identity FROM identities").iter_rows())
    made = {}
    for clip in held.clips.to_pylist():
        name = clip["clip_id"]
        row, of, values = clips[name], rights.get(clip["video_id"], {}), signals.get(name, {})
        captions = {c: values.get(f"caption_{c}") for c in CAPTIONS}
        made[name] = {
            "clip_id": name,
            "video_id": clip["video_id"],
            "tier": snapshot.tier,
            "snapshot": snapshot.id,
            "kind": values.get("content_kind"),
            "identity": who.get(name),
            "caption": captions if any(captions.values()) else None,
            "rights": {k: of.get(k) or "unknown" for k in ("licence", "consent", "origin")},
            "span": {k: row[k] for k in ("start_frame", "end_frame", "start_s", "end_s", "duration_s")},
            "source": {k: row[f"source_{k}"] for k in ("width_px", "height_px", "fps")},
            "decided_by": {k: v for k, v in decided[name].items() if "." in k},
            "signals": _signals(values),
            **({"weight": clip["weight"]} if "weight" in clip else {}),
        }
    return made


def _signals(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By signal its values, or why it has none. When it was computed, and by what, is for the record to know."""
    found: dict[str, dict[str, Any]] = {}
    hidden = {name for name, _ in PROVENANCE}
    for name, signal in discover().items():
        status = row.get(f"{name}_status")
        if signal.spec.grain != "clip" or status is None:
            continue
        if status != "ok":
            found[name] = {"status": status, "reason": row.get(f"{name}_reason")}
            continue
        columns = [c.name for c in signal.spec.columns if c.name not in hidden and f"{name}_{c.name}" in row]
        found[name] = {c: row[f"{name}_{c}"] for c in columns}
    return found
