from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.cover_corpus import main, mesh_of, mirror
from tasks.face_cover import square_of
from tests import made
from tests.drawn_face import draw_face, wall
from tests.face_meshes import turned_face


def test_free_and_covered_examples_of_a_film(tmp_path: Path) -> None:
    def talking(time_s: float) -> np.ndarray:
        return draw_face(wall(320, 240), 150 + 12 * time_s, 120, 150, mouth_open=time_s % 0.4)

    made.write(tmp_path / "a.mp4", made.grid(0.6), talking)
    main([str(tmp_path / "out"), str(tmp_path / "a.mp4")])
    with np.load(tmp_path / "out" / "a.mp4.npz") as held:
        assert held["mouth_NF"].shape == held["face_NF"].shape == (len(held["mouth_N"]), 2340)
        mouth, face = held["mouth_N"], held["face_N"]
        assert np.abs(held["mouth_NF"][0] - held["mouth_NF"][1]).max() > 0  # the mirrored one
    assert len(mouth) % 2 == 0
    assert (mouth[:2] == 0).all()
    assert (mouth > 0.8).sum() > 5
    assert face.max() < 0.9
    assert ((mouth == 0) & (face > 0)).any()


def test_a_film_without_a_face_is_refused(tmp_path: Path) -> None:
    made.write(tmp_path / "wall.mp4", made.grid(0.6), made.moving())
    with pytest.raises(ValueError, match=r"wall\.mp4: no face"):
        main([str(tmp_path / "out"), str(tmp_path / "wall.mp4")])


def test_a_mirrored_mesh_is_upright_where_the_mirrored_face_is() -> None:
    points = turned_face((0, 0, 15), center_px=(100, 120))
    square, mirrored = square_of(points, "face"), square_of(mirror(points, 320), "face")
    assert mirrored.center_x == pytest.approx(319 - square.center_x)
    assert mirrored.angle_rad == pytest.approx(-square.angle_rad)


def test_no_mesh_on_a_wall() -> None:
    assert mesh_of(wall(321, 241)) is None
