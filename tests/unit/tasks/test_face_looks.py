from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.face_geometry import Box
from tasks.face_looks import CHEEKS, FOREHEAD, around, background, ita, lighting, looks, skin_patches, tone_of

FACE = Box(120, 60, 200, 160)


def mesh() -> np.ndarray:
    points = np.zeros((478, 2), np.float32)
    points[CHEEKS[0]], points[CHEEKS[1]], points[FOREHEAD] = (140, 120), (180, 120), (160, 80)
    return points


def scene(ground: float, right: float, left: float) -> np.ndarray:
    """Gray levels, 0 to 1, of the ground and of the two halves of a face."""
    image = np.full((240, 320), ground)
    image[60:160, 120:160], image[60:160, 160:200] = right, left
    return (image[..., None].repeat(3, axis=2) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("ground", "right", "left", "told"),
    [
        (0.05, 0.1, 0.1, "dark"),
        (0.9, 0.3, 0.3, "backlit"),
        (0.4, 0.6, 0.15, "side_lit"),
        (0.4, 0.15, 0.6, "side_lit"),
        (0.05, 0.5, 0.5, "low_key"),
        (0.9, 0.8, 0.8, "high_key"),
        (0.5, 0.5, 0.5, "even"),
    ],
)
def test_lighting(ground: float, right: float, left: float, told: str) -> None:
    assert looks(scene(ground, right, left), mesh(), FACE).lighting == told


def test_lighting_without_a_face() -> None:
    everywhere = np.ones((10, 10), bool)
    for level, told in ((0.1, "dark"), (0.24, "low_key"), (0.5, "even"), (0.9, "high_key")):
        assert lighting(np.full((10, 10), level), everywhere, []) == told


def test_backgrounds() -> None:
    everywhere = np.ones((240, 320), bool)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    green = np.full((240, 320, 3), (20, 200, 40), np.uint8)
    assert background(noise, everywhere) == "detailed"
    assert background(cv2.GaussianBlur(noise, (0, 0), 20) * 3, everywhere) in ("plain", "blurred")
    assert background(np.full((240, 320, 3), 130, np.uint8), everywhere) == "plain"
    assert background(green, everywhere) == "keyed"
    assert background(noise, np.zeros((240, 320), bool)) == "hidden"


def test_a_soft_scene_with_large_shapes_is_blurred() -> None:
    shapes = np.zeros((240, 320, 3), np.uint8)
    shapes[:, 160:] = 220
    assert background(cv2.GaussianBlur(shapes, (0, 0), 12), np.ones((240, 320), bool)) == "blurred"


def test_the_ground_leaves_out_head_and_body() -> None:
    ground = around((240, 320), FACE)
    assert not ground[110, 160]
    assert not ground[230, 60]
    assert ground[20, 20]
    assert around((240, 320), None).all()


def test_patches_need_all_three_places_in_the_frame() -> None:
    image = scene(0.5, 0.5, 0.5)
    assert len(skin_patches(image, mesh(), FACE)) == 3
    outside = mesh()
    outside[FOREHEAD] = (160, -2)
    assert skin_patches(image, outside, FACE) == []
    assert looks(image, outside, FACE).ita_deg is None


def test_ita_rises_with_lightness_and_has_chardons_bands() -> None:
    """Colours of the Fitzpatrick-like palette of von Luschan, light to dark."""
    palette = [(0.96, 0.86, 0.78), (0.88, 0.72, 0.6), (0.7, 0.5, 0.38), (0.36, 0.24, 0.18)]
    told = [ita([np.array(c)] * 3) for c in palette]
    assert told == sorted(told, reverse=True)
    assert tone_of(told[0]) == "very_light"
    assert tone_of(told[-1]) == "dark"
    assert [tone_of(t) for t in (56, 50, 30, 20, 0, -40)] == [
        "very_light",
        "light",
        "intermediate",
        "tan",
        "brown",
        "dark",
    ]
    assert ita([]) is None


def test_ita_is_chardons_formula() -> None:
    import math

    lab = cv2.cvtColor(np.float32([[[0.8, 0.65, 0.55]]]), cv2.COLOR_RGB2LAB)[0, 0]
    assert ita([np.array([0.8, 0.65, 0.55])]) == pytest.approx(math.degrees(math.atan((lab[0] - 50) / lab[2])), abs=0.1)
