from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from tasks.signal import NotApplicable
from tasks.signals import face_quality, faces
from tests.drawn_face import draw_face, media_of, wall


def row_of(scenes: dict[int, np.ndarray], *, source_width_px: int = 640) -> dict[str, Any]:
    media = media_of(scenes, max(scenes) + 1, source_width_px=source_width_px)
    return dict(face_quality.compute(media, {"faces": faces.compute(media, {}).timeline}).row)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return draw_face(wall(640, 480), 320, 220, 260)


def test_size_in_source_pixels_and_the_least_of_it(scene: np.ndarray) -> None:
    small = draw_face(wall(640, 480), 320, 220, 130)
    row = row_of({0: scene, 25: scene, 50: small}, source_width_px=1920)
    assert set(row) == {c.name for c in face_quality.SIGNAL.columns}
    assert row["height_px"] == pytest.approx(3 * 260, rel=0.15)
    assert row["height_min_px"] == pytest.approx(3 * 130, rel=0.15)
    assert row["num_frames"] == 3


def test_sharpness_falls_with_blur_and_tells_the_worst_frame(scene: np.ndarray) -> None:
    scores = []
    for sigma in (0.0, 2.0, 4.0, 8.0):
        shown = cv2.GaussianBlur(scene, (0, 0), sigma) if sigma else scene
        scores.append(row_of({0: shown})["sharpness_db"])
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 10
    mixed = row_of({0: scene, 25: cv2.GaussianBlur(scene, (0, 0), 8)})
    assert mixed["sharpness_min_db"] == pytest.approx(scores[-1], abs=0.5)
    assert mixed["sharpness_db"] == pytest.approx((scores[0] + scores[-1]) / 2, abs=0.5)


def test_a_face_of_few_pixels_is_not_sharp(scene: np.ndarray) -> None:
    few = cv2.resize(scene, (160, 120), interpolation=cv2.INTER_AREA)
    assert row_of({0: few})["sharpness_db"] < row_of({0: scene})["sharpness_db"] - 2


def test_flat_ground_is_not_sharp_and_light_does_not_matter() -> None:
    noise = np.random.default_rng(0).normal(110, 20, (148, 148))
    assert face_quality.sharpness_db(np.full((148, 148), 90, np.uint8)) == -60
    assert face_quality.sharpness_db(noise) > 10
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    assert face_quality.sharpness_db(soft) < face_quality.sharpness_db(noise) - 15
    assert face_quality.sharpness_db(0.5 * soft) == pytest.approx(face_quality.sharpness_db(soft), abs=0.1)


def test_light() -> None:
    ramp = np.tile(np.linspace(16, 235, 100), (10, 1))
    brightness, contrast, clipped, side = face_quality.light(ramp)
    assert (brightness, contrast, clipped) == pytest.approx((0.5, 0.9, 0.06), abs=0.01)
    assert side == pytest.approx(0.5, abs=0.01)
    assert face_quality.light(np.full((4, 4), 16.0)) == (0, 0, 1, 0)
    assert face_quality.light(np.full((4, 4), 235.0)) == (1, 0, 1, 0)


def test_a_dark_face(scene: np.ndarray) -> None:
    bright, dark = (row_of({0: (scene * k).astype(np.uint8)}) for k in (1.0, 0.4))
    assert dark["brightness"] == pytest.approx(0.4 * bright["brightness"], rel=0.05)
    assert dark["contrast"] == pytest.approx(0.4 * bright["contrast"], rel=0.1)


def test_no_face() -> None:
    media = media_of({0: wall()}, 5)
    with pytest.raises(NotApplicable, match="no face"):
        face_quality.compute(media, {"faces": faces.compute(media, {}).timeline})
