"""Clips whose mouth is known: it opens with the loudness of a voice made of noise, and rests where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modeling.motion import NUM_PARAMETERS, Motion
from modeling.motion_set import MotionClip


def made_clip(name: str, who: str, seconds: float = 4.0, seed: int = 0) -> MotionClip:
    draw = np.random.default_rng(seed)
    num = round(seconds * 25)
    beat = np.clip(np.sin(2 * np.pi * (3 * np.arange(num) / 25 + draw.random())), 0, 1)
    phrase = (np.sin(2 * np.pi * (0.4 * np.arange(num) / 25 + draw.random())) > -0.6).astype(float)
    opening = beat * phrase
    envelope = np.interp(np.arange(num * 640) / 640, np.arange(num), opening)
    sound = (0.2 * envelope * draw.normal(0, 1, num * 640) + 1e-4 * draw.normal(0, 1, num * 640)).astype(np.float32)
    values = np.zeros((num, NUM_PARAMETERS), np.float32)
    values[:, 0], values[:, 1], values[:, 2], values[:, 3] = 2 * opening, -opening, opening, 1.5 * opening
    values[:, 6:9] = 0.3 * np.sin(2 * np.pi * 0.3 * np.arange(num) / 25)[:, None]
    values[::60, 4:6] = 1
    seen = np.ones((num, NUM_PARAMETERS), bool)
    return MotionClip(name, f"v{name}", who, 0, Motion(values, seen), sound, phrase.astype(np.float32))


def made_clips(num: int = 6, seconds: float = 4.0) -> Sequence[MotionClip]:
    """As many people as clips."""
    return [made_clip(f"c{i}", f"p{i}", seconds, seed=i) for i in range(num)]
