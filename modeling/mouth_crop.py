"""The lower face as a small upright square of one size, whoever it is: what the renderer sees and paints over.

Its centre lies on the mouth, told by eyes and nose alone, so that a mouth that opens moves in the square and the square does
not move with the mouth. Its side is a fixed number of distances between the eyes.

Legend: S the side in pixels; N mesh points; H, W a picture's height and width.
"""

from __future__ import annotations

import cv2
import numpy as np

from modeling.mesh_warp import FACE_OVAL, INNER_LIPS
from modeling.motion import EYES_OUTER, LIPS_OUTER

SIDE_PX = 96
SIDE = 1.35
"""In distances between the eyes' outer corners: from under the eyes to below the chin of a closed mouth."""
NOSE_BASE = 2
DOWN = 1.7
"""The centre, from between the eyes, in ways to the base of the nose: on the mouth of a closed face."""
FADE_PX = 12
"""Over which the square fades out toward its border, where it is nothing."""


def across_px(points_N3: np.ndarray) -> float:
    """Distance between the eyes' outer corners, in depth as well, so that turning the head does not change it."""
    return float(np.linalg.norm(points_N3[EYES_OUTER[0]] - points_N3[EYES_OUTER[1]]))


def crop_affine(points_N2: np.ndarray, across: float) -> np.ndarray:
    """(2, 3) from pixels of the square to those of the picture whose mesh this is."""
    right, left = points_N2[EYES_OUTER[0], :2], points_N2[EYES_OUTER[1], :2]
    between = (right + left) / 2
    centre = between + DOWN * (points_N2[NOSE_BASE, :2] - between)
    level = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    unit = SIDE * across / SIDE_PX
    x, y = unit * level, unit * np.array([-level[1], level[0]])
    corner = centre - (x + y) * (SIDE_PX - 1) / 2
    return np.column_stack([x, y, corner])


def cut(picture: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 3) of the square."""
    made: np.ndarray = cv2.warpAffine(
        picture, affine, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return made


def inverse(affine: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.invertAffineTransform(affine))


def placed(points_N2: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Points of the picture in pixels of the square, float32 (N, 2)."""
    back = inverse(affine)
    return np.asarray(points_N2[:, :2] @ back[:, :2].T + back[:, 2], np.float32)


def masks(square_N2: np.ndarray) -> np.ndarray:
    """uint8 (2, S, S): the gap between the lips, and all within their outline, from a mesh in pixels of the square."""
    made = np.zeros((2, SIDE_PX, SIDE_PX), np.uint8)
    for mask, rows in zip(made, (INNER_LIPS, LIPS_OUTER), strict=True):
        cv2.fillPoly(mask, [np.rint(square_N2[list(rows)] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return made


def face_mask(square_N2: np.ndarray) -> np.ndarray:
    """uint8 (S, S): 255 on the face, 0 on what is around it."""
    made = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.fillPoly(made, [np.rint(square_N2[list(FACE_OVAL)] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return made


def fade() -> np.ndarray:
    """float32 (S, S): 1 within, 0 on the border, without a corner between: what is painted can have no edge."""
    away = np.minimum(np.arange(SIDE_PX), np.arange(SIDE_PX)[::-1]) / FADE_PX
    ramp = np.clip(away, 0, 1)
    smooth = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return np.asarray(smooth[:, None] * smooth[None])


def add(picture: np.ndarray, change: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The picture with a change of the square, float32 (S, S, 3) in gray levels, added where the square lies."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [SIDE_PX - 1, 0], [0, SIDE_PX - 1], [SIDE_PX - 1, SIDE_PX - 1]])
    there = corners @ affine[:, :2].T + affine[:, 2]
    x0, y0 = np.maximum(np.floor(there.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(there.max(axis=0)).astype(int) + 1, [width, height])
    if x0 >= x1 or y0 >= y1:
        return picture
    back = inverse(affine)
    back[:, 2] += back[:, :2] @ [x0, y0]
    brought = cv2.warpAffine(change, back, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    made = picture.copy()
    part = made[y0:y1, x0:x1]
    part[:] = np.clip(np.rint(part + brought), 0, 255).astype(np.uint8)
    return made
