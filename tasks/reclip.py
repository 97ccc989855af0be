"""Clipping runs: the parameters in force, and the roll-out of others.

`curate` never re-clips a video that the run in force has clipped. A new run is computed beside it, shown (kept, moved,
lost, added), and takes over in one commit; the old clips keep their rows, so going back costs one commit too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pyarrow as pa

from store.ledger import Manifest, manifests
from store.record import Batch, table_of
from store.schema import CLIPPING, CLIPS, VIDEOS
from store.workspace import Workspace
from tasks import clipping
from tasks.clipping import ClipParams
from tasks.jobs import adopted_clips, chosen_spans, clip_rows, clipped, clipping_rows


@dataclass
class Reclip:
    """What a roll-out does, per clip id: kept as it is, moved (old, new, IoU), lost, added."""

    run: str
    params: ClipParams
    kept: list[str]
    moved: list[tuple[str, str, float]]
    lost: list[str]
    added: list[str]
    where: dict[str, str]
    """Of the clips that are moved or lost: the file's name and the span in seconds."""
    batch: Batch
    made_on: Manifest

    @property
    def counts(self) -> dict[str, int]:
        return {k: len(getattr(self, k)) for k in ("kept", "moved", "lost", "added")}


def params_in_force(workspace: Workspace) -> ClipParams:
    """Parameters of the active clipping run; the defaults, written down, in a workspace that has none."""
    run = workspace.ledger.manifest().clipping_run
    told = workspace.ledger.setting(f"clipping:{run}", "") if run else ""
    params = ClipParams(**json.loads(told)) if told else ClipParams()
    if not told:
        remember(workspace, params)
    return params


def remember(workspace: Workspace, params: ClipParams) -> None:
    workspace.ledger.set_setting(f"clipping:{params.fingerprint}", json.dumps(asdict(params), sort_keys=True))


def changed(params: ClipParams, settings: Mapping[str, str]) -> ClipParams:
    """`params` with values from the command line. Raises ValueError for an unknown name or a value that is no number."""
    known = [f.name for f in fields(ClipParams)]
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in known:
            raise ValueError(f"clipping parameter {name!r} is none of {', '.join(known)}")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"clipping parameter {name}: {text!r} is no number; write {name}=3.5") from None
    return replace(params, **values)


def propose(workspace: Workspace, params: ClipParams) -> Reclip:
    """Clips every video anew under `params`, on the timelines that are stored. Writes nothing."""
    manifest = workspace.ledger.manifest()
    videos = workspace.record.read(
        manifest, "videos", where="proxy_sha256 IS NOT NULL AND rejected IS NULL"
    ).to_pylist()
    stay = adopted_clips(workspace, manifest)
    active = workspace.record.read(manifest, "clips", where="active").to_pylist()
    now_active = [c for c in active if c["clip_id"] not in stay]
    wide = workspace.record.read(manifest, "signals", ["clip_id", "active"])
    proposal = Reclip(params.fingerprint, params, [], [], [], [], {}, Batch(), manifest)
    by_video: dict[str, list[dict[str, Any]]] = {}
    for clip in now_active:
        by_video.setdefault(clip["video_id"], []).append(clip)
    chosen: dict[str, dict[str, Any]] = {}
    for video in sorted(videos, key=lambda v: str(v["video_id"])):
        made, failure = chosen_spans(workspace, manifest, video, params)
        if failure:  # its timelines can't be read: what stands, stands
            held = by_video.get(video["video_id"], [])
            proposal.kept += [c["clip_id"] for c in held]
            chosen |= {c["clip_id"]: c for c in held}
            continue
        clips = clip_rows(video, made.spans, time.time())
        proposal.batch.add("clipping", table_of(clipping_rows(video, made, clips, params.fingerprint), CLIPPING))
        if video["state"] == "done":
            proposal.batch.add("videos", table_of([{**video, **clipped(made, clips)}], VIDEOS))
        chosen |= {c["clip_id"]: c for c in clips}
        _sort_out(proposal, str(video["video_id"]), by_video.get(video["video_id"], []), clips)
    names = {v["video_id"]: v["name"] for v in videos}
    for clip in (c for c in now_active if c["clip_id"] not in chosen):
        span = f"{clip['start_s']:.1f} to {clip['end_s']:.1f} s"
        proposal.where[clip["clip_id"]] = f"{names.get(clip['video_id'], clip['video_id'])}, {span}"
    retired = [{**c, "active": False} for c in now_active if c["clip_id"] not in chosen]
    proposal.batch.add("clips", table_of([*chosen.values(), *retired], CLIPS))
    proposal.batch.add("signals", _activity(chosen, retired, set(wide["clip_id"].to_pylist())))
    return proposal


def apply(workspace: Workspace, proposal: Reclip) -> None:
    """Switches to the proposed run: clips, wide rows and the run's name change in one manifest.

    Raises ValueError when anything was committed since the proposal was made.
    """
    remember(workspace, proposal.params)
    workspace.commit(proposal.batch, clipping_run=proposal.run, expected=proposal.made_on)


def previous_params(workspace: Workspace) -> ClipParams:
    """Parameters of the run before the one in force. Raises ValueError when there is none."""
    present = workspace.ledger.manifest().clipping_run
    told = workspace.ledger.rows(manifests.select().order_by(manifests.c.id))
    before = [row["clipping_run"] for row in told if row["clipping_run"] not in ("", present)]
    if not before:
        raise ValueError(
            "there is no earlier clipping run to go back to; headroom reclip --set NAME=VALUE proposes one"
        )
    return ClipParams(**json.loads(workspace.ledger.setting(f"clipping:{before[-1]}", "{}")))


def _sort_out(proposal: Reclip, video_id: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    def span(clip: Mapping[str, Any]) -> tuple[int, int]:
        return int(clip["start_frame"]), int(clip["end_frame"])

    told = clipping.compare([span(c) for c in old], [span(c) for c in new])

    def name(at: tuple[int, int]) -> str:
        return clipping.clip_id(video_id, *at)

    proposal.kept += [name(s) for s in told.kept]
    proposal.moved += [(name(old_span), name(new_span), iou) for old_span, new_span, iou in told.moved]
    proposal.lost += [name(s) for s in told.lost]
    proposal.added += [name(s) for s in told.added]


def _activity(chosen: Mapping[str, Mapping[str, Any]], retired: list[dict[str, Any]], wide: set[str]) -> pa.Table:
    rows = [(c["clip_id"], c["video_id"], True) for c in chosen.values()]
    rows += [(c["clip_id"], c["video_id"], False) for c in retired if c["clip_id"] in wide]
    return pa.table(
        {
            "clip_id": pa.array([r[0] for r in rows], pa.string()),
            "video_id": pa.array([r[1] for r in rows], pa.string()),
            "active": pa.array([r[2] for r in rows], pa.bool_()),
        }
    )
