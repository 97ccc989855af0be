"""Whether a mouth moves with the speech, in what a viewer gets: decoded pictures against decoded sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infra.lag import best_lag
from modeling.idle_motion import SPEECH_DB
from store.media import GRID_FPS
from tasks.lip_features import highpass

FRAME_SAMPLES = 640
MAX_LAG = 25
"""Frames, a second."""
BLOCKS = (4, 8)
"""The mouth's place is looked at in so many rows and columns: its inside darkens where skin beside it does not."""
SLOW_HZ = 0.8
"""What changes more slowly is the head's sway and the light."""
LEAST_FRAMES = 75
CLEAR = 3.0
"""Over the square root of the frames: correlations of mouths that don't follow the sound reach 0.18 to 0.21 in 6 s at some lag, and
this is 0.23; those that do have 0.31 to 0.53 there."""


def mouth_lag(
    pictures: Sequence[np.ndarray], times: Sequence[int], heard_N: np.ndarray, box: Sequence[int]
) -> tuple[float | None, float]:
    """(lag, clearness): by how many milliseconds the sound comes after the mouth's movement (under 0: the mouth is late), and how
    surely: under 1 there is no telling, and the lag is None.

    Pictures are gray, uint8 (H, W), with the sample of `heard_N` (16 kHz, -1 to 1) at which each is shown; `box` is where the
    mouth is in them: x0, y0, x1, y1. The lag is where the loudness explains most of how the pixels in it change.
    """
    if len(pictures) < LEAST_FRAMES:
        return None, 0.0
    loud_T1 = np.array([_loudness_db(heard_N[at : at + FRAME_SAMPLES]) for at in times])[:, None]
    gray_TB = np.stack([_blocks(picture, box) for picture in pictures])
    curve = _explained(highpass(loud_T1, SLOW_HZ)[:, 0], highpass(gray_TB, SLOW_HZ))
    _, lag, _ = best_lag(curve)
    clearness = float(curve.max()) * np.sqrt(len(pictures)) / CLEAR
    return (1000 * lag / GRID_FPS if clearness >= 1 else None), clearness


def _explained(loud_T: np.ndarray, gray_TB: np.ndarray) -> np.ndarray:
    """(2 * MAX_LAG + 1,): of all pixels' changes together, the correlation with loudness that comes so many frames later."""
    num, curve = len(loud_T), np.empty(2 * MAX_LAG + 1)
    for lag in range(-MAX_LAG, MAX_LAG + 1):
        a = loud_T[max(0, lag) : num + min(0, lag)]
        b = gray_TB[max(0, -lag) : num + min(0, -lag)]
        a, b = a - a.mean(), b - b.mean(axis=0)
        power = np.sqrt(np.square(a).mean() * np.square(b).mean(axis=0).sum())
        curve[MAX_LAG + lag] = np.linalg.norm(a @ b / len(a)) / max(power, 1e-9)
    return curve


def _loudness_db(sound_N: np.ndarray) -> float:
    """Below a voice all silence is alike."""
    return (
        max(SPEECH_DB, 10 * float(np.log10(np.square(sound_N, dtype=np.float64).mean() + 1e-8)))
        if len(sound_N)
        else SPEECH_DB
    )


def _blocks(picture: np.ndarray, box: Sequence[int]) -> np.ndarray:
    import cv2

    x0, y0, x1, y1 = box
    mouth = picture[y0:y1, x0:x1].astype(np.float64)
    return cv2.resize(mouth, BLOCKS[::-1], interpolation=cv2.INTER_AREA).ravel()
