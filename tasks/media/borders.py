"""Black borders: letterbox and pillarbox bars around the picture, told from dark scenes by their straight edges."""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]

BLACK_LEVEL = 12
"""Full-range luma up to which a pixel may belong to a border; compression lifts black by a few levels."""

MIN_BORDER_RATIO = 0.02
MIN_KEPT_RATIO = 0.25
MIN_AGREEING_RATIO = 0.75
EDGE_LIT_RATIO = 0.3


def content_box(gray: np.ndarray) -> Box | None:
    """x0, y0, x1, y1 of what is not black in one frame (H, W) uint8; None for a frame without content.

    A side counts as a border only where the line inside it is lit over EDGE_LIT_RATIO of its length: a head in
    front of a black wall has no such edge. Up to 1 % of a line may be lit, for specks.
    """
    lit = gray > BLACK_LEVEL
    height, width = gray.shape
    rows = np.flatnonzero(lit.mean(axis=1) > 0.01)
    columns = np.flatnonzero(lit.mean(axis=0) > 0.01)
    if len(rows) == 0 or len(columns) == 0:
        return None
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    inner = lit[y0:y1, x0:x1]
    depth_x, depth_y = max(2, width // 200), max(2, height // 200)
    if inner[:, :depth_x].any(axis=1).mean() < EDGE_LIT_RATIO:
        x0 = 0
    if inner[:, -depth_x:].any(axis=1).mean() < EDGE_LIT_RATIO:
        x1 = width
    if inner[:depth_y].any(axis=0).mean() < EDGE_LIT_RATIO:
        y0 = 0
    if inner[-depth_y:].any(axis=0).mean() < EDGE_LIT_RATIO:
        y1 = height
    return x0, y0, x1, y1


def agreed_borders(boxes: list[Box | None], size: tuple[int, int]) -> Box:
    """The crop that all frames agree on, with even sides; the whole picture (0, 0, W, H) where they do not.

    Each side is cropped when no frame shows content beyond it and at least MIN_AGREEING_RATIO of the frames end
    there within two pixels (1 % of the side in large pictures).
    """
    width, height = size
    whole = (0, 0, width, height)
    seen = np.array([b for b in boxes if b is not None])
    if len(seen) < 3:
        return whole
    inward = np.stack([seen[:, 0], seen[:, 1], width - seen[:, 2], height - seen[:, 3]], axis=1)
    least = inward.min(axis=0)
    sides = np.array([width, height, width, height])
    agreeing = (inward - least <= np.maximum(2, sides // 100)).mean(axis=0)
    cut = np.where((agreeing >= MIN_AGREEING_RATIO) & (least >= np.maximum(2, sides * MIN_BORDER_RATIO)), least, 0)
    cut = (cut + 1) // 2 * 2
    x0, y0, x1, y1 = int(cut[0]), int(cut[1]), width - int(cut[2]), height - int(cut[3])
    if (x1 - x0) < MIN_KEPT_RATIO * width or (y1 - y0) < MIN_KEPT_RATIO * height:
        return whole
    return x0, y0, x1, y1
