from __future__ import annotations

import numpy as np
import pytest

from tasks.drawn_covers import covered_image, mouth_center
from tasks.face_cover import cover_features, square_of
from tests.drawn_face import draw_face, wall
from tests.face_meshes import turned_face

POINTS = turned_face(center_px=(160, 120))


def test_the_squares_follow_place_size_and_roll() -> None:
    mouth, face = square_of(POINTS, "mouth"), square_of(POINTS, "face")
    assert (mouth.center_x, mouth.center_y) == pytest.approx(tuple(mouth_center(POINTS)), abs=0.01)
    assert face.center_y < mouth.center_y
    assert face.side_px > 1.5 * mouth.side_px
    rolled = square_of(turned_face((0, 0, 20), center_px=(160, 120), scale=2), "mouth")
    assert np.degrees(rolled.angle_rad) == pytest.approx(20, abs=0.5)
    assert rolled.side_px == pytest.approx(2 * mouth.side_px, rel=0.01)


def test_a_thing_over_the_mouth_shows_in_the_mouth_s_features() -> None:
    image = draw_face(wall(320, 240), 160, 120, 150)
    free = cover_features(image, POINTS, "mouth")
    box = covered_image(image, POINTS, "box", mouth_center(POINTS), np.random.default_rng(1))[0]
    assert free.shape == (1764 + 3 * 192,)
    assert np.isfinite(free).all()
    assert np.abs(cover_features(box, POINTS, "mouth") - free).mean() > 0.05
    far = image.copy()
    far[:20] = 0
    assert (cover_features(far, POINTS, "mouth") == free).all()


def test_colour_is_told_against_the_skin() -> None:
    image = np.full((240, 320, 3), (180, 140, 120), np.uint8)
    away = cover_features(image, POINTS, "face")[1764 : 1764 + 192]
    assert np.abs(away).max() < 0.05
