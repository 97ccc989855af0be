"""What a worker and its children hold while they curate a long video, stage by stage and quarter by quarter.

    python -m benchmarks.long_video FILE --minutes 120 [--clips N] [--json]

A process of its own, on one thread, with all default signals and nothing that measures within it: clocks around the
engine's parts would grow with the video. The file is repeated to the length asked for by copying its packets.
Normalising, the timelines of all video signals and the choice of clips run over the whole length; `--clips` holds the
signals of clips, which never see more than one clip, to so many, spread over it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric
from benchmarks.machine import machine
from benchmarks.memory import Peak, Watch
from store.ledger import Manifest
from store.workspace import open_workspace
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.jobs import Done, Job, Stage, run_batch
from tasks.reclip import params_in_force

LIMIT_PEAK_MIB = 1536
QUARTERS = 4


class Enough(Exception):  # noqa: N818 - what happened
    """All clips that were asked for are through."""


@dataclass
class Seen:
    """Peaks by stage, with its quarter where it has as many batches; rows failed; clips computed of how many."""

    peaks: list[Peak] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    num_windows: int = 0
    num_clips: int = 0
    of_clips: int = 0


def repeated(source: Path, made: Path, minutes: float) -> Path:
    """The file over and over, without coding anything again."""
    from tasks.media.transcode import ffmpeg_binary

    command = [ffmpeg_binary(), "-v", "error", "-nostdin", "-stream_loop", "-1", "-i", f"file:{source}"]
    subprocess.run([*command, "-t", str(minutes * 60), "-c", "copy", str(made)], check=True)
    return made


def spread(groups: Sequence[list[Job]], num_clips: int | None) -> list[list[Job]]:
    """The batches with as many clips as asked for, from the first to the last; all without a number."""
    places = [(g, j, i) for g, group in enumerate(groups) for j, job in enumerate(group) for i in range(len(job.items))]
    if num_clips is None or num_clips >= len(places):
        return list(groups)
    step = (len(places) - 1) / max(1, num_clips - 1)
    chosen = {places[round(k * step)] for k in range(num_clips)}
    told = []
    for g, group in enumerate(groups):
        jobs = [
            replace(job, items=tuple(item for i, item in enumerate(job.items) if (g, j, i) in chosen))
            for j, job in enumerate(group)
        ]
        told.append([job for job in jobs if job.items])
    return [group for group in told if group]


def curated(video: Path, folder: Path, num_clips: int | None) -> Seen:
    """Curates one video in a fresh workspace, watched from outside."""
    import cv2

    cv2.setNumThreads(1)
    workspace, seen, watch = open_workspace(folder), Seen(), Watch()
    params = params_in_force(workspace)

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        batches = spread(groups, num_clips) if stage == "signals" else groups
        for number, group in enumerate(batches):
            quarter = f" {1 + QUARTERS * number // len(batches)}/{QUARTERS}" if len(batches) >= QUARTERS else ""
            with watch.stage(stage + quarter):
                done = run_batch(workspace, manifest, group, params)
            for name, count in done.tally.failed.items():
                seen.failed[name] = seen.failed.get(name, 0) + count
            items = sum(len(job.items) for job in group)
            seen.num_windows += items if stage == "timelines" else 0
            seen.num_clips += items if stage == "signals" else 0
            yield done
        if stage == "signals":
            seen.of_clips = sum(len(job.items) for group in groups for job in group)
            raise Enough

    with watch.stage("ingest"):
        ingest(workspace, [str(video)])
    with suppress(Enough):  # what is left are clips that were not asked for
        bring_up_to_date(workspace, submit)
    seen.peaks = watch.peaks()
    return seen


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--clips", type=int, help="of so many clips the signals; default all")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="long") as folder:
        video = repeated(options.file, Path(folder) / "long.mkv", options.minutes)
        seen = curated(video, Path(folder) / "workspace", options.clips)
    told: dict[str, Any] = {"machine": machine(), "minutes": options.minutes, **asdict(seen)}
    print(json.dumps(told) if options.json else "\n".join(table(told)))


def table(told: dict[str, Any]) -> list[str]:
    """What ran, then a line for each stage."""
    lines = [
        f"A video of {told['minutes']:g} minutes, one thread; limit {LIMIT_PEAK_MIB} MiB. The video signals of "
        f"all {told['num_windows']} windows of a minute, and the clip signals of {told['num_clips']} of {told['of_clips']} clips, spread over it. "
        f"Rows failed: {told['failed'] or 'none'}.",
        "",
        "| stage | worker MiB | children MiB | together |",
        "|---|---|---|---|",
    ]
    for p in told["peaks"]:
        lines.append(f"| {p['stage']} | {p['worker_mib']:.0f} | {p['children_mib']:.0f} | {p['sum_mib']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
