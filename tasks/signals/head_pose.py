"""How the head is turned: yaw, pitch and roll on every frame, their mean and range over the clip."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_geometry import points_of
from tasks.head_geometry import CANONICAL, angles_of, head_turns
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Needs, NotApplicable, Output, Signal

ANGLES = ("yaw", "pitch", "roll")
POSITIVE = {
    "yaw": "nose toward the image's right, the subject's own left",
    "pitch": "nose up",
    "roll": "head turned clockwise on the screen",
}
FRONTAL_DEG = 20.0
SPEED_STEP = 5
"""Speed is taken over 0.2 s: from frame to frame most of it is the mesh's jitter."""
LOW, HIGH = 0.05, 0.95

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        *(
            column
            for angle in ANGLES
            for column in (
                Column(f"{angle}_deg", pa.float32(), "deg", f"{angle}, mean; > 0: {POSITIVE[angle]}", -180, 180, 2),
                Column(f"{angle}_p05_deg", pa.float32(), "deg", f"{angle}, 5th percentile over time", -180, 180, 2),
                Column(f"{angle}_p95_deg", pa.float32(), "deg", f"{angle}, 95th percentile over time", -180, 180, 2),
            )
        ),
        Column(
            "frontal_ratio",
            pa.float32(),
            "ratio",
            f"share of the frames with a mesh whose nose points at most {FRONTAL_DEG:g} degrees away from the camera",
            0,
            1,
            4,
        ),
        Column("speed_deg_s", pa.float32(), "deg_per_s", "how fast the head turns about any axis, mean", 0, 4500, 2),
        Column("measured_ratio", pa.float32(), "ratio", "share of the clip's frames that have a mesh", 0, 1, 4),
    ),
    timeline=tuple(
        Column(f"{angle}_deg", pa.float32(), "deg", f"{angle} on this frame; > 0: {POSITIVE[angle]}", -180, 180, 2)
        for angle in ANGLES
    ),
    needs=("landmarks",),
    cost_cpu_s=0.0005,
    weights=(CANONICAL,),
    params={"frontal_deg": FRONTAL_DEG, "speed_step": SPEED_STEP, "fit": "similarity, 18 stable points"},
    backend="mesh_procrustes",
    summary="Yaw, pitch and roll by fitting a canonical face to the mesh; roll is the outermost turn.",
    source="Umeyama, PAMI 1991, on MediaPipe's canonical face; the mesh's depth is a network's estimate.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip without a mesh."""
    landmarks: pa.Table = needs["landmarks"]
    if landmarks.num_rows == 0:
        raise NotApplicable("no face")
    frames = landmarks["frame"].to_numpy()
    turns = head_turns(points_of(landmarks))
    angles = angles_of(turns)
    # Roll goes around a circle: it is averaged from the nearest turn to its middle, so that 179 and -179 don't cancel.
    middle = float(np.degrees(np.angle(np.exp(1j * np.radians(angles[:, 2])).mean())))
    angles[:, 2] = (angles[:, 2] - middle + 180) % 360 - 180 + middle
    row: dict[str, float] = {}
    for angle, values in zip(ANGLES, angles.T, strict=True):
        low, high = np.quantile(values, [LOW, HIGH])
        for name, value in ((angle, values.mean()), (f"{angle}_p05", low), (f"{angle}_p95", high)):
            row[f"{name}_deg"] = float(np.clip(value, -180, 180))
    row["frontal_ratio"] = float((turns[:, 2, 2] >= np.cos(np.radians(FRONTAL_DEG))).mean())
    row["speed_deg_s"] = turning_speed(frames, turns)
    row["measured_ratio"] = landmarks.num_rows / (media.end_frame - media.start_frame)
    columns = {f"{angle}_deg": (v + 180) % 360 - 180 for angle, v in zip(ANGLES, angles.T, strict=True)}
    timeline = {"frame": frames, **{name: values.astype(np.float32) for name, values in columns.items()}}
    return Output(row=row, timeline=pa.table(timeline))


def turning_speed(frames: np.ndarray, turns: np.ndarray) -> float:
    """Degrees a second, mean over pairs of frames 0.2 s apart; 0 where no such pair has a mesh."""
    later = np.searchsorted(frames, frames + SPEED_STEP)
    pair = np.flatnonzero(later < len(frames))
    pair = pair[frames[later[pair]] == frames[pair] + SPEED_STEP]
    if len(pair) == 0:
        return 0.0
    trace = np.einsum("tij,tij->t", turns[pair], turns[later[pair]])
    angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    return float(angle.mean() * GRID_FPS / SPEED_STEP)
