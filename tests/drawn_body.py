"""A person and a hand in the simplest shapes that the networks take for them, so that tests know where they are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.drawn_face import SHIRT, SKIN, draw_face

SLEEVE = (45, 55, 82)


def draw_hand(
    image_rgb: np.ndarray, center_x: float, center_y: float, length_px: float, *, mirrored: bool = False
) -> np.ndarray:
    """A copy of the image with an open hand, fingers up, `length_px` from the wrist to the tip of the middle finger,
    round the middle of the palm; thumb to the left, or to the right when mirrored."""
    import cv2

    scale, side = length_px / 180, -1 if mirrored else 1
    image = image_rgb.copy()

    def at(x: float, y: float) -> tuple[int, int]:
        return round(center_x + side * x * scale), round(center_y + y * scale)

    def limb(points: list[tuple[float, float]], width: float, colour: tuple[int, ...]) -> None:
        for a, b in pairwise(points):
            cv2.line(image, at(*a), at(*b), colour, max(1, round(width * scale)), cv2.LINE_AA)

    fingers = (
        ((-28, 22), (-52, 0), (-68, -28)),
        ((-24, -32), (-32, -68), (-36, -98)),
        ((-6, -36), (-8, -80), (-9, -112)),
        ((12, -34), (17, -72), (20, -104)),
        ((29, -26), (40, -56), (47, -80)),
    )
    outline = (150, 105, 85)
    for colour, more in ((outline, 4.0), (SKIN, 0.0)):
        limb([(0, 120), (0, 50)], 46 + more, colour)
        cv2.ellipse(
            image, at(0, 10), (round((34 + more / 2) * scale), round((48 + more / 2) * scale)), 0, 0, 360, colour, -1
        )
        for finger in fingers:
            limb(list(finger), 17 + more, colour)
    for finger in fingers[1:]:
        limb([(finger[0][0] - 5, finger[0][1] - 12), (finger[0][0] + 5, finger[0][1] - 12)], 2, outline)
        tip = at(*finger[2])
        cv2.ellipse(image, tip, (round(5 * scale), round(7 * scale)), 0, 0, 360, (235, 200, 185), -1)
    return image


def draw_person(image_rgb: np.ndarray, center_x: float, face_y: float, face_px: float) -> np.ndarray:
    """A copy of the image with a person from the hips up, arms hanging; shoulders are 1.9 faces wide."""
    import cv2

    s = face_px / 150
    image = image_rgb.copy()

    def at(x: float, y: float) -> tuple[int, int]:
        return round(center_x + x * s), round(face_y + y * s)

    trunk = np.array([at(-135, 130), at(-60, 108), at(60, 108), at(135, 130), at(105, 480), at(-105, 480)])
    cv2.fillPoly(image, [trunk], SHIRT)
    for side in (-1, 1):
        cv2.line(image, at(side * 128, 145), at(side * 160, 300), SLEEVE, round(52 * s), cv2.LINE_AA)
        cv2.line(image, at(side * 160, 300), at(side * 165, 430), SKIN, round(38 * s), cv2.LINE_AA)
    return draw_face(image, center_x, face_y, face_px)
