"""Who is in the clip: how many faces, how large the main one is, where it stands, and whether its mouth can be seen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_geometry import DETECTION_STEP, OUTER_LIPS, associate, box_of, face_rows, main_faces, points_of
from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal

MIN_TRACK_DETECTIONS = 2
"""A face seen on a single sampled frame is no track: detectors err on single frames."""

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("face_ratio", pa.float32(), "ratio", "share of the sampled frames (5 fps) with a face", 0, 1, 4),
        Column("num_faces_mean", pa.float32(), "count", "faces on a sampled frame, mean", 0, 16, 3),
        Column("num_faces_max", pa.int16(), "count", "faces on a sampled frame, most", 0, 16),
        Column("num_tracks", pa.int16(), "count", "faces followed over at least two sampled frames", 0, 10_000),
        Column(
            "coverage", pa.float32(), "ratio", "share of the sampled frames with the longest-seen main face", 0, 1, 4
        ),
        Column(
            "main_face_height_px",
            pa.float32(),
            "px",
            "hairline to chin of the main face, in source pixels, median",
            0,
            20_000,
            1,
        ),
        Column("main_face_height_min_px", pa.float32(), "px", "its 5th percentile", 0, 20_000, 1),
        Column("main_face_area_ratio", pa.float32(), "ratio", "share of the frame's area, median", 0, 1, 4),
        Column("center_x", pa.float32(), "ratio", "centre of the main face, 0 left to 1 right, median", 0, 1, 4),
        Column("center_y", pa.float32(), "ratio", "centre of the main face, 0 top to 1 bottom, median", 0, 1, 4),
        Column(
            "center_range_ratio",
            pa.float32(),
            "ratio",
            "way between 5th and 95th percentile of the centre, in face heights",
            0,
            1000,
            3,
        ),
        Column(
            "mouth_visible_ratio",
            pa.float32(),
            "ratio",
            "share of all frames with a mesh whose lips lie inside the frame",
            0,
            1,
            4,
        ),
        Column("score", pa.float32(), "score", "detector's confidence in the main face, mean", 0, 1, 4),
    ),
    needs=("faces", "landmarks"),
    cost_cpu_s=0.0003,
    params={"min_track_detections": MIN_TRACK_DETECTIONS},
    summary="Number, size, place and visibility of faces; the main face is the largest over the clip.",
    source="see faces and landmarks",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip without a face."""
    rows = face_rows(needs["faces"])
    if not rows:
        raise NotApplicable("no face")
    num_sampled = len(range(-(-media.start_frame // DETECTION_STEP) * DETECTION_STEP, media.end_frame, DETECTION_STEP))
    numbers = associate([int(r["frame"]) for r in rows], [box_of(r) for r in rows])
    per_frame = np.unique([r["frame"] for r in rows], return_counts=True)[1]
    followed = np.unique(numbers, return_counts=True)[1] >= MIN_TRACK_DETECTIONS
    main = main_faces(rows)
    longest = np.unique([track for track, _ in main], return_counts=True)[1].max()
    boxes = [box_of(row) for _, row in main]
    centers = np.array([[(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2] for b in boxes])
    heights = np.array([b.y1 - b.y0 for b in boxes])
    scale = (media.source_width_px or media.width_px) / media.width_px
    low, high = np.quantile(centers, [0.05, 0.95], axis=0)
    return Output(
        row={
            "face_ratio": len(per_frame) / num_sampled,
            "num_faces_mean": len(rows) / num_sampled,
            "num_faces_max": int(per_frame.max()),
            "num_tracks": int(followed.sum()),
            "coverage": float(longest / num_sampled),
            "main_face_height_px": float(np.median(heights) * scale),
            "main_face_height_min_px": float(np.quantile(heights, 0.05) * scale),
            "main_face_area_ratio": float(np.median([b.area_px for b in boxes]) / (media.width_px * media.height_px)),
            "center_x": float(np.median(centers[:, 0]) / media.width_px),
            "center_y": float(np.median(centers[:, 1]) / media.height_px),
            "center_range_ratio": float(np.hypot(*(high - low)) / max(np.median(heights), 1.0)),
            "mouth_visible_ratio": _num_mouths(media, needs["landmarks"]) / (media.end_frame - media.start_frame),
            "score": float(np.mean([row["score"] for _, row in main])),
        }
    )


def _num_mouths(media: Media, landmarks: pa.Table) -> int:
    if landmarks.num_rows == 0:
        return 0
    lips = points_of(landmarks)[:, OUTER_LIPS, :2]
    inside = (lips >= 0) & (lips <= np.array([media.width_px - 1, media.height_px - 1]))
    return int(inside.all(axis=(1, 2)).sum())
