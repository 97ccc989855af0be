"""Strengths of systems against answers known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.annotation.ranking import ELO, bradley_terry, ranked


def test_two_systems_have_the_odds_of_their_wins() -> None:
    strength = bradley_terry(np.array([[0.0, 30.0], [10.0, 0.0]]), prior=0.0)
    assert strength[0] - strength[1] == pytest.approx(np.log(3), abs=1e-6)
    assert strength.sum() == pytest.approx(0, abs=1e-9)


def test_the_fit_expects_as_many_wins_as_there_were() -> None:
    """What defines the maximum of the likelihood; the wins follow no order."""
    wins = np.array([[0, 7, 2, 9], [3, 0, 8, 4], [6, 1, 0, 5], [2, 6, 5, 0]], float)
    strength = np.exp(bradley_terry(wins, prior=0.0))
    expected = (wins + wins.T) * strength[:, None] / (strength[:, None] + strength[None])
    assert expected.sum(1) == pytest.approx(wins.sum(1), abs=1e-5)


def test_systems_of_known_strength_are_found_within_their_intervals() -> None:
    known = {"good": 0.8, "fair": 0.0, "poor": -0.8}
    rng, votes, systems = np.random.default_rng(3), [], {}
    names = list(known)
    for item in range(600):
        left, right = rng.choice(names, 2, replace=False)
        systems[item] = (str(left), str(right))
        wins = rng.random() < 1 / (1 + np.exp(known[right] - known[left]))
        votes += [(item, "left" if wins else "right")] * 2
    found = ranked(votes, systems)
    assert (found.systems, found.num_items) == (("good", "fair", "poor"), 600)
    for name, strength in zip(found.systems, found.strengths, strict=True):
        assert strength.low < ELO * known[name] < strength.high
        assert 30 < strength.high - strength.low < 120, "of 600 items, though each was asked twice"
    rates = found.win_rates
    assert rates + rates.T == pytest.approx(np.where(np.eye(3) == 1, np.nan, 1.0), nan_ok=True)


def test_one_that_never_lost_has_a_finite_strength_and_a_tie_is_half_a_win_for_each() -> None:
    found = ranked([(0, "left"), (1, "left")], {0: ("a", "b"), 1: ("a", "b")})
    assert 0 < found.strengths[0].value < 1000
    even = ranked([(0, "tie"), (1, "both_bad")], {0: ("a", "b"), 1: ("b", "a")})
    assert [s.value for s in even.strengths] == pytest.approx([0, 0])
    assert even.win_rates[0, 1] == 0.5
