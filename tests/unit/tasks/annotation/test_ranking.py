"""Strengths of systems against answers known beforehand."""

from __future__ import annotations

import evalica
import numpy as np
import pytest

from tasks.annotation.agreement import Estimate
from tasks.annotation.ranking import ELO, Ranking, bradley_terry, ranked


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
        votes += [(item, (item + k) % 30, "left" if wins else "right") for k in range(2)]
    found = ranked(votes, systems)
    assert (found.systems, found.num_items, found.num_raters) == (("good", "fair", "poor"), 600, 30)
    assert found.ranks == (1, 2, 3)
    assert found.not_told_apart == ((), (), ())
    for name, strength in zip(found.systems, found.strengths, strict=True):
        assert strength.low < ELO * known[name] < strength.high
        assert 30 < strength.high - strength.low < 120, "of 600 items, though each was asked twice"
    rates = found.win_rates
    assert rates + rates.T == pytest.approx(np.where(np.eye(3) == 1, np.nan, 1.0), nan_ok=True)


def test_one_that_never_lost_has_a_finite_strength_and_a_tie_is_half_a_win_for_each() -> None:
    found = ranked([(0, 0, "left"), (1, 0, "left")], {0: ("a", "b"), 1: ("a", "b")})
    assert 0 < found.strengths[0].value < 1000
    even = ranked([(0, 0, "tie"), (1, 1, "both_bad")], {0: ("a", "b"), 1: ("b", "a")})
    assert [s.value for s in even.strengths] == pytest.approx([0, 0])
    assert even.win_rates[0, 1] == 0.5


@pytest.mark.parametrize("raters", [(0, 0), (0, 1)])
def test_two_answers_rank_nobody(raters: tuple[int, int]) -> None:
    """Both for the same side: resampling alone finds no doubt in them."""
    found = ranked([(0, raters[0], "left"), (1, raters[1], "left")], {0: ("a", "b"), 1: ("a", "b")})
    assert found.ranks == (1, 1)
    assert found.not_told_apart == (("b",), ("a",))
    assert found.systems == ("a", "b")
    assert ranked([(0, 0, "right"), (1, 0, "right")], {0: ("a", "b"), 1: ("a", "b")}).systems == ("a", "b"), "by name"


def test_many_answers_that_agree_rank() -> None:
    votes = [(item, item % 10, "right") for item in range(40)]
    found = ranked(votes, dict.fromkeys(range(40), ("a", "b")))
    assert (found.systems, found.ranks) == (("b", "a"), (1, 2))


def test_one_biased_rater_widens_the_interval_against_resampled_items_alone() -> None:
    """Four see no difference; the fifth, with as many answers as they have together, always takes the left. To one who
    counts answers it is an order. The same answers as if every one were of another rater resample items alone."""
    rng = np.random.default_rng(0)
    votes = [(item, item % 4, str(rng.choice(["left", "right"]))) for item in range(200)]
    votes += [(item, 4, "left") for item in range(200, 400)]
    systems = dict.fromkeys(range(400), ("a", "b"))
    alone = ranked([(item, item, choice) for item, _, choice in votes], systems)
    found = ranked(votes, systems)
    width, wide = (r.strengths[0].high - r.strengths[0].low for r in (alone, found))
    assert wide > 3 * width
    assert (alone.ranks, found.ranks) == ((1, 2), (1, 1))


def test_pairs_of_one_prompt_are_one_look() -> None:
    """Six prompts, each asked of many raters in every pair of three systems, and each with a favourite of its own: four times
    a, twice b. Counted by item that is an order; six prompts say nothing of the seventh."""
    pairs, favourites = [("a", "b"), ("b", "c"), ("c", "a")], ["a", "b", "a", "a", "b", "a"]
    systems, prompts, votes = {}, {}, []
    for i in range(6 * 30):
        item, (left, right), favourite = i, pairs[i % 3], favourites[i // 30]
        systems[item], prompts[item] = (left, right), f"prompt {i // 30}"
        choice = {left: "left", right: "right"}.get(favourite, "tie")
        votes += [(item, 10 * (i % 7) + k, choice) for k in range(2)]
    alone, found = ranked(votes, systems), ranked(votes, systems, prompts)
    assert (alone.num_prompts, found.num_prompts, found.num_items) == (180, 6, 180)
    assert alone.ranks == (1, 2, 3)
    assert found.ranks[:2] == (1, 1)
    width, wide = (
        r.strengths[r.systems.index("a")].high - r.strengths[r.systems.index("a")].low for r in (alone, found)
    )
    assert wide > 2 * width
    assert [s.value for s in found.strengths] == pytest.approx([s.value for s in alone.strengths]), (
        "only the doubt differs"
    )


def test_many_votes_of_one_prompt_and_pair_rank_nobody() -> None:
    votes = [(item, item % 10, "right") for item in range(40)]
    systems = dict.fromkeys(range(40), ("a", "b"))
    assert ranked(votes, systems, dict.fromkeys(range(40), "the one")).ranks == (1, 1)
    assert ranked(votes, systems, {i: f"{i}" for i in range(40)}).ranks == (1, 2)


def test_a_rank_is_one_more_than_the_systems_that_lie_wholly_above() -> None:
    """Intervals may form a chain: the middle one is told apart from neither end, the ends from each other."""
    chain = tuple(Estimate(v, v - 10, v + 10) for v in (30.0, 15.0, 0.0))
    found = Ranking(("a", "b", "c"), np.full((3, 3), np.nan), chain, 9, 9, 9)
    assert found.ranks == (1, 1, 2)
    assert found.not_told_apart == (("b",), ("a", "c"), ("b",))


def test_no_answers_give_no_ranking() -> None:
    with pytest.raises(ValueError, match="a ranking needs answers"):
        ranked([], {})


def test_strengths_are_those_of_evalica() -> None:
    """Which takes a tie as half a win for each too, and has no prior."""
    rng, names = np.random.default_rng(5), ["a", "b", "c", "d"]
    pairs = [[str(s) for s in rng.choice(names, 2, replace=False)] for _ in range(300)]
    choices = [str(c) for c in rng.choice(["left", "right", "tie"], 300, p=[0.5, 0.3, 0.2])]
    wins = np.zeros((4, 4))
    for (left, right), choice in zip(pairs, choices, strict=True):
        share = {"left": 1.0, "right": 0.0, "tie": 0.5}[choice]
        wins[names.index(left), names.index(right)] += share
        wins[names.index(right), names.index(left)] += 1 - share
    winner = {"left": evalica.Winner.X, "right": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    theirs = evalica.bradley_terry(
        [p[0] for p in pairs], [p[1] for p in pairs], [winner[c] for c in choices], tolerance=1e-10, limit=10_000
    ).scores
    log = np.log([theirs[n] for n in names])
    assert bradley_terry(wins, prior=0.0) == pytest.approx(log - log.mean(), abs=1e-5)
