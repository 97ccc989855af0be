"""Units of work: each reads a workspace at one manifest and returns what a commit writes. They write no table.

normalise -> timelines -> clip -> signals. A job is about one video; a batch of jobs is what a scheduler sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from store.ledger import Manifest
from store.record import Batch, embedding_rows, table_of
from store.schema import CLIPPING, CLIPS, LOG, TIMELINES, VIDEOS, signal_fields
from store.workspace import Workspace
from tasks import clipping, compute
from tasks.clip_timelines import timelines_from
from tasks.compute import Held, Tally, WindowRun, attempt, blocked_by, input_digest, is_stale, media_parts
from tasks.digest import between, pack, timeline_schema, unpack
from tasks.media.errors import MediaError
from tasks.media.media import Media
from tasks.media.normalise import FINGERPRINT as NORMALISE_FINGERPRINT
from tasks.media.normalise import normalise
from tasks.media.reader import Reader
from tasks.signal import WINDOW_FRAMES, LoadedSignal, NotApplicable
from tasks.signals import discover

Stage = Literal["normalise", "timelines", "clip", "signals"]
CLIPPING_NEEDS = ("faces", "flow", "keyframes", "cuts")


@dataclass(frozen=True)
class Job:
    """Work on one video. `items` are windows (timelines) or clip ids (signals); `signals` is what is wanted."""

    stage: Stage
    video_id: str
    name: str
    media_s: float
    items: tuple[Any, ...] = ()
    signals: tuple[str, ...] = ()


@dataclass
class Done:
    """What came of a batch of jobs."""

    batch: Batch = field(default_factory=Batch)
    tally: Tally = field(default_factory=Tally)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    """(file name, reason)"""
    cpu_s: float = 0.0
    media_s: float = 0.0


def run_batch(workspace: Workspace, manifest: Manifest, jobs: Sequence[Job], run: clipping.ClipParams) -> Done:
    """Runs jobs one after another over one decoder."""
    done = Done(media_s=sum(job.media_s for job in jobs))
    with Reader() as reader:
        for job in jobs:
            if job.stage == "normalise":
                _normalise(workspace, manifest, job, done)
            elif job.stage == "timelines":
                _timelines(workspace, manifest, job, reader, done)
            elif job.stage == "clip":
                _clip(workspace, manifest, job, run, done)
            else:
                _signals(workspace, manifest, job, reader, done)
    return done


def _normalise(workspace: Workspace, manifest: Manifest, job: Job, done: Done) -> None:
    video = _video(workspace, manifest, job.video_id)
    began = time.time()
    row: dict[str, Any] = {"video_id": job.video_id, "normalise_fingerprint": NORMALISE_FINGERPRINT}
    folder = workspace.scratch / "normalise" / f"{job.video_id}-{time.time_ns()}"
    try:
        made = normalise(workspace.objects.local(video["uri"]), folder)
    except MediaError as error:
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
    done.cpu_s += float(row["normalise_cpu_s"])
    done.batch.add("videos", table_of([{**video, **row}], VIDEOS))


def _timelines(workspace: Workspace, manifest: Manifest, job: Job, reader: Reader, done: Done) -> None:
    video = _video(workspace, manifest, job.video_id)
    wanted = [s for s in discover().values() if s.name in job.signals]
    for window in job.items:
        held = _held_timelines(workspace, manifest, job.video_id, [window]).get(window, {})
        _bring_window_up_to_date(workspace, video, int(window), wanted, held, reader, done)


def _bring_window_up_to_date(
    workspace: Workspace,
    video: Mapping[str, Any],
    window: int,
    wanted: Sequence[LoadedSignal],
    held: dict[str, Held],
    reader: Reader,
    done: Done,
) -> None:
    start, end = window * WINDOW_FRAMES, min((window + 1) * WINDOW_FRAMES, int(video["num_frames"]))
    now = time.time()

    def expected(signal: LoadedSignal) -> str:
        needs = [held[n].output_digest if n in held else "" for n in signal.spec.needs]
        return input_digest(signal, media_parts(signal, video, start, end), needs)

    while True:
        stale = [s for s in wanted if is_stale(held.get(s.name), s.fingerprint, expected(s), now)]
        if not stale:
            break
        runs = {s.name: WindowRun(s) for s in stale if not blocked_by(s, _without(held, stale))}
        _decode_window(workspace, video, start, end, runs, held, reader)
        for signal in stale:
            made = attempt(
                signal, _outcome(signal, runs.get(signal.name), held), expected(signal), held.get(signal.name), now
            )
            made.cpu_s += runs[signal.name].cpu_s if signal.name in runs else 0.0
            held[signal.name] = made
            done.tally.count(signal.name, made)
            done.cpu_s += made.cpu_s
            where = {
                "video_id": video["video_id"],
                "name": signal.name,
                "grain": "video",
                "window_index": window,
                "start_frame": start,
                "end_frame": end,
            }
            row = {**where, "key": f"{video['video_id']}:{signal.name}:{window}", **compute.provenance(made)}
            row |= _payload(made)
            done.batch.add("timelines", table_of([row], TIMELINES))
            logged = compute.log_row(signal.name, made, video["video_id"], None, window, (end - start) / 25)
            done.batch.log.append(table_of([logged], LOG))


def _without(held: Mapping[str, Held], stale: Sequence[LoadedSignal]) -> dict[str, Held]:
    gone = {s.name for s in stale}
    return {n: h for n, h in held.items() if n not in gone}


def _outcome(signal: LoadedSignal, run: WindowRun | None, held: Mapping[str, Held]) -> Callable[[], Any]:
    def told() -> Any:
        blocked = blocked_by(signal, held)
        if blocked:
            raise NotApplicable(blocked)
        assert run is not None
        return run.output()

    return told


def _payload(held: Held) -> dict[str, Any]:
    if held.timeline is None:
        return {"num_rows": None, "payload": None}
    return {"num_rows": held.timeline.num_rows, "payload": pack(held.timeline)}


def _decode_window(
    workspace: Workspace,
    video: Mapping[str, Any],
    start: int,
    end: int,
    runs: Mapping[str, WindowRun],
    held: Mapping[str, Held],
    reader: Reader,
) -> None:
    """One decode for all signals that look at frames; the sound is read once for those that look at it alone."""
    looking = {n: r for n, r in runs.items() if r.signal.spec.look.frames_fps}
    listening = {n: r for n, r in runs.items() if n not in looking}
    for run in listening.values():
        media = Media(
            start, end, int(video["width_px"]), int(video["height_px"]), video_has_audio=bool(video["has_audio"])
        )
        if run.signal.spec.look.audio and video["audio_uri"]:
            media.audio = reader.read_audio(workspace.objects.local(video["audio_uri"]), start, end)
        run.feed(media, {n: between(_timeline(held, n), start, end) for n in run.signal.spec.needs})
    if not looking:
        return
    looks = [r.signal.spec.look for r in looking.values()]
    audio = workspace.objects.local(video["audio_uri"]) if video["audio_uri"] and any(k.audio for k in looks) else None
    blocks = reader.blocks(
        workspace.objects.local(video["proxy_uri"]),
        audio,
        int(video["num_frames"]),
        start,
        end,
        context_frames=max(k.context_frames for k in looks),
        fps=max(k.frames_fps or 0 for k in looks),
    )
    try:
        for media in blocks:
            media.source_width_px = int(video["source_width_px"])
            made: dict[str, pa.Table] = {}
            for name, run in looking.items():  # in the order of discovery: needs first
                needs = {n: made[n] if n in made else _cut(held, n, media) for n in run.signal.spec.needs}
                made[name] = run.feed(media, needs)
    except MediaError as error:
        for run in looking.values():
            run.fail(error)


def _cut(held: Mapping[str, Held], name: str, media: Media) -> pa.Table:
    return between(_timeline(held, name), media.start_frame, media.end_frame)


def _timeline(held: Mapping[str, Held], name: str) -> pa.Table:
    found = held[name].timeline if name in held else None
    return timeline_schema(discover()[name].spec.timeline).empty_table() if found is None else found


def _clip(workspace: Workspace, manifest: Manifest, job: Job, params: clipping.ClipParams, done: Done) -> None:
    """Chooses the clips of one video from its timelines; a video without any says why."""
    video = _video(workspace, manifest, job.video_id)
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
    ends: dict[str, Any] = {
        "state": "done",
        "stage": None if clips else "clip",
        "reason": None if clips else made.reason,
    }
    done.batch.add("videos", table_of([{**video, **ends}], VIDEOS))


def chosen_spans(
    workspace: Workspace, manifest: Manifest, video: Mapping[str, Any], params: clipping.ClipParams
) -> tuple[clipping.Clipping, tuple[str, str] | None]:
    """Spans by smart clipping on the stored timelines; or (stage, reason) when a timeline it reads has failed."""
    windows = range(num_windows(video))
    names = (*CLIPPING_NEEDS, *(("vad",) if params.speech_ratio_min > 0 else ()))
    held = _held_timelines(workspace, manifest, str(video["video_id"]), windows, names)
    tables = {}
    for name in names:
        parts = [held[w][name] for w in windows]
        failed = [p for p in parts if p.status.startswith("failed")]
        if failed:
            return clipping.Clipping((), failed[0].reason, (name,)), (name, failed[0].reason)
        tables[name] = pa.concat_tables([_timeline({name: p}, name) for p in parts])
    lines = timelines_from(int(video["num_frames"]), **tables)
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


def _signals(workspace: Workspace, manifest: Manifest, job: Job, reader: Reader, done: Done) -> None:
    video = _video(workspace, manifest, job.video_id)
    wanted = [s for s in discover().values() if s.name in job.signals and s.spec.grain == "clip"]
    told = ", ".join(f"'{c}'" for c in job.items)
    clips = workspace.record.read(manifest, "clips", where=f"clip_id IN ({told})").to_pylist()
    wide = workspace.record.read(manifest, "signals", where=f"clip_id IN ({told})").to_pylist()
    rows = {r["clip_id"]: r for r in wide}
    names = sorted({n for s in wanted for n in s.spec.needs if discover()[n].spec.grain == "video"})
    windows = {w for c in clips for w in windows_of(c)}
    lines = _held_timelines(workspace, manifest, job.video_id, sorted(windows), names) if names else {}
    made_rows: dict[str, dict[str, Held]] = {}
    for clip in clips:
        held = {s.name: h for s in wanted if (h := _held_row(s, rows.get(clip["clip_id"], {}))) is not None}
        video_needs = {n: _stitched(lines, n, clip) for n in names}
        made = _bring_clip_up_to_date(workspace, video, clip, wanted, held, video_needs, reader, done)
        if made:
            made_rows[clip["clip_id"]] = made
    _write_clip_rows(done.batch, job.video_id, made_rows)


def _bring_clip_up_to_date(
    workspace: Workspace,
    video: Mapping[str, Any],
    clip: Mapping[str, Any],
    wanted: Sequence[LoadedSignal],
    held: dict[str, Held],
    video_needs: Mapping[str, Held],
    reader: Reader,
    done: Done,
) -> dict[str, Held]:
    start, end = int(clip["start_frame"]), int(clip["end_frame"])
    now = time.time()

    def expected(signal: LoadedSignal) -> str:
        known = {**video_needs, **held}
        needs = [known[n].output_digest if n in known else "" for n in signal.spec.needs]
        return input_digest(signal, media_parts(signal, video, start, end), needs)

    made: dict[str, Held] = {}
    media: Media | MediaError | None = None
    for signal in wanted:  # in the order of discovery: needs first, so one pass is enough
        if not is_stale(held.get(signal.name), signal.fingerprint, expected(signal), now):
            continue
        if media is None:
            media = _clip_media(workspace, video, start, end, [s.spec.look for s in wanted], reader)
        known = {**video_needs, **held}
        outcome = attempt(signal, _clip_run(signal, media, known), expected(signal), held.get(signal.name), now)
        held[signal.name] = made[signal.name] = outcome
        done.tally.count(signal.name, outcome)
        done.cpu_s += outcome.cpu_s
        logged = compute.log_row(signal.name, outcome, clip["video_id"], clip["clip_id"], None, clip["duration_s"])
        done.batch.log.append(table_of([logged], LOG))
    return made


def _clip_media(
    workspace: Workspace, video: Mapping[str, Any], start: int, end: int, looks: Sequence[Any], reader: Reader
) -> Media | MediaError:
    proxy = workspace.objects.local(video["proxy_uri"])
    audio = workspace.objects.local(video["audio_uri"]) if video["audio_uri"] and any(k.audio for k in looks) else None
    fps = max((k.frames_fps or 0 for k in looks), default=0) or None
    try:
        media: Media = reader.sampled(proxy, audio, start, end, fps)
    except MediaError as error:
        return error
    media.source_width_px = int(video["source_width_px"])
    media.video_has_audio = bool(video["has_audio"])
    return media


def _clip_run(signal: LoadedSignal, media: Media | MediaError, known: Mapping[str, Held]) -> Callable[[], Any]:
    def run() -> Any:
        blocked = blocked_by(signal, known)
        if blocked:
            raise NotApplicable(blocked)
        if isinstance(media, MediaError):
            raise media
        needs: dict[str, Any] = {}
        for name in signal.spec.needs:
            if discover()[name].spec.grain == "video":
                needs[name] = between(_timeline(known, name), media.start_frame, media.end_frame)
                continue
            needs[name] = known[name].row
            if known[name].timeline is not None:
                needs[f"{name}.timeline"] = known[name].timeline
            needs.update({f"{name}.{vector}": values for vector, values in known[name].vectors.items()})
        return signal.compute(media, needs)

    return run


def _write_clip_rows(batch: Batch, video_id: str, made: Mapping[str, Mapping[str, Held]]) -> None:
    """One upsert of the wide table per signal, its timeline rows and its vectors."""
    for name, signal in discover().items():
        rows = {clip_id: held[name] for clip_id, held in made.items() if name in held}
        if not rows:
            continue
        fields = signal_fields(name, [(c.name, c.dtype) for c in signal.spec.columns])
        wide = [
            {"clip_id": c, "video_id": video_id, "active": True}
            | {f"{name}_{k}": v for k, v in {**h.row, **compute.provenance(h)}.items()}
            for c, h in rows.items()
        ]
        base = [pa.field("clip_id", pa.string()), pa.field("video_id", pa.string()), pa.field("active", pa.bool_())]
        batch.add("signals", table_of(wide, pa.schema([*base, *fields])))
        if signal.spec.timeline:
            lines = [
                {
                    "key": f"{c}:{name}",
                    "video_id": video_id,
                    "clip_id": c,
                    "name": name,
                    "grain": "clip",
                    **compute.provenance(h),
                    **_payload(h),
                }
                for c, h in rows.items()
            ]
            batch.add("timelines", table_of(lines, TIMELINES))
        for vector in signal.spec.vectors:
            ok = {c: h for c, h in rows.items() if h.status == "ok"}
            if ok:
                values = np.stack([h.vectors[vector] for h in ok.values()])
                digests = [h.output_digest for h in ok.values()]
                made_rows = embedding_rows(list(ok), [video_id] * len(ok), values, signal.fingerprint, digests)
                batch.add(f"embeddings_{name}_{vector}", made_rows)


def _held_row(signal: LoadedSignal, row: Mapping[str, Any]) -> Held | None:
    if row.get(f"{signal.name}_status") is None:
        return None
    told = {k: row[f"{signal.name}_{k}"] for k in compute.provenance(_NO_ROW)}
    values = {c.name: row.get(f"{signal.name}_{c.name}") for c in signal.spec.columns}
    return Held(**{**told, "reason": told["reason"] or "", "row": values})


_NO_ROW = Held("ok", "", "", "", "")


def _held_timelines(
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
        told = {k: row[k] for k in compute.provenance(_NO_ROW)}
        timeline = unpack(row["payload"]) if row["payload"] is not None else None
        held = Held(**{**told, "reason": told["reason"] or "", "timeline": timeline})
        found.setdefault(row["window_index"], {})[row["name"]] = held
    return found


def _stitched(lines: Mapping[int, Mapping[str, Held]], name: str, clip: Mapping[str, Any]) -> Held:
    """A video timeline over the windows a clip lies in; its digest lists theirs, as tasks/plan.py does in SQL."""
    parts = [lines[w][name] for w in windows_of(clip)]
    bad = next((p for p in parts if p.status != "ok"), None)
    digest_in = ",".join(p.output_digest for p in parts)
    if bad is not None:
        return Held(bad.status, bad.reason, bad.fingerprint, "", digest_in)
    return Held(
        "ok",
        "",
        parts[0].fingerprint,
        "",
        digest_in,
        timeline=pa.concat_tables([_timeline({name: p}, name) for p in parts]),
    )


def windows_of(clip: Mapping[str, Any]) -> Iterator[int]:
    yield from range(int(clip["start_frame"]) // WINDOW_FRAMES, (int(clip["end_frame"]) - 1) // WINDOW_FRAMES + 1)


def num_windows(video: Mapping[str, Any]) -> int:
    return -(-int(video["num_frames"]) // WINDOW_FRAMES)


def _video(workspace: Workspace, manifest: Manifest, video_id: str) -> dict[str, Any]:
    found = workspace.record.read(manifest, "videos", where=f"video_id = '{video_id}'").to_pylist()
    assert len(found) == 1, (video_id, len(found))
    return dict(found[0])
