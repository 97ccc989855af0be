from __future__ import annotations

import numpy as np
import pytest

from tasks.face_plausibility import FACE, LIDS, MIRRORED, blink_asymmetries, face_asymmetry, face_jitter


def symmetric_face() -> np.ndarray:
    """Points (478, 3): each of FACE and its mirror image about x = 0; eyes' outer corners 100 px apart."""
    points = np.random.default_rng(1).normal(0, 40, (478, 3))
    for one, other in zip(FACE, MIRRORED, strict=True):
        points[other] = points[one] * (-1, 1, 1)
        if one == other:
            points[one, 0] = 0
    points[33], points[263] = (-50, -20, 5), (50, -20, 5)
    return points


def turned(points: np.ndarray, yaw_deg: float, roll_deg: float) -> np.ndarray:
    yaw, roll = np.radians([yaw_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return points @ (about_z @ about_y).T + np.array([300.0, 200, 10])


@pytest.mark.parametrize("yaw_deg", [0.0, 30.0])
def test_a_symmetric_face_is_symmetric_however_it_is_turned(yaw_deg: float) -> None:
    face = symmetric_face()
    assert face_asymmetry(np.stack([turned(face, yaw_deg, 20)] * 4)) == pytest.approx(0, abs=1e-6)


def test_a_point_out_of_place_counts_for_itself_and_its_image() -> None:
    face = symmetric_face()
    face[291] += (0, 20, 0)
    off = face_asymmetry(np.stack([turned(face, 0, -10)] * 4))
    assert off == pytest.approx(np.sqrt(2 * 20**2 / len(FACE)) / 100, rel=0.1)


def test_the_most_frontal_frames_are_judged() -> None:
    face, bent = symmetric_face(), symmetric_face()
    bent[291] += (0, 20, 0)
    assert face_asymmetry(np.stack([turned(face, 2, 0)] + [turned(bent, 40, 0)] * 3)) == pytest.approx(0, abs=1e-6)


def test_every_point_is_the_mirror_image_of_its_mirror_image() -> None:
    image = dict(zip(FACE, MIRRORED, strict=True))
    assert len(image) == len(FACE)
    assert all(image[image[p]] == p for p in FACE)


def test_jitter_is_what_is_left_when_the_head_moves_evenly() -> None:
    face = symmetric_face()
    moving = np.stack([face * (1 + 0.01 * t) + np.array([5.0 * t, 3.0 * t, 0]) for t in range(20)])
    frames = np.arange(20)
    assert face_jitter(frames, moving) == pytest.approx(0, abs=1e-5)
    trembling = moving + np.random.default_rng(0).normal(0, 1, moving.shape)
    # The second difference of white noise of 0.01 eye spans in x and y: sqrt(2 * 6) times that.
    assert face_jitter(frames, trembling) == pytest.approx(0.01 * np.sqrt(12) / 1.1, rel=0.2)
    assert face_jitter(2 * frames, trembling) == 0
    assert face_jitter(frames[:2], trembling[:2]) == 0


def blinking(shut_right: float, shut_left: float, frames: range = range(10, 14), num: int = 40) -> np.ndarray:
    points = np.zeros((num, 478, 3))
    for (upper, lower, (outer, inner)), shut in zip(LIDS, (shut_right, shut_left), strict=True):
        points[:, outer, 0], points[:, inner, 0] = 0, 30
        points[:, upper, 1], points[:, lower, 1] = -5, 5
        points[frames.start : frames.stop, upper, 1] = -5 + 10 * shut
    return points


def test_a_blink_of_both_eyes_is_even_and_of_one_is_not() -> None:
    assert blink_asymmetries(blinking(0.9, 0.9)) == pytest.approx([0])
    assert blink_asymmetries(blinking(0.9, 0.45)) == pytest.approx([0.5])
    assert blink_asymmetries(blinking(0.0, 0.8)) == pytest.approx([1])


def test_what_is_no_blink() -> None:
    assert blink_asymmetries(blinking(0.3, 0.3)) == []
    assert blink_asymmetries(blinking(0.9, 0.9, range(10, 24))) == []
    twice = blinking(0.9, 0.9)
    twice[20:22] = twice[10]
    assert len(blink_asymmetries(twice)) == 2
    assert len(blink_asymmetries(blinking(0.9, 0.9, range(36, 40)))) == 1
