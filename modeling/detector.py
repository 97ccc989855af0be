"""Tells clips with a bad case from clips that people looked at without it, over features that are stored.

N clips, F features in named blocks: blocks of one column each, and vectors, of which principal components are kept.
Every figure is of clips of people and videos that the model which judged them did not see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.recipes.detector import Detector

NUM_RESAMPLES = 1000
THRESHOLD = 0.5
"""Both classes weigh the same in the loss, so this is where one becomes likelier than the other at equal shares."""
MAX_DEVIATION = 4.0


@dataclass(frozen=True)
class Features:
    """`columns` float64 (N, F), NaN where a clip has no value; `vectors` by name, (N, D), a row of NaN where there is none."""

    names: tuple[str, ...]
    columns: np.ndarray
    vectors: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, rows: np.ndarray) -> Features:
        return Features(self.names, self.columns[rows], {n: v[rows] for n, v in self.vectors.items()})


@dataclass(frozen=True)
class Model:
    """score = sigmoid(weights . clip((x - centre) / scale) + bias); what a clip lacks counts as the mean."""

    bases: Mapping[str, np.ndarray]
    """By vector, (D, P)."""
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def score(self, given: Features) -> np.ndarray:
        """(N,) in [0, 1]."""
        return np.asarray(1 / (1 + np.exp(-(self._standard(given) @ self.weights + self.bias))))

    def _standard(self, given: Features) -> np.ndarray:
        x = np.nan_to_num((_inputs(given, self.bases) - self.centre) / self.scale, nan=0.0)
        return np.asarray(np.clip(x, -MAX_DEVIATION, MAX_DEVIATION))

    def to_arrays(self) -> dict[str, np.ndarray]:
        told = {"centre": self.centre, "scale": self.scale, "weights": self.weights, "bias": np.array([self.bias])}
        return told | {f"basis.{name}": np.ascontiguousarray(basis) for name, basis in self.bases.items()}

    @staticmethod
    def from_arrays(told: Mapping[str, np.ndarray]) -> Model:
        bases = {name.removeprefix("basis."): array for name, array in told.items() if name.startswith("basis.")}
        return Model(bases, told["centre"], told["scale"], told["weights"], float(told["bias"][0]))


def fit(recipe: Detector, given: Features, flagged_N: np.ndarray) -> Model:
    """The most likely weights under a normal prior, each class weighing half."""
    from scipy.optimize import minimize

    bases = {name: _basis(vector, recipe.num_components) for name, vector in given.vectors.items()}
    inputs = _inputs(given, bases)
    has = np.isfinite(inputs)
    num = np.maximum(has.sum(0), 1)
    centre = np.where(has, inputs, 0.0).sum(0) / num
    spread = np.sqrt(np.where(has, (inputs - centre) ** 2, 0.0).sum(0) / num)
    # What hardly varies tells nothing, and would by its scale tell a lot.
    scale = np.where(spread > 1e-9, spread, np.inf)
    model = Model(bases, centre, scale, np.zeros(inputs.shape[1]), 0.0)
    x, y = model._standard(given), flagged_N.astype(float)
    share = np.where(flagged_N, len(y) / (2 * y.sum()), len(y) / (2 * (len(y) - y.sum())))

    def loss(told: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = told[:-1], told[-1]
        logits = x @ weights + bias
        wrong = share * (1 / (1 + np.exp(-logits)) - y)
        value = float((share * (np.logaddexp(0, logits) - y * logits)).sum() + recipe.l2 / 2 * weights @ weights)
        return value, np.append(x.T @ wrong + recipe.l2 * weights, wrong.sum())

    best = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return Model(bases, centre, scale, best[:-1], float(best[-1]))


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
        made["ours"][test] = fit(recipe, learnt, flagged_N[learn]).score(tested)
        made["one_column"][test] = _one_column(learnt, flagged_N[learn], tested)
    return made | {"all_flagged": np.ones(len(given))}


def folds(recipe: Detector, flagged_N: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """(N,) which fold tests a clip: whole groups, those with a flagged clip dealt out first so that each fold has some."""
    bad = {g for g, flagged in zip(groups, flagged_N, strict=True) if flagged}
    order = sorted(set(groups), key=lambda g: (g not in bad, hashlib.sha256(f"{recipe.seed}:{g}".encode()).hexdigest()))
    num = min(recipe.num_folds, len(bad))
    place = {g: i % num for i, g in enumerate(order)}
    return np.array([place[g] for g in groups])


def measured(
    scores: Mapping[str, np.ndarray], flagged_N: np.ndarray, groups: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """{"num_clips", "num_flagged", "num_groups", "measures": {who: {auc, precision, recall: {value, low, high}}}};
    95 % intervals resample whole groups."""
    names = sorted(set(groups))
    rows = {g: np.flatnonzero(np.array(groups) == g) for g in names}
    rng = np.random.default_rng(seed)
    drawn = [np.concatenate([rows[names[i]] for i in rng.integers(0, len(names), len(names))]) for _ in range(NUM_RESAMPLES)]  # fmt: skip
    drawn = [d for d in drawn if 0 < flagged_N[d].sum() < len(d)]
    measures = {}
    for who, score in scores.items():
        whole = _figures(score, flagged_N)
        boot = [_figures(score[d], flagged_N[d]) for d in drawn]
        measures[who] = {
            name: {"value": round(value, 4)} | _between([b[name] for b in boot]) for name, value in whole.items()
        }
    counts = {"num_clips": len(flagged_N), "num_flagged": int(flagged_N.sum()), "num_groups": len(names)}
    return {**counts, "measures": measures}


def auc(score: np.ndarray, flagged: np.ndarray) -> float:
    """Of pairs of a flagged and another clip, the share in which the flagged one scores higher; ties count half."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    num = int(flagged.sum())
    total = float(rank[flagged].sum()) - num * (num + 1) / 2
    return total / (num * (len(flagged) - num))


def _figures(score: np.ndarray, flagged: np.ndarray) -> dict[str, float]:
    said = score >= THRESHOLD
    hit = float((said & flagged).sum())
    return {
        "auc": auc(score, flagged),
        "precision": hit / said.sum() if said.any() else 0.0,
        "recall": hit / flagged.sum(),
    }


def _between(values: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {"low": round(float(low), 4), "high": round(float(high), 4)}


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


def _basis(vector_ND: np.ndarray, num_components: int) -> np.ndarray:
    known = vector_ND[np.isfinite(vector_ND).all(1)]
    if len(known) < 2:
        return np.zeros((vector_ND.shape[1], 0))
    middled = known - known.mean(0)
    few = len(known) < known.shape[1]  # then the products of clips are the smaller matrix, with the same components
    power, axes = np.linalg.eigh(middled @ middled.T if few else middled.T @ middled)
    order = np.argsort(-power)[:num_components]
    order = order[power[order] > 1e-9 * max(power.max(), 1e-30)]
    return np.ascontiguousarray(middled.T @ axes[:, order] / np.sqrt(power[order]) if few else axes[:, order])


def _inputs(given: Features, bases: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([given.columns, *(given.vectors[name] @ bases[name] for name in sorted(bases))], axis=1)
