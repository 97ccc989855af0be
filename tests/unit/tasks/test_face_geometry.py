from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.face_geometry import (
    CROP_DOWN,
    CROP_SIDE,
    LEFT_EYE_OUTER,
    RIGHT_EYE_OUTER,
    STABLE_POINTS,
    Box,
    Crop,
    align_by_similarity,
    associate,
    blendshapes_of,
    crop_of,
    crops_between,
    main_faces,
    points_of,
)


def face(frame: int, x0: float, y0: float, side: float, *, roll: float = 0.0) -> dict[str, float]:
    return {
        "frame": frame,
        "x0": x0,
        "y0": y0,
        "x1": x0 + side,
        "y1": y0 + side,
        "right_eye_x": x0 + side / 3,
        "right_eye_y": y0 + side / 3,
        "left_eye_x": x0 + side / 3 + side / 3 * float(np.cos(roll)),
        "left_eye_y": y0 + side / 3 + side / 3 * float(np.sin(roll)),
    }


def test_iou() -> None:
    assert Box(0, 0, 2, 2).iou(Box(1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert Box(0, 0, 2, 2).iou(Box(5, 5, 6, 6)) == 0
    assert Box(0, 0, 0, 0).iou(Box(0, 0, 0, 0)) == 0


def test_tracks_follow_overlap_and_end_after_a_gap() -> None:
    boxes = [Box(0, 0, 10, 10), Box(50, 0, 60, 10), Box(51, 0, 61, 10), Box(1, 0, 11, 10), Box(0, 0, 10, 10)]
    assert associate([0, 0, 5, 5, 40], boxes) == [0, 1, 1, 0, 2]


def test_the_main_face_is_the_largest_over_time_not_on_each_frame() -> None:
    rows = [face(0, 0, 0, 50), face(0, 200, 0, 40), face(5, 200, 0, 60), face(5, 0, 0, 50), face(10, 0, 0, 50)]
    rows += [face(15, 200, 0, 60)]
    chosen = main_faces(rows)
    assert [r["x0"] for _, r in chosen] == [200, 200, 0, 200]
    assert [int(r["frame"]) for _, r in chosen] == [0, 5, 10, 15]


def test_crops_are_interpolated_within_a_track_and_held_at_its_ends() -> None:
    crops = crops_between([face(0, 100, 100, 50), face(5, 110, 100, 50)], range(30))
    assert crops[2].center_x == pytest.approx(125 + 2 / 5 * 10)
    assert crops[2].center_y == pytest.approx(125 + CROP_DOWN * 50)
    assert crops[2].side_px == pytest.approx(CROP_SIDE * 50)
    assert crops[15].center_x == crops[5].center_x == 135
    assert 16 not in crops


def test_crops_jump_between_tracks() -> None:
    crops = crops_between([face(0, 0, 0, 50), face(5, 300, 0, 50)], range(6))
    assert {round(c.center_x) for c in crops.values()} == {25, 325}
    assert crops_between([], range(5)) == {}


def test_a_crop_levels_the_eyes() -> None:
    crop = crop_of(face(0, 100, 100, 60, roll=0.3))
    assert crop.angle_rad == pytest.approx(0.3)
    to_image = crop.to_image(256)
    center = to_image[:, :2] @ [127.5, 127.5] + to_image[:, 2]
    assert center == pytest.approx([crop.center_x, crop.center_y])
    right = to_image[:, :2] @ [1, 0]
    assert np.arctan2(right[1], right[0]) == pytest.approx(0.3)
    assert np.hypot(*right) == pytest.approx(crop.side_px / 256)
    assert Crop(5, 5, 2, 0).to_image(2) == pytest.approx(np.array([[1, 0, 4.5], [0, 1, 4.5]]))


def test_alignment_removes_place_size_and_roll_and_keeps_the_mouth() -> None:
    rng = np.random.default_rng(0)
    rest = rng.normal(0, 40, (478, 3))
    rest[RIGHT_EYE_OUTER], rest[LEFT_EYE_OUTER] = (-30, 0, 0), (30, 0, 0)
    speaking = np.repeat(rest[None], 6, axis=0)
    mouth = 14
    assert mouth not in STABLE_POINTS
    speaking[:, mouth, 1] += np.array([0, 3, 6, 3, 0, 6])
    moved = []
    for t, frame in enumerate(speaking):
        turn, size = 0.1 * t - 0.2, 1 + 0.1 * t
        rotation = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        moved.append(np.hstack([frame[:, :2] @ rotation.T + [20 * t, -7 * t], size * frame[:, 2:]]))
    aligned = align_by_similarity(np.array(moved, np.float32))
    assert aligned[:, mouth, 1] * 60 == pytest.approx(speaking[:, mouth, 1], abs=0.01)
    still = [i for i in range(478) if i != mouth]
    assert np.abs(aligned[:, still] - aligned[0, still]).max() < 1e-4
    assert np.abs(aligned[:, still] * 60 - rest[still]).max() < 0.01


def test_points_and_blendshapes_come_back_from_fixed_point() -> None:
    points = np.arange(478 * 3, dtype=np.int16)
    table = pa.table(
        {
            "frame": pa.array([0, 1], pa.int32()),
            "points": pa.array([points, points + 32], pa.list_(pa.int16())),
            "blendshapes": pa.array([np.full(52, 5000, np.int16), None], pa.list_(pa.int16())),
        }
    )
    assert points_of(table).shape == (2, 478, 3)
    assert points_of(table)[1, 0, 0] == 1.0
    frames, values = blendshapes_of(table)
    assert frames.tolist() == [0]
    assert values.shape == (1, 52)
    assert values[0, 7] == 0.5
    assert points_of(table.slice(0, 0)).shape == (0, 478, 3)
