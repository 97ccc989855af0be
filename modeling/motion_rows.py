"""What an evaluation says of each clip that was held out: the row that goes back to the store beside the clip's signals.

The same measures as modeling/motion_metrics.py, before they are averaged: the mean of a column over the rows of a part is the
figure that the evaluation tells.

Legend: T frames at 25 fps, K the four parameters of the mouth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from infra.lag import best_lag, lag_correlation
from modeling.motion import MOUTH, PARAMETERS
from modeling.motion_metrics import MAX_LAG, Predict, after_voice, clip_measures, pauses_of, still
from modeling.motion_set import MotionClip
from store.media import GRID_FPS

VERSION = 1
"""Raised when a row may come out otherwise for the same network and the same clip."""
AHEAD_IN = ("lip_distance", "lip_velocity_distance", "correlation")
TEXTS = ("checkpoint", "held_out")
NUMBERS = (
    "seconds",
    "lip_distance",
    "lip_velocity_distance",
    "correlation",
    *(f"correlation_{name}" for name in PARAMETERS[MOUTH]),
    "lag_ms",
    "pause_open",
    "pause_quiver",
    "after_voice_open",
    "after_voice_quiver",
    *(f"ahead_of_{baseline}_{measure}" for baseline in ("mean_motion", "rms_to_mouth") for measure in AHEAD_IN),
)
"""Columns of a row. `lag_ms` is how late jaw_open comes (> 0) where it fits best; `pause_*` are of the clip's own pauses;
`ahead_of_*` is above 0 where the network is better than the baseline."""

Row = dict[str, str | float | None]


def clip_rows(
    predictors: Mapping[str, Predict], clips: Sequence[MotionClip], held_out: str, checkpoint: str
) -> dict[str, Row]:
    """By clip, every column of TEXTS and NUMBERS; None where it can't be told, as the lag of a mouth that does not move.

    `predictors` holds "ours" and the baselines; `held_out` is "people" or "time".
    """
    return {c.clip_id: {"checkpoint": checkpoint, "held_out": held_out, **_numbers(predictors, c)} for c in clips}


def _numbers(predictors: Mapping[str, Predict], clip: MotionClip) -> dict[str, float | None]:
    mouth_TK = predictors["ours"](clip.sound)[:, MOUTH]
    ours = clip_measures(mouth_TK, clip)
    found: dict[str, float | None] = {"seconds": len(clip) / GRID_FPS, **ours, "lag_ms": _lag_ms(mouth_TK, clip)}
    pauses = pauses_of(clip)
    found["pause_open"], found["pause_quiver"] = still(mouth_TK, pauses) if pauses.any() else (None, None)
    found["after_voice_open"], found["after_voice_quiver"] = after_voice(predictors["ours"], clip.sound)
    for name in (n for n in predictors if n != "ours"):
        theirs = clip_measures(predictors[name](clip.sound)[:, MOUTH], clip)
        for measure in AHEAD_IN:
            better = 1 if "correlation" in measure else -1
            found[f"ahead_of_{name}_{measure}"] = better * (ours[measure] - theirs[measure])
    return {k: None if (v := found[k]) is None or not math.isfinite(v) else round(v, 4) for k in NUMBERS}


def _lag_ms(mouth_TK: np.ndarray, clip: MotionClip) -> float | None:
    if len(clip) < 5 * MAX_LAG or mouth_TK[:, 0].std() <= 1e-6:
        return None
    curve = lag_correlation(mouth_TK[:, :1], clip.motion.values[:, :1], np.ones(1), MAX_LAG)
    return best_lag(curve)[1] * 1000 / GRID_FPS
