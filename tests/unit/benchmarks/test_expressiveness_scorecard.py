from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scorecards.blinks_seen import BLINKS
from benchmarks.scorecards.expressiveness import counts, precision, raising_brows


def test_blinks_found_are_matched_once_and_not_where_nothing_can_be_told() -> None:
    found = [(10, 12), (13, 15), (40, 44), (60, 63), (90, 92)]
    assert counts(found, [11, 39, 70], [(61, 70)]) == (2, 2, 1)  # (13, 15) and (90, 92) were not seen, 70 not found
    assert counts([(74, 76)], [70], []) == (0, 1, 1)
    assert counts([], [], []) == (0, 0, 0)


def test_precision_pools_the_clips() -> None:
    assert precision([(3, 1, 0), (1, 0, 2)]) == pytest.approx(4 / 5)
    assert np.isnan(precision([(0, 0, 2)]))


def test_the_blinks_seen_are_in_order_and_within_the_seconds_looked_at() -> None:
    assert sum(len(seen) for seen, _ in BLINKS.values()) > 80
    for seen, unclear in BLINKS.values():
        ends = [f for span in unclear for f in span]
        assert list(seen) == sorted(set(seen))
        assert ends == sorted(set(ends))
        assert all(0 <= f <= 250 for f in (*seen, *ends))
        assert not any(first <= f < end for f in seen for first, end in unclear)


def test_brows_are_raised_on_every_other_frame_alone() -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[60:64] = 255  # a brow across the picture
    points = np.zeros((478, 2))
    points[[10, 152]] = (100, 30), (100, 180)
    points[[105, 334]] = (70, 62), (130, 62)
    still, moved = raising_brows([frame, frame], points)
    assert (still == frame).all()
    assert moved[56:59, [70, 130]].mean() > 100
    assert moved[63, [70, 130]].mean() < 100
    assert (moved[:, :20] == frame[:, :20]).all()
