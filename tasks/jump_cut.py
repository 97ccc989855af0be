"""Jump cuts: a sudden change of a take that optical flow can't explain. Used by `cuts`.

TransNetV2 hardly sees them (0.02 of 80 made by leaving out 10 to 60 frames), for the scene stays the same. What
moved is matched by dense flow, so fast motion leaves little unexplained; what jumped is not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tasks.media.media import Media

SIDE_PX = 192
UNEXPLAINED = 24
"""Levels of 255 by which a pixel differs from where flow says it came from."""
AREA_PERCENT, AREA_RATIO = 4.5, 4.0
"""The unexplained area of a jump, and that over the largest of its neighbours. Talking heads without a cut reach
3.3 with a ratio of 3.2 (a mouth that snaps open), or 7.3 with 1.9 (a nod)."""
BANDS, BANDS_CHANGED = 12, 5
"""Of twelve bands across the frame so many change in a jump; a line of text or a banner changes fewer."""
LIVE = 0.25
"""Mean residual of the neighbours in levels: below it the picture stands still, as slides and frozen video do, and
any change is as sudden as a cut. Both sides must be above it."""
REACH = 4


def is_jump(media: Media, frame: int) -> bool:
    """Whether a take jumps between `frame` - 1 and `frame`; False within 4 frames of the video's ends."""
    near = range(frame - REACH, frame + REACH + 1)
    first, last = media.frames[0], media.frames[-1]
    if near.start - 1 < first or near.stop - 1 > last:
        return False
    bands = _unexplained_percent(media, frame)[1]
    if bands.mean() < AREA_PERCENT or (bands >= 1.0).sum() < BANDS_CHANGED:
        return False
    beside = [_unexplained_percent(media, f) for f in near if f != frame]
    sides = (beside[:REACH], beside[REACH:])
    live = min(float(np.median([residual for residual, _ in side])) for side in sides)
    return bool(live >= LIVE and bands.mean() >= AREA_RATIO * max(b.mean() for _, b in beside))


def _unexplained_percent(media: Media, frame: int) -> tuple[float, np.ndarray]:
    """Mean residual in levels, and percent of unexplained pixels in each band, from the frame before to `frame`."""
    import cv2

    before_HW, now_HW = (media.image(f, SIDE_PX, "gray") for f in (frame - 1, frame))
    height, width = now_HW.shape
    flow_HWC = _flow().calc(now_HW, before_HW, None)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    explained_HW = cv2.remap(
        before_HW, x + flow_HWC[..., 0], y + flow_HWC[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    residual_HW = np.abs(now_HW.astype(np.int16) - explained_HW)
    bands = [100 * float((b > UNEXPLAINED).mean()) for b in np.array_split(residual_HW, BANDS)]
    return float(residual_HW.mean()), np.array(bands)


@cache
def _flow() -> Any:
    import cv2

    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
