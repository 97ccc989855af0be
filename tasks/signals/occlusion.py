"""Whether something is in front of the mouth or the face: a hand, a microphone, a graphic."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.face_cover import REGIONS, Region, cover_features, face_detail, square_of
from tasks.face_geometry import Crop, points_of
from tasks.head_geometry import CANONICAL, head_turns
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

WEIGHTS = "face_cover"
FPS = 1
COVERED = 0.95
"""Nearly all mouths with things drawn over them score more; free ones reach 0.9 in the worst light and blur."""
MIN_DETAIL = 0.08
"""Of the face: sharp ones have 0.13 to 0.3. With less, a blurred mouth looks like a smooth thing over it; blur by 3 % of
the face's height leaves it in half of the faces, by 2 % in nine of ten, and noise or JPEG in all."""
MAX_TURN_DEG = 35.0
"""Away from the camera: the models were fitted on people who face it, and take a profile for something else."""
NEAR_FRAMES = 2
"""A mesh stands for a frame at most this far from it."""

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column("mouth_score", pa.float32(), "score", "how surely the mouth is covered, mean over time", 0, 1, 4),
        Column("mouth_max_score", pa.float32(), "score", "the same on the frame where it is surest", 0, 1, 4),
        Column(
            "mouth_covered_ratio", pa.float32(), "ratio", "share of the sampled frames whose mouth is covered", 0, 1, 4
        ),
        Column("face_score", pa.float32(), "score", "how surely some of the face is covered, mean over time", 0, 1, 4),
        Column(
            "face_covered_ratio",
            pa.float32(),
            "ratio",
            "share of the sampled frames on which a sixth of the face or more is covered",
            0,
            1,
            4,
        ),
        Column(
            "num_frames",
            pa.int32(),
            "count",
            "frames looked at: sampled, with a face toward the camera that is not all blur",
            1,
            1_000_000,
        ),
    ),
    timeline=(
        Column("region", pa.string(), "name", "mouth, or face"),
        Column("x0", pa.float32(), "px", "left edge, in the proxy, of the square looked at", decimals=2),
        Column("y0", pa.float32(), "px", "top edge; the square is turned as the head is rolled", decimals=2),
        Column("x1", pa.float32(), "px", "right edge", decimals=2),
        Column("y1", pa.float32(), "px", "bottom edge", decimals=2),
        Column("score", pa.float32(), "score", "how surely some of it is covered", 0, 1, 4),
    ),
    needs=("landmarks",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.0065,
    weights=(WEIGHTS, CANONICAL),
    params={
        "fps": FPS,
        "covered": COVERED,
        "near_frames": NEAR_FRAMES,
        "max_turn_deg": MAX_TURN_DEG,
        "min_detail": MIN_DETAIL,
    },
    backend="hog_colour_linear",
    summary="Mouth and face covered, by linear models on gradients, colour against the skin, and texture, once a second.",
    source="Dalal and Triggs, CVPR 2005, for the gradients; fitted on things drawn over faces, see the card.",
)

_SCHEMA = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no mesh near a sampled frame, or on each a face turned away or too blurred to tell."""
    landmarks: pa.Table = needs["landmarks"]
    if landmarks.num_rows == 0:
        raise NotApplicable("no face")
    have = landmarks["frame"].to_numpy()
    points = points_of(landmarks)
    facing = head_turns(points)[:, 2, 2] >= np.cos(np.radians(MAX_TURN_DEG))
    scores: list[list[float]] = []
    told: list[dict[str, Any]] = []
    num_turned = num_blurred = 0
    for frame in media.at(FPS):
        nearest = int(np.abs(have - frame).argmin())
        if abs(int(have[nearest]) - frame) > NEAR_FRAMES:
            continue
        if not facing[nearest]:
            num_turned += 1
            continue
        image = media.image(frame)
        if face_detail(image, points[nearest]) < MIN_DETAIL:
            num_blurred += 1
            continue
        scores.append([covered_score(image, points[nearest], region) for region in REGIONS])
        told += [
            {"frame": frame, "region": region, **_box(square_of(points[nearest], region)), "score": score}
            for region, score in zip(REGIONS, scores[-1], strict=True)
        ]
    if not scores and num_blurred:
        raise NotApplicable("the face has too little detail to tell")
    if not scores:
        raise NotApplicable("the face is turned away" if num_turned else "no face on a sampled frame")
    mouth, face = np.array(scores).T
    return Output(
        row={
            "mouth_score": float(mouth.mean()),
            "mouth_max_score": float(mouth.max()),
            "mouth_covered_ratio": float((mouth >= COVERED).mean()),
            "face_score": float(face.mean()),
            "face_covered_ratio": float((face >= COVERED).mean()),
            "num_frames": len(scores),
        },
        timeline=pa.Table.from_pylist(told, schema=_SCHEMA),
    )


def _box(square: Crop) -> dict[str, float]:
    half = square.side_px / 2
    x, y = square.center_x, square.center_y
    return {"x0": x - half, "y0": y - half, "x1": x + half, "y1": y + half}


def covered_score(image_rgb: np.ndarray, points: np.ndarray, region: Region) -> float:
    """0 free to 1 covered, of one region of a mesh (478, 3) in pixels of the image."""
    weights_F, bias = _model()[region]
    odds = float(cover_features(image_rgb, points, region) @ weights_F + bias)
    return float(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


@cache
def _model() -> dict[Region, tuple[np.ndarray, float]]:
    with np.load(weights.path(WEIGHTS)) as held:
        return {r: (held[f"{r}_F"].astype(np.float64), float(held[f"{r}_bias"])) for r in REGIONS}
