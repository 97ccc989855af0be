from __future__ import annotations

import numpy as np
import pytest

from tasks.eye_geometry import LOWER_LID, UPPER_LID
from tasks.face_geometry import LEFT_EYE_OUTER, LIP_BOTTOM_INNER, LIP_TOP_INNER, MOUTH_LEFT, RIGHT_EYE_OUTER
from tasks.signal import NotApplicable
from tasks.signals import expressiveness, head_pose
from tests.face_meshes import landmarks_of, no_landmarks, span, turned_face

STILL = turned_face()
UNIT_PX = float(np.linalg.norm(STILL[LEFT_EYE_OUTER] - STILL[RIGHT_EYE_OUTER]))


def row_of(faces: list[np.ndarray], shapes: list[dict[str, float]] | None = None) -> dict[str, float]:
    needs = {"landmarks": landmarks_of(faces, blendshapes=shapes)}
    media = span(len(faces))
    return dict(expressiveness.compute(media, {**needs, "head_pose": head_pose.compute(media, needs).row}).row)


def shut(points: np.ndarray, *eyes: int, by: float = 1.0) -> np.ndarray:
    closed = points.copy()
    for eye in eyes:
        upper, lower = UPPER_LID[eye], LOWER_LID[eye]
        closed[lower, 1] += by * (closed[upper, 1] - closed[lower, 1])
    return closed


def test_a_still_face_does_nothing() -> None:
    row = row_of([STILL] * 25)
    assert set(row) == {c.name for c in expressiveness.SIGNAL.columns}
    assert {k: v for k, v in row.items() if v > 1e-4} == {}


def test_a_mouth_that_opens_and_shuts_as_the_head_turns() -> None:
    faces = []
    for i in range(100):
        points = turned_face((10 * np.sin(i / 15), 0, 0))
        points[LIP_BOTTOM_INNER, 1] = points[LIP_TOP_INNER, 1] + (12 if i // 5 % 2 else 0)
        faces.append(points)
    row = row_of(faces)
    assert row["mouth_range"] == pytest.approx(12 / UNIT_PX, rel=0.02)
    assert row["mouth_speed"] == pytest.approx(5 * 12 / UNIT_PX, rel=0.02)  # five full moves a second
    assert row["brow_range"] < 0.01
    assert row["head_range_deg"] == pytest.approx(20, abs=1)
    assert row["head_speed_deg_s"] > 5


def test_brows_and_the_width_of_the_mouth() -> None:
    faces = []
    for i in range(50):
        points = STILL.copy()
        points[expressiveness.BROWS, 1] -= 5 if i % 2 else 0
        points[MOUTH_LEFT, 0] += 8 if i >= 25 else 0
        faces.append(points)
    row = row_of(faces)
    assert row["brow_range"] == pytest.approx(5 / UNIT_PX, rel=0.02)
    assert row["brow_speed"] == pytest.approx(5 * 5 / UNIT_PX, rel=0.02)
    assert row["mouth_width_range"] == pytest.approx(8 / UNIT_PX, rel=0.02)
    assert row["mouth_range"] < 0.001


def test_blinks_their_rate_and_length() -> None:
    faces = [STILL] * 150
    for first in (20, 60, 100):
        faces[first : first + 5] = [shut(STILL, 0, 1)] * 5
    faces[130:133] = [shut(STILL, 1)] * 3  # a wink is no blink
    row = row_of(faces)
    assert row["num_blinks"] == 3
    assert row["blink_rate_per_min"] == 30
    assert row["blink_ms"] == 200
    assert row["blink_asymmetry"] < 0.02  # of four, three are even


def test_a_wink_is_uneven_and_no_blink() -> None:
    faces = [STILL] * 50
    faces[20:25] = [shut(STILL, 1)] * 5
    row = row_of(faces)
    assert row["num_blinks"] == row["blink_ms"] == 0
    assert row["blink_asymmetry"] > 0.98


def test_one_eye_that_closes_less_far() -> None:
    faces = [STILL] * 50
    faces[20:25] = [shut(shut(STILL, 0), 1, by=0.6)] * 5
    row = row_of(faces)
    assert row["num_blinks"] == 1
    assert row["blink_asymmetry"] == pytest.approx(0.4, abs=0.03)


def test_activity_is_that_of_expressions_and_not_of_the_gaze() -> None:
    smile = [{"mouth_smile_left": 0.8 * (i // 5 % 2)} for i in range(40)]
    look = [{"eye_look_in_left": 0.8 * (i // 5 % 2)} for i in range(40)]
    assert row_of([STILL] * 40, smile)["activity"] == pytest.approx(0.4 / np.sqrt(44), rel=0.01)
    assert row_of([STILL] * 40, look)["activity"] == 0


def test_where_nothing_can_change() -> None:
    with pytest.raises(NotApplicable, match="no face"):
        expressiveness.compute(span(5), {"landmarks": no_landmarks(), "head_pose": {}})
    with pytest.raises(NotApplicable, match="too few frames with a face"):
        expressiveness.compute(span(5), {"landmarks": landmarks_of([STILL] * 5), "head_pose": {}})
