from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.content_rectangle import NUM_RECTANGLE, rectangle

HEIGHT, WIDTH = 180, 320


def moving(num: int, seed: int, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """A soft texture that wanders by a few pixels from frame to frame."""
    coarse = np.random.default_rng(seed).integers(20, 236, (height // 16, width // 16 + 4), np.uint8)
    wide = cv2.resize(coarse, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    return [wide[:, 9 * i : 9 * i + width].copy() for i in range(num)]


def with_inset(x0: int, y0: int, x1: int, y1: int) -> list[np.ndarray]:
    frames = moving(4, 0)
    for frame, part in zip(frames, moving(4, 1, y1 - y0, x1 - x0), strict=True):
        frame[y0:y1, x0:x1] = part
    return frames


def test_a_video_in_the_picture_has_four_sides_that_stay() -> None:
    inside, leaning, area, *_ = rectangle(with_inset(190, 90, 300, 160))
    assert inside > 0.5
    assert inside > leaning
    assert area == pytest.approx(110 * 70 / (HEIGHT * WIDTH), rel=0.1)
    assert max(rectangle(moving(4, 0))[:2]) < 0.35


def test_one_in_the_corner_leans_against_two_borders() -> None:
    inside, leaning, area, *_ = rectangle(with_inset(200, 100, WIDTH, HEIGHT))
    assert leaning > 0.5
    assert leaning > inside
    assert area == pytest.approx(120 * 80 / (HEIGHT * WIDTH), rel=0.1)


def test_a_picture_on_the_wall_has_the_sides_but_nothing_moves_in_it() -> None:
    frames = moving(4, 0)
    for frame in frames:
        frame[90:160, 190:300] = 230
    assert rectangle(frames)[0] < 0.6 * rectangle(with_inset(190, 90, 300, 160))[0]


def test_change_inside_is_set_against_that_outside() -> None:
    frames = [np.full((HEIGHT, WIDTH), 120, np.uint8) for _ in range(4)]
    for frame, part in zip(frames, moving(4, 1, 70, 110), strict=True):
        frame[90:160, 190:300] = part
    inside, _, _, more_inside, within, without = rectangle(frames)
    assert inside > 0.5
    assert more_inside > 2
    assert within > without + 2
    assert without == pytest.approx(np.log(0.3), abs=0.01)
    assert rectangle(with_inset(190, 90, 300, 160))[3] == pytest.approx(0, abs=0.7)


def test_pictures_without_lines_too_small_or_alone_are_told_too() -> None:
    for frames in ([np.zeros((HEIGHT, WIDTH), np.uint8)] * 3, [np.zeros((6, 8), np.uint8)]):
        assert rectangle(frames) == [0.0] * NUM_RECTANGLE
    assert np.isfinite(rectangle(moving(1, 0))).all()
