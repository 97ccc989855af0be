"""What people would rate a clip, by ridge regression over what is stored of it.

N clips, F inputs, L penalties; grades are 1 to 5. Every figure is of clips of people and videos that the model which
judged them did not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from infra.clip_features import Features, Inputs, Linear
from modeling.held_groups import figure, folds, resamples
from modeling.recipes.ratings import RatedQuality

NUM_RESAMPLES = 1000
PENALTIES = tuple(float(p) for p in np.logspace(-2, 3, 11))
"""On the squared weights, a clip: 1 halves the weight of an input that stands alone; under the last, hardly more than the
mean rating is left."""
NUM_INPUTS = (2, 6, 20, 1_000_000)
"""Inputs that get a weight: with few ratings few can be told from chance, with many all may have a say."""
LOW, HIGH = 1.0, 5.0
AS_IT_IS = "visual_quality_quality"
"""The stored grade that no rating has touched, a baseline."""


def fit(
    recipe: RatedQuality, given: Features, grades_N: np.ndarray, groups: Sequence[str]
) -> tuple[Linear, dict[str, float]]:
    """The model, and what was chosen for it, {"penalty", "num_inputs"}: what erred least on groups held out of the clips
    given. The inputs are those that go with the ratings most, of the clips learnt from alone.

    Source: Hoerl and Kennard, Ridge Regression, Technometrics 1970.
    """
    inputs = Inputs.fitted(given, recipe.num_components)  # it sees no rating, so the folds within may share it
    x = inputs.of(given)
    fold_N = folds(groups, recipe.num_folds, recipe.seed)
    errors_SL = np.zeros((len(NUM_INPUTS), len(PENALTIES)))
    for fold in range(int(fold_N.max()) + 1):
        learn = fold_N != fold
        for i, num in enumerate(NUM_INPUTS):
            weights_FL, bias_L = _ridge(x[learn], grades_N[learn], num)
            errors_SL[i] += ((_graded(x[~learn] @ weights_FL + bias_L) - grades_N[~learn, None]) ** 2).sum(0)
    size, best = (int(k) for k in np.unravel_index(np.argmin(errors_SL), errors_SL.shape))
    weights_FL, bias_L = _ridge(x, grades_N, NUM_INPUTS[size])
    chosen = {"penalty": PENALTIES[best], "num_inputs": min(NUM_INPUTS[size], x.shape[1])}
    return Linear(inputs, np.ascontiguousarray(weights_FL[:, best]), float(bias_L[best])), chosen


def graded(model: Linear, given: Features) -> np.ndarray:
    """(N,) in [1, 5]."""
    return _graded(model.values(given))


def judged(recipe: RatedQuality, given: Features, grades_N: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    """{"num_clips", "num_groups", "measures": {who: {"mean_squared_error", "spearman"}}, "gain"}, figures with 95 %
    intervals that resample whole groups.

    Who: `ours`; `mean_rating`, the mean of the clips learnt from; `one_column`, a line over the single column that fits
    them best; `as_it_is`, visual_quality as it is stored. One that says the same of all clips has no order and no
    `spearman`. `gain` is how much of the mean rating's squared error the model takes away.
    """
    said = _held_out(recipe, given, grades_N, groups)
    drawn = resamples(groups, NUM_RESAMPLES, recipe.seed)
    measures: dict[str, dict[str, Any]] = {}
    for who, value_N in said.items():
        squares = (value_N - grades_N) ** 2
        measures[who] = {"mean_squared_error": figure(squares.mean(), [float(squares[d].mean()) for d in drawn])}
        if who != "mean_rating":
            orders = [spearman(value_N[d], grades_N[d]) for d in drawn]
            measures[who]["spearman"] = figure(spearman(value_N, grades_N), orders)
    less = (said["mean_rating"] - grades_N) ** 2 - (said["ours"] - grades_N) ** 2
    gain = figure(less.mean(), [float(less[d].mean()) for d in drawn])
    return {"num_clips": len(grades_N), "num_groups": len(set(groups)), "measures": measures, "gain": gain}


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Rank correlation; 0 where one of them is the same everywhere."""
    from scipy.stats import rankdata

    a, b = rankdata(a_N), rankdata(b_N)
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / power if power > 0 else 0.0


def _held_out(
    recipe: RatedQuality, given: Features, grades_N: np.ndarray, groups: Sequence[str]
) -> Mapping[str, np.ndarray]:
    fold_N = folds(groups, recipe.num_folds, recipe.seed)
    said: dict[str, np.ndarray] = {who: np.empty(len(given)) for who in ("ours", "mean_rating", "one_column")}
    for fold in range(int(fold_N.max()) + 1):
        learn, test = fold_N != fold, fold_N == fold
        own = [g for g, learns in zip(groups, learn, strict=True) if learns]
        model, _ = fit(recipe, given.take(learn), grades_N[learn], own)
        said["ours"][test] = graded(model, given.take(test))
        said["mean_rating"][test] = grades_N[learn].mean()
        x = model.inputs.of(given)[:, : len(given.names)]
        said["one_column"][test] = _graded(_one_column(x[learn], grades_N[learn], x[test]))
    if AS_IT_IS in given.names:
        value_N = given.columns[:, given.names.index(AS_IT_IS)]
        if np.isfinite(value_N).any():
            said["as_it_is"] = np.where(np.isfinite(value_N), value_N, np.nanmean(value_N))
    return said


def _ridge(x: np.ndarray, y: np.ndarray, num_inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (F, L) and biases (L,), the bias without a penalty; weights are 0 but for the `num_inputs` that correlate most."""
    middle, of = x.mean(0), y - y.mean()
    x = x - middle
    power = np.sqrt((x * x).sum(0))
    taken = np.argsort(-np.abs(x.T @ of) / np.maximum(power, 1e-9), kind="stable")[:num_inputs]
    u, singular, axes = np.linalg.svd(x[:, taken], full_matrices=False)
    shrunk_PL = singular[:, None] / (singular[:, None] ** 2 + len(x) * np.array(PENALTIES))
    weights_FL = np.zeros((x.shape[1], len(PENALTIES)))
    weights_FL[taken] = axes.T @ (shrunk_PL * (u.T @ of)[:, None])
    return weights_FL, y.mean() - middle @ weights_FL


def _one_column(x: np.ndarray, y: np.ndarray, tested: np.ndarray) -> np.ndarray:
    if not x.shape[1]:
        return np.full(len(tested), y.mean())
    middle, of = x.mean(0), y - y.mean()
    power = np.maximum(((x - middle) ** 2).sum(0), 1e-12)
    slopes = (x - middle).T @ of / power
    best = int(np.argmax(slopes**2 * power))
    return np.asarray(y.mean() + slopes[best] * (tested[:, best] - middle[best]))


def _graded(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(values, LOW, HIGH))
