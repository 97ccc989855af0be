from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.media.media import Media
from tasks.signals import flow

WIDTH, HEIGHT = 320, 180


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with the spectrum of natural scenes, gray, float32."""
    noise = np.fft.rfft2(np.random.default_rng(seed).normal(size=(height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    picture = np.fft.irfft2(noise / np.maximum(frequency, 2 / width) ** 1.2, s=(height, width))
    return np.clip(128 + 45 * (picture - picture.mean()) / picture.std(), 0, 255).astype(np.float32)


def scene(pan: float, patch: float = 0.0, *, zoom: float = 0.0, plain: bool = False, end_frame: int = 16) -> Media:
    """A camera that pans at `pan` percent of the height a second over a texture (or plain ground) and zooms about the
    middle by `zoom` a second, and a square of a third of the height that moves at `patch` on the screen."""
    ground = np.full((512, 1024), 128, np.float32) if plain else texture(512, 1024, 1)
    square = texture(128, 128, 2)[:60, :60]
    frames = [f for f in range(end_frame + 5) if f % 5 == 0]
    planes = []
    for frame in frames:
        t = frame / 25
        scale = 1 + zoom * t
        at = np.array([[scale, 0, 300 + pan * HEIGHT / 100 * t - 160 * scale], [0, scale, 200 - 90 * scale]])
        picture = cv2.warpAffine(ground, at, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if patch or plain:
            put = np.array([[1.0, 0, 130 + patch * HEIGHT / 100 * t], [0, 1, 70]])
            cover = cv2.warpAffine(np.ones_like(square), put, (WIDTH, HEIGHT))
            picture = picture * (1 - cover) + cv2.warpAffine(square, put, (WIDTH, HEIGHT)) * cover
        planes.append(np.vstack([picture, np.full((HEIGHT // 2, WIDTH), 128)]).round().astype(np.uint8))
    return Media(0, end_frame, WIDTH, HEIGHT, frames, planes)


def means(media: Media) -> tuple[float, float, float]:
    table = flow.compute(media, {}).timeline
    return tuple(float(np.mean(table[c].to_numpy())) for c in ("camera", "subject", "total"))  # type: ignore[return-value]


@pytest.mark.parametrize("pan", [5.0, -20.0, 40.0])
def test_a_pan_is_the_camera(pan: float) -> None:
    camera, subject, total = means(scene(pan))
    assert camera == pytest.approx(abs(pan), rel=0.05)
    assert total == pytest.approx(abs(pan), rel=0.05)
    assert subject < 1


def test_a_moving_square_is_the_subject() -> None:
    camera, subject, total = means(scene(0, 20))
    share = 60 * 60 / (WIDTH * HEIGHT)
    assert camera < 0.3
    assert subject == pytest.approx(20 * share, rel=0.5)
    assert total == pytest.approx(subject, abs=0.3)


def test_a_square_that_moves_against_a_pan() -> None:
    camera, subject, _ = means(scene(20, 20))
    assert camera == pytest.approx(20, rel=0.1)
    assert subject > 1


def test_before_a_plain_ground_the_camera_rests() -> None:
    camera, subject, _ = means(scene(0, 15, plain=True))
    assert camera < 0.1
    assert subject > 0.5


def test_a_zoom_is_the_camera() -> None:
    camera, subject, _ = means(scene(0, zoom=0.2))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    mean_radius = float(np.hypot(x - 160, y - 90).mean()) / HEIGHT * 100
    assert camera == pytest.approx(0.2 * mean_radius, rel=0.15)
    assert subject < 1.5


def test_a_frozen_picture_has_no_motion_and_the_end_no_row() -> None:
    media = scene(0, end_frame=16)
    frames = flow.compute(media, {}).timeline["frame"].to_pylist()
    assert frames == [0, 5, 10, 15]
    assert means(media) == (0, 0, 0)
    without_context = Media(0, 16, WIDTH, HEIGHT, media.frames[:4], media.planes[:4])
    assert flow.compute(without_context, {}).timeline["frame"].to_pylist() == [0, 5, 10]


def test_a_picture_without_a_whole_cell_is_not_measured() -> None:
    import pytest

    from tasks.media.media import Media
    from tasks.signal import NotApplicable
    from tasks.signals import flow

    plane = np.full((6, 600), 100, np.uint8)  # 600 x 4 in I420; scaled to 320 it is 2 rows high
    with pytest.raises(NotApplicable, match="600 x 4 is too narrow"):
        flow.compute(Media(0, 10, 600, 4, [0, 5], [plane, plane]), {})
