"""Clip signals over the clips of one video: all that are stale together over one decode of each clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from infra.resources import give_back_if_grown, give_back_memory
from store.candidates import beside as beside_table
from store.ledger import Manifest
from store.record import Batch, embedding_rows, table_of
from store.schema import LOG, TIMELINES, embeddings_table, signal_fields
from store.workspace import Workspace
from tasks import compute
from tasks.compute import Held, attempt, blocked_by, input_digest, is_stale
from tasks.held import clip_parts, held_row, held_timelines, needs_of, payload_of, stitched, video_row, windows_of
from tasks.job import Done, Job, ProcessLost
from tasks.media.errors import MediaError
from tasks.media.media import Media
from tasks.media.reader import Reader
from tasks.signal import LoadedSignal, NotApplicable
from tasks.signals import discover


def run_clips(workspace: Workspace, manifest: Manifest, job: Job, reader: Reader, done: Done) -> None:
    video = video_row(workspace, manifest, job.video_id)
    wanted = [s for s in discover().values() if s.name in job.signals and s.spec.grain == "clip"]
    told = ", ".join(f"'{c}'" for c in job.items)
    clips = workspace.record.read(manifest, "clips", where=f"clip_id IN ({told})").to_pylist()
    wide = workspace.record.read(manifest, "signals", where=f"clip_id IN ({told})").to_pylist()
    rows = {r["clip_id"]: r for r in wide}
    needs = {n: discover()[n] for s in wanted for n in s.spec.needs}
    names = sorted(n for n, need in needs.items() if need.spec.grain == "video")
    read = {s.name: s for s in (*wanted, *needs.values()) if s.spec.grain == "clip"}.values()
    beside = _candidate_rows(workspace, manifest, [s for s in wanted if s.name in job.candidates], told)
    parts = {
        n: clip_parts(workspace, manifest, need, job.items) for n, need in needs.items() if need.spec.grain == "clip"
    }
    made_rows: dict[str, dict[str, Held]] = {}
    lines: dict[int, dict[str, Held]] = {}
    for clip in sorted(clips, key=lambda c: int(c["start_frame"])):
        lines = _lines_of(workspace, manifest, clip, names, lines)
        held = {s.name: h for s in read if (h := held_row(s, rows.get(clip["clip_id"], {}))) is not None}
        for name, values in parts.items():
            if name in held:
                held[name] = replace(held[name], **values.get(clip["clip_id"], {}))
        video_needs = {n: stitched(lines, n, clip) for n in names}
        mine = {**held, **beside.get(clip["clip_id"], {})}
        ready = [s for s in wanted if all(n in held for n in s.spec.needs if n in job.candidates)]
        made = _bring_clip_up_to_date(workspace, video, clip, ready, held, mine, job, video_needs, reader, done)
        if made:
            made_rows[clip["clip_id"]] = made
            give_back_memory()
    _write_clip_rows(done.batch, job.video_id, made_rows, job.candidates)


def _lines_of(
    workspace: Workspace,
    manifest: Manifest,
    clip: Mapping[str, Any],
    names: Sequence[str],
    before: Mapping[int, dict[str, Held]],
) -> dict[int, dict[str, Held]]:
    """Timelines of the windows that a clip lies in; those of the clip before are read again only where it lay elsewhere.

    Of a whole job they would be 70 MiB: the face mesh is 4.4 MiB a minute.
    """
    windows = list(windows_of(clip)) if names else []
    kept = {w: before[w] for w in windows if w in before}
    missing = [w for w in windows if w not in kept]
    return kept | (held_timelines(workspace, manifest, clip["video_id"], missing, names) if missing else {})


def _candidate_rows(
    workspace: Workspace, manifest: Manifest, signals: Sequence[LoadedSignal], told: str
) -> dict[str, dict[str, Held]]:
    """By clip and signal what candidates hold already."""
    found: dict[str, dict[str, Held]] = {}
    for signal in signals:
        table = beside_table("signals", signal.name, signal.fingerprint)
        for row in workspace.record.read(manifest, table, where=f"clip_id IN ({told})").to_pylist():
            if (held := held_row(signal, row)) is not None:
                found.setdefault(row["clip_id"], {})[signal.name] = held
    return found


def _bring_clip_up_to_date(
    workspace: Workspace,
    video: Mapping[str, Any],
    clip: Mapping[str, Any],
    wanted: Sequence[LoadedSignal],
    held: dict[str, Held],
    mine: Mapping[str, Held],
    job: Job,
    video_needs: Mapping[str, Held],
    reader: Reader,
    done: Done,
) -> dict[str, Held]:
    """`held` are the rows that readers see, which signals need; `mine` those that a signal's own row replaces. They
    differ for candidates: what needs such a signal is computed from the version that serves."""
    start, end = int(clip["start_frame"]), int(clip["end_frame"])
    now = time.time()

    def expected(signal: LoadedSignal) -> int:
        known = {**video_needs, **held}
        needs = [known[n].output_digest for n in signal.spec.needs if n in known]
        return input_digest(signal, video, start, end, needs)

    made: dict[str, Held] = {}
    media: Media | MediaError | ProcessLost | None = ProcessLost(job.set_aside) if job.set_aside else None
    for signal in wanted:  # in the order of discovery: needs first, so one pass is enough
        if not is_stale(mine.get(signal.name), signal.fingerprint, expected(signal), now):
            continue
        if media is None:
            late = _maybe_stale(wanted, lambda s: is_stale(mine.get(s.name), s.fingerprint, expected(s), now))
            media = _clip_media(workspace, video, start, end, [s.spec.look for s in late], reader)
        known = {**video_needs, **held}
        outcome = attempt(signal, _clip_run(signal, media, known), expected(signal), mine.get(signal.name), now)
        made[signal.name] = outcome
        give_back_if_grown()
        if signal.name not in job.candidates:
            held[signal.name] = outcome
        done.tally.count(signal.name, outcome, f"clip {clip['clip_id']} of {video['name']}")
        done.cpu_s += outcome.cpu_s
        logged = compute.log_row(signal.name, outcome, clip["video_id"], clip["clip_id"], None, clip["duration_s"])
        done.batch.log.append(table_of([logged], LOG))
    return made


def _maybe_stale(wanted: Sequence[LoadedSignal], stale: Callable[[LoadedSignal], bool]) -> list[LoadedSignal]:
    """Those that are stale and, in order of their needs, those that may become so: only what they look at is decoded."""
    late: dict[str, LoadedSignal] = {}
    for signal in wanted:
        if stale(signal) or not late.keys().isdisjoint(signal.spec.needs):
            late[signal.name] = signal
    return list(late.values())


def _clip_media(
    workspace: Workspace, video: Mapping[str, Any], start: int, end: int, looks: Sequence[Any], reader: Reader
) -> Media | MediaError:
    proxy = workspace.objects.local(video["proxy_uri"])
    audio = workspace.objects.local(video["audio_uri"]) if video["audio_uri"] and any(k.audio for k in looks) else None
    fps = max((k.frames_fps or 0 for k in looks), default=0) or None
    try:
        try:
            media: Media = reader.sampled(proxy, audio, start, end, fps)
        except MediaError as error:
            if not error.transient:
                raise
            media = reader.sampled(proxy, audio, start, end, fps)  # its decoder was killed; another begins
    except MediaError as error:
        return error
    media.source_width_px = int(video["source_width_px"])
    media.video_has_audio = bool(video["has_audio"])
    return media


def _clip_run(
    signal: LoadedSignal, media: Media | MediaError | ProcessLost, known: Mapping[str, Held]
) -> Callable[[], Any]:
    def run() -> Any:
        blocked = blocked_by(signal, known)
        if blocked:
            raise NotApplicable(blocked)
        if isinstance(media, MediaError | ProcessLost):
            raise media
        needs = needs_of(signal.spec.needs, known, media.start_frame, media.end_frame)
        return signal.compute(media, needs)

    return run


def _write_clip_rows(
    batch: Batch, video_id: str, made: Mapping[str, Mapping[str, Held]], candidates: Sequence[str]
) -> None:
    """One upsert of the wide table per signal, its timeline rows and its vectors; of candidates, of their own tables."""

    def place(table: str) -> str:
        """Of the signal at hand."""
        return beside_table(table, name, signal.fingerprint) if name in candidates else table

    for name, signal in discover().items():
        rows = {clip_id: held[name] for clip_id, held in made.items() if name in held}
        if not rows:
            continue
        fields = signal_fields(name, [(c.name, c.dtype) for c in signal.spec.columns])
        wide = [
            {"clip_id": c, "video_id": video_id}  # whether a clip is active is for clipping to say
            | {f"{name}_{k}": v for k, v in {**h.row, **compute.provenance(h)}.items()}
            for c, h in rows.items()
        ]
        base = [pa.field("clip_id", pa.string()), pa.field("video_id", pa.string())]
        batch.add(place("signals"), table_of(wide, pa.schema([*base, *fields])))
        if signal.spec.timeline:
            lines = [
                {
                    "key": f"{c}:{name}",
                    "video_id": video_id,
                    "clip_id": c,
                    "name": name,
                    "grain": "clip",
                    **compute.provenance(h),
                    **payload_of(h),
                }
                for c, h in rows.items()
            ]
            batch.add(place("timelines"), table_of(lines, TIMELINES))
        for vector, dim in signal.spec.vectors.items():
            values = [h.vectors.get(vector) for h in rows.values()]
            digests = [h.output_digest for h in rows.values()]
            told = embedding_rows(list(rows), [video_id] * len(rows), values, dim, signal.fingerprint, digests)
            batch.add(place(embeddings_table(name, vector)), told)
