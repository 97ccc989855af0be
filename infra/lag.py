"""How well two tracks of features agree at each lag: shared by the signal that measures sync and by its training."""

from __future__ import annotations

import numpy as np


def lag_correlation(
    a_TD: np.ndarray, b_TD: np.ndarray, weights_D: np.ndarray, max_lag: int, span: tuple[int, int] | None = None
) -> np.ndarray:
    """Weighted sum over D of the correlation between a[t + lag] and b[t], float64 (2 * max_lag + 1,).

    Index max_lag + lag; lag > 0 means that `a` comes late. Both tracks are cut to the shorter one's length, and at
    each lag to what overlaps; correlation is over that part, so with weights that sum to 1 values lie in -1 to 1.
    Of a `span` (first row, row after the last) of `b`, `a` is heard around it as far as there is any.

    Raises ValueError when fewer than 2 * max_lag rows are common, or in the span.
    """
    num = min(len(a_TD), len(b_TD))
    start, end = span or (0, num)
    if end - start < 2 * max_lag or not 0 <= start < end <= num:
        raise ValueError(
            f"lag_correlation: {end - start} common rows of {num}, a search of +-{max_lag} needs {2 * max_lag}"
        )
    a_TD, b_TD = a_TD[:num].astype(np.float64), b_TD[:num].astype(np.float64)
    curve = np.empty(2 * max_lag + 1)
    for lag in range(-max_lag, max_lag + 1):
        first, last = overlap_of(lag, num, start, end)
        a, b = a_TD[first + lag : last + lag], b_TD[first:last]
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        power = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
        curve[max_lag + lag] = ((a * b).sum(axis=0) / np.maximum(power, 1e-12)) @ weights_D
    return curve


def overlap_of(lag: int, num: int, start: int, end: int) -> tuple[int, int]:
    """Of the rows from `start` to `end` of one track, those that have a partner `lag` rows later in another of `num`."""
    return max(start, -lag), min(end, num - lag)


def best_lag(curve: np.ndarray) -> tuple[int, float, float]:
    """(lag, fraction, confidence) of a `lag_correlation`: its best lag, the top of the parabola through the best
    value and its neighbours (within half a step of `lag`), and best minus median, >= 0."""
    max_lag = len(curve) // 2
    top = int(np.argmax(curve))
    lag = top - max_lag
    fraction = 0.0
    if 0 < top < len(curve) - 1:
        before, here, after = curve[top - 1 : top + 2]
        bend = before - 2 * here + after
        fraction = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    return lag, lag + fraction, float(curve[top] - np.median(curve))
