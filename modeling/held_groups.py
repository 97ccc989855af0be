"""Judging on people and videos that a model did not see: folds of whole groups, and intervals that resample whole groups.

N clips, each of one group: those that share a person or a video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np


def folds(groups: Sequence[str], num: int, seed: int, first: Collection[str] = ()) -> np.ndarray:
    """(N,) which of at most `num` folds tests a clip; groups of `first` are dealt out before the others."""
    order = sorted(set(groups), key=lambda g: (g not in first, hashlib.sha256(f"{seed}:{g}".encode()).hexdigest()))
    place = {g: i % min(num, len(order)) for i, g in enumerate(order)}
    return np.array([place[g] for g in groups])


def resamples(groups: Sequence[str], num: int, seed: int) -> list[np.ndarray]:
    """`num` draws of as many groups as there are, with replacement; of each the numbers of its clips."""
    names = sorted(set(groups))
    rows = {g: np.flatnonzero(np.array(groups) == g) for g in names}
    rng = np.random.default_rng(seed)
    return [np.concatenate([rows[names[i]] for i in rng.integers(0, len(names), len(names))]) for _ in range(num)]


def figure(value: float, drawn: Sequence[float]) -> dict[str, float]:
    """{"value", "low", "high"}: with the middle 95 % of what the draws gave."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
