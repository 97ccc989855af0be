"""Whether the main face of a clip lives: a mesh whose lips or lids move, and lips of another colour than the cheeks.

Pictures that stand or are flown over, screens and patterns hold no such face; stone has one colour. Sizes count too: a
face that fills a third of the frame is no picture in a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.face_geometry import (
    LEFT_EYE_OUTER,
    LIP_BOTTOM_INNER,
    LIP_TOP_INNER,
    RIGHT_EYE_OUTER,
    face_rows,
    main_faces,
    points_of,
)
from tasks.face_looks import CHEEKS
from tasks.media.media import Media

LID_TOP, LID_BOTTOM = (159, 386), (145, 374)
LIP_PLACES = (15, 16, 85, 315)
"""On the red of the lower lip, which is wider than the upper's and seldom covered."""
MIN_MESH_RATIO = 0.5
"""Of the frames with a face."""
LIVING_MOTION = 0.012
"""Standard deviation of a gap, in distances between the eyes' outer corners: what `lip_sync` takes for a mouth that
moves."""
LIVING_HEIGHT = 0.1
FILLING_HEIGHT = 0.3
RED_LIPS = 4.0
"""Difference of a* (CIELAB) between lips and cheeks."""


@dataclass(frozen=True)
class Life:
    """`height` of the main face in the frame's height, `motion` of lips or lids, `redness` of lips over cheeks."""

    height: float = 0.0
    motion: float = 0.0
    redness: float = 0.0

    @property
    def lives(self) -> bool:
        return self.height >= LIVING_HEIGHT and self.motion >= LIVING_MOTION

    @property
    def fills(self) -> bool:
        return self.lives and self.height >= FILLING_HEIGHT

    @property
    def has_skin(self) -> bool:
        return self.height >= LIVING_HEIGHT and self.redness >= RED_LIPS


def life_of(media: Media, faces: pa.Table, landmarks: pa.Table, frames: list[int]) -> Life:
    """From the timelines, and the colours of those of `frames` (of `media`) that have a mesh."""
    main = [row for _, row in main_faces(face_rows(faces))]
    at = {int(frame): i for i, frame in enumerate(landmarks["frame"].to_pylist())}
    if not main or sum(int(row["frame"]) in at for row in main) < MIN_MESH_RATIO * len(main):
        return Life()
    points = points_of(landmarks)
    span = np.maximum(np.linalg.norm(points[:, LEFT_EYE_OUTER, :2] - points[:, RIGHT_EYE_OUTER, :2], axis=1), 1.0)
    lips = np.linalg.norm(points[:, LIP_TOP_INNER] - points[:, LIP_BOTTOM_INNER], axis=1) / span
    lids = np.linalg.norm(points[:, LID_TOP, :2] - points[:, LID_BOTTOM, :2], axis=2).mean(axis=1) / span
    redness = [lip_redness(media.image(f), points[at[f]]) for f in frames if f in at]
    return Life(
        height=float(np.median([row["y1"] - row["y0"] for row in main]) / media.height_px),
        motion=float(max(lips.std(), lids.std())),
        redness=float(np.median(redness)) if redness else 0.0,
    )


def lip_redness(image_rgb: np.ndarray, points: np.ndarray) -> float:
    """a* of the lower lip less that of the cheeks, by the median of small patches; 0 where one is out of the frame."""
    import cv2

    height, width = image_rgb.shape[:2]
    colours = []
    for places in (LIP_PLACES, CHEEKS):
        seen = []
        for x, y in points[list(places), :2]:
            if not (1 <= x < width - 2 and 1 <= y < height - 2):
                return 0.0
            seen.append(image_rgb[round(float(y)) - 1 : round(float(y)) + 2, round(float(x)) - 1 : round(float(x)) + 2])
        colours.append(np.median(np.concatenate([s.reshape(-1, 3) for s in seen]), axis=0))
    lab = cv2.cvtColor(np.array([colours], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    return float(lab[0, 1] - lab[1, 1])
