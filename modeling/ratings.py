"""A rising map from a measured quality to people's grades, judged on people and videos that it did not see.

N clips; raw and grades are 1 to 5. A map is its knots, between which it is a line: (raw (K,) rising, grades (K,)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modeling.held_groups import figure, folds, resamples
from modeling.recipes.ratings import Ratings

NUM_RESAMPLES = 2000
LOW, HIGH = 1.0, 5.0
Map = tuple[np.ndarray, np.ndarray]


def fit(recipe: Ratings, raw_N: np.ndarray, grades_N: np.ndarray) -> Map:
    """Least squares: a line that does not fall, or the isotonic map where there are clips enough for it."""
    if len(raw_N) < recipe.isotonic_from:
        spread = float(((raw_N - raw_N.mean()) ** 2).sum())
        slope = 0.0 if spread < 1e-12 else float(((raw_N - raw_N.mean()) * (grades_N - grades_N.mean())).sum()) / spread
        ends = np.array([LOW, HIGH])
        return ends, grades_N.mean() + max(0.0, slope) * (ends - raw_N.mean())
    return _isotonic(raw_N, grades_N)


def graded(made: Map, raw_N: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.interp(raw_N, *made), LOW, HIGH))


def judged(recipe: Ratings, raw_N: np.ndarray, grades_N: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    """{"num_clips", "num_groups", "measures": {"ours", "as_it_is": {"mean_squared_error", "mean_error"}}, "gain"}, figures
    with 95 % intervals that resample whole groups; gain is how much of the mean squared error the map takes away."""
    fold_N = folds(groups, recipe.num_folds, recipe.seed)
    mapped = np.empty(len(raw_N))
    for fold in range(int(fold_N.max()) + 1):
        learn = fold_N != fold
        mapped[~learn] = graded(fit(recipe, raw_N[learn], grades_N[learn]), raw_N[~learn])
    drawn = resamples(groups, NUM_RESAMPLES, recipe.seed)
    errors = {"ours": mapped - grades_N, "as_it_is": raw_N - grades_N}
    measures = {
        who: {"mean_squared_error": _figure(e**2, drawn), "mean_error": _figure(np.abs(e), drawn)}
        for who, e in errors.items()
    }
    gain = _figure(errors["as_it_is"] ** 2 - errors["ours"] ** 2, drawn)
    return {"num_clips": len(raw_N), "num_groups": len(set(groups)), "measures": measures, "gain": gain}


def _figure(values_N: np.ndarray, drawn: Sequence[np.ndarray]) -> dict[str, float]:
    return figure(values_N.mean(), [float(values_N[d].mean()) for d in drawn])


def _isotonic(raw_N: np.ndarray, grades_N: np.ndarray) -> Map:
    """Pool adjacent violators; knots at both ends of each pool.

    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972.
    """
    pools: list[tuple[float, float, float, int]] = []  # first and last raw, mean grade, clips
    for i in np.argsort(raw_N, kind="stable"):
        pools.append((float(raw_N[i]), float(raw_N[i]), float(grades_N[i]), 1))
        while len(pools) > 1 and (pools[-2][2] >= pools[-1][2] or pools[-2][1] == pools[-1][0]):
            (first, _, y, n), (_, last, v, m) = pools.pop(-2), pools.pop()
            pools.append((first, last, (n * y + m * v) / (n + m), n + m))
    knots = [(x, y) for first, last, y, _ in pools for x in dict.fromkeys((first, last))]
    return np.array([x for x, _ in knots]), np.array([y for _, y in knots])
