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


def smooth(width: int, height: int) -> np.ndarray:
    """A picture without fine detail in I420, so that neither order of scaling and converting loses any."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    rgb = np.stack([40 + 180 * x, 200 - 120 * y, 60 + 100 * x * y], axis=-1)
    return np.asarray(cv2.cvtColor(np.rint(rgb).astype(np.uint8), cv2.COLOR_RGB2YUV_I420))


@pytest.mark.parametrize("size", [(640, 360), (512, 512), (360, 288)])
def test_small_colour_is_full_colour_scaled_down(size: tuple[int, int]) -> None:
    media = Media(0, 1, *size, frames=[0], planes=[smooth(*size)])
    small = media.image(0, 320)
    height, width = small.shape[:2]
    wanted = cv2.resize(media.image(0), (width, height), interpolation=cv2.INTER_AREA)
    assert (width, height) == (320, round(size[1] * 320 / size[0]))
    assert np.abs(small.astype(int) - wanted).max() <= 3
    assert np.abs(small.astype(int) - wanted).mean() < 0.5


@pytest.mark.parametrize(("angle", "side_px"), [(0.0, 200.0), (0.3, 90.0), (-2.0, 300.0)])
def test_a_crop_of_the_planes_is_the_crop_of_the_colours(angle: float, side_px: float) -> None:
    media = Media(0, 1, 320, 240, frames=[0], planes=[smooth(320, 240)])
    unit = side_px / 128
    cos, sin = unit * np.cos(angle), unit * np.sin(angle)
    to_image = np.array([[cos, -sin, 170 - 63.5 * (cos - sin)], [sin, cos, 110 - 63.5 * (sin + cos)]])
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    wanted = cv2.warpAffine(media.image(0), to_image, (128, 128), flags=way, borderMode=cv2.BORDER_REPLICATE)
    made = media.crop(0, to_image, 128)
    assert made.shape == (128, 128, 3)
    # Colour planes end half a pixel earlier, which is seen where the edge goes on beyond the border.
    assert np.abs(made.astype(int) - wanted).max() <= 4
    assert np.abs(made.astype(int) - wanted).mean() < 0.7
