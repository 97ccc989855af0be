"""What tells a covered mouth or face from a free one: edges, colours against the skin, texture, in a square of the mesh.

`modeling/face_cover.py` fits the weights, `tasks/signals/occlusion.py` applies them. Raise that signal's version when
anything here changes. F features.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tasks.face_crops import upright_face
from tasks.face_geometry import (
    CHIN,
    FOREHEAD,
    LEFT_EYE_OUTER,
    LIP_BOTTOM_OUTER,
    LIP_TOP_OUTER,
    RIGHT_EYE_OUTER,
    Crop,
)

Region = Literal["mouth", "face"]
REGIONS: tuple[Region, ...] = ("mouth", "face")
SIDE_PX = 64
CELLS = 8
SKIN_POINTS = [6, 168, 197, 195, 117, 346, 118, 347, 9, 151, 108, 337]
"""Bridge of the nose, upper cheeks and forehead: seldom covered together with the mouth."""
MOUTH_SIDE, FACE_SIDE = 0.62, 1.1
"""Of the squares, in lengths from hairline to chin."""


def square_of(points: np.ndarray, region: Region) -> Crop:
    """The square around the mouth, or the whole face, upright in the eyes' frame; points (478, 3) in pixels."""
    right, left = points[RIGHT_EYE_OUTER, :2], points[LEFT_EYE_OUTER, :2]
    angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
    height = float(np.linalg.norm(points[CHIN, :2] - points[FOREHEAD, :2]))
    ends = (LIP_TOP_OUTER, LIP_BOTTOM_OUTER) if region == "mouth" else (CHIN, FOREHEAD)
    x, y = points[list(ends), :2].mean(axis=0)
    # By the height: it stays as it is when the head is turned aside, and a mesh is never 0 high.
    side = (MOUTH_SIDE if region == "mouth" else FACE_SIDE) * max(height, 2.0)
    return Crop(float(x), float(y), side, angle)


def cover_features(image_rgb: np.ndarray, points: np.ndarray, region: Region) -> np.ndarray:
    """Float32 (F,), of the region's square and the skin beside it."""
    square = upright_face(image_rgb, square_of(points, region), SIDE_PX)
    return square_features(square, skin_lab(image_rgb, points))


def square_features(square: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Float32 (F,): histograms of gradients, colour of each cell against the skin's, texture of each cell; of an RGB
    square of SIDE_PX and the skin in LAB (3,)."""
    import cv2

    lab = cv2.cvtColor(square, cv2.COLOR_RGB2LAB).astype(np.float32)
    away = (_cells(lab) - skin) / 20
    gray = np.ascontiguousarray(square.astype(np.float32).mean(axis=2)).astype(np.uint8)
    edges = _descriptor().compute(gray).ravel()
    texture = np.log1p(_cells(np.square(lab - np.repeat(np.repeat(_cells(lab), 8, 0), 8, 1)))) / 4
    told = np.concatenate([edges, away.ravel(), np.abs(away).ravel(), texture.ravel()])
    return np.asarray(told, np.float32)


def face_detail(image_rgb: np.ndarray, points: np.ndarray) -> float:
    """How much of the face's contrast is fine, 0 to about 0.4: finer than a 60th of its height, the same for all sizes."""
    import cv2

    square = upright_face(image_rgb, square_of(points, "face"), SIDE_PX)
    gray = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((gray - cv2.GaussianBlur(gray, (0, 0), 1.0)).std() / max(float(gray.std()), 1.0))


def _cells(image: np.ndarray) -> np.ndarray:
    """Means over 8 x 8 cells of a square of 64, (8, 8, C)."""
    step = SIDE_PX // CELLS
    return np.asarray(image.reshape(CELLS, step, CELLS, step, -1).mean(axis=(1, 3)))


def skin_lab(image_rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Median colour (3,) of SKIN_POINTS."""
    import cv2

    height, width = image_rgb.shape[:2]
    at = np.rint(points[SKIN_POINTS, :2]).astype(int)
    pixels = image_rgb[at[:, 1].clip(0, height - 1), at[:, 0].clip(0, width - 1)]
    return np.asarray(np.median(cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)[0], axis=0).astype(np.float32))


def _descriptor() -> Any:
    """Dalal and Triggs, CVPR 2005: cells of 8 px, blocks of 2 x 2 cells, 9 directions."""
    import cv2

    return cv2.HOGDescriptor((SIDE_PX, SIDE_PX), (16, 16), (8, 8), (8, 8), 9)
