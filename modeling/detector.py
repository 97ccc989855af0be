"""Tells clips with a bad case from clips that people looked at without it, over features that are stored.

N clips, F features in named blocks: blocks of one column each, and vectors, of which principal components are kept.
Every figure is of clips of people and videos that the model which judged them did not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from infra.clip_features import Features, Inputs, Linear
from modeling import held_groups
from modeling.held_groups import figure
from modeling.recipes.detector import Detector

NUM_RESAMPLES = 1000
THRESHOLD = 0.5
"""Both classes weigh the same in the loss, so this is where one becomes likelier than the other at equal shares."""


def score(model: Linear, given: Features) -> np.ndarray:
    """(N,) in [0, 1]."""
    return np.asarray(1 / (1 + np.exp(-model.values(given))))


def fit(recipe: Detector, given: Features, flagged_N: np.ndarray) -> Linear:
    """The most likely weights under a normal prior, each class weighing half."""
    from scipy.optimize import minimize

    inputs = Inputs.fitted(given, recipe.num_components)
    x, y = inputs.of(given), flagged_N.astype(float)
    share = np.where(flagged_N, len(y) / (2 * y.sum()), len(y) / (2 * (len(y) - y.sum())))

    def loss(told: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = told[:-1], told[-1]
        logits = x @ weights + bias
        wrong = share * (1 / (1 + np.exp(-logits)) - y)
        value = float((share * (np.logaddexp(0, logits) - y * logits)).sum() + recipe.l2 / 2 * weights @ weights)
        return value, np.append(x.T @ wrong + recipe.l2 * weights, wrong.sum())

    best = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return Linear(inputs, best[:-1], float(best[-1]))


def cross_validated(
    recipe: Detector, given: Features, flagged_N: np.ndarray, groups: Sequence[str]
) -> dict[str, np.ndarray]:
    """Scores of every clip by models that saw nobody of its group: `ours`; `one_column`, the best single column by AUC of
    the clips learnt from; `all_flagged`, which says bad case of everything."""
    fold_N = folds(recipe, flagged_N, groups)
    made = {name: np.full(len(given), np.nan) for name in ("ours", "one_column")}
    for fold in range(int(fold_N.max()) + 1):
        learn, test = fold_N != fold, fold_N == fold
        learnt, tested = given.take(learn), given.take(test)
        made["ours"][test] = score(fit(recipe, learnt, flagged_N[learn]), tested)
        made["one_column"][test] = _one_column(learnt, flagged_N[learn], tested)
    return made | {"all_flagged": np.ones(len(given))}


def folds(recipe: Detector, flagged_N: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """(N,) which fold tests a clip: whole groups, those with a flagged clip dealt out first so that each fold has some."""
    bad = {g for g, flagged in zip(groups, flagged_N, strict=True) if flagged}
    return held_groups.folds(groups, min(recipe.num_folds, len(bad)), recipe.seed, first=bad)


def measured(
    scores: Mapping[str, np.ndarray], flagged_N: np.ndarray, groups: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """{"num_clips", "num_flagged", "num_groups", "measures": {who: {auc, precision, recall: {value, low, high}}}};
    95 % intervals resample whole groups."""
    drawn = held_groups.resamples(groups, NUM_RESAMPLES, seed)
    drawn = [d for d in drawn if 0 < flagged_N[d].sum() < len(d)]
    measures = {}
    for who, told in scores.items():
        whole = _figures(told, flagged_N)
        boot = [_figures(told[d], flagged_N[d]) for d in drawn]
        measures[who] = {name: figure(value, [b[name] for b in boot]) for name, value in whole.items()}
    counts = {"num_clips": len(flagged_N), "num_flagged": int(flagged_N.sum()), "num_groups": len(set(groups))}
    return {**counts, "measures": measures}


def auc(scores: np.ndarray, flagged: np.ndarray) -> float:
    """Of pairs of a flagged and another clip, the share in which the flagged one scores higher; ties count half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    num = int(flagged.sum())
    total = float(rank[flagged].sum()) - num * (num + 1) / 2
    return total / (num * (len(flagged) - num))


def _figures(scores: np.ndarray, flagged: np.ndarray) -> dict[str, float]:
    said = scores >= THRESHOLD
    hit = float((said & flagged).sum())
    return {
        "auc": auc(scores, flagged),
        "precision": hit / said.sum() if said.any() else 0.0,
        "recall": hit / flagged.sum(),
    }


def _one_column(learnt: Features, flagged: np.ndarray, tested: Features) -> np.ndarray:
    """0 or 1 by the column and side that do best, cut where the two sides' errors balance, NaN at its mean."""
    middle = np.nanmean(np.where(np.isfinite(learnt.columns).any(0), learnt.columns, 0.0), axis=0)
    learn = np.where(np.isfinite(learnt.columns), learnt.columns, middle)
    test = np.where(np.isfinite(tested.columns), tested.columns, middle)
    aucs = np.array([auc(column, flagged) for column in learn.T])
    best = int(np.argmax(np.abs(aucs - 0.5)))
    sign = 1.0 if aucs[best] >= 0.5 else -1.0
    column = sign * learn[:, best]
    cuts = np.unique(column)
    right = [(column[flagged] >= cut).mean() + (column[~flagged] < cut).mean() for cut in cuts]
    cut = cuts[int(np.argmax(right))]
    spread = float(column.std()) or 1.0
    # The cut lies at the threshold; the order of the values is kept for the AUC.
    return np.asarray(1 / (1 + np.exp(-np.clip((sign * test[:, best] - cut) / spread, -50, 50))))
