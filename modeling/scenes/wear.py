"""What a picture goes through before anyone measures it: made smaller and larger again, toned, framed, written on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modeling.scenes.stage import Stage, box, write


def worn(stage: Stage, frames: Sequence[np.ndarray], *, graphics: bool) -> list[np.ndarray]:
    """The frames of one scene, each thing with a chance of its own and the same for all of them.

    Of every kind alike, so that it tells nothing of the kind; `graphics` allows a name or a mark on the picture, for
    kinds that get none elsewhere.
    """
    import cv2

    rng, (height, width) = stage.rng, frames[0].shape[:2]
    made = [np.array(frame) for frame in frames]
    if rng.random() < 0.45:
        scale = rng.uniform(0.35, 0.85)
        small = (max(16, round(width * scale)), max(16, round(height * scale)))
        way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
        made = [
            cv2.resize(cv2.resize(f, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=way)
            for f in made
        ]
    if rng.random() < 0.4:
        gamma, gain, floor = rng.uniform(0.65, 1.6), rng.uniform(0.75, 1.1, 3), rng.uniform(0, 18)
        levels = (np.arange(256) / 255) ** gamma
        table = np.clip(floor + levels[:, None] * (255 * gain - floor), 0, 255).astype(np.uint8)
        made = [np.stack([table[f[..., c], c] for c in range(3)], axis=-1) for f in made]
    if rng.random() < 0.12:
        bars = rng.uniform(0.06, 0.14)
        dx, dy = (int(width * bars), 0) if rng.random() < 0.5 else (0, int(height * bars))
        for frame in made:
            inner = cv2.resize(frame, (width - 2 * dx, height - 2 * dy), interpolation=cv2.INTER_AREA)
            frame[:] = 0
            frame[dy : height - dy, dx : width - dx] = inner
    if graphics and rng.random() < 0.15:
        size, text = height * rng.uniform(0.035, 0.09), stage.words(1, 5)
        x, y = rng.uniform(0.03, 0.5) * width, (0.05, 0.86)[int(rng.integers(2))] * height
        banded, tone = rng.random() < 0.4, stage.colour(0, 140)
        for frame in made:
            if banded:
                box(frame, 0, y - size * 0.3, width, y + size * 1.6, tone)
            write(frame, text, x, y, size, (255, 255, 255))
    return made
