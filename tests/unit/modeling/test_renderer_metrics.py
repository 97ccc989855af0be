"""Each defect of a drawn mouth has a measure that sees it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from modeling.renderer_metrics import border_step, identity, picture_measures
from tests.unit.modeling.drawn_lips import face_clip

CLIP = face_clip(num=40)


def told(made: np.ndarray) -> dict[str, float]:
    return picture_measures(np.asarray(made, np.uint8), CLIP)


def test_the_truth_has_no_defect() -> None:
    best = told(CLIP.true)
    assert best["mouth_psnr"] > 70
    assert best["ssim"] == best["mouth_ssim"] == pytest.approx(1)
    assert best["sharpness"] == pytest.approx(1)
    assert best["mouth_flicker"] == best["closed_error"] == best["pause_quiver"] == 0


def test_quivering_lips_are_seen_in_silence_and_in_speech() -> None:
    shaken = CLIP.true.astype(int)
    shaken[::2, 30:70, 20:80] += 12
    made = told(np.clip(shaken, 0, 255))
    assert made["pause_quiver"] > 5
    assert made["mouth_flicker"] > 5


def test_a_mouth_that_is_left_open_is_seen() -> None:
    widest = int(np.argmax(CLIP.gap))
    left_open = CLIP.true.copy()
    left_open[CLIP.gap < 0.15] = CLIP.true[widest]
    assert told(left_open)["closed_error"] > 10


def test_a_mouth_that_is_painted_shut_is_seen() -> None:
    assert told(CLIP.true)["open_contrast"] == pytest.approx(1)
    shut = np.broadcast_to(CLIP.references[0, 0], CLIP.true.shape)
    assert told(np.asarray(shut))["open_contrast"] < 0.5


def test_blur_is_seen() -> None:
    blurred = np.stack([cv2.GaussianBlur(p, (0, 0), 2) for p in CLIP.true])
    assert told(blurred)["sharpness"] < 0.7


def test_a_pasted_box_is_seen() -> None:
    assert border_step(CLIP.warps[0], CLIP.warps[0]) == 0
    inner = CLIP.warps[0].copy()
    inner[:, 30:60, 30:60] = 0
    assert border_step(inner, CLIP.warps[0]) == 0, "within it may change"
    assert border_step(np.clip(CLIP.warps[0].astype(int) + 5, 0, 255).astype(np.uint8), CLIP.warps[0]) >= 5


def test_what_a_clip_does_not_have_is_not_measured() -> None:
    spoken = replace(CLIP, speech=np.ones(40, np.float32), gap=np.full(40, 0.5, np.float32), frames=np.arange(0, 80, 2))
    assert not {"pause_quiver", "closed_error", "mouth_flicker", "open_contrast"} & set(
        picture_measures(CLIP.true, spoken)
    )


def test_a_face_that_drifts_away_is_seen() -> None:
    def embed(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
        assert points.shape == (5, 2)
        colour = picture[100:156, 100:156].astype(float).mean(axis=(0, 1)) - 128
        return np.asarray(colour / np.linalg.norm(colour))

    same = np.broadcast_to(CLIP.references[0, 0], CLIP.true.shape)
    assert identity(same, CLIP, 0, embed) == pytest.approx(1)
    other = 255 - same
    assert identity(np.asarray(other), CLIP, 0, embed) < 0.5
