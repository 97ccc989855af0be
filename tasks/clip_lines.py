"""Timelines of clips as they lie in the store: read by key, cut to each clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from store.ledger import Manifest
from store.workspace import Workspace
from tasks.digest import between, unpack
from tasks.held import windows_of
from tasks.signals import discover

Stored = dict[str, dict[str, pa.Table]]
"""By clip and signal."""


def stored_lines(
    workspace: Workspace,
    manifest: Manifest,
    clips: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    *,
    columns: Sequence[str] = (),
) -> Stored:
    """The timelines `names` of each clip, cut to its span, where they were computed; `columns` of them, or all.

    A window that overlaps several clips is read once. A clip lacks a name when any of its windows is not ok.
    """
    keys = {clip["clip_id"]: {n: _keys(clip, n) for n in names if n in discover()} for clip in clips}
    wanted = sorted({k for of_clip in keys.values() for ks in of_clip.values() for k in ks})
    if not wanted or "timelines" not in manifest.versions:
        return {}
    told = ", ".join("'" + k.replace("'", "''") + "'" for k in wanted)
    where = f"key IN ({told})"
    found = {}
    for row in workspace.record.read(manifest, "timelines", ["key", "payload"], where).to_pylist():
        if row["payload"] is None:
            continue
        table = unpack(row["payload"])
        found[row["key"]] = table.select([c for c in columns if c in table.column_names]) if columns else table
    made: Stored = {}
    for clip in clips:
        for name, parts in keys[clip["clip_id"]].items():
            if all(k in found for k in parts):
                whole = pa.concat_tables([found[k] for k in parts])
                cut = between(whole, int(clip["start_frame"]), int(clip["end_frame"]))
                made.setdefault(clip["clip_id"], {})[name] = cut if discover()[name].spec.grain == "video" else whole
    return made


def _keys(clip: Mapping[str, Any], name: str) -> list[str]:
    if discover()[name].spec.grain == "clip":
        return [f"{clip['clip_id']}:{name}"]
    return [f"{clip['video_id']}:{name}:{window}" for window in windows_of(clip)]
