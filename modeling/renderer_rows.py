"""What an evaluation of a renderer says of each clip that was held out: the row that goes back to the store beside the clip's signals.

The measures of modeling/renderer_metrics.py before they are averaged, for each kind of picture that the person is known by.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from store.media import GRID_FPS

if TYPE_CHECKING:
    from modeling.motion_rows import Row
    from modeling.renderer_metrics import Rows
    from modeling.renderer_set import FaceClip

VERSION = 1
"""Raised when a row may come out otherwise for the same network and the same clip."""
KINDS = ("avatar", "portrait")
"""Of plates, as modeling/renderer_set.py makes them."""
MEASURES = (
    "mouth_psnr", "mouth_ssim", "psnr", "ssim", "sharpness", "mouth_flicker", "closed_error", "open_contrast", "pause_quiver",
    "identity",
)  # fmt: skip
AHEAD_IN = ("mouth_psnr", "mouth_ssim", "mouth_flicker", "closed_error", "identity")
TEXTS = ("checkpoint", "held_out")
NUMBERS = (
    "seconds",
    *(f"{kind}_{measure}" for kind in KINDS for measure in MEASURES),
    *(f"{kind}_ahead_of_warp_{measure}" for kind in KINDS for measure in AHEAD_IN),
)
"""Columns of a row; `ahead_of_warp_*` is above 0 where the renderer is better than the plain warp."""


class ClipRows:
    """Gathers what `evaluate` tells of each clip; `by_clip` holds every column of TEXTS and NUMBERS, None where a measure does not
    apply."""

    def __init__(self) -> None:
        self.by_clip: dict[str, Row] = {}

    def add(self, held_out: str, clip: FaceClip, kind: str, rows: Rows) -> None:
        """`held_out` is "people" or "time"."""
        from modeling.renderer_metrics import BETTER_LOWER, OURS, WARP

        row = self.by_clip.setdefault(clip.clip_id, dict.fromkeys((*TEXTS, *NUMBERS)))
        ours, warp = rows[OURS], rows[WARP]
        row |= {"held_out": held_out, "seconds": len(clip) / GRID_FPS}
        for measure in MEASURES:
            row[f"{kind}_{measure}"] = _told(ours.get(measure))
        for measure in (m for m in AHEAD_IN if m in ours and m in warp):
            better = -1 if measure in BETTER_LOWER else 1
            row[f"{kind}_ahead_of_warp_{measure}"] = _told(better * (ours[measure] - warp[measure]))

    def of(self, checkpoint: str) -> dict[str, Row]:
        return {clip: {**row, "checkpoint": checkpoint} for clip, row in self.by_clip.items()}


def _told(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
