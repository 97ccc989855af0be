"""Face mesh of the main face on every frame: what lip-sync, expression, gaze and head pose are read from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.face_geometry import BLENDSHAPE_SCALE, DETECTION_STEP, MAX_GAP_FRAMES, POINT_SCALE, crops_between, face_rows
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, Output, Signal

MIN_PRESENCE = 0.5
"""MediaPipe's own default: below it the crop is held to show no face, and the frame has no row."""

SIGNAL = Signal(
    grain="video",
    version=2,
    timeline=(
        Column("presence", pa.float32(), "score", "the network's score that the crop shows a face", 0, 1, 4),
        Column("x0", pa.float32(), "px", "left edge of the mesh in the proxy; may lie outside", decimals=2),
        Column("y0", pa.float32(), "px", "top edge of the mesh", decimals=2),
        Column("x1", pa.float32(), "px", "right edge of the mesh", decimals=2),
        Column("y1", pa.float32(), "px", "bottom edge of the mesh", decimals=2),
        Column(
            "points", pa.list_(pa.int16()), "px/32", "478 points (x, y, z) of the face mesh, in 1/32 px of the proxy"
        ),
        Column(
            "blendshapes", pa.list_(pa.int16()), "score/10000", "nullable: 52 expression weights, every fifth frame"
        ),
    ),
    needs=("faces",),
    look=Look(frames_fps=GRID_FPS, context_frames=MAX_GAP_FRAMES),
    cost_cpu_s=0.093,
    weights=("face_mesh", "face_blendshapes"),
    params={"min_presence": MIN_PRESENCE, "crop": "yunet 1.36 +0.05, interpolated over 0.4 s"},
    backend="mediapipe_face_landmarker",
    summary="478-point face mesh of the main face at 25 fps, each frame on its own, and blendshapes at 5 fps.",
    source="Grishchenko et al., Attention Mesh, CVPR-W 2020; MediaPipe Face Landmarker (float16, 2023).",
)


def compute(media: Media, needs: Needs) -> Output:
    from tasks.face_mesh import MESH_SIDE_PX, blendshapes, mesh

    frames = media.at(GRID_FPS)
    crops = crops_between(face_rows(needs["faces"]), frames)
    columns: dict[str, list[Any]] = {"frame": [], **{c.name: [] for c in SIGNAL.timeline}}
    for frame in frames:
        if frame not in crops:
            continue
        square = media.crop(frame, crops[frame].to_image(MESH_SIDE_PX), MESH_SIDE_PX)
        points, presence = mesh(square, crops[frame])
        if presence < MIN_PRESENCE:
            continue
        columns["frame"].append(frame)
        columns["presence"].append(presence)
        for name, value in zip(("x0", "y0", "x1", "y1"), (*points[:, :2].min(0), *points[:, :2].max(0)), strict=True):
            columns[name].append(float(value))
        columns["points"].append(_fixed(points.ravel(), POINT_SCALE))
        weights = _fixed(blendshapes(points), BLENDSHAPE_SCALE) if frame % DETECTION_STEP == 0 else None
        columns["blendshapes"].append(weights)
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.table(columns, schema=schema))


def _fixed(values: np.ndarray, scale: int) -> np.ndarray:
    fixed: np.ndarray = np.clip(np.rint(values * scale), -32768, 32767).astype(np.int16)
    return fixed
