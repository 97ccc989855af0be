"""What the signals about bodies and hands share: which frames are looked at, the points' names, rows as arrays.

Bodies and hands are looked at twice a second, on frames k * 25 and k * 25 + 5: a pair, 0.2 s apart, tells how fast
something moves, which frames evenly spread could tell only at several times the cost. "Left" is the subject's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.signal import GRID_FPS

PAIR_FRAMES = 5
PAIR_S = PAIR_FRAMES / GRID_FPS
LOOK_FPS = 5
BODY_SCALE, HAND_SCALE, VISIBILITY_SCALE = 8, 32, 10_000
"""Stored as int16: bodies in 1/8 px, as they reach far beyond a close-up; hands in 1/32 px."""
NUM_BODY_POINTS, NUM_HAND_POINTS = 33, 21
MIN_VISIBLE = 0.5

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = 0, 11, 12, 13, 14
LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP = 15, 16, 23, 24
UPPER_BODY = (
    NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP
)  # fmt: skip
LIMBS = ((11, 12), (11, 13), (13, 15), (12, 14), (14, 16))
"""Shoulders, upper arms, forearms."""
WRISTS_AND_FINGERS = (15, 16, 17, 18, 19, 20, 21, 22)
FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
PALM = (0, 5, 9, 13, 17)
"""Wrist and knuckles of a hand."""


def looked_at(frames: Sequence[int]) -> list[int]:
    """Those of some frames on which bodies and hands are looked for."""
    return [f for f in frames if f % GRID_FPS in (0, PAIR_FRAMES)]


def fixed(values: np.ndarray, scale: int) -> np.ndarray:
    made: np.ndarray = np.clip(np.rint(values.ravel() * scale), -32768, 32767).astype(np.int16)
    return made


def _lists(table: pa.Table, column: str, scale: int, shape: tuple[int, ...]) -> np.ndarray:
    flat = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    values: np.ndarray = (flat.astype(np.float64) / scale).reshape(-1, *shape)
    return values


def bodies_of(body: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (N,), points (N, 33, 3) in pixels of the proxy, visibility (N, 33) in 0 to 1, of the `body` timeline."""
    points = _lists(body, "points", BODY_SCALE, (NUM_BODY_POINTS, 3))
    return body["frame"].to_numpy(), points, _lists(body, "visibility", VISIBILITY_SCALE, (NUM_BODY_POINTS,))


def hands_of(hands: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N,), which may repeat, and points (N, 21, 3) in pixels of the proxy, of the `hands` timeline."""
    return hands["frame"].to_numpy(), _lists(hands, "points", HAND_SCALE, (NUM_HAND_POINTS, 3))


def frame_pairs(frames: np.ndarray) -> list[tuple[int, int]]:
    """Positions (i, j) of the two rows of each pair whose both frames are there. One row a frame."""
    at = {int(f): i for i, f in enumerate(frames)}
    return [(i, at[f + PAIR_FRAMES]) for f, i in at.items() if f % GRID_FPS == 0 and f + PAIR_FRAMES in at]


def hand_pairs(frames: np.ndarray, points_NPC: np.ndarray) -> list[tuple[int, int]]:
    """Positions (i, j) of one hand on the two frames of a pair: those whose palms lie nearest, within a palm's size."""
    centre = points_NPC[:, PALM, :2].mean(axis=1)
    size = np.hypot(*(points_NPC[:, 9, :2] - points_NPC[:, 0, :2]).T)
    found: list[tuple[int, int]] = []
    for frame in sorted({int(f) for f in frames if f % GRID_FPS == 0}):
        first, second = np.flatnonzero(frames == frame), np.flatnonzero(frames == frame + PAIR_FRAMES)
        ways = sorted((float(np.hypot(*(centre[i] - centre[j]))), int(i), int(j)) for i in first for j in second)
        taken: set[int] = set()
        for way, i, j in ways:
            if not {i, j} & taken and way <= 2 * max(size[i], size[j]):
                found.append((i, j))
                taken |= {i, j}
    return found


def shoulder_width_px(points_NPC: np.ndarray) -> float:
    """Median distance between the shoulders in the image, at least one pixel."""
    across = points_NPC[:, LEFT_SHOULDER, :2] - points_NPC[:, RIGHT_SHOULDER, :2]
    return max(1.0, float(np.median(np.hypot(*across.T))))
