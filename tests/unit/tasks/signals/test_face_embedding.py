from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.signal import NotApplicable
from tasks.signals import face_embedding, faces, landmarks
from tasks.signals.face_embedding import TEMPLATE, aligned, embedding, five_points, pooled, spread_evenly
from tests.drawn_face import draw_face, media_of, wall


def mesh_of(scenes: dict[int, np.ndarray], end_frame: int) -> pa.Table:
    media = media_of(scenes, end_frame)
    found = faces.compute(media, {}).timeline
    mesh = landmarks.compute(media, {"faces": found}).timeline
    assert mesh is not None
    return mesh


def dots(turn_rad: float, scale: float, x_px: float, y_px: float) -> np.ndarray:
    """The template's five points, turned, scaled and moved."""
    plane = (TEMPLATE @ (1, 1j)) * scale * np.exp(1j * turn_rad) + x_px + 1j * y_px
    return np.stack([plane.real, plane.imag], axis=-1)


def test_the_five_points_come_to_where_the_network_expects_them() -> None:
    import cv2

    points = dots(0.4, 2.5, 150, 40)
    image = np.zeros((480, 480, 3), np.uint8)
    for number, (x, y) in enumerate(points):
        cv2.circle(image, (round(x), round(y)), 8, (50 * (number + 1),) * 3, -1)
    square = aligned(image, points)
    assert square.shape == (112, 112, 3)
    for number, (x, y) in enumerate(TEMPLATE):
        assert abs(int(square[round(y), round(x), 0]) - 50 * (number + 1)) <= 2


def test_points_of_the_mesh() -> None:
    mesh = np.zeros((1, 478, 3))
    for index, place in {33: (10, 20), 133: (20, 22), 362: (40, 22), 263: (50, 24), 1: (30, 40)}.items():
        mesh[0, index, :2] = place
    mesh[0, 61, :2], mesh[0, 291, :2] = (22, 60), (38, 61)
    assert five_points(mesh)[0].tolist() == [[15, 21], [45, 23], [30, 40], [22, 60], [38, 61]]


def test_a_face_is_the_same_when_moved_and_scaled_and_no_other() -> None:
    """The cosine of a face with itself elsewhere is far above that with a face of other features."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, (112, 112, 3), np.uint8)
    scenes = {0: draw_face(wall(), 160, 120, 130), 25: draw_face(wall(), 130, 130, 170)}
    mesh = mesh_of(scenes, 50)
    made = face_embedding.compute(media_of(scenes, 50), {"landmarks": mesh})
    assert set(made.row) == {c.name for c in face_embedding.SIGNAL.columns}
    assert (made.row["num_faces"], made.row["num_pooled"]) == (2, 2)
    assert made.row["spread"] < 0.15
    vector = made.vectors["face"]
    assert vector.shape == (128,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)
    assert abs(float(embedding(noise, TEMPLATE) @ vector)) < 0.5
    assert made.timeline is not None
    assert made.timeline["frame"].to_pylist() == [0, 25]
    assert len(made.timeline["embedding"][0].as_py()) == 128


def test_eyes_are_measured_in_source_pixels() -> None:
    scene = {0: draw_face(wall(), 160, 120, 130)}
    mesh = mesh_of(scene, 25)
    row = face_embedding.compute(media_of(scene, 25, source_width_px=960), {"landmarks": mesh}).row
    assert row["eyes_px"] == pytest.approx(3 * 48 * 130 / 150, rel=0.15)  # drawn 48 apart in a face of 150


def test_somebody_else_on_few_frames_is_left_out_of_the_vector() -> None:
    one, other = np.eye(128)[0], np.eye(128)[1]
    near = 0.9 * one + np.sqrt(1 - 0.81) * np.eye(128)[2]
    vector, of_main = pooled(np.stack([other, one, near, one]))
    assert of_main.tolist() == [False, True, True, True]
    assert float(vector @ other) == 0
    assert float(vector @ one) > 0.98


def test_frames_are_spread_over_the_clip() -> None:
    frames = list(range(0, 1500, 25))
    assert spread_evenly(frames[:2], 2.0) == frames[:2]
    assert spread_evenly(frames[:4], 4.0) == [0, 50, 75]
    assert spread_evenly(frames[:10], 10.0) == [0, 50, 100, 175, 225]
    assert len(spread_evenly(frames, 60.0)) == 16
    assert spread_evenly(frames, 60.0)[-1] == 1475


def test_no_face() -> None:
    media = media_of({0: wall()}, 25)
    with pytest.raises(NotApplicable, match="no face"):
        face_embedding.compute(media, {"landmarks": mesh_of({0: wall()}, 25)})


def test_a_face_too_small_to_tell_whose_it_is() -> None:
    mesh = mesh_of({0: draw_face(wall(), 160, 120, 130)}, 25)
    far = np.asarray(mesh["points"][0].as_py(), np.int16) // 10
    small = mesh.set_column(
        mesh.column_names.index("points"), "points", pa.array([far] * mesh.num_rows, pa.list_(pa.int16()))
    )
    with pytest.raises(NotApplicable, match="no face with eyes 10 px apart"):
        face_embedding.compute(media_of({0: wall()}, 25), {"landmarks": small})
