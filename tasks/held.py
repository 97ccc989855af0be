"""Rows as a job holds them: read at one manifest, with the digests that staleness compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import xor
from typing import Any

import numpy as np
import pyarrow as pa

from store.ledger import Manifest
from store.schema import embeddings_table
from store.workspace import Workspace
from tasks import compute
from tasks.compute import Held
from tasks.digest import between, pack, timeline_schema, unpack
from tasks.signal import WINDOW_FRAMES, LoadedSignal
from tasks.signals import discover

_NO_ROW = Held("ok", "", "", 0, 0)


def video_row(workspace: Workspace, manifest: Manifest, video_id: str) -> dict[str, Any]:
    found = workspace.record.read(manifest, "videos", where=f"video_id = '{video_id}'").to_pylist()
    assert len(found) == 1, (video_id, len(found))
    return dict(found[0])


def num_windows(video: Mapping[str, Any]) -> int:
    return -(-int(video["num_frames"]) // WINDOW_FRAMES)


def windows_of(clip: Mapping[str, Any]) -> Iterator[int]:
    yield from range(int(clip["start_frame"]) // WINDOW_FRAMES, (int(clip["end_frame"]) - 1) // WINDOW_FRAMES + 1)


def _provenance(told: dict[str, Any]) -> dict[str, Any]:
    """As stored; a digest of another type, as an older version wrote it, counts as none, as it does in tasks/stale.py."""
    digests = {k: told[k] if isinstance(told[k], int) else 0 for k in ("input_digest", "output_digest")}
    return {**told, **digests, "reason": told["reason"] or ""}


def held_row(signal: LoadedSignal, row: Mapping[str, Any]) -> Held | None:
    if row.get(f"{signal.name}_status") is None:
        return None
    told = _provenance({k: row[f"{signal.name}_{k}"] for k in compute.provenance(_NO_ROW)})
    values = {c.name: row.get(f"{signal.name}_{c.name}") for c in signal.spec.columns}
    return Held(**{**told, "row": values})


def held_timelines(
    workspace: Workspace, manifest: Manifest, video_id: str, windows: Sequence[int] | range, names: Sequence[str] = ()
) -> dict[int, dict[str, Held]]:
    """Stored timelines of a video by window and name, with their values."""
    where = f"video_id = '{video_id}' AND clip_id IS NULL"
    if windows:
        where += f" AND window_index IN ({', '.join(str(w) for w in windows)})"
    if names:
        where += " AND name IN (" + ", ".join(f"'{n}'" for n in names) + ")"
    found: dict[int, dict[str, Held]] = {}
    for row in workspace.record.read(manifest, "timelines", where=where).to_pylist():
        told = _provenance({k: row[k] for k in compute.provenance(_NO_ROW)})
        timeline = unpack(row["payload"]) if row["payload"] is not None else None
        held = Held(**{**told, "timeline": timeline})
        found.setdefault(row["window_index"], {})[row["name"]] = held
    return found


def clip_parts(
    workspace: Workspace, manifest: Manifest, signal: LoadedSignal, clip_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By clip: what a clip signal holds beside its row, `timeline` and `vectors`, where it declares them."""
    found: dict[str, dict[str, Any]] = {}
    told = ", ".join(f"'{c}'" for c in clip_ids)
    if signal.spec.timeline:
        where = f"clip_id IN ({told}) AND name = '{signal.name}'"
        for row in _with(workspace, manifest, "timelines", "payload", where):
            found.setdefault(row["clip_id"], {})["timeline"] = unpack(row["payload"])
    for vector in signal.spec.vectors:
        table = embeddings_table(signal.name, vector)
        if table not in manifest.versions:
            continue
        for row in _with(workspace, manifest, table, "vector", f"clip_id IN ({told})"):
            values = np.asarray(row["vector"], np.float32)
            found.setdefault(row["clip_id"], {}).setdefault("vectors", {})[vector] = values
    return found


def _with(workspace: Workspace, manifest: Manifest, table: str, column: str, where: str) -> list[dict[str, Any]]:
    """The rows of clips that have it."""
    rows = workspace.record.read(manifest, table, ["clip_id", column], where).to_pylist()
    return [row for row in rows if row[column] is not None]


def timeline_of(held: Mapping[str, Held], name: str) -> pa.Table:
    found = held[name].timeline if name in held else None
    return timeline_schema(discover()[name].spec.timeline).empty_table() if found is None else found


def needs_of(names: Sequence[str], known: Mapping[str, Held], start_frame: int, end_frame: int) -> dict[str, Any]:
    """What `compute` of a clip signal gets of the signals it needs: None for one that is not ok (it is optional then)."""
    given: dict[str, Any] = {}
    for name in names:
        if name in known and known[name].status != "ok":
            given[name] = None
            continue
        if discover()[name].spec.grain == "video":
            given[name] = between(timeline_of(known, name), start_frame, end_frame)
            continue
        given[name] = known[name].row
        if known[name].timeline is not None:
            given[f"{name}.timeline"] = known[name].timeline
        given |= {f"{name}.{vector}": values for vector, values in known[name].vectors.items()}
    return given


def stitched(lines: Mapping[int, Mapping[str, Held]], name: str, clip: Mapping[str, Any]) -> Held:
    """A video timeline over the windows a clip lies in; its digest combines theirs, as tasks/stale.py does in SQL."""
    parts = [lines[w][name] for w in windows_of(clip)]
    bad = next((p for p in parts if p.status != "ok"), None)
    told = reduce(xor, (p.output_digest for p in parts))
    if bad is not None:
        return Held(bad.status, bad.reason, bad.fingerprint, 0, told)
    return Held(
        "ok",
        "",
        parts[0].fingerprint,
        0,
        told,
        timeline=pa.concat_tables([timeline_of({name: p}, name) for p in parts]),
    )


def payload_of(held: Held) -> dict[str, Any]:
    if held.timeline is None:
        return {"num_rows": None, "payload": None}
    return {"num_rows": held.timeline.num_rows, "payload": pack(held.timeline)}
