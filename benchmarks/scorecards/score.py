"""What every scorecard shares: the statistics, their intervals by person, and the table of results."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One measured claim. `value`, `low`, `high` and `baseline` share the unit that `measure` names."""

    signal: str
    claim: str
    measure: str
    value: float
    low: float
    high: float
    n: int
    people: int
    baseline: float | None = None
    goal: float | None = None
    better: Literal["higher", "lower"] = "higher"
    baseline_name: str = ""

    @property
    def verdict(self) -> str:
        """ "missed" when the whole interval lies on the wrong side of the goal, "met" when the value reaches it,
        "open" between the two; empty without a goal."""
        if self.goal is None:
            return ""
        sign = 1 if self.better == "higher" else -1
        best = max(sign * self.low, sign * self.high)
        if best < sign * self.goal:
            return "missed"
        return "met" if sign * self.value >= sign * self.goal else "open"


def bootstrap_ci(
    values_by_person: Mapping[str, Sequence[T]],
    statistic: Callable[[list[T]], float],
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(value, low, high): the statistic of all values, and its percentile interval when people are resampled.

    People are drawn with replacement and each brings all of their values, because values of one person are not
    independent. Rounds in which the statistic is undefined (NaN) are left out of the interval.

    Raises ValueError without values.
    """
    people = sorted(p for p, values in values_by_person.items() if len(values))
    if not people:
        raise ValueError("bootstrap_ci: no person has a value; measure something first")
    value = float(statistic([v for p in people for v in values_by_person[p]]))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        chosen = rng.integers(0, len(people), len(people))
        drawn.append(float(statistic([v for i in chosen for v in values_by_person[people[i]]])))
    defined = np.array([d for d in drawn if not np.isnan(d)])
    if len(defined) == 0:
        return value, value, value
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return value, float(low), float(high)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    ranks: np.ndarray = mean_rank[inverse]
    return ranks


def auc(positives: Iterable[float], negatives: Iterable[float]) -> float:
    """Probability that a positive scores above a negative, ties half; NaN when either is empty."""
    pos, neg = np.asarray(list(positives), float), np.asarray(list(negatives), float)
    if len(pos) == 0 or len(neg) == 0:
        return float("nan")
    ranks = _ranks(np.concatenate([pos, neg]))
    return float((ranks[: len(pos)].sum() - len(pos) * (len(pos) + 1) / 2) / (len(pos) * len(neg)))


def auc_of_pairs(pairs: Sequence[tuple[float, bool]]) -> float:
    """AUC of (score, is_positive) pairs, the form that `bootstrap_ci` pools."""
    return auc([s for s, positive in pairs if positive], [s for s, positive in pairs if not positive])


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, -1 to 1; NaN for fewer than two values or when either is constant."""
    ranks_a, ranks_b = _ranks(np.asarray(a, float)), _ranks(np.asarray(b, float))
    if len(ranks_a) < 2 or ranks_a.std() == 0 or ranks_b.std() == 0:
        return float("nan")
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def expected_calibration_error(pairs: Sequence[tuple[float, float]]) -> float:
    """ECE over ten equal bins of (probability told, share of it that is right: 0, 1 or between)."""
    sure, right = np.array([p for p, _ in pairs], float), np.array([r for _, r in pairs], float)
    bins = np.minimum((sure * 10).astype(int), 9)
    return float(
        sum(abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    )


def to_json(rows: Sequence[Row]) -> str:
    return json.dumps([{**asdict(r), "verdict": r.verdict} for r in rows], indent=1)


def print_table(rows: Sequence[Row]) -> None:
    """Markdown: one line a row, with n, people, interval, baseline, goal and verdict."""
    print("| signal | claim | measure | value [95 %] | n / people | baseline | goal | verdict |")
    print("|---|---|---|---|---|---|---|---|")
    for r in rows:
        baseline = "" if r.baseline is None else f"{r.baseline:.3g} {r.baseline_name}".rstrip()
        goal = "" if r.goal is None else f"{'>=' if r.better == 'higher' else '<='} {r.goal:g}"
        print(
            f"| {r.signal} | {r.claim} | {r.measure} | {r.value:.3g} [{r.low:.3g}, {r.high:.3g}] "
            f"| {r.n} / {r.people} | {baseline} | {goal} | {r.verdict} |"
        )


def media_root(told: str | None = None) -> Path:
    """Raises ValueError when no footage is found."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "media"
    root = Path(told or os.environ.get("HEADROOM_MEDIA") or beside)
    if not (root / "manifest.jsonl").exists():
        raise ValueError(f"{root}: no manifest.jsonl; set HEADROOM_MEDIA to a folder of labelled footage")
    return root


def command(run: Callable[[Path], Sequence[Row]], argv: Sequence[str] | None = None) -> None:
    """The command line of a scorecard: prints its table, or JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--media", help="folder with manifest.jsonl (default: HEADROOM_MEDIA)")
    parser.add_argument("--json", action="store_true")
    options: Any = parser.parse_args(argv)
    rows = run(media_root(options.media))
    if options.json:
        print(to_json(rows))
    else:
        print_table(rows)
