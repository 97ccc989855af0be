from __future__ import annotations

import numpy as np
import pytest

from tasks.eye_geometry import LOWER_LID, UPPER_LID
from tasks.signal import NotApplicable
from tasks.signals import gaze
from tests.face_meshes import landmarks_of, no_landmarks, span, turned_face


def looking(right_px: float, *, shut: bool = False, scale: float = 1) -> np.ndarray:
    points = turned_face(scale=scale)
    points[468:, 0] += right_px
    if shut:
        for upper, lower in zip(UPPER_LID, LOWER_LID, strict=True):
            points[lower, 1] = points[upper, 1]
    return points


def test_time_toward_the_camera_leaves_blinks_out() -> None:
    eyes = [looking(0)] * 60 + [looking(9, shut=True)] * 5 + [looking(6)] * 20
    made = gaze.compute(span(100, start_frame=50), {"landmarks": landmarks_of(eyes, start_frame=50)})
    row = made.row
    assert set(row) == {c.name for c in gaze.SIGNAL.columns}
    assert row["toward_camera_ratio"] == 0.75
    assert row["closed_ratio"] == pytest.approx(5 / 85)
    assert row["measured_ratio"] == 0.8
    assert made.timeline is not None
    line = made.timeline.to_pydict()
    assert [f for f, closed in zip(line["frame"], line["closed"], strict=True) if closed] == [110, 111, 112, 113, 114]
    assert line["opening_left"][62] < 0.01 < 0.23 < line["opening_left"][0]
    away = line["yaw_deg"][-1]
    assert away == pytest.approx(46.4, abs=0.5)  # a sine of 6 / 25.9 / 0.32
    assert row["yaw_deg"] == pytest.approx(away / 4, abs=0.5)
    assert row["spread_deg"] == pytest.approx(away * np.sqrt(3) / 4, abs=0.5)


def test_a_turned_head_whose_eyes_stay_on_the_camera() -> None:
    points = turned_face((-20, 0, 0))
    points[468:, 0] += 0.34 * 0.32 * 25.9  # the eyes turn back by 20 degrees
    for face, ratio in ((points, 1), (turned_face((-20, 0, 0)), 0)):
        row = gaze.compute(span(5), {"landmarks": landmarks_of([face] * 5)}).row
        assert row["toward_camera_ratio"] == ratio


def test_where_gaze_means_nothing() -> None:
    with pytest.raises(NotApplicable, match="no face"):
        gaze.compute(span(5), {"landmarks": no_landmarks()})
    with pytest.raises(NotApplicable, match="the eyes are too small"):
        gaze.compute(span(5), {"landmarks": landmarks_of([looking(0, scale=0.2)] * 5)})


def test_eyes_that_take_turns_at_being_closed() -> None:
    def one_shut(eye: int) -> np.ndarray:
        points = turned_face()
        points[LOWER_LID[eye], 1] = points[UPPER_LID[eye], 1]
        return points

    faces = [one_shut(i % 2) for i in range(10)]
    with pytest.raises(NotApplicable, match="the eyes are closed"):
        gaze.compute(span(10), {"landmarks": landmarks_of(faces)})
