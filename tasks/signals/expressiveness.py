"""How lively a face is: how much mouth, brows and head move, how often and how evenly the eyes blink."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.eye_geometry import CLOSED_SHARE, USUAL_QUANTILE, blinks, closed_eyes, eye_opening, in_head_frame
from tasks.face_geometry import (
    LEFT_EYE_OUTER,
    LIP_BOTTOM_INNER,
    LIP_TOP_INNER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    RIGHT_EYE_OUTER,
    blendshapes_of,
    points_of,
)
from tasks.face_plausibility import BLINK_DROP, MAX_BLINK_FRAMES, OPEN_AGAIN, blink_asymmetries
from tasks.head_geometry import CANONICAL, head_turns
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Needs, NotApplicable, Output, Signal

BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
SPEED_STEP = 5
"""Speeds are taken over 0.2 s: from frame to frame most of a still face's motion is the mesh's jitter."""
LOW, HIGH = 0.05, 0.95

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "mouth_range",
            pa.float32(),
            "ratio",
            "inner lips' gap, 5th to 95th percentile over time, in distances between the eyes' outer corners",
            0,
            10,
            4,
        ),
        Column("mouth_speed", pa.float32(), "ratio_per_s", "how fast that gap changes, mean", 0, 100, 4),
        Column("mouth_width_range", pa.float32(), "ratio", "the same of the width between the lips' corners", 0, 10, 4),
        Column("brow_range", pa.float32(), "ratio", "the same of the brows' height over the eyes", 0, 10, 4),
        Column("brow_speed", pa.float32(), "ratio_per_s", "how fast the brows' height changes, mean", 0, 100, 4),
        Column(
            "num_blinks", pa.int32(), "count", "times both eyes close and open again within half a second", 0, 10_000
        ),
        Column("blink_rate_per_min", pa.float32(), "per_min", "blinks per minute of measured face", 0, 750, 2),
        Column(
            "blink_ms",
            pa.float32(),
            "ms",
            "how long a blink keeps both eyes below half open, mean, seen in steps of 40 ms; 0 without one",
            0,
            500,
            0,
        ),
        Column(
            "blink_asymmetry",
            pa.float32(),
            "ratio",
            "how much less one lid shuts than the other, over the farther, median over blinks of an eye; 0 without",
            0,
            1,
            4,
        ),
        Column("head_speed_deg_s", pa.float32(), "deg_per_s", "how fast the head turns, mean", 0, 4500, 2),
        Column("head_range_deg", pa.float32(), "deg", "yaw and pitch together, 5th to 95th percentile", 0, 520, 2),
        Column(
            "activity",
            pa.float32(),
            "score",
            "standard deviation over time of the expression weights that are not the gaze's, root mean square",
            0,
            0.5,
            4,
        ),
    ),
    needs=("landmarks", "head_pose"),
    cost_cpu_s=0.001,
    weights=(CANONICAL,),
    params={
        "speed_step": SPEED_STEP,
        "closed_share": CLOSED_SHARE,
        "usual_quantile": USUAL_QUANTILE,
        "lid": [BLINK_DROP, OPEN_AGAIN, MAX_BLINK_FRAMES],
    },
    backend="mesh_dynamics",
    summary="Range and speed of mouth, brows and head, blinks and their symmetry, from the mesh in the head's frame.",
    source="Blink: closing below half of the eye's usual opening, as eye aspect ratio, Soukupova and Cech, CVWW 2016.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no face, or a face on too few frames for anything to change."""
    from tasks.face_mesh import BLENDSHAPES

    landmarks: pa.Table = needs["landmarks"]
    if landmarks.num_rows == 0:
        raise NotApplicable("no face")
    shapes = blendshapes_of(landmarks)[1]
    if len(shapes) < 2:
        raise NotApplicable("too few frames with a face")
    frames, points = landmarks["frame"].to_numpy(), points_of(landmarks)
    upright = in_head_frame(points, head_turns(points))
    unit = np.maximum(np.linalg.norm(upright[:, RIGHT_EYE_OUTER] - upright[:, LEFT_EYE_OUTER], axis=-1), 1e-6)
    gap = np.maximum(upright[:, LIP_TOP_INNER, 1] - upright[:, LIP_BOTTOM_INNER, 1], 0) / unit
    width = np.abs(upright[:, MOUTH_LEFT, 0] - upright[:, MOUTH_RIGHT, 0]) / unit
    eye_level = upright[:, [RIGHT_EYE_OUTER, LEFT_EYE_OUTER], 1].mean(axis=1)
    brow = (upright[:, BROWS, 1].mean(axis=1) - eye_level) / unit
    closed = closed_eyes(eye_opening(upright))
    found = blinks(frames, np.asarray(closed.all(axis=1)))
    uneven = blink_asymmetries(points)
    spread = shapes[:, [i for i, n in enumerate(BLENDSHAPES) if not n.startswith("eye_look")]].std(axis=0)
    head = needs["head_pose"]
    return Output(
        row={
            "mouth_range": _range(gap),
            "mouth_speed": speed(frames, gap),
            "mouth_width_range": _range(width),
            "brow_range": _range(brow),
            "brow_speed": speed(frames, brow),
            "num_blinks": len(found),
            "blink_rate_per_min": len(found) * 60 * GRID_FPS / len(frames),
            "blink_ms": float(np.mean([end - first for first, end in found]) * 1000 / GRID_FPS) if found else 0.0,
            "blink_asymmetry": float(np.median(uneven)) if uneven else 0.0,
            "head_speed_deg_s": head["speed_deg_s"],
            "head_range_deg": float(
                np.hypot(*(head[f"{angle}_p95_deg"] - head[f"{angle}_p05_deg"] for angle in ("yaw", "pitch")))
            ),
            "activity": float(np.sqrt(np.square(spread).mean())),
        }
    )


def _range(values: np.ndarray) -> float:
    low, high = np.quantile(values, [LOW, HIGH])
    return float(min(high - low, 10.0))


def speed(frames: np.ndarray, values: np.ndarray) -> float:
    """Mean change per second over pairs of frames 0.2 s apart; 0 where no such pair has a mesh."""
    later = np.searchsorted(frames, frames + SPEED_STEP)
    pair = np.flatnonzero(later < len(frames))
    pair = pair[frames[later[pair]] == frames[pair] + SPEED_STEP]
    if len(pair) == 0:
        return 0.0
    return float(min(np.abs(values[later[pair]] - values[pair]).mean() * GRID_FPS / SPEED_STEP, 100.0))
