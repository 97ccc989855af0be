"""What lip-sync compares: how the lips move, and how the voice moves, at 25 rows a second.

T frames, D lip features, L voice features. Neither side knows the other: `modeling/lip_sync.py` fits the map between
them, `tasks/signals/lip_sync.py` applies it. Raise that signal's version when anything here changes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_geometry import (
    CHIN,
    LIP_BOTTOM_INNER,
    LIP_BOTTOM_OUTER,
    LIP_TOP_INNER,
    LIP_TOP_OUTER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    align_by_similarity,
    points_of,
)
from tasks.signal import GRID_FPS

LIP_HIGHPASS_HZ = 0.5
"""Takes away how the face is built and how the head is turned; syllables come at 3 to 8 Hz."""
VOICE_HIGHPASS_HZ = 0.3
_INNER_RIGHT, _INNER_LEFT = (82, 87), (312, 317)
_LIPS = [LIP_TOP_OUTER, LIP_TOP_INNER, LIP_BOTTOM_INNER, LIP_BOTTOM_OUTER]


def lip_shape(landmarks: pa.Table, start_frame: int, end_frame: int) -> np.ndarray:
    """Six measures of the mouth on each frame of the span, float64 (T, 6), in distances between the eyes' corners:
    inner gap, width, outer height, chin, protrusion, and width over outer height.

    Frames without a mesh are interpolated. Raises ValueError when no frame has one.
    """
    if landmarks.num_rows == 0:
        raise ValueError("lip_shape: no frame with landmarks; check before asking")
    points = align_by_similarity(points_of(landmarks)).astype(np.float64)

    def distance(a: int, b: int) -> np.ndarray:
        gap: np.ndarray = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
        return gap

    inner = distance(LIP_TOP_INNER, LIP_BOTTOM_INNER) + distance(*_INNER_RIGHT) + distance(*_INNER_LEFT)
    width, outer = distance(MOUTH_RIGHT, MOUTH_LEFT), distance(LIP_TOP_OUTER, LIP_BOTTOM_OUTER)
    chin, protrusion = points[:, CHIN, 1], points[:, _LIPS, 2].mean(axis=1)
    shape = np.stack([inner / 3, width, outer, chin, protrusion, width / np.maximum(outer, 1e-6)], axis=1)
    wanted, have = np.arange(start_frame, end_frame), landmarks["frame"].to_numpy()
    return np.stack([np.interp(wanted, have, column) for column in shape.T], axis=1)


def lip_motion(shape_TD: np.ndarray) -> np.ndarray:
    """The shape's fast part and its velocity, each of unit variance, float64 (T, 12)."""
    fast = _unit_variance(highpass(shape_TD, LIP_HIGHPASS_HZ))
    return np.concatenate([fast, _unit_variance(np.gradient(fast, axis=0))], axis=1)


def voice_motion(encoded_SE: np.ndarray) -> np.ndarray:
    """Steps of the speech encoder (50 a second) as rows of 25 a second, two steps side by side, float64 (T, 2 E):
    the fast part, of unit power over all features together."""
    num_frames = len(encoded_SE) // 2
    pairs = encoded_SE[: 2 * num_frames].reshape(num_frames, -1)
    fast = highpass(pairs, VOICE_HIGHPASS_HZ)
    return np.asarray(fast / max(float(np.sqrt(np.square(fast).mean())), 1e-9))


def highpass(rows_TD: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Butterworth of second order, run both ways: no delay."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, cutoff_hz, "highpass", fs=GRID_FPS, output="sos")
    return np.asarray(
        sosfiltfilt(sections, rows_TD.astype(np.float64), axis=0, padlen=min(len(rows_TD) - 1, 2 * GRID_FPS))
    )


def _unit_variance(rows_TD: np.ndarray) -> np.ndarray:
    centred = rows_TD - rows_TD.mean(axis=0)
    return np.asarray(centred / np.maximum(centred.std(axis=0), 1e-6))
