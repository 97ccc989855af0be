"""Pictures of a face, set upright and of one size: what signals about its looks measure."""

from __future__ import annotations

import math

import numpy as np

from tasks.face_geometry import CROP_SIDE, Crop


def upright_face(image: np.ndarray, crop: Crop, size_px: int) -> np.ndarray:
    """The square of the crop, `size_px` on each side, (S, S) or (S, S, 3) as the image; its border is repeated outside.

    A larger face is sampled finely and averaged, so that it does not alias.
    """
    import cv2

    finer = max(1, math.ceil(crop.side_px / size_px))
    side = finer * size_px
    square = cv2.warpAffine(
        image,
        crop.to_image(side),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if finer == 1:
        return np.asarray(square)
    return np.asarray(cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA))


def face_height_px(crop: Crop) -> float:
    """About hairline to chin, in pixels of the proxy."""
    return crop.side_px / CROP_SIDE
