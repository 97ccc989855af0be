"""Lower faces whose answer is known: skin with a gap that opens and shuts; the warp shows it gray, the truth has teeth in it."""

from __future__ import annotations

import cv2
import numpy as np

from modeling.mouth_crop import SIDE_PX
from modeling.renderer_set import AVATAR, PORTRAIT, FaceClip

TEETH, GRAY = (230, 225, 215), (90, 90, 90)


def face_clip(name: str = "c", who: str = "ann", num: int = 30, seed: int = 0) -> FaceClip:
    draw = np.random.default_rng(seed)
    skin = np.clip(np.array([190, 140, 120]) + draw.integers(-25, 25, 3), 0, 255)
    noise = cv2.GaussianBlur(draw.normal(0, 20, (SIDE_PX, SIDE_PX, 3)), (0, 0), 1.5)
    ground = np.clip(skin + noise, 0, 255).astype(np.uint8)
    true, warps, lips = [], [], []
    opening = np.clip(np.sin(np.arange(num) / 3 + seed), 0, 1)
    for share in opening:
        masks = np.zeros((2, SIDE_PX, SIDE_PX), np.uint8)
        half = max(0, round(10 * float(share)))
        cv2.ellipse(masks[0], (48, 50), (18, half), 0, 0, 360, 255, -1)
        cv2.ellipse(masks[1], (48, 50), (24, half + 6), 0, 0, 360, 255, -1)
        inside = (masks[0] > 0)[..., None] & (half > 0)
        true.append(np.where(inside, np.array(TEETH, np.uint8), ground))
        warps.append(np.where(inside, np.array(GRAY, np.uint8), ground))
        lips.append(masks)
    reference = np.stack([ground, np.full_like(ground, 30)])
    return FaceClip(
        clip_id=name, video_id=f"v{name}", who=who, weight=None, frames=np.arange(num), true=np.stack(true),
        lips=np.stack(lips), face=np.full((num, SIDE_PX, SIDE_PX), 255, np.uint8),
        warps=np.stack([np.stack(warps)] * 2), references=np.stack([reference] * 2),
        plates=[(AVATAR, 0), (PORTRAIT, 1)], speech=(opening > 0.2).astype(np.float32),
        gap=opening.astype(np.float32) * 3, pictures=np.stack([np.pad(ground, ((80, 80), (80, 80), (0, 0)), "edge")] * 2),
        affines=np.tile(np.array([[1.0, 0, 80], [0, 1, 80]]), (2, 1, 1)), points=np.full((2, 5, 2), 128.0),
    )  # fmt: skip
