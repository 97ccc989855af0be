"""Truth from several raters: the consensus of one item, and Dawid-Skene over many items and raters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import numpy as np

from tasks.annotation import answers

AGREED = 0.75
"""Mean likeness of an item's answers from which they need no further rater."""
AGREED_QUESTION = 1 / 3
"""And of each question by itself: two ratings two points apart, or two choices, are a disagreement, whatever the rest of the
answer says; of three raters two against one are not."""


@dataclass(frozen=True)
class Inferred:
    """What Dawid-Skene makes of a table of categorical ratings."""

    posterior: np.ndarray
    """(items, classes), rows sum to 1."""
    confusion: np.ndarray
    """(raters, classes, classes): probability that the rater answers the second when the first is true."""
    prior: np.ndarray
    """(classes,)."""

    @property
    def accuracy(self) -> np.ndarray:
        """(raters,) probability of a right answer under the prior."""
        found: np.ndarray = np.einsum("rcc,c->r", self.confusion, self.prior)
        return found


def agreed(task_type: str, body: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an item's answers need no further rater: alike on the whole, and on each question."""
    pairs = [answers.alike(task_type, body, a, b) for i, a in enumerate(given) for b in given[i + 1 :]]
    if not pairs:
        return True
    by_question = {q: [pair[q] for pair in pairs if q in pair] for pair in pairs for q in pair}
    alike_on_each = all(mean(values) >= AGREED_QUESTION - 1e-9 for values in by_question.values())
    return alike_on_each and mean(answers.mean_of(pair) for pair in pairs) >= AGREED


def consensus(task_type: str, body: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer that stands for several: median ratings, majorities, spans that most raters marked.

    A tie between choices goes to the one first in the schema. A median between two ratings keeps its half: rounding would
    make all such labels too low, or too high.
    """
    if task_type == answers.FLAGS:
        return {"flags": _spans([a["flags"] for a in given], "kind")}
    made: dict[str, Any] = {}
    for question in answers.questions(task_type, body):
        parts = [a[question["name"]] for a in given]
        if task_type == answers.LIKERT:
            middle = median(parts)
            made[question["name"]] = int(middle) if middle == int(middle) else middle
        elif task_type == answers.PAIRWISE or question["how"] == "one":
            votes = Counter(parts)
            order = list(answers.CHOICES if task_type == answers.PAIRWISE else question["choices"])
            made[question["name"]] = max(order, key=lambda c: (votes[c], -order.index(c)))
        elif question["how"] == "many":
            votes = Counter(c for part in parts for c in part)
            made[question["name"]] = sorted(c for c, n in votes.items() if 2 * n > len(parts))
        else:
            made[question["name"]] = _spans(parts, "label")
    return made


def _spans(marked: Sequence[Sequence[Mapping[str, Any]]], key: str) -> list[dict[str, Any]]:
    """For each label that most raters marked: the median span over their longest ones, and their median box."""
    made = []
    for label in sorted({s[key] for spans in marked for s in spans}):
        longest = [
            max(own, key=lambda s: s["end_s"] - s["start_s"])
            for spans in marked
            if (own := [s for s in spans if s[key] == label])
        ]
        if 2 * len(longest) <= len(marked):
            continue
        span = {key: label, **{e: round(median(s[e] for s in longest), 3) for e in ("start_s", "end_s")}}
        if key == "kind":
            boxes = [s["box"] for s in longest if s.get("box")]
            span["box"] = [round(median(side), 4) for side in zip(*boxes, strict=True)] if boxes else None
        made.append(span)
    return made


def dawid_skene(
    ratings: Sequence[tuple[int, int, int]],
    num_items: int,
    num_raters: int,
    num_classes: int,
    *,
    num_steps: int = 100,
    smoothing: float = 0.01,
    shared: float = 0.0,
    tolerance: float = 1e-6,
) -> Inferred:
    """Maximum-likelihood truth and confusion matrices by EM from (item, rater, class) triples; starts at majorities.

    `smoothing` (above 0) is added to each count, so that a class nobody gave stays possible. With `shared` each row of a
    rater's matrix is taken for that many answers more of the raters' common matrix: who gave few is thought like the others.
    It ends when no posterior moved by `tolerance`. The same triples in the same order give the same figures. Sources: Dawid
    and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics 1979; for
    `shared`, Paun et al., "Comparing Bayesian Models of Annotation", TACL 2018.
    """
    item, rater, given = np.array(ratings, dtype=int).reshape(-1, 3).T
    of_item = _sums(item, num_items)
    of_rater = _sums(rater * num_classes + given, num_raters * num_classes)
    posterior = of_item @ np.eye(num_classes)[given] + 1e-9
    posterior /= posterior.sum(1, keepdims=True)
    confusion: np.ndarray = np.zeros(0)
    prior: np.ndarray = np.zeros(0)
    for _ in range(num_steps):
        counts = (of_rater @ posterior[item]).reshape(num_raters, num_classes, num_classes).transpose(0, 2, 1)
        common = counts.sum(0) + smoothing
        confusion = counts + smoothing + shared * common / common.sum(1, keepdims=True)
        confusion /= confusion.sum(2, keepdims=True)
        prior = posterior.mean(0)
        log = np.log(np.maximum(prior, 1e-12)) + of_item @ np.log(confusion)[rater, :, given]
        before, posterior = posterior, np.exp(log - log.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
        if float(np.abs(posterior - before).max(initial=0.0)) < tolerance:
            break
    return Inferred(posterior, confusion, prior)


def _sums(place: np.ndarray, num: int) -> Any:
    """The matrix (num, answers) that adds up the answers of one place each."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(num, len(place)))
