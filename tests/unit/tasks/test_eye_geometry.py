from __future__ import annotations

import numpy as np
import pytest

from tasks.eye_geometry import LOWER_LID, UPPER_LID, blinks, closed_eyes, eyes_of
from tests.face_meshes import turned_face


def test_the_head_takes_the_eyes_along() -> None:
    ahead, turned = eyes_of(np.stack([turned_face(), turned_face((20, -10, 0))]))[0]
    assert turned - ahead == pytest.approx([20, -10], abs=1)


def test_irises_moved_in_a_still_head() -> None:
    right, up = turned_face(), turned_face()
    right[468:, 0] += 4
    up[468:, 1] -= 2
    gaze = eyes_of(np.stack([turned_face(), right, up]))[0]
    # Of an eye 25.9 px wide: sines of 4 / 25.9 / 0.32 and 2 / 25.9 / 0.21.
    assert gaze == pytest.approx(np.array([[0, 0], [28.9, 0], [0, 21.6]]), abs=0.2)


def test_the_head_s_turn_and_size_leave_the_opening_as_it_is() -> None:
    faces = np.stack([turned_face(), turned_face((25, 10, 30), scale=2)])
    opening = eyes_of(faces)[1]
    assert opening[0] == pytest.approx([0.24, 0.24], abs=0.01)
    assert opening[1] == pytest.approx(opening[0], abs=0.01)
    half = turned_face()
    for upper, lower in zip(UPPER_LID, LOWER_LID, strict=True):
        half[lower, 1] = (half[upper, 1] + half[lower, 1]) / 2
    assert eyes_of(half[None])[1][0] == pytest.approx(opening[0] / 2, abs=0.01)


def test_closed_is_told_by_the_eye_s_own_usual_opening() -> None:
    opening = np.full((20, 2), (0.3, 0.2))
    opening[4] = (0.14, 0.11)
    opening[9] = (0.16, 0.09)
    assert np.argwhere(closed_eyes(opening)).tolist() == [[4, 0], [9, 1]]
    assert not closed_eyes(np.tile([[0.09, 0.09], [0.01, 0.01]], (20, 1))).any()


def test_blinks_open_again_within_half_a_second_and_are_seen_whole() -> None:
    closed = np.zeros(100, bool)
    for first, end in ((0, 3), (10, 14), (20, 32), (40, 60), (80, 83), (97, 100)):
        closed[first:end] = True
    frames = np.arange(100) + 500
    assert blinks(frames, closed) == [(510, 514), (520, 532), (580, 583)]
    frames[81:] += 7  # the mesh is lost in the middle of the last blink
    assert blinks(frames, closed) == [(510, 514), (520, 532)]
