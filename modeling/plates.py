"""From a frame and its mesh to a plate: the square that an avatar shows. The engine and the training cut it alike.

Legend: N mesh points, T frames, P motion parameters.
"""

from __future__ import annotations

import cv2
import numpy as np

from modeling.motion import BLINKS, HEAD, MOUTH

SIDE_PX = 256
ROOM = 1.75
"""Side of the square that is shown, in heights of the mesh."""
ABOVE = 0.06
"""The face's middle lies so far below that of the square, in its sides: hair takes more room than the chin."""
OPEN_GAP = 0.12
"""From here on a frame shows the mouth's inside; in distances between the eyes."""

Square = tuple[float, float, float]
"""Left, top and side, in pixels of the picture."""


def best_frame(away_TP: np.ndarray, yaw_deg_T: np.ndarray) -> int:
    """The frame that makes the best plate: lips closed, eyes open, the head as usual and toward the camera. `away_TP` is
    normalised motion."""
    away = np.abs(away_TP)
    mouth, lids, head = away[:, MOUTH] @ [2, 0.5, 0.5, 0.5], away[:, BLINKS].sum(axis=1), away[:, HEAD].sum(axis=1)
    return int(np.argmin(mouth + 3 * lids + 2 * head + np.abs(yaw_deg_T) / 5))


def square_of(points_N3: np.ndarray, size: tuple[int, int]) -> Square:
    """What is shown of a picture of this height and width."""
    x0, y0 = points_N3[:, :2].min(axis=0)
    x1, y1 = points_N3[:, :2].max(axis=0)
    side = min(ROOM * (y1 - y0), *size)
    left = float(np.clip((x0 + x1) / 2 - side / 2, 0, size[1] - side))
    top = float(np.clip((y0 + y1) / 2 - (0.5 + ABOVE) * side, 0, size[0] - side))
    return left, top, side


def cut_square(
    picture: np.ndarray, points_N3: np.ndarray, square: Square, side_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """The square at `side_px`, and the mesh in its pixels."""
    left, top, side = square
    x0, y0, wide = round(left), round(top), int(side)
    part = np.ascontiguousarray(picture[y0 : y0 + wide, x0 : x0 + wide])
    how = cv2.INTER_AREA if wide > side_px else cv2.INTER_CUBIC
    scale = side_px / wide
    placed = np.column_stack([(points_N3[:, :2] - [x0, y0] + 0.5) * scale - 0.5, points_N3[:, 2] * scale])
    return cv2.resize(part, (side_px, side_px), interpolation=how), placed
