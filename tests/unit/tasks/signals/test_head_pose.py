from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.signal import NotApplicable
from tasks.signals import faces, head_pose, landmarks
from tests.drawn_face import draw_face, media_of, wall
from tests.face_meshes import landmarks_of, no_landmarks, span, turned_face


def test_mean_range_and_speed_of_a_steady_turn() -> None:
    yaws = np.linspace(-10, 40, 51)  # one degree a frame
    table = landmarks_of([turned_face((y, 6, -4)) for y in yaws], start_frame=100)
    made = head_pose.compute(span(102, start_frame=100), {"landmarks": table})
    row = made.row
    assert set(row) == {c.name for c in head_pose.SIGNAL.columns}
    assert row["yaw_deg"] == pytest.approx(15, abs=0.2)
    assert (row["yaw_p05_deg"], row["yaw_p95_deg"]) == pytest.approx((-7.5, 37.5), abs=0.3)
    assert (row["pitch_deg"], row["roll_deg"]) == pytest.approx((6, -4), abs=0.2)
    assert row["speed_deg_s"] == pytest.approx(25, abs=0.5)
    assert row["measured_ratio"] == 0.5
    # cos(yaw) cos(6) >= cos(20) up to a yaw of 19.1
    assert row["frontal_ratio"] == pytest.approx(30 / 51, abs=0.03)
    assert made.timeline is not None
    assert made.timeline["frame"].to_pylist() == list(range(100, 151))
    assert made.timeline["yaw_deg"].to_numpy() == pytest.approx(yaws, abs=0.3)


def test_roll_is_averaged_around_the_circle() -> None:
    table = landmarks_of([turned_face((0, 0, r)) for r in (170, 175, -175)])
    made = head_pose.compute(span(3), {"landmarks": table})
    assert abs(made.row["roll_deg"]) == pytest.approx(176.7, abs=0.2)
    assert made.timeline is not None
    assert made.timeline["roll_deg"].to_numpy() == pytest.approx([170, 175, -175], abs=0.3)


def test_no_speed_across_a_gap() -> None:
    frames = [turned_face((y, 0, 0)) for y in (0, 50)]
    table = landmarks_of([frames[0]] * 3 + [frames[1]] * 3)
    gap = table.take([0, 1, 4, 5])
    assert head_pose.compute(span(6), {"landmarks": gap}).row["speed_deg_s"] == pytest.approx(250, abs=2)
    assert head_pose.compute(span(6), {"landmarks": table.slice(0, 3)}).row["speed_deg_s"] == 0


def test_a_rotated_picture_of_a_face() -> None:
    scene = draw_face(wall(640, 480), 320, 240, 200)
    rolls = []
    for angle in (0, 20):
        turn = cv2.getRotationMatrix2D((320, 240), -angle, 1)
        media = media_of({0: cv2.warpAffine(scene, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)}, 1)
        found = faces.compute(media, {}).timeline
        mesh = landmarks.compute(media, {"faces": found}).timeline
        rolls.append(head_pose.compute(media, {"landmarks": mesh}).row["roll_deg"])
    assert rolls[1] - rolls[0] == pytest.approx(20, abs=3)


def test_no_face() -> None:
    with pytest.raises(NotApplicable, match="no face"):
        head_pose.compute(span(10), {"landmarks": no_landmarks()})
