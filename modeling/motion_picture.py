"""Motion drawn as curves: what is stored of a clip, and beside it what networks and baselines make of its sound.

Legend: T frames at 25 fps, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modeling.motion import MOUTH, NUM_PARAMETERS, PARAMETERS
from modeling.motion_metrics import Predict
from modeling.motion_set import MotionClip

Curves = Mapping[str, np.ndarray]
"""By name what is drawn: float32 (T, 9), normalised; NaN where there is nothing to draw."""

WIDTH_PX, LANE_PX, LABEL_PX, HEAD_PX = 640, 50, 118, 20
BACKGROUND, FAINT, INK = (20, 23, 28), (52, 60, 70), (200, 206, 214)
COLOURS = ((245, 247, 250), (250, 190, 60), (45, 212, 191), (244, 114, 182))
RANGES: Sequence[tuple[float, float]] = (
    (-1, 4),
    (-3, 3),
    (-3, 3),
    (-2, 4),
    (0, 1),
    (0, 1),
    (-1.5, 1.5),
    (-1.5, 1.5),
    (-1.5, 1.5),
)
"""What a lane shows, in normalised units: standard deviations of the mouth, shares of the lids, tens of degrees."""


def draw_lanes(curves: Curves, num_frames: int) -> np.ndarray:
    """The curves of all parameters, one lane below the other, RGB uint8 (H, WIDTH_PX, 3). The first curves are white, the
    next amber."""
    import cv2

    picture = np.full((LANE_PX * len(PARAMETERS) + 22, WIDTH_PX, 3), BACKGROUND, np.uint8)
    x = LABEL_PX + np.arange(num_frames) * (WIDTH_PX - LABEL_PX - 8) / max(1, num_frames - 1)
    for lane, (name, (low, high)) in enumerate(zip(PARAMETERS, RANGES, strict=True)):
        top = lane * LANE_PX
        cv2.putText(picture, name, (6, top + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.36, INK, 1, cv2.LINE_AA)
        zero = round(top + 4 + (LANE_PX - 8) * high / (high - low))
        cv2.line(picture, (LABEL_PX, zero), (WIDTH_PX, zero), FAINT, 1)
        for colour, values in zip(COLOURS, curves.values(), strict=False):
            y = top + 4 + (LANE_PX - 8) * (high - np.clip(values[:, lane], low, high)) / (high - low)
            for run in _runs(np.isfinite(y)):
                points = np.rint(np.stack([x[run], y[run]], axis=1) * 16).astype(np.int32)
                cv2.polylines(picture, [points[:, None]], False, colour, 1, cv2.LINE_AA, 4)
        cv2.line(picture, (0, top + LANE_PX - 1), (WIDTH_PX, top + LANE_PX - 1), FAINT, 1)
    at = 6
    for colour, name in zip(COLOURS, curves, strict=False):
        cv2.putText(picture, name, (at, len(picture) - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        at += 12 + 8 * len(name)
    return picture


def draw_samples(predictors: Mapping[str, Predict], clips: Sequence[MotionClip]) -> np.ndarray:
    """Clips one below the other, each under its id: stored curves, then those of the predictors; RGB uint8 (H, WIDTH_PX, 3).
    A predictor gives the mouth, or the mouth and the head."""
    import cv2

    made = []
    for clip in clips:
        curves = {"stored": np.where(clip.motion.seen, clip.motion.values, np.nan).astype(np.float32)}
        for name, predict in predictors.items():
            told, curves[name] = predict(clip.sound), np.full((len(clip), NUM_PARAMETERS), np.nan, np.float32)
            curves[name][:, MOUTH] = told[:, MOUTH]
            if told.shape[1] > MOUTH.stop:
                curves[name][:, -(told.shape[1] - MOUTH.stop) :] = told[:, MOUTH.stop :]
        head = np.full((HEAD_PX, WIDTH_PX, 3), BACKGROUND, np.uint8)
        text = f"clip {clip.clip_id}, frames {clip.first_frame} to {clip.first_frame + len(clip)}"
        cv2.putText(head, text, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
        made += [head, draw_lanes(curves, len(clip))]
    return np.concatenate(made)


def png(picture_HWC: np.ndarray) -> bytes:
    import cv2

    done, data = cv2.imencode(".png", picture_HWC[..., ::-1])
    assert done
    return bytes(data)


def _runs(there_T: np.ndarray) -> list[slice]:
    """Where it is true without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there_T.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
