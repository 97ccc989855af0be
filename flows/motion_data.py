"""What motion models read of a workspace: the clips of a snapshot, or of all stages of a curriculum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from store.frozen import Frozen, frozen
from store.ledger import Manifest
from store.media import GRID_FPS
from store.workspace import Workspace
from tasks.curriculum import stage_of

if TYPE_CHECKING:
    from modeling.motion_set import MotionSet

SURE_OF_OFFSET = 0.3
"""The confidence from which a clip's own lip-sync offset is taken out; every own voice reaches it (lip_sync's scorecard)."""


def refuse_none(held: Frozen, data: MotionSet) -> None:
    if not data.clips:
        reasons = "; ".join(sorted(set(data.left_out.values()))) or "it is empty"
        raise ValueError(f"snapshot {held.snapshot_id}: no clip can be learnt from ({reasons})")


def stages_read(workspace: Workspace, course: Mapping[str, Any]) -> list[tuple[Frozen, dict[str, float | None]]]:
    """Of each stage its snapshot with the clips that it asks for, and their weights, None without."""
    found = []
    for entry in course["stages"]:
        stage, held = stage_of(entry["asked"]), frozen(workspace, str(entry["snapshot"]["id"]))
        sizes = workspace.record.read(
            Manifest(0, dict(held.versions), ""), "clips", ["clip_id", "source_width_px", "source_height_px"]
        ).to_pylist()
        short_px = {r["clip_id"]: min(r["source_width_px"] or 0, r["source_height_px"] or 0) for r in sizes}
        rows = held.clips.to_pylist()
        kept = [
            (stage.min_length_s or 0)
            <= (r["end_frame"] - r["start_frame"]) / GRID_FPS
            <= (stage.max_length_s or math.inf)
            and short_px[r["clip_id"]] >= (stage.min_short_side_px or 0)
            for r in rows
        ]
        clips = held.clips.filter(pa.array(kept, pa.bool_())).combine_chunks()
        weights = {r["clip_id"]: r.get("weight") for r, keep in zip(rows, kept, strict=True) if keep}
        found.append((replace(held, clips=clips), weights))
    return found


def read(workspace: Workspace, held: Frozen) -> MotionSet:
    """The clips of a snapshot, with the people and the lip-sync offsets that stood when it was frozen."""
    from modeling.motion_set import read_motion

    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        who = dict(reader.sql("SELECT clip_id, identity FROM identities").iter_rows())
        late: dict[str, float] = {}
        if "lip_sync_offset_ms" in reader.columns("signals"):
            query = "SELECT clip_id, lip_sync_offset_ms FROM signals WHERE lip_sync_confidence >= ?"
            late = dict(reader.sql(query, [SURE_OF_OFFSET]).iter_rows())
    return read_motion(held, who, late)
