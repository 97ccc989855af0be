"""Footage for scorecards: read a file into frames, spoil them in a known way, and give them to a signal as Media."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import GRID_FPS, Compute

LONGEST_SIDE_PX = 640


def manifest(root: Path, *folders: str) -> list[dict[str, Any]]:
    """Entries of manifest.jsonl whose file lies in one of `folders`, with "path" and "person" added.

    HEADROOM_SCORECARD_FILES takes so many of each folder, spread over it: a quick look, not a result.
    """
    entries = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    chosen = [e for e in entries if e["file"].split("/")[0] in folders and e.get("w")]
    if few := int(os.environ.get("HEADROOM_SCORECARD_FILES", "0")):
        by_folder = [[e for e in chosen if e["file"].split("/")[0] == folder] for folder in folders]
        chosen = [of[i * len(of) // few] for of in by_folder for i in range(few) if i < len(of)]
    return [{**e, "path": root / e["file"], "person": e.get("identity") or e["file"]} for e in chosen]


def read_frames(path: Path, fps: float, *, max_s: float = 10.0, start_s: float = 0.0) -> tuple[list[np.ndarray], int]:
    """RGB frames at `fps` from `start_s` on, longest side at most 640 px and even, and the source's width in pixels."""
    import av

    frames: list[np.ndarray] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        first, width, height, source_width = -1.0, 0, 0, 0
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            if source_width == 0:
                first, source_width = frame.time, frame.width
                scale = min(1.0, LONGEST_SIDE_PX / max(frame.width, frame.height))
                width, height = (2 * max(1, round(side * scale / 2)) for side in (frame.width, frame.height))
            now = frame.time - first - start_s
            if now > max_s:
                break
            # Each frame stands until the next one comes, so a slow video repeats frames on the faster grid.
            while now >= 0 and len(frames) / fps <= now + 0.5 / GRID_FPS and len(frames) / fps <= max_s:
                frames.append(frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA"))
    return frames, source_width


def media_of(frames_rgb: Sequence[np.ndarray], fps: float, *, source_width_px: int = 0) -> Media:
    """Media of frames sampled at `fps` from frame 0; sides must be even."""
    import cv2

    step = round(GRID_FPS / fps)
    height, width = frames_rgb[0].shape[:2]
    return Media(
        start_frame=0,
        end_frame=len(frames_rgb) * step,
        width_px=width,
        height_px=height,
        frames=[i * step for i in range(len(frames_rgb))],
        planes=[cv2.cvtColor(f, cv2.COLOR_RGB2YUV_I420) for f in frames_rgb],
        source_width_px=source_width_px or width,
    )


def timeline_of(compute: Compute, media: Media, needs: dict[str, pa.Table] | None = None) -> pa.Table:
    """The timeline of a video signal."""
    timeline = compute(media, needs or {}).timeline
    assert timeline is not None
    return timeline
