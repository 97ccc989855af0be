"""Systems compared side by side: who wins how often against whom, and Bradley-Terry strengths with intervals.

Axes: I items, S systems, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.annotation.agreement import RESAMPLES, Estimate

PRIOR = 0.5
"""Wins that each of two systems gets over the other beforehand: one that never lost has no finite strength without."""
STEPS = 500
ELO = 400 / np.log(10)


@dataclass(frozen=True)
class Ranking:
    """`systems` from the strongest on. `win_rates` (S, S) are of the row against the column, NaN where they never met; a tie
    and `both_bad` are half a win for each. Strengths are in Elo points about their mean: 100 more is a win rate of 0.64."""

    systems: tuple[str, ...]
    win_rates: np.ndarray
    strengths: tuple[Estimate, ...]
    num_items: int


def ranked(votes: Sequence[tuple[int, str]], systems: Mapping[int, tuple[str, str]], seed: int = 0) -> Ranking:
    """From (item, left | right | tie | both_bad) votes, and the systems of each item's left and right side.

    The intervals resample items, so that several votes on one item count as the one look at the systems that they are.
    """
    names = sorted({s for item, _ in votes for s in systems[item]})
    place = {name: i for i, name in enumerate(names)}
    rows = {item: i for i, item in enumerate(dict.fromkeys(item for item, _ in votes))}
    wins_ISS = np.zeros((len(rows), len(names), len(names)))
    for item, choice in votes:
        left, right = (place[s] for s in systems[item])
        share = {"left": 1.0, "right": 0.0}.get(choice, 0.5)
        wins_ISS[rows[item], left, right] += share
        wins_ISS[rows[item], right, left] += 1 - share
    drawn_RI = np.random.default_rng(seed).integers(0, len(rows), (RESAMPLES, len(rows)))
    counts_RI = np.stack([np.bincount(d, minlength=len(rows)) for d in drawn_RI])
    boot_RS = ELO * bradley_terry(np.einsum("ri,ist->rst", counts_RI, wins_ISS))
    wins_SS = wins_ISS.sum(0)
    strength_S = ELO * bradley_terry(wins_SS)
    order = np.argsort(-strength_S, kind="stable")
    low_S, high_S = np.quantile(boot_RS, (0.025, 0.975), axis=0)
    met_SS = wins_SS + wins_SS.T
    rate_SS = np.divide(wins_SS, met_SS, out=np.full(met_SS.shape, np.nan), where=met_SS > 0)
    strengths = tuple(Estimate(float(strength_S[i]), float(low_S[i]), float(high_S[i])) for i in order)
    return Ranking(tuple(names[i] for i in order), rate_SS[np.ix_(order, order)], strengths, len(rows))


def bradley_terry(wins: np.ndarray, prior: float = PRIOR) -> np.ndarray:
    """Log strengths (..., S), of mean 0, by maximum likelihood from (..., S, S) wins of the row over the column.

    `prior` wins are added between every two systems. Source: Hunter, "MM algorithms for generalized Bradley-Terry
    models", Annals of Statistics 2004.
    """
    num = wins.shape[-1]
    wins = wins + prior * (1 - np.eye(num))
    met, won = wins + np.swapaxes(wins, -1, -2), wins.sum(-1)
    strength = np.ones(won.shape)
    for _ in range(STEPS):
        before = strength
        strength = won / (met / (strength[..., :, None] + strength[..., None, :])).sum(-1)
        strength = strength / np.exp(np.log(strength).mean(-1, keepdims=True))
        if np.abs(strength - before).max(initial=0.0) < 1e-9:
            break
    made: np.ndarray = np.log(strength)
    return made
