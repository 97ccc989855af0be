"""Drawn lower faces to be looked at while a renderer trains: frames of held-out clips as they were filmed, as the warp of one
picture shows them, and as the network draws them.

Legend: T frames of a clip, S the square's side, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from modeling.motion_picture import BACKGROUND, HEAD_PX, INK
from modeling.mouth_crop import SIDE_PX
from modeling.renderer import RendererNet
from modeling.renderer_metrics import WARM_FRAMES, drawn
from modeling.renderer_set import FaceClip

NUM_FRAMES = 6
"""Of each clip, from the lips' smallest gap to their widest."""
LANES, NAME_PX = ("filmed", "warp", "ours"), 56


def draw_samples(net: RendererNet, clips: Sequence[FaceClip]) -> np.ndarray:
    """Clips one below the other, each under its id and the kind of its first plate: that picture's square, then frames in
    three lanes; RGB uint8 (H, W, 3)."""
    return np.concatenate([part for clip in clips for part in (_head(clip), _lanes(net, clip))])


def shown_rows(clip: FaceClip) -> list[int]:
    """Rows of the clip, ascending by the lips' gap."""
    ascending = np.argsort(clip.gap, kind="stable")
    return [int(ascending[at]) for at in np.linspace(0, len(clip) - 1, NUM_FRAMES).round().astype(int)]


def _lanes(net: RendererNet, clip: FaceClip) -> np.ndarray:
    rows = shown_rows(clip)
    # With a few frames before each, so that the features which are handed on have settled.
    needed = sorted({r for row in rows for r in range(max(0, row - WARM_FRAMES), row + 1)})
    part = replace(clip, frames=clip.frames[needed], warps=clip.warps[:, needed], lips=clip.lips[needed])
    made = drawn(net, part, 0)
    ours = made[[needed.index(row) for row in rows]]
    lanes = [np.concatenate(list(of), axis=1) for of in (clip.true[rows], clip.warps[0, rows], ours)]
    known = np.full((len(LANES) * SIDE_PX, SIDE_PX, 3), BACKGROUND, np.uint8)
    known[:SIDE_PX] = clip.references[0, 0]
    return np.concatenate([known, _names(), np.concatenate(lanes)], axis=1)


def _names() -> np.ndarray:
    column = np.full((len(LANES) * SIDE_PX, NAME_PX, 3), BACKGROUND, np.uint8)
    for number, name in enumerate(LANES):
        _write(column, name, number * SIDE_PX + SIDE_PX // 2)
    return column


def _head(clip: FaceClip) -> np.ndarray:
    head = np.full((HEAD_PX, SIDE_PX + NAME_PX + NUM_FRAMES * SIDE_PX, 3), BACKGROUND, np.uint8)
    _write(head, f"clip {clip.clip_id}, known from one {clip.plates[0][0]} (left)", 14)
    return head


def _write(picture_HWC: np.ndarray, text: str, y: int) -> None:
    cv2.putText(picture_HWC, text, (6, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
