"""Agreement between raters: observed, corrected for chance, with intervals that resample whole items.

A ratings table is a list of items, each a list of the values that different raters gave; items with fewer than two
values say nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.annotation import answers

TARGET = 0.85
ALPHA_FLOOR = 0.67
"""Krippendorff, Content Analysis, 4th ed. 2018, p. 356: the lowest alpha from which tentative conclusions may be drawn."""
PAIRWISE_FLOOR = 0.6
RESAMPLES = 400

Ratings = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval over items; NaN where it is not defined (nothing varies, or no item has two)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Question:
    """Agreement on one question of a schema."""

    name: str
    num_items: int
    agreement: Estimate
    alpha: Estimate
    floor: float

    @property
    def green(self) -> bool:
        return self.agreement.value >= TARGET and self.alpha.value >= self.floor


def wilson(successes: float, num: float, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion; (0, 1) for no trials. `successes` may be a sum of scores in [0, 1].

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    if num == 0:
        return 0.0, 1.0
    p = successes / num
    centre = p + z * z / (2 * num)
    half = z * float(np.sqrt(p * (1 - p) / num + z * z / (4 * num * num)))
    scale = 1 + z * z / num
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def alpha(ratings: Ratings, distance: Callable[[Any, Any], float] | None = None, *, ordinal: bool = False) -> float:
    """Krippendorff's alpha, 1 - observed / expected disagreement; NaN when all values are the same.

    `distance` in [0, 1] is of two values (None: nominal); `ordinal` takes the ordinal metric of sortable values.
    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    counts, values = _counted(ratings)
    return float(_alpha(counts[None], _distances(values, distance), ordinal)[0])


def interval(counts: np.ndarray, apart: np.ndarray, ordinal: bool, seed: int = 0) -> Estimate:
    """Alpha of counts (items, values) with its bootstrap interval over items."""
    if len(counts) == 0:
        return Estimate(np.nan, np.nan, np.nan)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (RESAMPLES, len(counts)))
    boot = np.concatenate([_alpha(counts[drawn[i : i + 20]], apart, ordinal) for i in range(0, RESAMPLES, 20)])
    return _estimate(float(_alpha(counts[None], apart, ordinal)[0]), boot)


def left_share(sides: Sequence[str]) -> Estimate:
    """How often a rater who saw two sides took the left one, of those times that a side was taken, with Wilson bounds."""
    taken = [s for s in sides if s in ("left", "right")]
    left = taken.count("left")
    low, high = wilson(left, len(taken))
    return Estimate(left / len(taken) if taken else np.nan, low, high)


def by_question(
    task_type: str, body: Mapping[str, Any], items: Sequence[Sequence[Mapping[str, Any]]]
) -> list[Question]:
    """Agreement on every question over the items' answers. For flags every kind is a question: raised or not."""
    items = [given for given in items if len(given) >= 2]
    if task_type == answers.FLAGS:
        return [_flag(kind["name"], items) for kind in body["kinds"]]
    return [
        _question(task_type, q, [[a[q["name"]] for a in given] for given in items])
        for q in answers.questions(task_type, body)
    ]


def _question(task_type: str, question: Mapping[str, Any], ratings: Ratings) -> Question:
    floor = PAIRWISE_FLOOR if task_type == answers.PAIRWISE else ALPHA_FLOOR

    def same(a: Any, b: Any) -> float:
        return answers.part_alike(task_type, question, a, b)

    counts, values = _counted(ratings)
    ordinal = task_type == answers.LIKERT
    structured = question.get("how") in ("many", "spans")
    apart = _distances(values, (lambda a, b: 1 - same(a, b)) if structured else None)
    means = np.array([_mean_pair(given, same) for given in ratings])
    return Question(question["name"], len(ratings), _mean_interval(means), interval(counts, apart, ordinal), floor)


def _flag(kind: str, items: Sequence[Sequence[Mapping[str, Any]]]) -> Question:
    """Positive-specific agreement: of the times that one rater raises the flag, how often another one does too.

    Source: Cicchetti and Feinstein, "High agreement but low kappa: II", 1990. Pairs of raters are pooled over items.
    """
    raised = np.array([[sum(any(f["kind"] == kind for f in a["flags"]) for a in given), len(given)] for given in items])
    if len(items) == 0:
        nothing = Estimate(np.nan, np.nan, np.nan)
        return Question(kind, 0, nothing, nothing, ALPHA_FLOOR)
    yes, num = raised[:, 0].astype(float), raised[:, 1].astype(float)
    weight = 1 / (num - 1)  # each rater counts once, however many there are
    both, any_yes = yes * (yes - 1) * weight, yes
    drawn = np.random.default_rng(0).integers(0, len(items), (RESAMPLES, len(items)))
    with np.errstate(invalid="ignore", divide="ignore"):
        boot = both[drawn].sum(1) / any_yes[drawn].sum(1)
        value = float(both.sum() / any_yes.sum())
    counts = np.stack([num - yes, yes], 1)
    return Question(kind, len(items), _estimate(value, boot), interval(counts, 1 - np.eye(2), False), ALPHA_FLOOR)


def _mean_pair(given: Sequence[Any], same: Callable[[Any, Any], float]) -> float:
    pairs = [(a, b) for i, a in enumerate(given) for b in given[i + 1 :]]
    return sum(same(a, b) for a, b in pairs) / len(pairs)


def _mean_interval(means: np.ndarray) -> Estimate:
    if len(means) == 0:
        return Estimate(np.nan, np.nan, np.nan)
    drawn = np.random.default_rng(0).integers(0, len(means), (RESAMPLES, len(means)))
    return _estimate(float(means.mean()), means[drawn].mean(1))


def _estimate(value: float, boot: np.ndarray) -> Estimate:
    boot = boot[np.isfinite(boot)]
    low, high = np.quantile(boot, [0.025, 0.975]) if len(boot) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def _key(value: Any) -> Hashable:
    return value if isinstance(value, int | float | str | bool) else repr(value)


def _counted(ratings: Ratings) -> tuple[np.ndarray, list[Any]]:
    """How often each item got each value, (items, values) float64, and the values, sorted where they can be."""
    paired = [given for given in ratings if len(given) >= 2]
    known = {_key(v): v for given in paired for v in given}
    order = sorted(known, key=lambda k: (isinstance(k, str), k))
    place = {k: i for i, k in enumerate(order)}
    counts = np.zeros((len(paired), len(order)))
    for row, given in zip(counts, paired, strict=True):
        np.add.at(row, [place[_key(v)] for v in given], 1)
    return counts, [known[k] for k in order]


def _distances(values: Sequence[Any], distance: Callable[[Any, Any], float] | None) -> np.ndarray:
    if distance is None:
        return 1 - np.eye(len(values))
    return np.array([[distance(a, b) for b in values] for a in values]).reshape(len(values), len(values))


def _alpha(counts_BIV: np.ndarray, apart_VV: np.ndarray, ordinal: bool) -> np.ndarray:
    """Alpha of each of B resamples of I items over V values."""
    total_BV = counts_BIV.sum(1)
    apart = _ordinal(total_BV) if ordinal else np.broadcast_to(apart_VV, (len(total_BV), *apart_VV.shape))
    weight_BI = 1 / np.maximum(counts_BIV.sum(2) - 1, 1)
    # Ordered pairs of different raters of one item; the diagonal's distance is 0, so a rater never meets himself.
    observed = np.einsum("biv,biw,bvw,bi->b", counts_BIV, counts_BIV, apart, weight_BI, optimize=True)
    num = total_BV.sum(1)
    expected = np.einsum("bv,bw,bvw->b", total_BV, total_BV, apart, optimize=True) / np.maximum(num - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def _ordinal(total_BV: np.ndarray) -> np.ndarray:
    """Squared sums of the ranks between two values, each end counted half."""
    middle = np.cumsum(total_BV, 1) - total_BV / 2
    found: np.ndarray = (middle[:, :, None] - middle[:, None, :]) ** 2
    return found
