from __future__ import annotations

import numpy as np
import pytest

from tasks.drawn_covers import KINDS, covered_image, covers_face, covers_mouth, face_height, mouth_center
from tasks.face_geometry import FACE_OVAL
from tests.face_meshes import turned_face


@pytest.mark.parametrize("kind", list(KINDS))
def test_it_covers_what_it_is_drawn_over_and_leaves_the_rest(kind: str) -> None:
    points = turned_face(center_px=(160, 120))
    image = np.full((240, 320, 3), 140, np.uint8)
    shown, cover = covered_image(image, points, kind, mouth_center(points), np.random.default_rng(3))
    assert covers_mouth(cover, points) > 0.8
    assert 0.05 < covers_face(cover, points, FACE_OVAL) < 0.8
    assert np.abs(shown[cover < 0.002].astype(int) - 140).max() <= 1
    assert np.abs(shown[cover > 0.99].astype(int) - 140).mean() > 3
    assert (image == 140).all()


def test_beside_the_face_nothing_of_it_is_covered() -> None:
    points = turned_face(center_px=(160, 120))
    image = np.full((240, 640, 3), 140, np.uint8)
    away = np.array([160 + 2.5 * face_height(points), 120])
    shown, cover = covered_image(image, points, "box", away, np.random.default_rng(0))
    assert covers_mouth(cover, points) == covers_face(cover, points, FACE_OVAL) == 0
    assert (shown != 140).any()


def test_out_of_the_picture_nothing_changes() -> None:
    points = turned_face(center_px=(160, 120))
    image = np.full((240, 320, 3), 140, np.uint8)
    shown, cover = covered_image(image, points, "box", np.array([5000.0, 120.0]), np.random.default_rng(0))
    assert (shown == image).all()
    assert cover.max() == 0
    assert covers_mouth(cover, points - [5000, 0, 0]) == 0
