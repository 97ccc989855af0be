"""The lip motion that a voice leads to expect: what `lip_sync` and `active_speaker` hold against the lips in view.

T frames, D lip features, L voice features, K taps, C axes. Raise the versions of both signals when anything here changes.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from infra import weights
from tasks.lip_features import voice_motion
from tasks.whisper import encode

WEIGHTS, AXES = "lip_sync_grid", "lip_sync_axes"


def predicted_lips(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lip motion (T, D) that the voice leads to expect, up to scale, and the weight (D,) of each of its features."""
    filter_KLD, weights_D = _model()
    voice_TL = voice_motion(encode(audio))
    context = len(filter_KLD) // 2
    padded = np.pad(voice_TL, ((context, context), (0, 0)), mode="edge")
    taps = (padded[k : k + len(voice_TL)] @ filter_LD for k, filter_LD in enumerate(filter_KLD))
    return np.sum(list(taps), axis=0), weights_D


@cache
def common_axes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Onto what predicted lips (D, C) and seen lips (D, C) are projected to be compared, and the weight (C,) of each axis.

    Features of a mouth go together: seen one by one, its opening counts five times over.
    """
    with np.load(weights.path(AXES)) as held:
        heard_DC, lips_DC, weights_C = (held[k].astype(np.float64) for k in ("heard_DC", "lips_DC", "weights_C"))
    return heard_DC, lips_DC, weights_C


@cache
def _model() -> tuple[np.ndarray, np.ndarray]:
    with np.load(weights.path(WEIGHTS)) as held:
        return held["filter_KLD"].astype(np.float64), held["weights_D"].astype(np.float64)
