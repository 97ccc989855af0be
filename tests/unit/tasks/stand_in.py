"""Signals whose output is known, for tests of the engine: they look at real decoded frames, and cost nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from store.ledger import Manifest
from store.workspace import Workspace, open_workspace
from tasks.curate import Outcome, bring_up_to_date
from tasks.digest import timeline_schema
from tasks.ingest import ingest
from tasks.jobs import Done, Job, Stage, run_batch
from tasks.media.media import Media
from tasks.reclip import params_in_force
from tasks.signal import Column, LoadedSignal, Look, Needs, NotApplicable, Output, Signal, fingerprint_of

F32 = pa.float32()


def loaded(name: str, spec: Signal, compute: Callable[[Media, Needs], Output]) -> LoadedSignal:
    return LoadedSignal(name, spec, compute, fingerprint_of(name, spec, {}))


def _rows(spec: Signal, frames: list[int], **columns: list[object]) -> Output:
    schema = timeline_schema(spec.timeline)
    arrays = {"frame": frames, **columns}
    return Output(timeline=pa.table({n: pa.array(arrays[n], schema.field(n).type) for n in schema.names}))


def _video(name: str, columns: dict[str, float], fps: float) -> LoadedSignal:
    spec = Signal(
        grain="video",
        version=1,
        timeline=tuple(Column(c, F32, "", c, decimals=3) for c in columns),
        look=Look(frames_fps=fps),
    )

    def compute(media: Media, needs: Needs) -> Output:
        frames = media.at(fps)
        return _rows(spec, frames, **{c: [v] * len(frames) for c, v in columns.items()})

    return loaded(name, spec, compute)


LUMA = Signal(
    grain="video",
    version=1,
    look=Look(frames_fps=5),
    timeline=(Column("luma", F32, "gray_levels", "mean luma", 0, 255, 1),),
)
BRIGHTNESS = Signal(
    grain="clip",
    version=1,
    needs=("luma",),
    columns=(Column("mean", F32, "gray_levels", "mean luma", 0, 255, 0),),
)
DOUBLE = Signal(grain="clip", version=1, needs=("brightness",), columns=(Column("value", F32, "", "twice", 0, 510, 1),))
LOUDNESS = Signal(
    grain="clip", version=1, look=Look(audio=True), columns=(Column("rms", F32, "ratio", "root mean square", 0, 1, 4),)
)


def luma(media: Media, needs: Needs) -> Output:
    frames = media.at(5)
    return _rows(LUMA, frames, luma=[float(media.image(f, None, "gray").mean()) for f in frames])


def brightness(media: Media, needs: Needs) -> Output:
    return Output(row={"mean": float(np.mean(needs["luma"]["luma"].to_numpy()))})


def double(media: Media, needs: Needs) -> Output:
    return Output(row={"value": 2 * needs["brightness"]["mean"]})


def loudness(media: Media, needs: Needs) -> Output:
    if media.audio is None:
        raise NotApplicable("no audio")
    return Output(row={"rms": float(np.sqrt(np.mean(np.square(media.audio))))})


def signals(**changed: LoadedSignal) -> dict[str, LoadedSignal]:
    """All stand-ins in order; what smart clipping reads makes every shot eligible."""
    made = {
        "faces": _video("faces", {"face": 0, "x0": 10, "y0": 10, "x1": 90, "y1": 100, "score": 1}, 5),
        "flow": _video("flow", {"camera": 0.5, "subject": 2, "total": 2}, 5),
        "keyframes": _video("keyframes", {"quality": 4}, 1),
        "cuts": _cuts(),
        "luma": loaded("luma", LUMA, luma),
        "brightness": loaded("brightness", BRIGHTNESS, brightness),
        "double": loaded("double", DOUBLE, double),
        "loudness": loaded("loudness", LOUDNESS, loudness),
    }
    return {**made, **changed}


def _cuts() -> LoadedSignal:
    spec = Signal(
        grain="video",
        version=1,
        timeline=(Column("end_frame", pa.int32(), "frame", "end"), Column("score", F32, "", "score", decimals=2)),
        look=Look(frames_fps=5),
    )

    def compute(media: Media, needs: Needs) -> Output:
        return _rows(spec, [], end_frame=[], score=[])

    return loaded("cuts", spec, compute)


def raised(signal: LoadedSignal, compute: Callable[[Media, Needs], Output] | None = None) -> LoadedSignal:
    """The signal one version on, computing as before or otherwise."""
    spec = replace(signal.spec, version=signal.spec.version + 1)
    return loaded(signal.name, spec, compute or signal.compute)


def serial(workspace: Workspace) -> Callable[[Stage, Manifest, list[list[Job]]], Iterator[Done]]:
    """Runs batches here, one after another."""

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        for jobs in groups:
            yield run_batch(workspace, manifest, jobs, params_in_force(workspace))

    return submit


def make_video(path: Path, seconds: float = 3.0, *, luma: int = 120, tone: bool = True) -> Path:
    """A moving test picture over a flat ground of known luma, with or without a tone."""
    import imageio_ffmpeg

    ground = f"color=c=0x{luma:02x}{luma:02x}{luma:02x}:s=128x96:r=25:d={seconds}"
    box = f"testsrc2=s=48x36:r=25:d={seconds}"
    sound = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"] if tone else []
    graph = "[0][1]overlay=x='mod(t*40,80)':y=20"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-y",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        ground,
        "-f",
        "lavfi",
        "-i",
        box,
    ]
    command += [
        *sound,
        "-filter_complex",
        graph,
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        str(path),
    ]
    subprocess.run(command, check=True)
    return path


def run(workspace: Workspace) -> Outcome:
    return bring_up_to_date(workspace, serial(workspace))


def curated(footage: Path, folder: Path) -> Workspace:
    """A workspace in which this footage is up to date: a copy, which may be changed, of one that was computed once."""
    first = footage.with_name(f"{footage.name} curated")
    if not first.exists():
        made = open_workspace(first)
        ingest(made, [str(footage)])
        run(made)
    return open_workspace(shutil.copytree(first, folder))


def wide(workspace: Workspace) -> pl.DataFrame:
    with workspace.views() as reader:
        return reader.sql("SELECT * FROM signals ORDER BY clip_id")
