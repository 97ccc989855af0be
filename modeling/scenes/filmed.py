"""More of what cameras see, to train on only: streets that are watched, shots that are cut, figures before a plain ground."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modeling.scenes.photos import bump
from modeling.scenes.stage import SHOWN, Stage, cover, smooth_noise


def _part(stage: Stage, width_px: int, height_px: int, least: float = 0.3) -> np.ndarray:
    """A part of a photograph, from `least` of its sides on, that fills (height, width)."""
    photo, crop = stage.photo(), stage.rng.uniform(least, 1.0)
    y, x = (int(stage.rng.uniform(0, 1 - crop) * n) for n in photo.shape[:2])
    return cover(
        photo[y : y + max(2, int(crop * photo.shape[0])), x : x + max(2, int(crop * photo.shape[1]))],
        width_px,
        height_px,
    )


def _blob(stage: Stage, width_px: int, height_px: int) -> np.ndarray:
    """Float32 (H, W), 0 to 1: an uneven round shape with an edge as a lens draws it."""
    import cv2

    y, x = np.mgrid[-1 : 1 : height_px * 1j, -1 : 1 : width_px * 1j]
    uneven = smooth_noise(stage.rng, height_px, width_px, 5) * stage.rng.uniform(0.05, 0.25)
    inside = (np.hypot(x, y) + uneven < 0.8).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), stage.rng.uniform(0.5, 1.5)))


def _grained(stage: Stage, image: np.ndarray, grain: float) -> np.ndarray:
    noisy = image + stage.rng.normal(0, grain, (*image.shape[:2], 1)) if grain else image
    return np.clip(noisy, 0, 255).astype(np.uint8)


def watched(stage: Stage) -> Iterator[np.ndarray]:
    """A place before a camera that stands or trembles; small things cross it, come and go, as on streets and squares."""
    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    back = _part(stage, wide + 8, high + 8, 0.6)
    grain, trembles = rng.choice([0.0, 1.5, 4.0]), rng.random() < 0.3
    things = []
    for _ in range(int(rng.integers(2, 14))):
        tall = max(8, int(high * rng.uniform(0.05, 0.3)))
        size = max(8, int(tall * rng.uniform(0.4, 2.0))), tall
        thing = _part(stage, *size), _blob(stage, *size)[..., None]
        things.append((thing, rng.uniform(-0.1, 1.1, 2) * (wide, high), rng.normal(0, 0.03, 2) * (wide, high / 2)))
    for i in SHOWN:
        left, top = rng.integers(0, 8, 2) if trembles else (4, 4)
        image = back[top : top + high, left : left + wide].astype(np.float32)
        for (look, share), start, step in things:
            x, y = (start + step * i).astype(int)
            x0, y0, x1, y1 = max(0, x), max(0, y), min(wide, x + look.shape[1]), min(high, y + look.shape[0])
            if x1 > x0 and y1 > y0:
                at = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
                image[y0:y1, x0:x1] += (look[at] - image[y0:y1, x0:x1]) * share[at]
        yield _grained(stage, image, grain)


def several_shots(stage: Stage) -> Iterator[np.ndarray]:
    """Shots of which each may be of another place, unsharp or smeared by a fast camera."""
    import cv2

    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    grain, image = rng.choice([0.0, 2.0, 5.0]), _part(stage, wide * 2, high * 2)
    tone = rng.uniform(0.6, 1.1, 3)
    for i in SHOWN:
        if i and rng.random() < 0.6:
            image = _part(stage, wide * 2, high * 2)
        y, x = (int(v) for v in rng.uniform(0, 1, 2) * (high, wide))
        shot: np.ndarray = cv2.resize(image[y : y + high, x : x + wide], (wide, high)).astype(np.float32)
        if rng.random() < 0.4:
            shot = cv2.GaussianBlur(shot, (0, 0), rng.uniform(1, 6))
        if rng.random() < 0.4:
            shot = cv2.blur(shot, (int(rng.integers(3, wide // 12 + 4)), 1 + int(rng.integers(0, 4))))
        yield _grained(stage, shot * tone, grain)


def before_plain(stage: Stage) -> Iterator[np.ndarray]:
    """One thing before a wall, a sheet or the sky, which moves much and in itself."""
    import cv2

    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    low, top = (190, 256) if rng.random() < 0.5 else (60, 230)
    ground = np.array(stage.colour(low, top), np.float32) * np.linspace(rng.uniform(0.8, 1), 1, high)[:, None, None]
    ground = ground + smooth_noise(rng, high, wide, 3)[..., None] * rng.uniform(0, 6)
    tall = max(16, int(high * rng.uniform(0.2, 0.95)))
    size = max(16, min(wide, int(tall * rng.uniform(0.35, 1.3)))), tall
    thing, share = _part(stage, *size), _blob(stage, *size)[..., None]
    y0, x0 = (int(v) for v in rng.uniform(0, 1, 2) * (high - size[1], wide - size[0]))
    base, mask = np.zeros((high, wide, 3), np.float32), np.zeros((high, wide, 1), np.float32)
    base[y0 : y0 + size[1], x0 : x0 + size[0]], mask[y0 : y0 + size[1], x0 : x0 + size[0]] = thing, share
    shadow = cv2.GaussianBlur(mask, (0, 0), high / 14)[..., None] * rng.uniform(0, 0.3)
    y, x = np.mgrid[:high, :wide].astype(np.float32)
    bumps = [bump(stage, x, y, False) for _ in range(int(rng.integers(2, 6)))]
    walk, grain = rng.normal(0, 0.008, 2) * (wide, high), rng.choice([0.0, 1.5, 3.0])
    for i in SHOWN:
        dx = sum((push[i, 0] * weight for weight, push in bumps), np.zeros_like(x)) - walk[0] * i
        dy = sum((push[i, 1] * weight for weight, push in bumps), np.zeros_like(x)) - walk[1] * i
        moved = (x + dx).astype(np.float32), (y + dy).astype(np.float32)
        here = cv2.remap(mask, *moved, cv2.INTER_LINEAR)[..., None]
        image = ground * (1 - shadow) * (1 - here) + cv2.remap(base, *moved, cv2.INTER_LINEAR) * here
        yield _grained(stage, image, grain)
