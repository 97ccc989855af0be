"""What is behind the lips: from a frame on which they are apart, or painted for whoever never opened them."""

from __future__ import annotations

import cv2
import numpy as np

from modeling.mesh_warp import INNER_LIPS, STABLE_POINTS

THROAT, TONGUE, TEETH = (38, 16, 16), (120, 58, 56), (205, 194, 182)
"""RGB; the first is of where no light falls."""


def painted_inside(picture: np.ndarray, points_N3: np.ndarray) -> np.ndarray:
    """A mouth's inside for whoever never showed it: dark, with the upper teeth under the upper lip and the tongue below."""
    height, width = picture.shape[:2]
    across = float(np.linalg.norm(points_N3[33, :2] - points_N3[263, :2]))
    left, right, lip = points_N3[78, :2], points_N3[308, :2], points_N3[13, :2]
    turn = np.arctan2(*(right - left)[::-1])
    y, x = np.mgrid[:height, :width].astype(np.float64)
    along = ((x - lip[0]) * np.cos(turn) + (y - lip[1]) * np.sin(turn)) / across
    down = (-(x - lip[0]) * np.sin(turn) + (y - lip[1]) * np.cos(turn)) / across
    half = float(np.linalg.norm(right - left)) / across / 2
    skin = picture[
        points_N3[[50, 280, 6], 1].astype(int).clip(0, height - 1),
        points_N3[[50, 280, 6], 0].astype(int).clip(0, width - 1),
    ]
    light = float(skin.mean()) / 255
    throat, tongue, teeth = (np.array(c, np.float64) for c in (THROAT, TONGUE, TEETH))
    made = np.broadcast_to(throat, (height, width, 3)).copy()
    rise = _bump(down, 0.1, 0.3) * np.exp(-((along / (0.7 * half)) ** 4))
    made += rise[..., None] * (tongue - throat)
    edge = 0.055 - 0.06 * (along / half) ** 2
    band = 1 / (1 + np.exp(np.clip((down - edge) / 0.006, -60, 60))) * np.exp(-((along / (0.8 * half)) ** 6))
    made += band[..., None] * (teeth - made)
    return np.clip(made * (0.45 + 0.55 * light), 0, 255).astype(np.uint8)


def inside_from(picture: np.ndarray, points_N3: np.ndarray, placed_N3: np.ndarray, side_px: int) -> np.ndarray:
    """The mouth's inside on another frame of the person, brought to where the plate's skull has it."""
    stable = [*STABLE_POINTS, 2, 94, 164]
    here, there = points_N3[stable, :2].astype(np.float32), placed_N3[stable, :2].astype(np.float32)
    affine, _ = cv2.estimateAffinePartial2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=1e3)
    whole = cv2.warpAffine(picture, affine, (side_px, side_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    lips = points_N3[list(INNER_LIPS), :2] @ affine[:, :2].T + affine[:, 2]
    return _spread(whole, lips)


def own_inside(picture: np.ndarray, points_N3: np.ndarray) -> np.ndarray:
    return _spread(picture, points_N3[list(INNER_LIPS), :2])


def _spread(picture: np.ndarray, lips_N2: np.ndarray) -> np.ndarray:
    """What lies between the lips, carried outward and darker, for mouths that open wider or elsewhere."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(lips_N2 * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    if not mask.any():
        return picture
    away, labels = cv2.distanceTransformWithLabels(255 - mask, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((labels.max() + 1, 3), np.uint8)
    colours[labels[mask > 0]] = picture[mask > 0]
    carried = cv2.GaussianBlur(colours[labels], (0, 0), 2).astype(np.float32)
    fading = np.exp(-away / 2.5)[..., None]
    carried = carried * fading * 0.8 + np.array(THROAT, np.float32) * (1 - fading)
    inner = cv2.GaussianBlur(mask, (0, 0), 1)[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(picture * inner + carried * (1 - inner)).astype(np.uint8))


def _bump(value: np.ndarray, start: float, end: float) -> np.ndarray:
    share = np.clip((value - start) / (end - start), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
