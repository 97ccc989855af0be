"""Systems compared side by side: who wins how often against whom, and Bradley-Terry strengths with intervals.

Axes: V votes, S systems, R resamples.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.annotation.agreement import RESAMPLES, Estimate

PRIOR = 0.5
"""Wins that each of two systems gets over the other beforehand: one that never lost has no finite strength without."""
STEPS = 500
ELO = 400 / np.log(10)
Z = 1.96


@dataclass(frozen=True)
class Ranking:
    """`systems` by rank, within one by name. `win_rates` (S, S) are of the row against the column, NaN where they never
    met; a tie and `both_bad` are half a win for each. Strengths are in Elo points about their mean: 100 more is a win
    rate of 0.64."""

    systems: tuple[str, ...]
    win_rates: np.ndarray
    strengths: tuple[Estimate, ...]
    num_items: int
    num_raters: int
    num_prompts: int

    @property
    def ranks(self) -> tuple[int, ...]:
        """1 + the number of systems whose interval lies wholly above; systems that no interval separates share a rank."""
        return _ranks(self.strengths)

    @property
    def not_told_apart(self) -> tuple[tuple[str, ...], ...]:
        """For each system the others whose interval meets its own. Of three, the first and the last may still differ."""
        told = list(zip(self.systems, self.strengths, strict=True))
        return tuple(
            tuple(n for n, other in told if n != name and not _above(own, other) and not _above(other, own))
            for name, own in told
        )


def ranked(
    votes: Sequence[tuple[int, int, str]],
    systems: Mapping[int, tuple[str, str]],
    prompts: Mapping[int, str] | None = None,
    seed: int = 0,
) -> Ranking:
    """From (item, rater, left | right | tie | both_bad) votes, the systems of each item's left and right side, and the prompt
    that both answer, which items of other pairs of systems share; an item that `prompts` does not name is its own prompt.

    The bootstrap resamples prompts and raters at once: a vote weighs how often its prompt was drawn times how often its rater
    was, so that all votes on one prompt, and many by one rater, count as the one look that they are. Where all answers are
    alike resampling finds no doubt, so an interval is at least as wide as the likelihood makes it of one vote for each prompt
    and pair of systems. Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007.
    """
    if not votes:
        raise ValueError("a ranking needs answers, this has none; come back when raters have answered")
    names = sorted({s for item, _, _ in votes for s in systems[item]})
    place = {name: i for i, name in enumerate(names)}
    of = prompts or {}
    prompt_V = _numbered([("prompt", of[item]) if item in of else ("item", item) for item, _, _ in votes])
    rater_V = _numbered([rater for _, rater, _ in votes])
    left_V, right_V = np.array([[place[s] for s in systems[item]] for item, _, _ in votes]).T
    share_V = np.array([{"left": 1.0, "right": 0.0}.get(choice, 0.5) for _, _, choice in votes])
    num_prompts, num_raters, num = int(prompt_V.max()) + 1, int(rater_V.max()) + 1, len(names)

    def wins(weight_V: np.ndarray) -> np.ndarray:
        one, other = left_V * num + right_V, right_V * num + left_V
        won = np.bincount(one, weight_V * share_V, num * num) + np.bincount(other, weight_V * (1 - share_V), num * num)
        return won.reshape(num, num)

    rng = np.random.default_rng(seed)
    drawn = [
        wins((_drawn(rng, num_prompts)[prompt_V] * _drawn(rng, num_raters)[rater_V]).astype(float))
        for _ in range(RESAMPLES)
    ]
    boot_RS = ELO * bradley_terry(np.stack(drawn))
    wins_SS = wins(np.ones(len(votes)))
    strength = bradley_terry(wins_SS)
    pair_V = _numbered(list(zip(prompt_V, np.minimum(left_V, right_V), np.maximum(left_V, right_V), strict=True)))
    half_S = Z * ELO * _errors(wins(1 / np.bincount(pair_V)[pair_V]), strength)
    strength_S = ELO * strength
    low_S, high_S = np.quantile(boot_RS, (0.025, 0.975), axis=0)
    low_S, high_S = np.minimum(low_S, strength_S - half_S), np.maximum(high_S, strength_S + half_S)
    found = [Estimate(*(float(x[i]) for x in (strength_S, low_S, high_S))) for i in range(num)]
    ranks = _ranks(found)
    order = sorted(range(num), key=lambda i: (ranks[i], names[i]))
    met_SS = wins_SS + wins_SS.T
    rate_SS = np.divide(wins_SS, met_SS, out=np.full(met_SS.shape, np.nan), where=met_SS > 0)
    strengths = tuple(found[i] for i in order)
    counts = (len({item for item, _, _ in votes}), num_raters, num_prompts)
    return Ranking(tuple(names[i] for i in order), rate_SS[np.ix_(order, order)], strengths, *counts)


def _numbered(keys: Sequence[Hashable]) -> np.ndarray:
    """Each key by its place among the different ones."""
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([place[key] for key in keys])


def _above(one: Estimate, other: Estimate) -> bool:
    return one.low > other.high


def _ranks(strengths: Sequence[Estimate]) -> tuple[int, ...]:
    return tuple(1 + sum(_above(other, own) for other in strengths) for own in strengths)


def _drawn(rng: np.random.Generator, num: int) -> np.ndarray:
    """How often each of `num` is drawn in `num` draws with replacement."""
    return np.bincount(rng.integers(0, num, num), minlength=num)


def _errors(wins: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Standard errors (S,) of log strengths of mean 0, by the information of (S, S) wins and the prior at the maximum."""
    met = wins + wins.T + 2 * PRIOR * (1 - np.eye(len(wins)))
    chance = 1 / (1 + np.exp(strength[None] - strength[:, None]))
    weight = met * chance * chance.T
    information = np.diag(weight.sum(1)) - weight
    made: np.ndarray = np.sqrt(np.diag(np.linalg.pinv(information, hermitian=True)))
    return made


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
