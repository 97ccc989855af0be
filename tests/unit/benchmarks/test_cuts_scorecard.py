"""The cuts scorecard makes the cuts it claims, and counts as it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scorecards.cuts import f1, found_by_baseline, frozen, jumps, matched, recall, spliced, splices

BLACK, WHITE = (np.full((70, 48, 64, 3), level, np.uint8) for level in (20, 220))


def test_a_hard_cut_counts_once_and_within_two_frames() -> None:
    assert matched([(40, 40), (41, 41)], [(42, 42)]) == (1, 1, 0)
    assert matched([(39, 39)], [(42, 42)]) == (0, 1, 1)
    assert matched([(42, 60)], [(42, 42)]) == (1, 0, 0)
    assert matched([(30, 60)], [(42, 42)]) == (0, 1, 1)


def test_a_gradual_cut_matches_where_it_overlaps() -> None:
    assert matched([(55, 55)], [(40, 60)]) == (1, 0, 0)
    assert matched([(63, 63)], [(40, 60)]) == (0, 1, 1)
    assert matched([(30, 39)], [(40, 60)]) == (1, 0, 0)


def test_what_is_not_judged_is_neither_right_nor_false() -> None:
    assert matched([(16, 16)], [], [(14, 17)]) == (0, 0, 0)


def test_f1_and_recall_pool_the_counts() -> None:
    assert f1([(3, 1, 0), (1, 0, 1)]) == pytest.approx(8 / 10)
    assert recall([(3, 1, 0), (1, 0, 1)]) == pytest.approx(4 / 5)
    assert np.isnan(f1([(0, 0, 0)]))


@pytest.mark.parametrize(("kind", "truth"), [("hard", (70, 70)), ("dissolve", (60, 70)), ("fade", (60, 70))])
def test_splices_change_where_they_say(kind: str, truth: tuple[int, int]) -> None:
    frames, told = spliced(BLACK, WHITE, kind, 10)
    assert told == truth
    levels = frames.mean((1, 2, 3))
    assert (levels[: truth[0]] == 20).all()
    assert (levels[truth[1] :] == 220).all()
    if kind == "dissolve":
        assert (np.diff(levels[59:71]) > 0).all()
    if kind == "fade":
        assert levels[60:70].min() < 20


def test_pairs_are_of_different_sources_and_the_same_each_time() -> None:
    shots = {"a__1": BLACK, "a__2": BLACK, "b__1": WHITE}
    made = splices(shots, "hard", 3)
    assert all(abs(float(f[0].mean()) - float(f[-1].mean())) == 200 for _, f, _ in made)
    assert [n for n, _, _ in made] == ["a__1", "a__2", "b__1"]
    assert all((x[1] == y[1]).all() for x, y in zip(made, splices(shots, "hard", 3), strict=True))


def test_jumps_leave_frames_out_and_freezes_stand() -> None:
    counting = np.arange(130, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    ((_, frames, truth),) = jumps({"a__1": counting}, 1)
    steps = np.diff(frames[:, 0, 0, 0].astype(int))
    assert truth == (30, 30)
    assert steps[29] > 10
    assert (np.delete(steps, 29) == 1).all()
    ((_, stands),) = frozen({"a__1": counting})
    assert (stands[25:40] == 25).all()
    assert stands[40, 0, 0, 0] == 40


def test_the_baseline_finds_a_plain_cut() -> None:
    assert found_by_baseline([*BLACK, *WHITE]) == [(70, 70)]
