"""Units of work: each reads a workspace at one manifest and returns what a commit writes. They write no table.

normalise -> timelines -> clip -> signals. A job is about one video; a batch of jobs is what a scheduler sees.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from infra.resources import give_back_memory
from store.ledger import Manifest, sources
from store.record import table_of
from store.schema import CLIPPING, CLIPS, VIDEOS
from store.workspace import Workspace
from tasks import clipping, networks
from tasks.clip_timelines import timelines_from
from tasks.deadline import limit_s
from tasks.held import held_timelines, num_windows, timeline_of, video_row
from tasks.ingest import content_id
from tasks.job import Done, Job, ProcessLost, Stage
from tasks.media.errors import MediaError
from tasks.media.normalise import FINGERPRINT as NORMALISE_FINGERPRINT
from tasks.media.normalise import normalise
from tasks.media.reader import Reader
from tasks.run_clips import run_clips
from tasks.run_windows import run_windows

__all__ = ["CLIPPING_NEEDS", "Done", "Job", "Stage", "run_batch"]

ADOPTED = "adopted"
"""The run, in the table `clipping`, of clips that were cut elsewhere."""
CLIPPING_NEEDS = ("faces", "flow", "keyframes", "cuts")
CLIPPING_TIMELINES = (*CLIPPING_NEEDS, "vad")
"""With the one that it reads when speech is asked for."""


def run_batch(workspace: Workspace, manifest: Manifest, jobs: Sequence[Job], run: clipping.ClipParams) -> Done:
    """Runs jobs one after another over one decoder.

    Raises ValueError for a limit of signals that is none: within a signal it would be taken for that one's failure.
    """
    limit_s()
    done = Done(media_s=sum(job.media_s for job in jobs))
    with Reader() as reader:
        for job in jobs:
            with networks.stage(job.stage):
                if job.stage == "normalise":
                    _normalise(workspace, manifest, job, done)
                elif job.stage == "timelines":
                    run_windows(workspace, manifest, job, reader, done)
                elif job.stage == "clip":
                    _clip(workspace, manifest, job, run, done)
                else:
                    run_clips(workspace, manifest, job, reader, done)
    give_back_memory()
    return done


def _normalise(workspace: Workspace, manifest: Manifest, job: Job, done: Done) -> None:
    video = video_row(workspace, manifest, job.video_id)
    began = time.time()
    row: dict[str, Any] = {"video_id": job.video_id, "normalise_fingerprint": NORMALISE_FINGERPRINT}
    folder = workspace.scratch / "normalise" / f"{job.video_id}-{time.time_ns()}"
    try:
        if job.set_aside:
            raise MediaError("normalise", f"{ProcessLost.__name__}: {job.set_aside}")
        source = source_of(workspace, video)
        row |= {"uri": source, "name": source.rsplit("/", 1)[-1]}
        made = normalise(workspace.objects.local(source), folder)
    except MediaError as error:
        if error.transient:  # not the file's fault: the batch is run again
            raise
        row |= {"state": "quarantined", "stage": error.stage, "reason": error.reason, "rejected": None}
        done.quarantined.append((job.name, error.reason))
        done.batch.add("videos", table_of([{**video, **row}], VIDEOS))
        return
    told = asdict(made)
    row |= {name: told[name] for name in VIDEOS.names if name in told}
    key = f"media/{job.video_id}"
    row["proxy_uri"] = workspace.objects.put(made.proxy_path, f"{key}/proxy.mp4")
    row["audio_uri"] = workspace.objects.put(made.audio_path, f"{key}/audio.flac") if made.audio_path else None
    row |= {"state": "done" if made.rejected else "new", "stage": "prefilter" if made.rejected else None}
    row |= {"reason": made.rejected, "normalise_cpu_s": told.get("cpu_s", time.time() - began)}
    if video["state"] == "done" and not (made.rejected or video["rejected"]) and made.num_frames == video["num_frames"]:
        row |= {"state": "done", "stage": video["stage"], "reason": video["reason"]}  # its clips stand
    if made.rejected:
        _retire(workspace, manifest, job.video_id, set(), done)
    done.cpu_s += float(row["normalise_cpu_s"])
    done.batch.add("videos", table_of([{**video, **row}], VIDEOS))


def _clip(workspace: Workspace, manifest: Manifest, job: Job, params: clipping.ClipParams, done: Done) -> None:
    """Chooses the clips of one video from its timelines; a video without any says why."""
    video = video_row(workspace, manifest, job.video_id)
    made, failure = chosen_spans(workspace, manifest, video, params)
    if failure:
        done.quarantined.append((job.name, failure[1]))
        told = {"state": "quarantined", "stage": failure[0], "reason": failure[1]}
        done.batch.add("videos", table_of([{**video, **told}], VIDEOS))
        return
    clips = clip_rows(video, made.spans, time.time())
    done.batch.add("clipping", table_of(clipping_rows(video, made, clips, params.fingerprint), CLIPPING))
    done.batch.add("clips", table_of(clips, CLIPS))
    wide = [{"clip_id": c["clip_id"], "video_id": c["video_id"], "active": True} for c in clips]
    if wide:
        done.batch.add("signals", pa.Table.from_pylist(wide))
    _retire(workspace, manifest, job.video_id, {c["clip_id"] for c in clips}, done)
    done.batch.add("videos", table_of([{**video, **clipped(made, clips)}], VIDEOS))


def clipped(made: clipping.Clipping, clips: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    """What a video's row says once its clips are chosen: without any, why."""
    return {"state": "done", "stage": None if clips else "clip", "reason": None if clips else made.reason}


def _retire(workspace: Workspace, manifest: Manifest, video_id: str, kept: Collection[str], done: Done) -> None:
    """Clips of a proxy that is no more: their frames may not be there."""
    where = f"video_id = '{video_id}' AND active"
    stay = {*kept, *adopted_clips(workspace, manifest, f"video_id = '{video_id}'")}
    gone = [c for c in workspace.record.read(manifest, "clips", where=where).to_pylist() if c["clip_id"] not in stay]
    if gone:
        done.batch.add("clips", table_of([{**c, "active": False} for c in gone], CLIPS))
        wide = [{"clip_id": c["clip_id"], "video_id": video_id, "active": False} for c in gone]
        done.batch.add("signals", pa.Table.from_pylist(wide))


def adopted_clips(workspace: Workspace, manifest: Manifest, where: str = "true") -> set[str]:
    """Clips that came in by a table: no clipping run chose them, and none retires them."""
    rows = workspace.record.read(manifest, "clipping", ["clip_id"], f"run = '{ADOPTED}' AND {where}")
    return {c for c in rows["clip_id"].to_pylist() if c is not None}


def source_of(workspace: Workspace, video: Mapping[str, Any]) -> str:
    """An address at which the video's content lies now: where it was first seen, or where else it was seen since.

    Raises MediaError when no address holds it any more: another file's frames must not become this video's.
    """
    others = [r["uri"] for r in workspace.ledger.rows(sources.select().where(sources.c.video_id == video["video_id"]))]
    met = "is not there any more"
    for uri in dict.fromkeys([video["uri"], *sorted(others)]):
        if not workspace.objects.exists(uri):
            continue
        file = workspace.objects.local(uri)
        met = "holds something else now"
        try:
            if file.is_file() and content_id(file) == video["video_id"]:  # a pipe in its place would block
                return str(uri)
        except OSError as error:
            met = f"can't be read now ({error.strerror})"
    raise MediaError("source", f"the source {met}: {video['uri']}; put it back, or curate it where it is")


def chosen_spans(
    workspace: Workspace, manifest: Manifest, video: Mapping[str, Any], params: clipping.ClipParams
) -> tuple[clipping.Clipping, tuple[str, str] | None]:
    """Spans by smart clipping on the stored timelines; or (stage, reason) when a timeline it reads has failed."""
    windows = range(num_windows(video))
    names = (*CLIPPING_NEEDS, *(("vad",) if params.speech_ratio_min > 0 else ()))
    held = held_timelines(workspace, manifest, str(video["video_id"]), windows, names)
    tables = {}
    for name in names:
        parts = [held[w][name] for w in windows]
        failed = [p for p in parts if p.status.startswith("failed")]
        if failed:
            return clipping.Clipping((), failed[0].reason, (name,)), (name, failed[0].reason)
        tables[name] = pa.concat_tables([timeline_of({name: p}, name) for p in parts])
    lines = timelines_from(int(video["num_frames"]), **tables, first_frame=int(video["first_frame"] or 0))
    return clipping.solve(lines, params), None


def clipping_rows(
    video: Mapping[str, Any], made: clipping.Clipping, clips: Sequence[Mapping[str, Any]], run: str
) -> list[dict[str, Any]]:
    """The rows of one video in one clipping run; a video without a clip has one row, with the reason."""
    base = {"run": run, "video_id": video["video_id"], "computed_at": time.time()}
    stem = f"{run}:{video['video_id']}:"
    if not clips:
        return [{**base, "key": stem, "reason": made.reason, "binding": ", ".join(made.binding)}]
    spans = ("clip_id", "start_frame", "end_frame")
    return [{**base, "key": stem + c["clip_id"], **{k: c[k] for k in spans}} for c in clips]


def clip_rows(video: Mapping[str, Any], spans: Sequence[tuple[int, int]], now: float) -> list[dict[str, Any]]:
    origin_s = float(video["source_start_s"] or 0.0)
    return [
        {
            "clip_id": clipping.clip_id(str(video["video_id"]), start, end),
            "video_id": video["video_id"],
            "start_frame": start,
            "end_frame": end,
            "start_s": round(origin_s + start / 25, 6),
            "end_s": round(origin_s + end / 25, 6),
            "duration_s": (end - start) / 25,
            "source_width_px": video["source_width_px"],
            "source_height_px": video["source_height_px"],
            "source_fps": video["source_fps"],
            "active": True,
            "created_at": now,
        }
        for start, end in spans
    ]
