"""Headroom beside data-juicer, for what both measure: duration, resolution, aspect ratio, motion, scenes.

    python -m benchmarks.peers [FOLDER|FILES ...] [--json] [--environment FOLDER] [--repeats 1]

data-juicer gets an environment of its own (made once, in the cache folder). Its operators are called directly, warm,
and through its command `dj-process`; both sides read the source files, sample motion at 2 fps and 256 px and run on
one thread, and all processor time is counted, that of children too. Headroom's side is one decode with PyAV and its
own `flow` (at that rate and size) and `cuts`; the proxy that its engine makes of a video before any signal, once, is
not in it: `python -m benchmarks.curate` tells what that costs.
Without FOLDER: HEADROOM_MEDIA/talk, else ../shared/media/talk beside the checkout, else the sample footage.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np

import benchmarks.one_thread
from benchmarks import whole_cost
from benchmarks.machine import machine
from benchmarks.peer_operators import OPERATORS, cpu_s
from benchmarks.scorecards.score import spearman
from tasks.media.media import Media
from tasks.signal import GRID_FPS

PACKAGES = (
    "py-data-juicer==1.6.1", "av==13.1.0", "opencv-python-headless==4.12.0.88", "scenedetect-headless==0.7.2",
    "aiohttp==3.14.5", "torch==2.13.0",
)  # fmt: skip
"""av as its extra `vision` pins it; aiohttp and torch it imports or fetches without asking for them."""
LIMIT_OPERATORS, LIMIT_COMMAND, LIMIT_SPEARMAN = 7.0, 12.0, 0.9
MOTION_STEP = 12
"""Frames between two that data-juicer compares: round(25 / 2)."""
MOTION_SHORT_SIDE_PX = 256
ONE_THREAD = dict.fromkeys((*benchmarks.one_thread.NAMES, "OPENCV_FOR_THREADS_NUM"), "1")
PAIRS = {
    "duration": ("video_duration", "duration_s"),
    "width": ("video_width", "width_px"),
    "height": ("video_height", "height_px"),
    "aspect ratio": ("video_aspect_ratios", "aspect_ratio"),
    "motion": ("video_motion_score", "motion"),
}
"""What is ranked: data-juicer's name, and Headroom's."""


def environment(folder: Path) -> Path:
    """The Python of data-juicer's environment, which is made where it is missing."""
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists() or ready.read_text() != "\n".join(PACKAGES):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=subprocess.DEVNULL)
        ready.write_text("\n".join(PACKAGES))
    return python


def read_source(path: Path, held: dict[int, np.ndarray] | None = None) -> tuple[Media, dict[str, float]]:
    """All frames of a short file on the grid of 25 fps, at the source's size, and what its header tells.

    `held` is memory that is used again from file to file, as the engine does with its ring: fresh pages cost as much
    as the copy. What an earlier call returned is overwritten then.
    """
    frames: list[np.ndarray] = []
    held = {} if held is None else held
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        width, height = stream.width, stream.height
        size, first, num_made = width * height * 3 // 2, None, 0
        per_tick = stream.time_base * GRID_FPS
        for picture in container.decode(stream):
            first = picture.pts if first is None else first
            now = (picture.pts - first) * per_tick.numerator / per_tick.denominator
            made = None
            while len(frames) < now + 0.5:  # each picture stands until the next one comes
                if made is None:
                    if len(held.get(num_made, ())) < size:
                        held[num_made] = np.empty(size, np.uint8)
                    made = held[num_made][:size].reshape(height * 3 // 2, width)
                    copy_i420(picture, made)
                    num_made += 1
                frames.append(made)
        seconds = float(stream.duration * stream.time_base) if stream.duration else len(frames) / GRID_FPS
    media = Media(0, len(frames), width, height, frames=range(len(frames)), planes=frames)
    return media, {
        "duration_s": seconds,
        "width_px": width,
        "height_px": height,
        "aspect_ratio": width / height,
    }


def copy_i420(picture: av.VideoFrame, into: np.ndarray) -> None:
    """`into` is uint8 (H * 3 / 2, W)."""
    if picture.format.name not in ("yuv420p", "yuvj420p"):
        picture = picture.reformat(format="yuv420p")
    start, flat = 0, into.reshape(-1)
    for plane in picture.planes:
        end = start + plane.height * plane.width
        seen = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        np.copyto(flat[start:end].reshape(seen.shape), seen)
        start = end


def measured(path: Path, held: dict[int, np.ndarray] | None = None) -> dict[str, float]:
    """Headroom's values of one file: its own signals over one decode, `flow` at data-juicer's rate and size."""
    from tasks.signals import cuts, flow

    media, row = read_source(path, held)
    sides = sorted((media.width_px, media.height_px))
    side = int(MOTION_SHORT_SIDE_PX * sides[1] / sides[0])
    with patch.multiple(flow, FPS=GRID_FPS / MOTION_STEP, STEP=MOTION_STEP, SIDE_PX=side):
        moved = flow.compute(media, {}).timeline
    cut = cuts.compute(media, {}).timeline
    assert moved is not None
    assert cut is not None
    speeds = moved["total"].to_pylist()
    return row | {"motion": statistics.mean(speeds) if speeds else -1.0, "num_scenes": float(cut.num_rows + 1)}


def run_ours(paths: Sequence[Path], *, warm: bool) -> dict[str, Any]:
    """Values and processor time; in a process of its own, so that its whole cost can be told too. Warm after one file
    that does not count: a command has no such file."""
    import cv2

    cv2.setNumThreads(1)
    held: dict[int, np.ndarray] = {}
    if warm:
        measured(paths[0], held)
    began = cpu_s()
    values = [measured(path, held) for path in paths]
    return {"cpu_s": cpu_s() - began, "values": values}


def timed(command: Sequence[str | Path], **options: Any) -> tuple[float, str]:
    """Processor time of a command with all that it started, and its output."""
    under = [sys.executable, Path(whole_cost.__file__), *command]
    done = subprocess.run(under, check=True, capture_output=True, text=True, **options)
    return float(done.stderr.splitlines()[-1]), done.stdout


def command_s(python: Path, paths: Sequence[Path], folder: Path) -> float:
    """Processor time of `dj-process` with the same operators, from a data set to its export."""
    data = folder / "data.jsonl"
    lines = [json.dumps({"text": "<__dj__video> <|__dj__eoc|>", "videos": [str(p)]}) for p in paths]
    data.write_text("\n".join(lines) + "\n")
    process = [{place.split(".")[1]: dict(options)} for place, options in OPERATORS.values()]
    # Nothing is to be filtered out before the later operators have seen it.
    process[3]["video_motion_score_filter"]["min_score"] = 0.0
    process[4]["video_split_by_scene_mapper"]["save_dir"] = str(folder / "scenes")
    told = {
        "project_name": "peers", "dataset_path": str(data), "export_path": str(folder / "out.jsonl"), "np": 1,
        "open_tracer": False, "process": process,
    }  # fmt: skip
    config = folder / "peers.json"
    config.write_text(json.dumps(told))  # JSON is YAML
    variables = {**os.environ, **ONE_THREAD, "HF_HOME": str(folder), "DATA_JUICER_CACHE_HOME": str(folder)}
    spent, _ = timed([python.parent / "dj-process", "--config", config], cwd=folder, env=variables)
    exported = (folder / "out.jsonl").read_text().splitlines()
    if len(exported) != len(paths):
        raise RuntimeError(f"dj-process exported {len(exported)} of {len(paths)} files; see its log in {folder}")
    return spent


def compared(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Spearman by pair of names over the files; NaN where one side gives all files the same value."""
    return {
        what: spearman([t[their_name] for t in theirs], [o[our_name] for o in ours])
        for what, (their_name, our_name) in PAIRS.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="FOLDER|FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, the rest to stderr")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--environment", type=Path, default=cache / "headroom" / "data-juicer-1.6.1", metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of the two warm ways, in turn")
    parser.add_argument("--ours", choices=("warm", "cold"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.ours:
        print(json.dumps(run_ours([Path(p) for p in options.paths], warm=options.ours == "warm")))
        return
    from benchmarks.curate import footage  # with the store, whose loading would count as ours

    paths = footage(options.paths)
    shown = sys.stderr if options.json else sys.stdout
    told = side_by_side(paths, environment(options.environment), options.repeats)
    print(report(told), file=shown)
    if options.json:
        print(json.dumps(told))


def side_by_side(paths: Sequence[Path], python: Path, repeats: int) -> dict[str, Any]:
    names = [str(p.absolute()) for p in paths]
    ours, theirs, whole_s = [], [], []
    for _ in range(repeats):
        own = [sys.executable, "-m", "benchmarks.peers", "--ours"]
        _, out = timed([*own, "warm", *names], env={**os.environ, **ONE_THREAD})
        ours.append(json.loads(out.splitlines()[-1]))
        whole_s.append(timed([*own, "cold", *names], env={**os.environ, **ONE_THREAD})[0])
        script = Path(__file__).with_name("peer_operators.py")
        _, out = timed([python, "-I", script, *names], env={**os.environ, **ONE_THREAD})
        theirs.append(json.loads(out.splitlines()[-1]))
    with tempfile.TemporaryDirectory(prefix="peers") as folder:
        their_command_s = command_s(python, [Path(n) for n in names], Path(folder))
    media_s = sum(v["duration_s"] for v in ours[0]["values"])
    ours_s = statistics.median(o["cpu_s"] for o in ours) / media_s
    operators = {n: statistics.median(t["cpu_s"][n] for t in theirs) / media_s for n in OPERATORS}
    ours_values, their_values = ours[0]["values"], theirs[0]["values"]
    scenes = sum(o["num_scenes"] == t["num_scenes"] for o, t in zip(ours_values, their_values, strict=True))
    return {
        "machine": machine(),
        "peer": list(PACKAGES),
        "files": len(paths),
        "media_s": round(media_s, 1),
        "ours_cpu_s_per_s": round(ours_s, 4),
        "ours_command_cpu_s_per_s": round(statistics.median(whole_s) / media_s, 4),
        "operators_cpu_s_per_s": {n: round(s, 4) for n, s in operators.items()},
        "command_cpu_s_per_s": round(their_command_s / media_s, 4),
        "operators_ratio": round(sum(operators.values()) / ours_s, 2),
        "command_ratio": round(their_command_s / statistics.median(whole_s), 2),
        "spearman": {n: round(v, 3) for n, v in compared(ours_values, their_values).items()},
        "same_number_of_scenes": round(scenes / len(paths), 3),
    }


def report(told: dict[str, Any]) -> str:
    operators = ", ".join(f"{n} {s:.3f}" for n, s in told["operators_cpu_s_per_s"].items())
    ranks = ", ".join(f"{n} {v:.3f}" for n, v in told["spearman"].items())
    theirs_s = sum(told["operators_cpu_s_per_s"].values())
    return "\n".join(
        [
            f"{told['machine']}; beside {', '.join(told['peer'])}",
            f"{told['files']} files, {told['media_s']} s; all figures are CPU-seconds per second of video\n",
            "| way | Headroom | data-juicer | ratio | goal |",
            "|---|---|---|---|---|",
            f"| called directly, warm | {told['ours_cpu_s_per_s']:.4f} | {theirs_s:.4f} | {told['operators_ratio']:.1f} "
            f"| >= {LIMIT_OPERATORS:g} |",
            f"| a command, from start to end | {told['ours_command_cpu_s_per_s']:.4f} "
            f"| {told['command_cpu_s_per_s']:.4f} | {told['command_ratio']:.1f} | >= {LIMIT_COMMAND:g} |",
            f"\nits operators: {operators}",
            f"Spearman over the files, goal {LIMIT_SPEARMAN:g}: {ranks}",
            f"same number of scenes: {told['same_number_of_scenes']:.0%} of the files",
        ]
    )


if __name__ == "__main__":
    main()
