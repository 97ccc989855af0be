"""Hands of a video, twice a second where a body shows any: 21 points of up to two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tasks.body_geometry import HAND_SCALE, LOOK_FPS, PAIR_FRAMES, WRISTS_AND_FINGERS, bodies_of, fixed, looked_at
from tasks.face_geometry import Crop
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, Output, Signal

DETECT_SIDE_PX = 320
MAX_HANDS = 2
MAX_PALMS = 3
"""Palms that are looked at closely, the surest first: ties and chins are taken for palms, and seen not to be hands."""
MIN_PRESENCE = 0.5
MIN_VISIBLE = 0.05
"""Of a wrist or finger of the body, below which no palm is looked for: on 110 videos that keeps 99 % of the frames
with a hand and spares a third of those without. A bound of 0.1 spares 61 % and misses a quarter of the lone hands."""

SIGNAL = Signal(
    grain="video",
    version=1,
    timeline=(
        Column("hand", pa.int16(), "count", "number of the hand on this frame, by falling size, from 0", 0, MAX_HANDS),
        Column("presence", pa.float32(), "score", "the network's score that the square shows a hand", 0, 1, 4),
        Column("left_score", pa.float32(), "score", "the network's score that it is a left hand", 0, 1, 4),
        Column("points", pa.list_(pa.int16()), "px/32", "21 points (x, y, z) of the hand, in 1/32 px of the proxy"),
    ),
    needs=("body",),
    look=Look(frames_fps=LOOK_FPS),
    cost_cpu_s=0.017,
    weights=("hand_detector", "hand_landmarks"),
    params={
        "detect_side_px": DETECT_SIDE_PX,
        "max_hands": MAX_HANDS,
        "max_palms": MAX_PALMS,
        "min_presence": MIN_PRESENCE,
        "min_visible": MIN_VISIBLE,
        "frames": "k*25, k*25+5",
    },
    backend="mediapipe_hands_full",
    summary="Palms found on one frame a second, 21 points of each hand there and on the frame 0.2 s later.",
    source="Zhang et al., MediaPipe Hands: On-device Real-time Hand Tracking, CVPR-W 2020; Hand Landmarker (2023).",
)

Hand = tuple[np.ndarray, float, float]
"""Points (21, 3) in pixels of the proxy, presence, left_score."""


def compute(media: Media, needs: Needs) -> Output:
    columns: dict[str, list[Any]] = {"frame": [], **{c.name: [] for c in SIGNAL.timeline}}
    frames, _, visible = bodies_of(needs["body"])
    shown = {int(f): float(v[list(WRISTS_AND_FINGERS)].max()) for f, v in zip(frames, visible, strict=True)}
    last: tuple[int, list[Hand]] = (-1, [])
    for frame in looked_at(media.at(LOOK_FPS)):
        if frame % GRID_FPS and last[0] == frame - PAIR_FRAMES:
            hands = hands_on(media, frame, [crop_of(points) for points, _, _ in last[1]])
        # Without a body anything may be shown, hands alone too.
        elif shown.get(frame, 1.0) >= MIN_VISIBLE:
            hands = hands_on(media, frame, palms_on(media, frame))
        else:
            hands = []
        last = frame, hands
        for number, (points, presence, left) in enumerate(hands):
            columns["frame"].append(frame)
            columns["hand"].append(number)
            columns["presence"].append(min(presence, 1.0))
            columns["left_score"].append(min(max(left, 0.0), 1.0))
            columns["points"].append(fixed(points, HAND_SCALE))
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.table(columns, schema=schema))


def palms_on(media: Media, frame: int) -> list[Crop]:
    """Squares of the surest palms, in pixels of the proxy."""
    from tasks.body_networks import PALMS, detect, palm_crop

    small = media.image(frame, DETECT_SIDE_PX)
    scale = media.width_px / small.shape[1]
    crops = [palm_crop(found) for found in detect(small, PALMS)[:MAX_PALMS]]
    return [
        Crop((c.center_x + 0.5) * scale - 0.5, (c.center_y + 0.5) * scale - 0.5, c.side_px * scale, c.angle_rad)
        for c in crops
    ]


def hands_on(media: Media, frame: int, crops: list[Crop]) -> list[Hand]:
    """The largest hands in some squares; one that another's palm lies on is the same hand."""
    from tasks.body_networks import hand_points

    found = [hand_points(media.image(frame), crop) for crop in crops]
    found = sorted((h for h in found if h[1] >= MIN_PRESENCE), key=lambda h: -_size_px(h[0]))
    kept: list[Hand] = []
    for hand in found:
        middle = hand[0][9, :2]
        if all(np.hypot(*(middle - other[0][9, :2])) > 0.3 * _size_px(other[0]) for other in kept):
            kept.append(hand)
    return kept[:MAX_HANDS]


def _size_px(points: np.ndarray) -> float:
    return float(np.hypot(*np.ptp(points[:, :2], axis=0)))


def crop_of(points: np.ndarray) -> Crop:
    """The square in which a hand is followed: twice the extent of its wrist and fingers without their ends, upright
    from the wrist to the knuckles, as in MediaPipe's hand_landmarks_to_rect_calculator.cc."""
    plane = points[:, :2].astype(np.float64)
    away = (plane[5] + plane[13]) / 4 + plane[9] / 2 - plane[0]
    angle = float(np.arctan2(away[0], -away[1]))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = plane[[0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    middle = (low + high) / 2 - np.array([0, 0.1 * (high - low)[1]])
    x, y = turn @ middle
    return Crop(float(x), float(y), 2 * float((high - low).max()), angle)
