"""Black borders: letterbox and pillarbox bars around the picture, told from dark scenes by their straight edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Crop = tuple[int, int, int, int]

BLACK_LEVEL = 12
"""Full-range luma up to which a pixel may belong to a border; compression lifts black by a few levels."""

MIN_BORDER_RATIO = 0.02
MIN_KEPT_RATIO = 0.25
MIN_AGREEING_RATIO = 0.6
EDGE_LIT_RATIO = 0.5


@dataclass(frozen=True)
class Bars:
    """Black pixels at the left, top, right and bottom of one frame, and whether the picture inside has a lit edge
    there: over EDGE_LIT_RATIO of its length. A head in front of a black wall has no such edge."""

    inward_px: tuple[int, int, int, int]
    lit: tuple[bool, bool, bool, bool]


def bars_of(gray: np.ndarray) -> Bars | None:
    """The bars of one frame (H, W) uint8; None for a frame without content. Specks, 1 % of a line, count as black."""
    bright = gray > BLACK_LEVEL
    height, width = gray.shape
    rows = np.flatnonzero(bright.mean(axis=1) > 0.01)
    columns = np.flatnonzero(bright.mean(axis=0) > 0.01)
    if len(rows) == 0 or len(columns) == 0:
        return None
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    inner = bright[y0:y1, x0:x1]
    across, down = max(2, width // 200), max(2, height // 200)
    shares = (
        inner[:, :across].any(axis=1).mean(),
        inner[:down].any(axis=0).mean(),
        inner[:, -across:].any(axis=1).mean(),
        inner[-down:].any(axis=0).mean(),
    )
    left, top, right, bottom = (bool(share >= EDGE_LIT_RATIO) for share in shares)
    return Bars((x0, y0, width - x1, height - y1), (left, top, right, bottom))


def agreed_crop(seen: list[Bars | None], size: tuple[int, int]) -> Crop:
    """x0, y0, x1, y1 of what is left without the borders, on even pixels; the whole picture where there are none.

    A side is cropped to where the outermost content of any frame ends, when MIN_AGREEING_RATIO of the frames have a
    lit edge there, within two pixels (1 % of the side in large pictures).
    """
    width, height = size
    whole = (0, 0, width, height)
    bars = [b for b in seen if b is not None]
    if len(bars) < 3:
        return whole
    inward = np.array([b.inward_px for b in bars])
    least = inward.min(axis=0)
    sides = np.array([width, height, width, height])
    there = (inward - least <= np.maximum(2, sides // 100)) & np.array([b.lit for b in bars])
    border = (there.mean(axis=0) >= MIN_AGREEING_RATIO) & (least >= np.maximum(2, sides * MIN_BORDER_RATIO))
    cut = (np.where(border, least, 0) + 1) // 2 * 2
    x0, y0, x1, y1 = int(cut[0]), int(cut[1]), width - int(cut[2]), height - int(cut[3])
    if (x1 - x0) < MIN_KEPT_RATIO * width or (y1 - y0) < MIN_KEPT_RATIO * height:
        return whole
    return x0, y0, x1, y1
