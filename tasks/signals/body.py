"""Body of the largest person, twice a second: 33 points and how visible each is. Pose and anatomy are read from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.body_geometry import BODY_SCALE, LOOK_FPS, PAIR_FRAMES, VISIBILITY_SCALE, fixed, looked_at
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, Output, Signal

DETECT_SIDE_PX = 320
MIN_PRESENCE = 0.5
"""MediaPipe's own default: below it the square is held to show no person, and the frame has no row."""

SIGNAL = Signal(
    grain="video",
    version=1,
    timeline=(
        Column("presence", pa.float32(), "score", "the network's score that the square shows a person", 0, 1, 4),
        Column(
            "points",
            pa.list_(pa.int16()),
            "px/8",
            "33 points (x, y, z) of BlazePose in 1/8 px of the proxy; may lie outside",
        ),
        Column(
            "visibility",
            pa.list_(pa.int16()),
            "score/10000",
            "the network's score that each point is within the frame and not covered",
        ),
    ),
    look=Look(frames_fps=LOOK_FPS),
    cost_cpu_s=0.043,
    weights=("pose_detector", "pose_landmarks"),
    params={"detect_side_px": DETECT_SIDE_PX, "min_presence": MIN_PRESENCE, "frames": "k*25, k*25+5", "refined": False},
    backend="mediapipe_pose_full",
    summary="BlazePose of the largest person, found on one frame a second and followed to the frame 0.2 s later.",
    source="Bazarevsky et al., BlazePose, CVPR-W 2020; MediaPipe Pose Landmarker full, without heat-map refinement.",
)


def compute(media: Media, needs: Needs) -> Output:
    from tasks.body_networks import body_crop, body_points

    columns: dict[str, list[Any]] = {"frame": [], **{c.name: [] for c in SIGNAL.timeline}}
    last: tuple[int, np.ndarray] | None = None
    for frame in looked_at(media.at(LOOK_FPS)):
        # Followed within a pair only, so that a block's rows rest on nothing before it.
        if last is not None and frame % GRID_FPS and last[0] == frame - PAIR_FRAMES:
            ends = last[1][33], last[1][34]
        else:
            found = _largest(media, frame)
            if found is None:
                continue
            ends = found[0], found[1]
        points, visible, presence = body_points(media.image(frame), body_crop(ends[0][:2], ends[1][:2]))
        if presence < MIN_PRESENCE:
            continue
        last = frame, points
        columns["frame"].append(frame)
        columns["presence"].append(min(presence, 1.0))
        columns["points"].append(fixed(points[:33], BODY_SCALE))
        columns["visibility"].append(fixed(visible[:33], VISIBILITY_SCALE))
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.table(columns, schema=schema))


def _largest(media: Media, frame: int) -> np.ndarray | None:
    """Points (4, 2) of the person who reaches farthest in pixels of the proxy, or None."""
    from tasks.body_networks import PEOPLE, detect

    small = media.image(frame, DETECT_SIDE_PX)
    found = detect(small, PEOPLE)
    if not found:
        return None
    best = max(found, key=lambda f: float(np.hypot(*(f.points[1] - f.points[0]))))
    return np.asarray((best.points + 0.5) * (media.width_px / small.shape[1]) - 0.5)
