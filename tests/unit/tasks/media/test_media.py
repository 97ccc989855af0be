"""Levels of the pyramid: right values at every width, made once, and bounded in memory."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from tasks.media import media as module
from tasks.media.media import Media


def media_of(width: int, height: int, frames: Sequence[int] = (0,)) -> Media:
    random = np.random.default_rng(width * height)
    planes = [random.integers(0, 256, (height * 3 // 2, width), np.uint8) for _ in frames]
    return Media(0, max(frames) + 1, width, height, frames=list(frames), planes=planes)


@pytest.mark.parametrize("width", [2, 64, 126, 128, 130, 224, 258, 320, 360, 458, 480, 640])
def test_colour_is_the_same_at_widths_that_are_converted_in_a_wider_frame(width: int) -> None:
    media = media_of(width, 66)
    image = media.image(0)
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, cv2.cvtColor(media.planes[0], cv2.COLOR_YUV2RGB_I420))


def test_full_size_colour_is_kept_for_the_last_frames_only(monkeypatch: pytest.MonkeyPatch) -> None:
    media = media_of(64, 64, range(5))
    monkeypatch.setattr(module, "FULL_RGB_BYTES", 2 * 64 * 64 * 3)
    images = [media.image(frame) for frame in range(5)]
    assert media.image(4) is images[4]
    assert media.image(3) is images[3]
    again = media.image(0)
    assert again is not images[0]
    np.testing.assert_array_equal(again, images[0])


def test_smaller_levels_are_made_once_and_are_not_to_be_written() -> None:
    media = media_of(64, 48, range(40))
    small, gray = media.image(7, 32), media.image(7, 32, "gray")
    for frame in range(40):
        media.image(frame, 32)
    assert media.image(7, 32) is small
    assert media.image(7, 32, "gray") is gray
    assert (small.shape, gray.shape) == ((24, 32, 3), (24, 32))
    with pytest.raises(ValueError, match="read-only"):
        small[0] = 0
