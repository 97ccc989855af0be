"""Whether two clips show the same moment, told by how the face in them moves.

A copy that was re-encoded, cropped, mirrored or played faster looks like its original no more than another moment of
the same scene does; but its mouth, eyes and head still do the same things at the same time. Used by the signal
`temporal_signature`, which stores the movements, and by tasks/dedup.py, which compares them.

T frames of 12.5 a second, C channels.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_geometry import (
    CHIN,
    FOREHEAD,
    LEFT_EYE_OUTER,
    LIP_BOTTOM_INNER,
    LIP_TOP_INNER,
    NOSE_TIP,
    RIGHT_EYE_OUTER,
    points_of,
)

INNER_MOUTH_RIGHT, INNER_MOUTH_LEFT = 78, 308
EYELIDS = ((159, 145), (386, 374))
"""Upper and lower lid of the right and the left eye, at the middle."""

CHANNELS: dict[str, tuple[float, int]] = {
    "lips_open": (0.03, 1),
    "mouth_width": (0.03, 1),
    "jaw": (0.03, 1),
    "eyes_open": (0.02, 1),
    "nose_x": (0.02, -1),
    "nose_y": (0.02, 1),
    "roll": (0.02, -1),
    "head_x": (0.03, -1),
    "head_y": (0.03, 1),
    "size": (0.02, 1),
}
"""By name: how much a talking face moves there, in heights of the face (radians, log size), so that no channel outweighs
the others; and the sign of the movement in a mirror."""

SPEEDS = tuple(round(0.8 + 0.05 * i, 2) for i in range(10))
"""0.8 to 1.25 times as fast."""
OVERLAP_RATIO = 0.6
"""Of the shorter clip: what two clips must share to be held against each other."""
STILL = 0.3
"""A channel that moves less than this counts less than the others, which all count alike: else a mouth that opens wide
twice, or a head that nods on, would be the same moment each time. Also added to the power per frame, so that a face that
stands still agrees with nothing."""


def movements(landmarks: pa.Table, start_frame: int, end_frame: int) -> np.ndarray:
    """Float64 (T, C) of every second frame of the clip, slow movements taken out; NaN where no face is seen."""
    frames = landmarks["frame"].to_numpy() - start_frame
    values_TC = np.full((end_frame - start_frame, len(CHANNELS)), np.nan)
    if len(frames):
        values_TC[frames] = _shape(points_of(landmarks)[:, :, :2].astype(np.float64))
    return values_TC


def _shape(points_TNC: np.ndarray) -> np.ndarray:
    def at(i: int) -> np.ndarray:
        return np.asarray(points_TNC[:, i])

    def apart(a: int, b: int) -> np.ndarray:
        return np.asarray(np.linalg.norm(at(a) - at(b), axis=1))

    height_T = apart(FOREHEAD, CHIN)
    height = max(float(np.median(height_T)), 1e-6)
    eyes = (at(RIGHT_EYE_OUTER) + at(LEFT_EYE_OUTER)) / 2
    across = at(LEFT_EYE_OUTER) - at(RIGHT_EYE_OUTER)
    roll = np.arctan2(across[:, 1], across[:, 0])
    nose = at(NOSE_TIP) - eyes
    columns = [
        apart(LIP_TOP_INNER, LIP_BOTTOM_INNER) / height,
        apart(INNER_MOUTH_RIGHT, INNER_MOUTH_LEFT) / height,
        apart(NOSE_TIP, CHIN) / height,
        sum(apart(*lids) for lids in EYELIDS) / 2 / height,
        (nose[:, 0] * np.cos(roll) + nose[:, 1] * np.sin(roll)) / height,
        (nose[:, 1] * np.cos(roll) - nose[:, 0] * np.sin(roll)) / height,
        roll,
        eyes[:, 0] / height,
        eyes[:, 1] / height,
        np.log(np.maximum(height_T, 1e-6) / height),
    ]
    return np.stack(columns, axis=1)


def signature(values_TC: np.ndarray) -> np.ndarray:
    """What is compared, float64 (T // 2, C): gaps bridged, smoothed over 3 frames, the mean of the second around each
    frame taken out, in units of CHANNELS, every second frame. At least one row must be no NaN."""
    from scipy.ndimage import uniform_filter1d

    seen = np.flatnonzero(np.isfinite(values_TC[:, 0]))
    every = np.arange(len(values_TC))
    filled_TC = np.stack([np.interp(every, seen, column[seen]) for column in values_TC.T], axis=1)
    smooth_TC = uniform_filter1d(filled_TC, 3, axis=0, mode="nearest")
    fast_TC = smooth_TC - uniform_filter1d(smooth_TC, 25, axis=0, mode="nearest")
    return np.asarray((fast_TC / np.array([scale for scale, _ in CHANNELS.values()]))[::2])


def agreement(one_TC: np.ndarray, other_TC: np.ndarray) -> float:
    """Correlation of two signatures over all channels at the best shift, speed and handedness: about 1 for copies."""
    best = -1.0
    one_TC, other_TC = _balanced(one_TC), _balanced(other_TC)
    signs = np.array([sign for _, sign in CHANNELS.values()], float)
    for speed in SPEEDS:
        played_TC = _played(other_TC, speed)
        for mirrored in (np.ones(len(signs)), signs):
            best = max(best, _best_shift(one_TC, played_TC * mirrored))
    return round(best, 4)


def _balanced(rows_TC: np.ndarray) -> np.ndarray:
    return np.asarray(rows_TC / np.sqrt(np.square(rows_TC).mean(axis=0) + STILL**2))


def _played(rows_TC: np.ndarray, speed: float) -> np.ndarray:
    times = np.arange(int((len(rows_TC) - 1) * speed) + 1) / speed
    before = np.minimum(times.astype(int), len(rows_TC) - 2)
    part = (times - before)[:, None]
    return np.asarray(rows_TC[before] * (1 - part) + rows_TC[before + 1] * part)


def _best_shift(one_TC: np.ndarray, other_TC: np.ndarray) -> float:
    n, m = len(one_TC), len(other_TC)
    least = max(1, int(OVERLAP_RATIO * min(n, m)))
    size = 1 << (n + m - 1).bit_length()
    spectra = np.fft.rfft(one_TC, size, axis=0) * np.conj(np.fft.rfft(other_TC, size, axis=0))
    products = np.fft.irfft(spectra.sum(axis=1), size)
    power = [np.concatenate([[0.0], np.cumsum((rows * rows).sum(axis=1))]) for rows in (one_TC, other_TC)]
    shifts = np.arange(-(m - least), n - least + 1)
    starts, others = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    shared = np.minimum(n - starts, m - others)
    both = np.sqrt((power[0][starts + shared] - power[0][starts]) * (power[1][others + shared] - power[1][others]))
    return float((products[shifts % size] / (both + STILL * shared)).max())
