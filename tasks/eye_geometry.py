"""The eyes in the mesh: where they look in the head and toward the camera, how far they are open, when they blink.

Everything is measured in the head's own frame, so that turning the head changes nothing. Columns are the subject's
right eye, then the left one. Angles are those of `tasks/head_geometry.py`: yaw > 0 toward the image's right, pitch > 0 up.
"""

from __future__ import annotations

import numpy as np

from tasks.face_geometry import LEFT_EYE_INNER, LEFT_EYE_OUTER, RIGHT_EYE_INNER, RIGHT_EYE_OUTER
from tasks.head_geometry import head_turns
from tasks.signal import GRID_FPS

OUTER, INNER = [RIGHT_EYE_OUTER, LEFT_EYE_OUTER], [RIGHT_EYE_INNER, LEFT_EYE_INNER]
IRIS_CENTER = [468, 473]
UPPER_LID, LOWER_LID = [[158, 159, 160], [385, 386, 387]], [[153, 145, 144], [380, 374, 373]]
# In widths of the eye: the way of the iris for a sine of 1, fitted to 60 heads rendered with known gaze, and its height
# above the corners when it looks straight ahead, 0.057 on those heads and 0.07 on people who look into the camera. An
# eyeball's own geometry gives 0.35 for both ways; the network sees less of a vertical move.
IRIS_REACH_X, IRIS_REACH_Y, IRIS_LEVEL = 0.32, 0.21, 0.065
CLOSED_SHARE = 0.5
"""An eye is closed below this share of its usual opening, the clip's 80th percentile."""
USUAL_QUANTILE = 0.8
MIN_USUAL_OPENING = 0.1
"""Of an eye that never opens wider, no closing can be told."""
MAX_BLINK_FRAMES = GRID_FPS // 2
"""Spontaneous blinks last 0.1 to 0.4 s (Stern et al., 1984); what is longer is closed eyes or a look down."""


def in_head_frame(points_TNC: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Points (T, N, 3) in pixels with the head's turn taken away; x to the right, y up, z toward the viewer."""
    return np.asarray((points_TNC.astype(np.float64) * [1, -1, -1]) @ turns)


def eye_opening(upright_TNC: np.ndarray) -> np.ndarray:
    """Gap between the lids (T, 2), of points in the head's frame, in widths of the eye: about 0.3 open, 0.1 closed."""
    upper, lower = (upright_TNC[:, lid, 1].mean(axis=2) for lid in (UPPER_LID, LOWER_LID))
    return np.asarray(np.maximum(upper - lower, 0.0) / _eye_width(upright_TNC))


def gaze_angles(upright_TNC: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Yaw and pitch (T, 2) in degrees of where the eyes look, relative to the camera; both eyes averaged."""
    corners = (upright_TNC[:, OUTER, :2] + upright_TNC[:, INNER, :2]) / 2
    away = (upright_TNC[:, IRIS_CENTER, :2] - corners) / _eye_width(upright_TNC)[..., None]
    x, y = np.moveaxis(away.mean(axis=1), -1, 0)
    sine_x = np.clip(x / IRIS_REACH_X, -0.9, 0.9)
    sine_y = np.clip((y - IRIS_LEVEL) / IRIS_REACH_Y, -0.9, 0.9)
    forward = np.sqrt(np.maximum(1 - sine_x**2 - sine_y**2, 0.05))
    looking = np.stack([sine_x, sine_y, forward], axis=-1)
    looking /= np.linalg.norm(looking, axis=-1, keepdims=True)
    seen = np.einsum("tij,tj->ti", turns, looking)
    pitch = np.arcsin(np.clip(seen[:, 1], -1, 1))
    return np.asarray(np.degrees(np.stack([np.arctan2(seen[:, 0], seen[:, 2]), pitch], axis=-1)))


def eyes_of(points_TNC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(gaze (T, 2) in degrees, opening (T, 2)) of mesh points (T, 478, 3) in pixels."""
    turns = head_turns(points_TNC)
    upright = in_head_frame(points_TNC, turns)
    return gaze_angles(upright, turns), eye_opening(upright)


def closed_eyes(opening_T2: np.ndarray) -> np.ndarray:
    """Where each eye is closed, bool (T, 2): by its own usual opening in the clip."""
    usual = np.quantile(opening_T2, USUAL_QUANTILE, axis=0)
    return np.asarray((opening_T2 < CLOSED_SHARE * usual) & (usual >= MIN_USUAL_OPENING))


def blinks(frames: np.ndarray, closed: np.ndarray) -> list[tuple[int, int]]:
    """Spans [first, end) of frames on which `closed` (T,) holds without a gap, opened again within half a second.

    A span that touches the first or last frame is no blink: how long it lasts isn't seen.
    """
    found: list[tuple[int, int]] = []
    first = -1
    for i, (frame, shut) in enumerate(zip(frames.tolist(), closed.tolist(), strict=True)):
        broken = i > 0 and frame != frames[i - 1] + 1
        if broken:
            first = -1
        if shut and first < 0 and i > 0 and not broken and not closed[i - 1]:
            first = frame
        elif not shut and first >= 0:
            if frame - first <= MAX_BLINK_FRAMES:
                found.append((first, frame))
            first = -1
    return found


def _eye_width(upright_TNC: np.ndarray) -> np.ndarray:
    width: np.ndarray = np.linalg.norm(upright_TNC[:, OUTER, :2] - upright_TNC[:, INNER, :2], axis=-1)
    return np.asarray(np.maximum(width, 1e-6))
