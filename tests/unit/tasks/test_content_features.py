from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.content_features import (
    MAX_FRAMES,
    NUM_FEATURES,
    _lasting,
    _longest,
    _look,
    _motion,
    _where,
    features,
    spread,
)


def texture(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 225, (24, 32, 3), np.uint8)
    return cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)


def gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def test_as_many_as_said_and_finite_for_anything() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8)
    for images in ([texture()], [np.zeros((180, 320, 3), np.uint8)] * 3, [noise, texture()[:180]]):
        told = features(images)
        assert told.shape == (NUM_FEATURES,)
        assert np.isfinite(told).all()


def test_many_frames_are_thinned_out_evenly() -> None:
    assert spread(3) == [0, 1, 2]
    assert spread(61) == [0, 12, 24, 36, 48, 60]
    assert len(spread(1000)) == MAX_FRAMES


def test_a_camera_move_over_a_still_leaves_nothing_a_moving_part_does() -> None:
    still = gray(texture())
    half = cv2.resize(still, (160, 120)).astype(np.float32)
    zoom = cv2.getRotationMatrix2D((80, 60), 1.0, 1.05)
    zoomed = cv2.warpAffine(half, zoom, (160, 120), borderMode=cv2.BORDER_REFLECT)
    part = half.copy()
    part[40:80, 60:110] = np.roll(half, 9, axis=1)[40:80, 60:110]
    changed, left = np.expm1(_motion(half, zoomed)[0]), np.expm1(_motion(half, zoomed)[4])
    assert left < 0.25 * changed
    assert _motion(half, zoomed)[9] > 0.01
    assert _motion(half, part)[6] > 2 * _motion(half, zoomed)[6]


def test_nothing_moves_on_a_frozen_picture() -> None:
    flat = np.full((90, 160), 70, np.float32)
    told = _motion(flat, flat)
    assert [told[i] for i in (0, 4, 9)] == pytest.approx([0, 0, 0], abs=1e-6)
    assert told[2] == told[3] == told[10] == 1


def test_a_rectangle_that_stays_is_found_by_its_sides() -> None:
    frames = []
    for seed in range(3):
        image = gray(cv2.GaussianBlur(texture(seed), (0, 0), 3))
        image[60:160, 80:200] = 250 - image[60:160, 80:200] // 8
        frames.append(image)
    _, _, vertical, other, both, horizontal, _, _ = _lasting(frames)
    assert vertical == pytest.approx(100 / 240, abs=0.03)
    assert other == pytest.approx(100 / 240, abs=0.03)
    assert both == pytest.approx(vertical * other)
    assert horizontal == pytest.approx(120 / 320, abs=0.03)
    plain = [gray(cv2.GaussianBlur(texture(seed), (0, 0), 3)) for seed in range(3)]
    assert _lasting(plain)[2] < 0.15


def test_where_it_always_moves() -> None:
    still = gray(texture())[:120, :160].astype(np.float32)
    rng = np.random.default_rng(0)
    frames = [still.copy() for _ in range(3)]
    for frame in frames:
        frame[16:56, 80:144] = rng.uniform(0, 255, (40, 64))
    always, never, box, fill = _where([(frames[0], frames[1]), (frames[1], frames[2])])
    assert always == box == pytest.approx(40 / 300)
    assert never == pytest.approx(260 / 300)
    assert fill == 1
    frames[2][100:108, 0:8] = 255  # what comes once does not move always
    assert _where([(frames[0], frames[1]), (frames[1], frames[2])])[0] == always
    assert _where([(still, still)]) == [0, 1, 0, 0]


def test_a_fast_pan_is_found_too() -> None:
    wide = cv2.resize(gray(texture()), (400, 120), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    told = _motion(wide[:, 100:260], wide[:, 124:284])
    assert np.expm1(told[4]) < 0.15 * np.expm1(told[0])
    assert told[9] == pytest.approx(24 / 160, abs=0.02)


def test_lines_at_the_border_do_not_count() -> None:
    steps = np.zeros((50, 100), bool)
    steps[:, 0] = True
    assert _longest(steps) == [0, 0, 0]
    steps[10:40, 50] = True
    assert _longest(steps)[0] == pytest.approx(0.6)


def test_flat_drawn_pictures_have_few_colours_and_straight_edges() -> None:
    drawn = np.full((240, 320, 3), 240, np.uint8)
    cv2.rectangle(drawn, (40, 40), (200, 120), (20, 60, 200), -1)
    flat, photo = _look(drawn, gray(drawn)), _look(texture(), gray(texture()))
    assert flat[0] > 0.9 > photo[0]
    assert flat[6] > 0.95 > photo[6]
    assert flat[10] > 0.99 > photo[10]
    assert flat[11] < 1 < photo[11]
