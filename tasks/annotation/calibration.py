"""Who may label: training with feedback, an exam, pause, re-calibration and ban. Pure rules over scores in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tasks.annotation.agreement import wilson

PASS_MEAN = 0.85
PASS_DIMENSION = 0.75
WINDOW = 60
MIN_CHECKS = 5
"""Fewer pause nobody: even one miss has an upper bound of 0.79. Of five, two and a half must be missed."""
MAX_FAILURES = 3

TRAINING, EXAM, QUALIFIED, BANNED = "training", "exam", "qualified", "banned"


@dataclass(frozen=True)
class Verdict:
    passed: bool
    mean: float
    by_question: dict[str, float]
    why: str


def examined(scores: Sequence[Mapping[str, float]], weights: Sequence[float] | None = None) -> Verdict:
    """The exam's verdict over its items' scores by question: mean at least 0.85 and no question under 0.75.

    An item counts for the questions that it has scores of, by its weight (None: all the same); an exam without any, all of
    clips where nobody raises a flag, is passed.
    """
    assert scores, "an exam has items"
    weighed = list(zip(scores, weights or [1.0] * len(scores), strict=True))
    names = dict.fromkeys(name for s in scores for name in s)
    each = {
        name: fmean([s[name] for s, _ in weighed if name in s], [w for s, w in weighed if name in s]) for name in names
    }
    mean = fmean(list(each.values())) if each else 1.0
    low = [f"{name} {value:.2f}" for name, value in each.items() if value < PASS_DIMENSION]
    if low:
        return Verdict(False, mean, each, f"under {PASS_DIMENSION} on {', '.join(low)}")
    if mean < PASS_MEAN:
        return Verdict(False, mean, each, f"mean {mean:.2f} is under {PASS_MEAN}")
    return Verdict(True, mean, each, f"mean {mean:.2f} of {len(scores)} items")


def must_pause(checks: Sequence[Mapping[str, float]], weights: Sequence[float] | None = None) -> bool:
    """Whether even the kindest reading of the last 60 hidden gold and audits, their scores by question, is under 0.85.

    That is the Wilson upper bound, with every question of a check for a trial and the sum of the scores for successes, from
    five checks on. One trial a check would need 35 of them to tell ratings that are half a point off from good ones, more
    than a fortnight brings. Questions of one check are no independent trials; but scores between 0 and 1 vary less than the
    successes and misses that the bound allows for, by about as much. `weights` of the checks (None: all the same) are how many
    trials each question of one is.
    """
    recent = list(zip(checks, weights or [1.0] * len(checks), strict=True))[-WINDOW:]
    num = sum(weight * len(check) for check, weight in recent)
    met = sum(weight * score for check, weight in recent for score in check.values())
    return len(recent) >= MIN_CHECKS and wilson(met, num)[1] < PASS_MEAN


def after_failure(failures: int) -> str:
    """The stage after the `failures`-th failed exam or pause: training again, or out."""
    return BANNED if failures >= MAX_FAILURES else TRAINING
