"""Where the eyes look relative to the camera, on every frame, and how much of the time they look at it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.eye_geometry import CLOSED_SHARE, IRIS_LEVEL, IRIS_REACH_X, IRIS_REACH_Y, OUTER, closed_eyes, eyes_of
from tasks.face_geometry import points_of
from tasks.head_geometry import CANONICAL
from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal

TOWARD_DEG = 15.0
"""A viewer takes a look for eye contact up to about 5 degrees beside the eyes; the rest is room for the error."""
MIN_EYE_DISTANCE_PX = 24.0
"""Between the outer corners, in the proxy: below it an iris is under 3 px wide."""

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "toward_camera_ratio",
            pa.float32(),
            "ratio",
            f"share of the frames with open eyes on which they look within {TOWARD_DEG:g} degrees of the camera",
            0,
            1,
            4,
        ),
        Column("yaw_deg", pa.float32(), "deg", "mean gaze, > 0 to the image's right; 0 into the camera", -180, 180, 2),
        Column("pitch_deg", pa.float32(), "deg", "mean gaze, > 0 up; 0 into the camera", -90, 90, 2),
        Column("spread_deg", pa.float32(), "deg", "how far the gaze strays from its mean, root mean square", 0, 255, 2),
        Column("closed_ratio", pa.float32(), "ratio", "share of the frames with a mesh with both eyes closed", 0, 1, 4),
        Column(
            "measured_ratio", pa.float32(), "ratio", "share of the clip's frames with a mesh and open eyes", 0, 1, 4
        ),
    ),
    timeline=(
        Column("yaw_deg", pa.float32(), "deg", "gaze relative to the camera, > 0 to the image's right", -180, 180, 2),
        Column("pitch_deg", pa.float32(), "deg", "gaze relative to the camera, > 0 up", -90, 90, 2),
        Column(
            "opening_right", pa.float32(), "ratio", "gap of the subject's right lids, in widths of the eye", 0, 100, 4
        ),
        Column(
            "opening_left", pa.float32(), "ratio", "gap of the subject's left lids, in widths of the eye", 0, 100, 4
        ),
        Column("closed", pa.bool_(), "bool", "an eye is closed, so the gaze of this frame means nothing"),
    ),
    needs=("landmarks",),
    cost_cpu_s=0.0012,
    weights=(CANONICAL,),
    params={
        "toward_deg": TOWARD_DEG,
        "min_eye_distance_px": MIN_EYE_DISTANCE_PX,
        "iris": [IRIS_REACH_X, IRIS_REACH_Y, IRIS_LEVEL],
        "closed_share": CLOSED_SHARE,
    },
    backend="iris_geometry",
    summary="Gaze by the irises' place between the eyes' corners, on an eyeball in the turned head; blinks left out.",
    source="Iris points: Ablavatski et al., Real-time Pupil Tracking from Monocular Video, 2020. The map is our own.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no face, eyes too small for an iris, eyes closed all the time."""
    landmarks: pa.Table = needs["landmarks"]
    if landmarks.num_rows == 0:
        raise NotApplicable("no face")
    points = points_of(landmarks)
    across = np.linalg.norm(points[:, OUTER[0]] - points[:, OUTER[1]], axis=-1)
    if np.median(across) < MIN_EYE_DISTANCE_PX:
        raise NotApplicable("the eyes are too small")
    gaze, opening = eyes_of(points)
    closed = closed_eyes(opening)
    looking = ~closed.any(axis=1)
    if not looking.any():
        raise NotApplicable("the eyes are closed")
    open_gaze = np.radians(gaze[looking])
    mean = open_gaze.mean(axis=0)
    away = np.arccos(np.clip(np.cos(open_gaze[:, 0]) * np.cos(open_gaze[:, 1]), -1, 1))
    row = {
        "toward_camera_ratio": float((away <= np.radians(TOWARD_DEG)).mean()),
        "yaw_deg": float(np.degrees(mean[0])),
        "pitch_deg": float(np.degrees(mean[1])),
        "spread_deg": float(np.degrees(np.sqrt(np.square(open_gaze - mean).sum(axis=1).mean()))),
        "closed_ratio": float(closed.all(axis=1).mean()),
        "measured_ratio": float(looking.sum() / (media.end_frame - media.start_frame)),
    }
    timeline = {
        "frame": landmarks["frame"].to_numpy(),
        "yaw_deg": gaze[:, 0].astype(np.float32),
        "pitch_deg": gaze[:, 1].astype(np.float32),
        "opening_right": opening[:, 0].clip(max=100).astype(np.float32),
        "opening_left": opening[:, 1].clip(max=100).astype(np.float32),
        "closed": ~looking,
    }
    return Output(row=row, timeline=pa.table(timeline))
