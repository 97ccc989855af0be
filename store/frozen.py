"""A snapshot's clips with the addresses of their media: all that a reader of it needs, small and picklable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from infra.settings import Settings
from store import views
from store.ledger import SNAPSHOTS_BY_AGE, Manifest
from store.ledger import snapshots as snapshots_table
from store.objects import Objects
from store.record import Record
from store.snapshot import Snapshot, load
from store.workspace import Workspace

_VIDEO = ("video_id", "name", "uri", "proxy_uri", "proxy_sha256", "audio_uri", "width_px", "height_px", "num_frames")
_CLIP = ("clip_id", "video_id", "start_frame", "end_frame")


@dataclass(frozen=True)
class Frozen:
    """Clips of one snapshot. Tables are read at the versions that the snapshot was frozen at, whatever came later."""

    settings: Settings
    snapshot_id: str
    sha256: str
    tier: str
    versions: Mapping[str, int]
    clips: pa.Table
    """One row per clip, sorted by clip_id: its span, `weight` where the snapshot is balanced, and `name` to `num_frames` of
    its video."""

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("record", "objects")}

    @cached_property
    def record(self) -> Record:
        return Record(f"{self.settings.objects_url}/lance")

    @cached_property
    def objects(self) -> Objects:
        return Objects(self.settings.objects_url, self.settings.workspace / "cache")

    def local(self, uri: str) -> Path:
        return self.objects.local(uri)


def snapshot_row(workspace: Workspace, name: str) -> dict[str, Any]:
    """The ledger's row of a snapshot by id (six characters are enough), or the latest one of a tier.

    Raises ValueError when there is none, or when several ids begin so.
    """
    table = snapshots_table
    rows = workspace.ledger.rows(table.select().order_by(*SNAPSHOTS_BY_AGE))
    found = [r for r in rows if r["tier"] == name][-1:] or [r for r in rows if r["id"].startswith(name)]
    if len(found) != 1 or (len(name) < 6 and found[0]["tier"] != name):
        what = f"{len(found)} snapshots have an id that begins so" if len(found) > 1 else "no tier with a snapshot"
        raise ValueError(f"{name!r}: {what}, and no snapshot's id; headroom tier build NAME freezes one")
    return found[0]


def frozen(workspace: Workspace, name: str) -> Frozen:
    """The clips of a snapshot by id, or of a tier's latest one.

    Raises ValueError when there is no such snapshot, when it can't be verified, when the tables it was frozen at are
    no longer kept, and when a clip's media are gone.
    """
    snapshot = load(workspace.objects.local(snapshot_row(workspace, name)["uri"]))
    return frozen_of(workspace, snapshot)


def frozen_of(workspace: Workspace, snapshot: Snapshot) -> Frozen:
    versions = {str(k): int(v) for k, v in snapshot.header["manifest"].items()}
    own = [*_CLIP, *(c for c in ("weight",) if c in snapshot.clips.column_names)]
    here = snapshot.clips.select(own).filter(pc.is_valid(snapshot.clips["clip_id"]))  # the others were redacted
    try:
        clips = _with_media(workspace, versions, here)
    except ValueError as error:
        raise ValueError(
            f"snapshot {snapshot.id}: the tables it was frozen at are no longer kept ({error}); build the tier again"
        ) from error
    if lost := clips.filter(pc.is_null(clips["proxy_uri"]))["clip_id"].to_pylist():
        raise ValueError(
            f"snapshot {snapshot.id}: {len(lost)} clips have no proxy, the first {lost[0]}; build it again"
        )
    return Frozen(workspace.settings, snapshot.id, snapshot.sha256, snapshot.tier, versions, clips)


def live(workspace: Workspace, clip_ids: Sequence[str]) -> Frozen:
    """Clips as they are now, for looking at them; without an id, since nothing of it is kept. Those without a proxy, or
    that are not in the record, are left out."""
    manifest = workspace.ledger.manifest()
    clips = workspace.record.read(manifest, "clips", _CLIP)
    clips = clips.filter(pc.is_in(clips["clip_id"], value_set=pa.array(sorted(clip_ids), pa.string())))
    clips = _with_media(workspace, manifest.versions, clips)
    clips = clips.filter(pc.is_valid(clips["proxy_uri"])).combine_chunks()
    return Frozen(workspace.settings, "", "", "", dict(manifest.versions), clips)


def union(snapshots: Sequence[Frozen]) -> Frozen:
    """Clips of several snapshots as one, without weights: under the last one's name, read at the newest versions that any of
    them was frozen at."""
    last = snapshots[-1]
    versions = {name: max(s.versions.get(name, 0) for s in snapshots) for s in snapshots for name in s.versions}
    clips: dict[str, Any] = {}
    for one in snapshots:
        clips |= {row["clip_id"]: row for row in one.clips.to_pylist()}
    columns = [f for f in last.clips.schema if f.name != "weight"]
    rows = [{f.name: clips[c][f.name] for f in columns} for c in sorted(clips)]
    return replace(last, versions=versions, clips=pa.Table.from_pylist(rows, schema=pa.schema(columns)))


def reference_pairs(held: Frozen) -> pa.Table:
    """Rows of the relation `pairs`, as they stood when the snapshot was frozen, of which it holds both clips; sorted."""
    connection = views.connect(held.record.root, held.versions)
    try:
        connection.register("_held", held.clips.select(["clip_id"]))
        inside = " AND ".join(f"{side} IN (SELECT clip_id FROM _held)" for side in ("clip_a", "clip_b"))
        found = connection.sql(f"SELECT * FROM pairs WHERE {inside} ORDER BY clip_a, clip_b").to_arrow_table()
    finally:
        connection.close()
    assert isinstance(found, pa.Table)
    return found


def _with_media(workspace: Workspace, versions: Mapping[str, int], clips: pa.Table) -> pa.Table:
    videos = workspace.record.read(Manifest(0, dict(versions), ""), "videos", list(_VIDEO), "proxy_uri IS NOT NULL")
    return clips.join(videos, "video_id", join_type="left outer").sort_by("clip_id").combine_chunks()
