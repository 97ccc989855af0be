"""Video signals over the windows of one video: all that are stale together over one decode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from infra.resources import give_back_memory
from store.ledger import Manifest
from store.record import table_of
from store.schema import LOG, TIMELINES
from store.workspace import Workspace
from tasks import compute
from tasks.compute import Held, WindowRun, attempt, blocked_by, input_digest, is_stale
from tasks.digest import between
from tasks.held import held_timelines, payload_of, timeline_of, video_row
from tasks.job import Done, Job, ProcessLost
from tasks.media.errors import MediaError
from tasks.media.media import Media
from tasks.media.reader import Reader
from tasks.signal import WINDOW_FRAMES, LoadedSignal, NotApplicable
from tasks.signals import discover


def run_windows(workspace: Workspace, manifest: Manifest, job: Job, reader: Reader, done: Done) -> None:
    video = video_row(workspace, manifest, job.video_id)
    wanted = [s for s in discover().values() if s.name in job.signals]
    for window in job.items:
        held = held_timelines(workspace, manifest, job.video_id, [window]).get(window, {})
        _bring_window_up_to_date(workspace, video, int(window), wanted, held, job.set_aside, reader, done)
        give_back_memory()


def _bring_window_up_to_date(
    workspace: Workspace,
    video: Mapping[str, Any],
    window: int,
    wanted: Sequence[LoadedSignal],
    held: dict[str, Held],
    set_aside: str,
    reader: Reader,
    done: Done,
) -> None:
    start, end = window * WINDOW_FRAMES, min((window + 1) * WINDOW_FRAMES, int(video["num_frames"]))
    now = time.time()
    keep = partial(workspace.objects.put_new, folder=f"media/{video['video_id']}")

    def expected(signal: LoadedSignal) -> int:
        needs = [held[n].output_digest for n in signal.spec.needs if n in held]
        return input_digest(signal, video, start, end, needs)

    while True:
        stale = [s for s in wanted if is_stale(held.get(s.name), s.fingerprint, expected(s), now)]
        if not stale:
            break
        able = [s for s in stale if not blocked_by(s, _without(held, stale))]
        runs = {s.name: WindowRun(s, keep) for s in able}
        failure = _decode_window(workspace, video, start, end, {} if set_aside else runs, held, reader)
        if set_aside:
            for aside in runs.values():
                aside.fail(ProcessLost(set_aside))
        if failure and failure.transient:  # a decoder that was killed, as by a system short of memory; another begins
            runs = {s.name: WindowRun(s, keep) for s in able}
            failure = _decode_window(workspace, video, start, end, runs, held, reader)
        if failure:
            for looking in (r for r in runs.values() if r.signal.spec.look.frames_fps):
                looking.fail(failure)
        for signal in stale:
            run = _outcome(signal, runs.get(signal.name), held)
            made = attempt(signal, run, expected(signal), held.get(signal.name), now, window)
            made.cpu_s += runs[signal.name].cpu_s if signal.name in runs else 0.0
            held[signal.name] = made
            done.tally.count(signal.name, made, f"{video['name']}, minute {window + 1}")
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
            row |= payload_of(made)
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


def _decode_window(
    workspace: Workspace,
    video: Mapping[str, Any],
    start: int,
    end: int,
    runs: Mapping[str, WindowRun],
    held: Mapping[str, Held],
    reader: Reader,
) -> MediaError | None:
    """One decode for all signals that look at frames; the sound is read once for those that look at it alone.

    Gives what those that look at frames failed by.
    """
    looking = {n: r for n, r in runs.items() if r.signal.spec.look.frames_fps}
    listening = {n: r for n, r in runs.items() if n not in looking}
    for run in listening.values():
        media = Media(
            start, end, int(video["width_px"]), int(video["height_px"]), video_has_audio=bool(video["has_audio"])
        )
        if run.signal.spec.look.audio and video["audio_uri"]:
            media.audio = reader.read_audio(workspace.objects.local(video["audio_uri"]), start, end)
        run.feed(media, {n: between(timeline_of(held, n), start, end) for n in run.signal.spec.needs})
    if not looking:
        return None
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
        return error
    return None


def _cut(held: Mapping[str, Held], name: str, media: Media) -> pa.Table:
    return between(timeline_of(held, name), media.start_frame, media.end_frame)
