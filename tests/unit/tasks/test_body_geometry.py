from __future__ import annotations

import numpy as np
import pytest

from tasks.body_geometry import frame_pairs, hand_pairs, looked_at, shoulder_width_px


def moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    return points + np.array([x, y, 0.0])


def test_frames_are_looked_at_in_pairs() -> None:
    assert looked_at(range(3, 60)) == [5, 25, 30, 50, 55]


def test_pairs_need_both_frames() -> None:
    assert frame_pairs(np.array([5, 25, 30, 50])) == [(1, 2)]


def test_hands_of_a_pair_are_matched_by_place_and_size() -> None:
    hand = np.zeros((21, 3))
    hand[9] = hand[5] = hand[13] = hand[17] = (0, -20, 0)
    far, near = moved(hand, 200, 100), moved(hand, 50, 100)
    points = np.stack([far, near, moved(near, 5, 0), moved(hand, 400, 100)])
    assert hand_pairs(np.array([25, 25, 30, 30]), points) == [(1, 2)]
    assert hand_pairs(np.array([5, 5, 30, 30]), points) == []


def test_shoulder_width_is_never_nothing() -> None:
    points = np.zeros((2, 33, 3))
    assert shoulder_width_px(points) == 1
    points[:, 11, 0] = 40
    assert shoulder_width_px(points) == pytest.approx(40)
