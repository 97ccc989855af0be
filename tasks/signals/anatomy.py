"""What no body does: lopsided faces, trembling meshes, one-eyed blinks, smeared mouths, fingers and limbs that change.

Rules over points that other signals found, and one look at the detail in the open mouth. The networks behind the
points have learned what people look like and draw what they know: a sixth finger or a doubled arm is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tasks.body_geometry import FINGERS, LIMBS, MIN_VISIBLE, bodies_of, frame_pairs, hand_pairs, hands_of
from tasks.face_geometry import (
    LEFT_EYE_OUTER,
    LIP_BOTTOM_INNER,
    LIP_TOP_INNER,
    RIGHT_EYE_OUTER,
    points_of,
)
from tasks.face_plausibility import (
    BLINK_DROP,
    FRONTAL_SHARE,
    MAX_BLINK_FRAMES,
    OPEN_AGAIN,
    blink_asymmetries,
    face_asymmetry,
    face_jitter,
)
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

FPS = 5
MIN_FACE_FRAMES = 10
MIN_MOUTH_GAP = 0.08
DETAIL_EYE_SPAN_PX = 80
MIN_REGION_PX = 20
MIN_PALM_PX = 15
MIN_LIMB_PAIRS = 3
RULES: Mapping[str, tuple[float, float]] = {
    "face_asymmetry": (0.05, 0.12),
    "face_jitter": (0.012, 0.03),
    "blink_asymmetry": (0.4, 0.8),
    "mouth_detail": (0.5, 0.25),
    "hand_change": (0.2, 0.4),
    "finger_excess": (0.16, 0.3),
    "limb_change": (0.12, 0.3),
}
"""Value that raises no doubt, and value that takes all trust. Set by hand with clean portraits and generated footage in
view; of 37 talking heads looked at afterwards each rule leaves at least 36 without doubt."""

INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
EYES = ((33, 133, 159, 145, 160, 144, 158, 153), (263, 362, 386, 374, 387, 373, 385, 380))

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "score",
            pa.float32(),
            "score",
            "1 when no rule below is beyond what real footage shows, 0 when one is far beyond it",
            0,
            1,
            4,
        ),
        Column("num_conspicuous", pa.int16(), "count", "rules that are far beyond what real footage shows", 0, 7),
        Column(
            "face_asymmetry",
            pa.float32(),
            "eye spans",
            "RMS distance of the 3D mesh to its own mirror image, turned onto it, on the most frontal quarter of frames",
            0,
            10,
            4,
        ),
        Column(
            "face_jitter",
            pa.float32(),
            "eye spans/frame^2",
            "RMS second difference over three frames of 18 points that speech hardly moves, head motion taken out",
            0,
            10,
            5,
        ),
        Column("num_blinks", pa.int32(), "count", "blinks of at least one eye", 0, 10_000),
        Column(
            "blink_asymmetry",
            pa.float32(),
            "ratio",
            "difference of how far the two lids shut, over the farther, median over the blinks; 0 without any",
            0,
            1,
            4,
        ),
        Column(
            "num_mouth_frames", pa.int32(), "count", "sampled frames with the mouth open enough to see into", 0, 10_000
        ),
        Column(
            "mouth_detail",
            pa.float32(),
            "ratio",
            "mean absolute Laplacian between the lips over that of the eyes, median over those frames; 1 without any",
            0,
            1000,
            4,
        ),
        Column("num_hand_pairs", pa.int32(), "count", "hands seen twice 0.2 s apart, large enough to judge", 0, 10_000),
        Column(
            "hand_change",
            pa.float32(),
            "log ratio",
            "mean change of a hand's bone lengths, in palms, within 0.2 s, median over those pairs; 0 without any",
            0,
            20,
            4,
        ),
        Column(
            "finger_excess",
            pa.float32(),
            "log ratio",
            "longest of the four fingers over their median, median over those hands; 0 without any",
            0,
            20,
            4,
        ),
        Column("num_limb_pairs", pa.int32(), "count", "limbs seen twice 0.2 s apart", 0, 100_000),
        Column(
            "limb_change",
            pa.float32(),
            "log ratio",
            "change of a limb's length in the image within 0.2 s, median over those pairs; 0 with fewer than three",
            0,
            20,
            4,
        ),
    ),
    needs=("landmarks", "body", "hands"),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.0025,
    params={
        "rules": {k: list(v) for k, v in RULES.items()},
        "min_face_frames": MIN_FACE_FRAMES,
        "frontal_share": FRONTAL_SHARE,
        "blink": [BLINK_DROP, OPEN_AGAIN, MAX_BLINK_FRAMES],
        "min_mouth_gap": MIN_MOUTH_GAP,
        "detail_eye_span_px": DETAIL_EYE_SPAN_PX,
        "min_palm_px": MIN_PALM_PX,
        "min_limb_pairs": MIN_LIMB_PAIRS,
    },
    backend="rules",
    summary="Rules on symmetry, jitter, blinks, mouth detail, and constancy of hands and limbs.",
    source="Eye openness as in Soukupova and Cech, Real-Time Eye Blink Detection, CVWW 2016; the rules are our own.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip in which hardly any frame shows a face."""
    landmarks = needs["landmarks"]
    if landmarks.num_rows < MIN_FACE_FRAMES:
        raise NotApplicable("no face")
    frames, points = landmarks["frame"].to_numpy(), points_of(landmarks)
    blinks = blink_asymmetries(points)
    details = mouth_details(media, frames, points)
    changes, excesses = hand_rules(needs["hands"])
    limbs = limb_changes(needs["body"])
    told: dict[str, float | int] = {
        "face_asymmetry": face_asymmetry(points),
        "face_jitter": face_jitter(frames, points),
        "num_blinks": len(blinks),
        "blink_asymmetry": float(np.median(blinks)) if blinks else 0.0,
        "num_mouth_frames": len(details),
        "mouth_detail": float(np.median(details)) if details else 1.0,
        "num_hand_pairs": len(changes),
        "hand_change": float(np.median(changes)) if changes else 0.0,
        "finger_excess": float(np.median(excesses)) if excesses else 0.0,
        "num_limb_pairs": len(limbs),
        "limb_change": float(np.median(limbs)) if len(limbs) >= MIN_LIMB_PAIRS else 0.0,
    }
    doubts = [np.clip((told[k] - fine) / (bad - fine), 0, 1) for k, (fine, bad) in RULES.items()]
    row = {"score": 1 - float(max(doubts)), "num_conspicuous": int(np.sum(np.array(doubts) == 1)), **told}
    limits = {c.name: c.high for c in SIGNAL.columns if c.high is not None}
    return Output(row={k: min(v, limits[k]) for k, v in row.items()})


def mouth_details(media: Media, frames: np.ndarray, points_TNC: np.ndarray) -> list[float]:
    """Detail in the open mouth over that of the eyes, for each sampled frame on which the mouth is open."""
    at = {int(f): i for i, f in enumerate(frames)}
    found = []
    for frame in (f for f in media.at(FPS) if f in at):
        points = points_TNC[at[frame], :, :2].astype(np.float64)
        span = float(np.hypot(*(points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER])))
        gap = float(np.hypot(*(points[LIP_BOTTOM_INNER] - points[LIP_TOP_INNER])))
        if gap >= MIN_MOUTH_GAP * max(span, 1.0):
            detail = _detail(media.image(frame, pixels="gray"), points, span)
            found += [] if detail is None else [detail]
    return found


def _detail(gray: np.ndarray, points: np.ndarray, span: float) -> float | None:
    """None where the mouth or the eyes lie outside the frame or cover too few pixels."""
    import cv2

    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    x1, y1 = np.ceil(points.max(axis=0)).astype(int) + 1
    face = gray[y0:y1, x0:x1]
    if min(face.shape) < 3:
        return None
    scale = min(1.0, DETAIL_EYE_SPAN_PX / span)
    if scale < 1:
        face = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    placed = (points - (x0, y0)) * scale
    edges = np.abs(cv2.Laplacian(face, cv2.CV_32F, ksize=3))
    inside = [_mean_inside(edges, placed[list(region)]) for region in (INNER_LIPS, *EYES)]
    if any(v is None for v in inside):
        return None
    mouth, right, left = (float(v or 0.0) for v in inside)
    return mouth / max((right + left) / 2, 1e-3)


def _mean_inside(values: np.ndarray, outline: np.ndarray) -> float | None:
    import cv2

    height, width = values.shape
    if (outline < -1).any() or (outline > (width, height)).any():
        return None
    mask = np.zeros(values.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1)
    return float(values[mask > 0].mean()) if mask.sum() >= MIN_REGION_PX else None


def hand_rules(hands: pa.Table) -> tuple[list[float], list[float]]:
    """Of each pair of looks at a hand: mean change of its bones' lengths; of both looks: excess of a finger's length.

    Lengths are those in the plane and depth that the network gives, in mean lengths of the palm's bones.
    """
    frames, points = hands_of(hands)
    joints = [(a, b) for finger in FINGERS for a, b in zip((0, *finger), finger, strict=False)]
    start, end = np.array(joints).T
    lengths = np.maximum(np.linalg.norm(points[:, start] - points[:, end], axis=2), 0.5)
    palm = lengths[:, 4::4].mean(axis=1)
    bones = np.log(lengths / palm[:, None])
    fingers = np.log(lengths.reshape(-1, 5, 4)[:, 1:, 1:].sum(axis=2))
    excess = fingers.max(axis=1) - np.median(fingers, axis=1) if len(fingers) else np.zeros(0)
    pairs = [(i, j) for i, j in hand_pairs(frames, points) if min(palm[i], palm[j]) >= MIN_PALM_PX]
    changes = [float(np.abs(bones[i] - bones[j]).mean()) for i, j in pairs]
    return changes, [float(excess[i]) for pair in pairs for i in pair]


def limb_changes(body: pa.Table) -> list[float]:
    """Change of each limb's length between the two looks of a pair, where both its ends are visible on both."""
    frames, points, visible = bodies_of(body)
    found = []
    for i, j in frame_pairs(frames):
        for a, b in LIMBS:
            if visible[[i, i, j, j], [a, b, a, b]].min() >= MIN_VISIBLE:
                before, after = (max(1.0, float(np.hypot(*(points[k, a, :2] - points[k, b, :2])))) for k in (i, j))
                found.append(abs(float(np.log(after / before))))
    return found
