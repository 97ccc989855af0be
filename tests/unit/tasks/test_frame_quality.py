from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.frame_quality import (
    blockiness,
    brisque,
    detail_slopes,
    exposure,
    highlight,
    measures,
    noise_sigma,
    quality,
    sharpness,
)


def photo(height: int = 240, width: int = 320) -> np.ndarray:
    """Something with the spectrum, edges and luma range of a photograph."""
    noise = np.fft.rfft2(np.random.default_rng(3).normal(size=(height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    picture = np.fft.irfft2(noise / np.maximum(frequency, 2 / width) ** 1.8, s=(height, width))
    gray = 125 + 30 * picture / picture.std()
    for i in range(12):
        cv2.ellipse(gray, (25 * i + 20, 20 * (i % 9) + 40), (18, 28), 20 * i, 0, 360, 60 + 12 * i, -1)
    return np.clip(gray, 20, 230).astype(np.uint8)


def coded(luma: np.ndarray, jpeg_quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1], cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("sigma", [4.0, 10.0, 20.0])
def test_noise_is_measured_in_gray_levels(sigma: float) -> None:
    smooth = np.tile(np.linspace(60, 180, 320), (240, 1))
    noisy = np.clip(smooth + np.random.default_rng(0).normal(0, sigma, smooth.shape), 0, 255).astype(np.uint8)
    assert noise_sigma(noisy) == pytest.approx(sigma, rel=0.1)
    assert noise_sigma(smooth.astype(np.uint8)) < 0.5


def test_sharpness_falls_with_blur_and_not_with_noise() -> None:
    luma = photo()
    sharp = [sharpness(cv2.GaussianBlur(luma, (0, 0), s) if s else luma, 0.0) for s in (0, 1, 2, 4)]
    assert sharp == sorted(sharp, reverse=True)
    noisy = np.clip(luma + np.random.default_rng(0).normal(0, 10, luma.shape), 0, 255).astype(np.uint8)
    assert sharpness(noisy, noise_sigma(noisy)) == pytest.approx(sharp[0], rel=0.5)
    assert sharpness(noisy, 0.0) > 1.1 * sharp[0]


def test_slopes_of_detail_tell_blur_whatever_the_contrast_and_the_noise() -> None:
    luma = photo()
    faint = (luma // 2 + 60).astype(np.uint8)
    noisy = np.clip(luma + np.random.default_rng(0).normal(0, 6, luma.shape), 0, 255).astype(np.uint8)
    clean, blurred = detail_slopes(luma, 0.0), detail_slopes(cv2.GaussianBlur(luma, (0, 0), 2), 0.0)
    for i in (0, 1):
        assert blurred[i] < clean[i] - 1
        assert detail_slopes(faint, 0.0)[i] == pytest.approx(clean[i], abs=0.4)
        assert detail_slopes(noisy, noise_sigma(noisy))[i] == pytest.approx(clean[i], abs=0.7)
    assert detail_slopes(np.full((40, 40), 90, np.uint8), 0.0) == (0, 0)


def test_a_lit_face_in_the_dark_is_not_too_dark() -> None:
    lit = np.full((120, 160), 20, np.uint8)
    lit[40:80, 60:90] = 180
    assert highlight(lit) == pytest.approx((180 - 16) / 219)
    assert highlight(lit // 4) < 0.15
    assert highlight(np.full((20, 20), 250, np.uint8)) == 1


def test_the_worst_damage_decides() -> None:
    luma = photo()
    blurred = cv2.GaussianBlur(luma, (0, 0), 3)
    noisy = np.clip(luma + np.random.default_rng(0).normal(0, 3, luma.shape), 0, 255).astype(np.uint8)
    clean, slightly, badly = (quality(measures(x)) for x in (luma, noisy, blurred))
    assert clean > 4.3
    assert clean > slightly > 3
    assert badly < 2
    both = quality(measures(cv2.add(blurred, np.full_like(blurred, 2))))
    assert both == pytest.approx(badly, abs=0.2)


def test_blocks_are_found_at_any_phase_and_only_there() -> None:
    luma = photo()
    assert blockiness(luma) < 0.05
    assert blockiness(coded(luma, 10)) > 0.3
    assert blockiness(coded(luma, 10)[3:, 5:]) > 0.3
    assert blockiness(np.full((20, 20), 128, np.uint8)) == 0


def test_exposure() -> None:
    assert exposure(np.full((32, 32), 126, np.uint8)) == 1
    assert exposure(np.full((32, 32), 16, np.uint8)) == 0
    assert exposure(np.full((32, 32), 235, np.uint8)) == 0
    assert exposure(np.full((32, 32), 16 + 219 // 10, np.uint8)) == pytest.approx(0.4, abs=0.03)


def test_brisque_prefers_the_clean_picture() -> None:
    luma = photo()
    clean = brisque(luma)
    assert clean < brisque(cv2.GaussianBlur(luma, (0, 0), 2.5))
    assert clean < brisque(coded(luma, 8))
    assert brisque(np.full((64, 64), 90, np.uint8)) == 100
    assert brisque(np.zeros((2, 2), np.uint8)) == 100


def test_brisque_gives_the_score_of_the_published_model() -> None:
    """The score that the `brisque` package 0.2.0 (libsvm, SciPy) gives for this picture."""
    assert brisque(photo()) == pytest.approx(PUBLISHED_SCORE, abs=1.5)


def test_quality_ranks_damage() -> None:
    luma = photo()
    for damage in (lambda s: cv2.GaussianBlur(luma, (0, 0), s), lambda s: coded(luma, int(60 - 14 * s))):
        grades = [quality(measures(luma)), *(quality(measures(damage(s))) for s in (1.0, 2.0, 3.8))]
        assert grades == sorted(grades, reverse=True)
        assert 1 <= grades[-1] < grades[0] <= 5


PUBLISHED_SCORE = 43.30
