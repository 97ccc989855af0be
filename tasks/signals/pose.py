"""How the person stands before the camera: how much of the body is shown, where the shoulders are, what moves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.body_geometry import (
    LEFT_SHOULDER,
    MIN_VISIBLE,
    NOSE,
    PAIR_S,
    PALM,
    RIGHT_SHOULDER,
    UPPER_BODY,
    bodies_of,
    frame_pairs,
    hand_pairs,
    hands_of,
    looked_at,
    shoulder_width_px,
)
from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal

TRUNK = (NOSE, LEFT_SHOULDER, RIGHT_SHOULDER)
MAX_SPEED = 100.0

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("person_ratio", pa.float32(), "ratio", "share of the sampled frames with a person", 0, 1, 4),
        Column(
            "upper_body_ratio",
            pa.float32(),
            "ratio",
            "share of nose, shoulders, elbows, wrists and hips that is visible, mean over the frames with a person",
            0,
            1,
            4,
        ),
        Column("shoulders_visible_ratio", pa.float32(), "ratio", "share of them with both shoulders visible", 0, 1, 4),
        Column("hands_visible_ratio", pa.float32(), "ratio", "share of the sampled frames with a hand", 0, 1, 4),
        Column("both_hands_ratio", pa.float32(), "ratio", "share of the sampled frames with two hands", 0, 1, 4),
        Column(
            "shoulder_width_ratio",
            pa.float32(),
            "ratio",
            "distance of the shoulders over the frame's width, median; estimated where they lie beyond the frame",
            0,
            100,
            4,
        ),
        Column(
            "shoulder_angle_deg",
            pa.float32(),
            "deg",
            "slope of the line between the shoulders, median; positive when its right end in the image is lower",
            -180,
            180,
            2,
        ),
        Column(
            "body_motion",
            pa.float32(),
            "shoulder widths/s",
            "mean speed of nose and shoulders over 0.2 s, median over the clip",
            0,
            MAX_SPEED,
            3,
        ),
        Column(
            "hand_motion",
            pa.float32(),
            "shoulder widths/s",
            "speed of the palms over 0.2 s, mean over the hands seen twice; 0 without any",
            0,
            MAX_SPEED,
            3,
        ),
        Column(
            "score", pa.float32(), "score", "mean of the network's score that the body's square shows a person", 0, 1, 4
        ),
    ),
    needs=("body", "hands"),
    cost_cpu_s=0.0001,
    params={"min_visible": MIN_VISIBLE, "max_speed": MAX_SPEED},
    backend="mediapipe_pose_hands",
    summary="What of the body and hands is shown, stance of the shoulders, and speed of body and hands.",
    source="see body and hands",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a clip without a person, or too short to hold a sampled frame."""
    num_sampled = len(looked_at(range(media.start_frame, media.end_frame)))
    if num_sampled == 0:
        raise NotApplicable("shorter than the step of sampling")
    if needs["body"].num_rows == 0:
        raise NotApplicable("no person")
    frames, points, visible = bodies_of(needs["body"])
    seen = visible >= MIN_VISIBLE
    per_frame = np.unique(needs["hands"]["frame"].to_numpy(), return_counts=True)[1]
    width_px = shoulder_width_px(points)
    return Output(
        row={
            "person_ratio": len(frames) / num_sampled,
            "upper_body_ratio": float(seen[:, UPPER_BODY].mean()),
            "shoulders_visible_ratio": float(seen[:, [LEFT_SHOULDER, RIGHT_SHOULDER]].all(axis=1).mean()),
            "hands_visible_ratio": len(per_frame) / num_sampled,
            "both_hands_ratio": int((per_frame >= 2).sum()) / num_sampled,
            "shoulder_width_ratio": min(width_px / media.width_px, 100.0),
            "shoulder_angle_deg": shoulder_angle_deg(points),
            "body_motion": min(body_speed_px(frames, points) / width_px, MAX_SPEED),
            "hand_motion": min(hand_speed_px(needs["hands"]) / width_px, MAX_SPEED),
            "score": float(np.mean(needs["body"]["presence"].to_numpy())),
        }
    )


def shoulder_angle_deg(points_NPC: np.ndarray) -> float:
    """Median slope, in -90 to 90, of the line through the shoulders, whichever of them is on the left."""
    across = points_NPC[:, LEFT_SHOULDER, :2] - points_NPC[:, RIGHT_SHOULDER, :2]
    across = across * np.where(across[:, :1] < 0, -1.0, 1.0)
    return float(np.median(np.degrees(np.arctan2(across[:, 1], across[:, 0]))))


def body_speed_px(frames: np.ndarray, points_NPC: np.ndarray) -> float:
    """Median over the pairs of the mean way of nose and shoulders, in pixels per second; 0 without a pair."""
    pairs = frame_pairs(frames)
    if not pairs:
        return 0.0
    first, second = np.array(pairs).T
    ways = points_NPC[second][:, TRUNK, :2] - points_NPC[first][:, TRUNK, :2]
    return float(np.median(np.hypot(ways[..., 0], ways[..., 1]).mean(axis=1)) / PAIR_S)


def hand_speed_px(hands: pa.Table) -> float:
    """Mean way of the palms' middle over the pairs, in pixels per second; 0 without a hand seen twice."""
    frames, points = hands_of(hands)
    pairs = hand_pairs(frames, points)
    centre = points[:, PALM, :2].mean(axis=1)
    ways = [float(np.hypot(*(centre[j] - centre[i]))) for i, j in pairs]
    return float(np.mean(ways)) / PAIR_S if ways else 0.0
