"""Scenes made of photographs: life-like motion, a camera move over a still, a bust of stone, a picture in a picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modeling.scenes.drawn import game
from modeling.scenes.screens import screencast
from modeling.scenes.slides import slides
from modeling.scenes.stage import NUM_FRAMES, SHOWN, Stage, box, cover, smooth_noise, write


def natural(stage: Stage) -> Iterator[np.ndarray]:
    """What a camera sees: parts that move on their own, a hand or a tripod, light, grain, blur; often with graphics.

    Non-rigid motion is a sum of warps, each around a place of its own, with a rhythm of its own.
    """
    import cv2

    rng, height, width = stage.rng, stage.height_px, stage.width_px
    photo = stage.photo()
    crop = rng.uniform(0.55, 1.0)
    y0, x0 = (int(rng.uniform(0, 1 - crop) * n) for n in photo.shape[:2])
    part = photo[y0 : y0 + int(crop * photo.shape[0]), x0 : x0 + int(crop * photo.shape[1])]
    base = cover(part, width, height)
    calm = rng.random() < 0.45
    if rng.random() < 0.3:
        base = _room(stage, base)
    if rng.random() < 0.45:
        base = _in_front(stage, base, rooms=True)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bumps = [bump(stage, x, y, calm) for _ in range(int(rng.integers(2, 7)))]
    hand = rng.choice([0.0, 0.0, 1.0, 3.0]) * rng.uniform(0.5, 1.5) * (not calm)
    sway = np.cumsum(rng.normal(0, hand, (NUM_FRAMES, 2)), axis=0)
    zoom = 1 + np.cumsum(rng.normal(0, 0.002 * hand, NUM_FRAMES))
    grain, blur = rng.choice([0.0, 1.5, 4.0, 8.0]), rng.choice([0.0, 0.0, 0.8, 1.6])
    light = 1 + rng.choice([0.0, 0.02]) * rng.normal(size=NUM_FRAMES)
    graphics = _graphics(stage) if rng.random() < 0.4 else None
    for i in SHOWN:
        dx = sum((push[i, 0] * weight for weight, push in bumps), np.zeros_like(x))
        dy = sum((push[i, 1] * weight for weight, push in bumps), np.zeros_like(x))
        map_x = (x - width / 2) / zoom[i] + width / 2 + dx + sway[i, 0]
        map_y = (y - height / 2) / zoom[i] + height / 2 + dy + sway[i, 1]
        image = cv2.remap(
            base, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT
        )
        if blur:
            image = cv2.GaussianBlur(image, (0, 0), blur)
        noisy = image * light[i] + rng.normal(0, grain, (height, width, 1)) if grain else image * light[i]
        made = np.clip(noisy, 0, 255).astype(np.uint8)
        if graphics is not None:
            made = np.where(graphics[1][..., None], graphics[0], made)
        yield made


def bump(stage: Stage, x: np.ndarray, y: np.ndarray, calm: bool) -> tuple[np.ndarray, np.ndarray]:
    """A round weight (H, W), and its push in pixels at each frame (T, 2). Calm ones stay near the middle and move
    little, as of a person who sits before a tripod."""
    rng, size = stage.rng, stage.height_px
    low, high = (0.35, 0.65) if calm else (0.15, 0.85)
    at, reach = rng.uniform(low, high, 2) * (stage.width_px, size), rng.uniform(0.05, 0.35) * size
    weight = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * reach**2))
    time = np.arange(NUM_FRAMES) / 5
    waves = [np.sin(2 * np.pi * (rng.uniform(0.2, 2.2) * time + rng.random())) for _ in range(2)]
    drift = rng.normal(0, 0.01 * size, 2) * time[:, None] * (not calm)
    return weight, np.stack(waves, axis=1) * (
        rng.uniform(0.002, 0.02) if calm else rng.uniform(0.005, 0.05)
    ) * size + drift


def _room(stage: Stage, back: np.ndarray) -> np.ndarray:
    """Doors, windows, pictures and shelves on the wall: straight lines that stay, as in any room."""
    import cv2

    rng, (height, width) = stage.rng, back.shape[:2]
    wall = (
        np.asarray(cv2.GaussianBlur(back, (0, 0), 7))
        if rng.random() < 0.5
        else np.full_like(back, stage.colour(30, 240))
    )
    for _ in range(int(rng.integers(1, 5))):
        x0, y0 = rng.uniform(-0.1, 0.8) * width, rng.uniform(-0.2, 0.6) * height
        wide, high = rng.uniform(0.08, 0.5) * width, rng.uniform(0.15, 1.1) * height
        corners = np.array([[x0, y0], [x0 + wide, y0], [x0 + wide, y0 + high], [x0, y0 + high]])
        corners += rng.normal(0, 0.012 * height, (4, 2)) * rng.choice([0, 1])
        inside = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(inside, corners.astype(np.int32), 255, cv2.LINE_AA)
        filled = (
            cover(stage.photo(), width, height) if rng.random() < 0.3 else np.full_like(back, stage.colour(20, 240))
        )
        share = (inside / 255 * rng.uniform(0.3, 1.0))[..., None]
        wall = np.clip(wall * (1 - share) + filled * share, 0, 255).astype(np.uint8)
        cv2.polylines(wall, [corners.astype(np.int32)], True, stage.colour(), int(rng.integers(1, 6)), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), rng.uniform(0.3, 1.5)))


def _in_front(stage: Stage, subject: np.ndarray, *, rooms: bool = False) -> np.ndarray:
    """The middle of the picture in front of a plain, a dark or an unsharp wall, or in a room, as in a studio."""
    import cv2

    height, width = subject.shape[:2]
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (width // 2, int(height * 0.6)), (int(width * 0.28), int(height * 0.5)), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    if rooms and stage.rng.random() < 0.5:
        wall = _room(stage, cover(stage.photo(), width, height))
    elif stage.rng.random() < 0.5:
        y = np.linspace(0.85, 1.1, height)[:, None, None]
        wall = np.array(stage.colour(15, 230)) * y + np.zeros((height, width, 1))
    else:
        wall = cv2.GaussianBlur(cover(stage.photo(), width, height), (0, 0), 9)
    return np.asarray(np.clip(subject * mask + wall * (1 - mask), 0, 255), np.uint8)


def _graphics(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """What broadcasters lay over a picture: a banner, a logo, bars; and where it lies."""
    image, here = stage.canvas(), np.zeros((stage.height_px, stage.width_px), bool)
    high = int(stage.height_px * stage.rng.uniform(0.08, 0.18))
    kind = int(stage.rng.integers(3))
    if kind == 0:
        top = int(stage.height_px * stage.rng.uniform(0.7, 0.82))
        here[top : top + high] = True
        image[top : top + high] = stage.colour(0, 200)
        write(image, stage.words(2, 6), stage.width_px * 0.05, top + high * 0.2, high * 0.5, (255, 255, 255))
    elif kind == 1:
        left, size = int(stage.width_px * 0.82), stage.height_px // 12
        write(image, stage.words(1, 2).upper(), left, size, size, (255, 255, 255))
        here = image.max(axis=2) > 60
    else:
        shade = int(stage.rng.choice([0, 0, 110, 128, 255]))
        image[:] = shade
        if stage.rng.random() < 0.5:
            here[-high:] = True
        else:
            here[: high // 2] = here[-high // 2 :] = True
    return image, here


def still(stage: Stage) -> Iterator[np.ndarray]:
    """A photograph that stands, or over which the camera pans and zooms (Ken Burns); held out: it also turns."""
    import cv2

    rng, width, height = stage.rng, stage.width_px, stage.height_px
    base = cover(stage.photo(), width * 3 // 2, height * 3 // 2)
    if rng.random() < 0.3:
        base = _in_front(stage, base)
    moves = rng.random() < 0.8
    start, end = rng.uniform(0.68, 0.95, 2)
    if moves and abs(start - end) < 0.06:
        end = start - 0.1 if start > 0.82 else start + 0.1
    way = rng.uniform(-1, 1, (2, 2))
    turn = rng.uniform(3, 9) * rng.choice([-1, 1]) if stage.held_out and moves and rng.random() < 0.5 else 0.0
    ease = rng.random() < 0.5
    graphics = _graphics(stage) if rng.random() < 0.2 else None
    for i in SHOWN:
        share = i / NUM_FRAMES if moves else 0.0
        share = share * share * (3 - 2 * share) if ease else share
        scale = start + (end - start) * share
        room = (1 - scale) / 2
        at = 0.5 + room * (way[0] + (way[1] - way[0]) * share)
        middle = (float(at[0] * base.shape[1]), float(at[1] * base.shape[0]))
        move = np.asarray(cv2.getRotationMatrix2D(middle, turn * share, 1 / (1.5 * scale)), np.float64)
        move[:, 2] += (width / 2 - at[0] * base.shape[1], height / 2 - at[1] * base.shape[0])
        image = cv2.warpAffine(base, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        yield np.where(graphics[1][..., None], graphics[0], image) if graphics is not None else image


STONES = ((205, 200, 190), (150, 150, 150), (120, 95, 60), (90, 100, 85), (230, 225, 215), (175, 150, 120))


def statue(stage: Stage) -> Iterator[np.ndarray]:
    """A bust of one material before a photograph: a relief of a head, lit by one lamp; its lips may move. Drawn at half size."""
    import cv2

    rng, height, width = stage.rng, stage.height_px // 2, stage.width_px // 2
    back = cover(stage.photo(), width, height)
    back = np.asarray(cv2.GaussianBlur(back, (0, 0), rng.uniform(0.3, 3)))
    stone = np.array(stage.pick(STONES[:4], STONES[4:]), np.float32)
    lamp = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, 0.1), 1.0])
    lamp /= np.linalg.norm(lamp)
    rough = smooth_noise(rng, height, width, 120) * 0.4 + smooth_noise(rng, height, width, 30) * 0.3
    size, at = rng.uniform(0.25, 0.42) * height, (rng.uniform(0.35, 0.65) * width, rng.uniform(0.4, 0.5) * height)
    veins = 1 + 0.06 * smooth_noise(rng, height, width, 14) + 0.05 * rough
    talks, shine = rng.random() < 0.5, rng.uniform(0, 0.5)
    features = rng.uniform(0.8, 1.2, 6)
    drift = rng.normal(0, 0.6, 2) * (rng.random() < 0.5)
    for i in SHOWN:
        gap = 0.5 + 0.5 * np.sin(i * 2.1) if talks else 0.0
        x, y = np.meshgrid(
            (np.arange(width) - at[0] - drift[0] * i) / size, (np.arange(height) - at[1] - drift[1] * i) / size
        )
        relief, inside = _head(x, y, features, gap)
        relief = relief + 0.012 * rough
        dy, dx = np.gradient(relief, 1 / size)
        normal = np.stack([-dx, -dy, np.ones_like(dx)], axis=-1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        lit = np.clip(normal @ lamp, 0, 1)
        shaded = stone * (0.25 + 0.75 * lit[..., None]) * veins[..., None] + 255 * shine * (lit**20)[..., None]
        mask = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)[..., None]
        small = np.clip(shaded * mask + back * (1 - mask), 0, 255).astype(np.uint8)
        yield np.asarray(cv2.resize(small, (stage.width_px, stage.height_px), interpolation=cv2.INTER_CUBIC))


def _head(x: np.ndarray, y: np.ndarray, f: np.ndarray, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Height above the background and the outline of a head and shoulders; the head's half height is 1."""

    def hill(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return np.asarray(np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2))

    skull = 1 - (x / 0.76) ** 2 - (y / 1.0) ** 2
    chest = 1 - (x / 1.6) ** 2 - ((y - 2.0) / 1.05) ** 2
    neck = (np.abs(x) < 0.36) & (y > 0.5) & (y < 1.6)
    relief: np.ndarray = 0.8 * np.sqrt(np.clip(skull, 0, 1))
    relief = np.maximum(relief, 0.6 * np.sqrt(np.clip(chest, 0, 1)))
    relief = np.maximum(relief, np.where(neck, 0.45 * np.sqrt(np.clip(1 - (x / 0.36) ** 2, 0, 1)), 0))
    face = 0.28 * f[0] * hill(0, 0.12, 0.1, 0.3) - 0.16 * f[1] * (
        hill(-0.3, -0.12, 0.16, 0.1) + hill(0.3, -0.12, 0.16, 0.1)
    )
    face += 0.08 * f[2] * (hill(-0.3, -0.1, 0.09, 0.06) + hill(0.3, -0.1, 0.09, 0.06)) + 0.08 * f[3] * hill(
        0, -0.3, 0.5, 0.09
    )
    face += 0.09 * f[4] * (hill(0, 0.46, 0.22, 0.05) + hill(0, 0.6 + 0.08 * gap, 0.2, 0.06)) + 0.1 * f[5] * hill(
        0, 0.88, 0.2, 0.14
    )
    face -= (0.08 + 0.15 * gap) * hill(0, 0.53 + 0.03 * gap, 0.2, 0.02 + 0.06 * gap)
    hair = 0.03 * np.sin(24 * np.arctan2(x, -y - 0.2) * f[2]) * (y < -0.45)
    return relief + (face + hair) * (skull > 0), (skull > 0) | (chest > 0) | neck


def inset(stage: Stage) -> Iterator[np.ndarray]:
    """A video in a video: in a corner or side by side; held out: a grid of four, a small one in the middle of a still."""
    rng = stage.rng
    places = stage.pick([_corner, _corner, _beside], [_four, _middle])(stage)
    scenes = [natural, slides, screencast, game, still]
    outer = scenes[int(rng.choice(5, p=[0.2, 0.3, 0.25, 0.15, 0.1]))](stage)
    boxes = [(int(x), int(y), int(w) // 2 * 2, int(h) // 2 * 2) for x, y, w, h in places]
    inner = [natural(Stage(rng, w, h, stage.photos, stage.held_out)) for _, _, w, h in boxes]
    frame, line = stage.colour(), int(rng.choice([0, 0, 1, 3]))
    for image, *parts in zip(outer, *inner, strict=True):
        made = image.copy()
        for (x, y, w, h), part in zip(boxes, parts, strict=True):
            made[y : y + h, x : x + w] = part
            if line:
                box(made, x, y, x + w, y + h, frame, line)
        yield made


Place = tuple[float, float, float, float]


def _corner(stage: Stage) -> list[Place]:
    """4 to 13 % of the picture, so that a face in it can be seen in an upright picture too."""
    size = (stage.width_px * stage.height_px) ** 0.5 * stage.rng.uniform(0.2, 0.36)
    slim = float(stage.rng.choice([0.75, 0.866, 1.0]))  # 16:9, 4:3 and 1:1
    wide, high = size / slim, size * slim
    gap = stage.rng.choice([0, 0.02, 0.05]) * stage.width_px
    x = gap if stage.rng.random() < 0.5 else stage.width_px - wide - gap
    y = gap if stage.rng.random() < 0.4 else stage.height_px - high - gap
    return [(x, max(0.0, y), wide, high)]


def _beside(stage: Stage) -> list[Place]:
    wide, gap = stage.width_px * 0.46, stage.width_px * 0.027
    high = min(wide * 0.75, stage.height_px * 0.8)
    top = (stage.height_px - high) / 2
    return [(gap, top, wide, high), (stage.width_px - wide - gap, top, wide, high)]


def _four(stage: Stage) -> list[Place]:
    wide, high = stage.width_px * 0.47, stage.height_px * 0.46
    xs, ys = (stage.width_px * 0.02, stage.width_px * 0.51), (stage.height_px * 0.03, stage.height_px * 0.51)
    return [(x, y, wide, high) for y in ys for x in xs]


def _middle(stage: Stage) -> list[Place]:
    wide = stage.width_px * stage.rng.uniform(0.4, 0.6)
    high = min(wide * 0.5625, stage.height_px * 0.6)
    return [((stage.width_px - wide) / 2, (stage.height_px - high) / 2, wide, high)]
