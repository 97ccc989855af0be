"""Who may label: training with feedback, an exam, pause, re-calibration and ban. Pure rules over scores in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.annotation.agreement import wilson

PASS_MEAN = 0.85
PASS_DIMENSION = 0.75
WINDOW = 60
MIN_SCORES = 10
"""Fewer pause nobody: even one miss has an upper bound of 0.79."""
MAX_FAILURES = 3

TRAINING, EXAM, QUALIFIED, BANNED = "training", "exam", "qualified", "banned"


@dataclass(frozen=True)
class Verdict:
    passed: bool
    mean: float
    by_question: dict[str, float]
    why: str


def examined(scores: Sequence[Mapping[str, float]]) -> Verdict:
    """The exam's verdict over its items' scores by question: mean at least 0.85 and no question under 0.75."""
    assert scores, "an exam has items"
    names = list(scores[0])
    each = {name: sum(s[name] for s in scores) / len(scores) for name in names}
    mean = sum(each.values()) / len(each)
    low = [f"{name} {value:.2f}" for name, value in each.items() if value < PASS_DIMENSION]
    if low:
        return Verdict(False, mean, each, f"under {PASS_DIMENSION} on {', '.join(low)}")
    if mean < PASS_MEAN:
        return Verdict(False, mean, each, f"mean {mean:.2f} is under {PASS_MEAN}")
    return Verdict(True, mean, each, f"mean {mean:.2f} of {len(scores)} items")


def must_pause(last_scores: Sequence[float]) -> bool:
    """Whether even the kindest reading of the last 60 hidden gold and audit scores is under 0.85.

    That is the Wilson upper bound, with the sum of the scores for successes, from ten scores on.
    """
    recent = list(last_scores)[-WINDOW:]
    return len(recent) >= MIN_SCORES and wilson(sum(recent), len(recent))[1] < PASS_MEAN


def after_failure(failures: int) -> str:
    """The stage after the `failures`-th failed exam or pause: training again, or out."""
    return BANNED if failures >= MAX_FAILURES else TRAINING
