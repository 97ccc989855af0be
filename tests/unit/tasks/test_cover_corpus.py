from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks import cover_corpus
from tasks.cover_corpus import damaged, main, mesh_of, mirror, varied
from tasks.face_cover import square_of
from tests import made
from tests.drawn_face import draw_face, wall
from tests.face_meshes import turned_face


def test_free_and_covered_examples_of_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cover_corpus, "FRAMES_PER_VIDEO", 1)
    monkeypatch.setattr(cover_corpus, "NUM_FREE", 2)

    def talking(time_s: float) -> np.ndarray:
        return draw_face(wall(320, 240), 150 + 12 * time_s, 120, 150, mouth_open=time_s % 0.4)

    made.write(tmp_path / "a.mp4", made.grid(0.6), talking)
    main([str(tmp_path / "out"), str(tmp_path / "a.mp4")])
    with np.load(tmp_path / "out" / "a.mp4.npz") as held:
        assert held["mouth_NF"].shape == held["face_NF"].shape == (len(held["mouth_N"]), 2340)
        mouth, face = held["mouth_N"], held["face_N"]
        assert np.abs(held["mouth_NF"][:3] - held["mouth_NF"][[1, 2, 0]]).max(axis=1).min() > 0
    assert (mouth[:3] == 0).all()  # as it is, and damaged twice
    assert mouth[3] > 0
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


def test_damage_is_of_any_grade_and_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float]] = []

    def note(image: np.ndarray, kind: str, strength: float, seed: int) -> np.ndarray:
        told.append((kind, strength))
        return image

    monkeypatch.setattr(cover_corpus, "degrade", note)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged(wall(64, 48), rng)
    assert {kind for kind, _ in told} == set(cover_corpus.DAMAGES)
    for kind in cover_corpus.DAMAGES:
        none, *_, worst = cover_corpus.STRENGTHS[kind]
        shares = [(s - none) / (worst - none) for k, s in told if k == kind]
        assert min(shares) < 0.5 < 0.8 < max(shares)
        assert 0 <= min(shares) <= max(shares) <= 1


def test_a_varied_square_keeps_its_skin_beside_it() -> None:
    square = np.full((64, 64, 3), (180, 140, 120), np.uint8)
    skin = cv2.cvtColor(square[:1, :1], cv2.COLOR_RGB2LAB)[0, 0].astype(np.float32)
    for seed in range(5):
        shown, tone = varied(square, skin, np.random.default_rng(seed))
        assert (shown.shape, shown.dtype, tone.shape) == (square.shape, np.uint8, (3,))
        middle = cv2.cvtColor(shown[31:33, 31:33], cv2.COLOR_RGB2LAB).mean(axis=(0, 1))
        assert middle == pytest.approx(tone, abs=4)
        assert np.ptp(shown.astype(int), axis=(0, 1)).max() > 3  # lit from one side
