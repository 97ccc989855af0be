"""Jump cuts: told from motion, from text, and from pictures that stand still."""

from __future__ import annotations

import numpy as np
import pytest

from tasks import jump_cut
from tests.drawn_face import media_of


def texture(shift_px: int, *, noise_seed: int | None = None) -> np.ndarray:
    """RGB uint8 (144, 192, 3), shifted to the right."""
    import cv2

    tile = np.random.default_rng(2).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = np.roll(cv2.resize(tile, (192, 144), interpolation=cv2.INTER_CUBIC), shift_px, axis=1).astype(np.float32)
    if noise_seed is not None:
        image += np.random.default_rng(noise_seed).normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def jump_at(frame: int, *, live: bool = True) -> dict[int, np.ndarray]:
    return {t: texture(0 if t < frame else 70, noise_seed=t if live else None) for t in range(20)}


def test_a_jump_is_seen_at_its_frame_only() -> None:
    media = media_of(jump_at(10), 20)
    assert [t for t in range(20) if jump_cut.is_jump(media, t)] == [10]


def test_steady_motion_is_explained_by_flow() -> None:
    media = media_of({t: texture(2 * t, noise_seed=t) for t in range(20)}, 20)
    assert not any(jump_cut.is_jump(media, t) for t in range(20))


def test_change_of_a_picture_that_stands_still_is_no_jump() -> None:
    media = media_of(jump_at(10, live=False), 20)
    assert not any(jump_cut.is_jump(media, t) for t in range(20))


@pytest.mark.parametrize("frame", [0, 1, 4, 16, 19])
def test_too_near_the_ends_nothing_is_judged(frame: int) -> None:
    assert not jump_cut.is_jump(media_of(jump_at(frame), 20), frame)
