"""A face in the simplest shapes that the detector and the mesh take for one, so that tests know where it is."""

from __future__ import annotations

import numpy as np

from tasks.media.media import Media

SKIN, HAIR, SHIRT, WALL = (215, 175, 150), (60, 40, 30), (50, 60, 90), (90, 110, 130)


def draw_face(
    image_rgb: np.ndarray, center_x: float, center_y: float, height_px: float, *, mouth_open: float = 0.0
) -> np.ndarray:
    """A copy of the image with a face drawn on it; hairline to chin is about `height_px`, `mouth_open` is 0 to 1."""
    import cv2

    image = image_rgb.astype(np.float32)
    scale = height_px / 150

    def ellipse(x: float, y: float, rx: float, ry: float, colour: tuple[int, ...], blur: float = 0.0) -> None:
        nonlocal image
        mask = np.zeros(image.shape[:2], np.float32)
        center = (round(center_x + x * scale), round(center_y + y * scale))
        axes = (max(1, round(rx * scale)), max(1, round(ry * scale)))
        cv2.ellipse(mask, center, axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
        if blur:
            mask = cv2.GaussianBlur(mask, (0, 0), blur * scale)
        image = image * (1 - mask[..., None]) + np.array(colour, np.float32) * mask[..., None]

    ellipse(0, 150, 95, 70, SHIRT)
    ellipse(0, 80, 28, 40, (190, 150, 125))
    ellipse(0, -20, 66, 88, HAIR)
    ellipse(0, 0, 56, 76, SKIN, 2)
    for side in (-1, 1):
        ellipse(side * 24, -30, 14, 3, (70, 45, 35), 1)
        ellipse(side * 24, -14, 11, 6, (245, 240, 235), 0.6)
        ellipse(side * 24, -14, 5.5, 5.5, (60, 40, 30), 0.5)
        ellipse(side * 24, -14, 2.2, 2.2, (10, 10, 10))
        ellipse(side * 24, -19, 12, 2, (120, 85, 70), 1)
        ellipse(side * 34, 20, 14, 10, (220, 160, 140), 5)
    ellipse(0, 8, 7, 20, (225, 188, 165), 3)
    ellipse(0, 22, 11, 5, (190, 140, 120), 2)
    ellipse(-5, 24, 3, 2, (110, 70, 60), 0.8)
    ellipse(5, 24, 3, 2, (110, 70, 60), 0.8)
    ellipse(0, 46, 22, 7 + 8 * mouth_open, (170, 80, 80), 1)
    ellipse(0, 46, 18, 1.2 + 7 * mouth_open, (80, 30, 30), 0.6)
    ellipse(0, 70, 30, 6, (195, 155, 132), 4)
    return np.clip(image, 0, 255).astype(np.uint8)


def wall(width_px: int = 320, height_px: int = 240) -> np.ndarray:
    return np.full((height_px, width_px, 3), WALL, np.uint8)


def media_of(
    frames_rgb: dict[int, np.ndarray], end_frame: int, *, start_frame: int = 0, source_width_px: int = 0
) -> Media:
    """Media holding the given grid frames."""
    import cv2

    height, width = next(iter(frames_rgb.values())).shape[:2]
    return Media(
        start_frame=start_frame,
        end_frame=end_frame,
        width_px=width,
        height_px=height,
        frames=sorted(frames_rgb),
        planes=[cv2.cvtColor(frames_rgb[f], cv2.COLOR_RGB2YUV_I420) for f in sorted(frames_rgb)],
        source_width_px=source_width_px or width,
    )
