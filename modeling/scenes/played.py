"""Games drawn to train on only, and what games show over the picture: maps, hearts, slots, sights, counters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modeling.scenes.stage import SHOWN, Colour, Stage, box, smooth_noise, write


def overlaid(stage: Stage, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames with two to five of the things that games lay over them; the counters run."""
    import cv2

    rng, wide, high = stage.rng, stage.width_px, stage.height_px
    shown = rng.random(7) < 0.45
    size, tone, corner = high * rng.uniform(0.03, 0.07), stage.colour(120, 256), rng.random() < 0.5
    slots, hearts, shots = int(rng.integers(4, 11)), int(rng.integers(1, 9)), int(rng.integers(5, 90))
    told = [stage.words(1, 4) for _ in range(5)]
    for i, frame in zip(SHOWN, frames, strict=True):
        image = np.array(frame)
        if shown[0]:
            radius = int(high * 0.11)
            centre = (wide - radius - 8 if corner else radius + 8, radius + 8)
            cv2.circle(image, centre, radius, (40, 60, 40), -1, cv2.LINE_AA)
            cv2.circle(image, centre, radius, tone, 2, cv2.LINE_AA)
            for k in range(6):
                spot = (int(centre[0] + radius * 0.7 * np.sin(k * 2.1 + i * 0.1)), int(centre[1] + k * 5 - 14))
                cv2.circle(image, spot, 2, (250, 60, 50), -1)
        if shown[1]:
            for k in range(10):
                left = wide * 0.04 + k * size * 1.1
                box(image, left, high * 0.9, left + size * 0.9, high * 0.9 + size * 0.8, (20, 20, 20))
                if k < hearts:
                    box(image, left + 1, high * 0.9 + 1, left + size * 0.8, high * 0.9 + size * 0.7, (220, 30, 40))
        if shown[2]:
            side = high * 0.085
            left, top = (wide - slots * side) / 2, high * 0.985 - side
            for k in range(slots):
                box(image, left + k * side, top, left + (k + 1) * side, top + side, (60, 60, 60))
                line = (250, 250, 250) if k == i // 5 % slots else (150, 150, 150)
                box(image, left + k * side, top, left + (k + 1) * side, top + side, line, 2)
                if (k + hearts) % 3:
                    inner = side * 0.25
                    colour = ((k * 70) % 256, (hearts * 40) % 256, (k * 30 + 90) % 256)
                    box(
                        image,
                        left + k * side + inner,
                        top + inner,
                        left + (k + 1) * side - inner,
                        top + 3 * inner,
                        colour,
                    )
        if shown[3]:
            middle, arm = (wide // 2, high // 2), int(high * 0.025)
            cv2.line(image, (middle[0] - arm, middle[1]), (middle[0] + arm, middle[1]), tone, 2)
            cv2.line(image, (middle[0], middle[1] - arm), (middle[0], middle[1] + arm), tone, 2)
        if shown[4]:
            write(image, f"{shots - i // 5} / {shots * 3}", wide * 0.82, high * 0.9, size * 1.3, (255, 255, 255))
        if shown[5]:
            for row, text in enumerate(told[: 2 + i // 5]):
                write(image, text, 8, high * (0.3 + 0.06 * row), size * 0.8, (250, 240, 200))
        if shown[6]:
            write(image, f"{shots // 10}:{(59 - i // 5) % 60:02d}", wide * 0.46, 6, size * 1.2, (255, 255, 255))
            for left in (0.05, 0.58):
                box(image, wide * left, 10, wide * (left + 0.37), 10 + size * 0.7, (70, 20, 20))
                box(image, wide * left, 10, wide * (left + 0.2 + 0.01 * (i % 9)), 10 + size * 0.7, tone)
        yield image


def _sprite(stage: Stage, tall: int = 12, wide: int = 8) -> np.ndarray:
    """A figure of few pixels (tall, wide, 4), the same left and right; the last plane is where it is."""
    half = stage.rng.random((tall, wide // 2)) < 0.68
    half[:, -1] = True
    here = np.concatenate([half, half[:, ::-1]], axis=1)
    tones = np.array([stage.colour(30, 250) for _ in range(3)], np.uint8)
    rows = np.sort(stage.rng.integers(0, 3, tall))
    made = np.zeros((tall, wide, 4), np.uint8)
    made[..., :3] = tones[rows][:, None]
    made[..., 3] = here
    return made


def _put(image: np.ndarray, sprite: np.ndarray, x: float, y: float, scale: int) -> None:
    """The sprite enlarged, its top left at (x, y), cut at the borders."""
    large = sprite.repeat(scale, axis=0).repeat(scale, axis=1)
    left, top = int(x), int(y)
    x0, y0 = max(0, left), max(0, top)
    part = image[y0 : max(0, top + len(large)), x0 : max(0, left + large.shape[1])]
    piece = large[y0 - top :, x0 - left :][: part.shape[0], : part.shape[1]]
    part[:] = np.where(piece[..., 3:] > 0, piece[..., :3], part)


def town(stage: Stage) -> Iterator[np.ndarray]:
    """Houses and ground of a town seen from above at an angle, in rhombs, with figures that walk."""
    import cv2

    rng, num = stage.rng, 14
    side = stage.height_px / rng.uniform(7, 14)
    tall = rng.integers(0, 4, (num, num)) * (rng.random((num, num)) < 0.45)
    tones = [np.array(stage.colour(50, 230)) for _ in range(5)]
    kinds, walk = rng.integers(0, 5, (num, num)), rng.uniform(0, num, (6, 2))
    figures, back, move = [_sprite(stage) for _ in range(6)], stage.colour(10, 120), rng.choice([0.0, 0.06])
    for i in SHOWN:
        image = stage.canvas(back)
        for a in range(num):
            for b in range(num):
                x = stage.width_px / 2 + (a - b) * side - move * i * side
                y = (a + b) * side / 2 - stage.height_px * 0.15
                up, tone = tall[a, b] * side * 0.6, tones[kinds[a, b]]
                top = [[x, y - up], [x + side, y + side / 2 - up], [x, y + side - up], [x - side, y + side / 2 - up]]
                cv2.fillConvexPoly(image, np.array(top, np.int32), tuple(int(c) for c in tone))
                for (p, q), lit in (((1, 2), 0.75), ((2, 3), 0.55)):
                    face = [top[p], top[q], [top[q][0], top[q][1] + up], [top[p][0], top[p][1] + up]]
                    if up:
                        cv2.fillConvexPoly(image, np.array(face, np.int32), tuple(int(c * lit) for c in tone))
        for k, (a, b) in enumerate(walk + 0.05 * i):
            x, y = stage.width_px / 2 + (a - b) * side, (a + b) * side / 2 - stage.height_px * 0.2
            _put(image, figures[k], x, y, max(1, round(side / 14)))
        yield image


def duel(stage: Stage) -> Iterator[np.ndarray]:
    """Two figures of coarse pixels face each other before hills or a photograph in few colours."""
    import cv2

    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    if rng.random() < 0.5:
        small = cv2.resize(stage.photo(), (wide // 4, high // 4), interpolation=cv2.INTER_AREA)
        levels = int(rng.integers(4, 9))
        back = (small // (256 // levels) * (256 // levels)).repeat(4, axis=0).repeat(4, axis=1)
        back = cv2.resize(back, (wide, high), interpolation=cv2.INTER_NEAREST)
    else:
        back = stage.canvas(stage.colour(60, 250))
        for k in range(3):
            ridge = smooth_noise(rng, 2, wide, 10)[0] * high * 0.06 + high * (0.4 + 0.12 * k)
            back[np.arange(high)[:, None] > ridge[None]] = stage.colour(30, 220)
    back = np.asarray(back)
    back[int(high * 0.82) :] = stage.colour(30, 160)
    figures, scale = [_sprite(stage, 16, 10) for _ in range(2)], max(1, high // 40)
    for i in SHOWN:
        image = back.copy()
        for k, figure in enumerate(figures):
            x = wide * (0.25 + 0.35 * k) + high * 0.08 * np.sin(i * 1.3 + 2 * k)
            _put(image, figure, x, high * 0.86 - 16 * scale - high * 0.1 * abs(np.sin(i * 0.7 + k)), scale)
        yield image


def dungeon(stage: Stage) -> Iterator[np.ndarray]:
    """Rooms of stone tiles from above, lit around the one who walks, with foes and things to find."""
    rng, tile = stage.rng, int(stage.rng.integers(12, 25))
    rows, columns = stage.height_px // tile + 1, stage.width_px // tile + 1
    plan = rng.random((rows * 2, columns * 2)) < 0.3
    textures = [np.array(stage.colour(40, 200)) + rng.normal(0, 16, (tile, tile, 1)) for _ in range(2)]
    world = np.where(
        np.kron(plan, np.ones((tile, tile), bool))[..., None],
        np.tile(textures[0], (rows * 2, columns * 2, 1)),
        np.tile(textures[1], (rows * 2, columns * 2, 1)) * 0.7,
    )
    figures, places = [_sprite(stage, 8, 8) for _ in range(5)], rng.uniform(0, 1, (12, 2))
    reach, step = rng.uniform(0.25, 1.5), rng.integers(-4, 5, 2)
    y, x = np.mgrid[: stage.height_px, : stage.width_px]
    off = np.hypot(x - stage.width_px / 2, y - stage.height_px / 2) / stage.height_px
    light = np.clip(1.2 - off / reach, 0.12, 1)[..., None]
    for i in SHOWN:
        top, left = (int(abs(v) * i) % tile for v in step)
        image = np.clip(world[top : top + stage.height_px, left : left + stage.width_px], 0, 255).astype(np.uint8)
        for k, (fx, fy) in enumerate(places + rng.normal(0, 0.01, places.shape)):
            _put(image, figures[k % 4], fx * stage.width_px, fy * stage.height_px, max(1, tile // 8))
        _put(image, figures[4], stage.width_px / 2, stage.height_px / 2, max(1, tile // 8))
        yield (image * light).astype(np.uint8)


def table(stage: Stage) -> Iterator[np.ndarray]:
    """Playing cards on a cloth, of which one more lies there each second."""
    rng, wide, high = stage.rng, stage.width_px, stage.height_px
    cloth = np.array(stage.colour(20, 140)) + smooth_noise(rng, high, wide, 30)[..., None] * 5
    w, h = high * 0.13, high * 0.19
    places, marks = rng.uniform(0.03, 0.8, (24, 2)), rng.integers(0, 13, 24)
    rows = rng.random() < 0.7
    for i in SHOWN:
        image = np.clip(cloth, 0, 255).astype(np.uint8)
        for k in range(12 + i // 5 * 2):
            x, y = (0.05 + 0.12 * (k % 7), 0.1 + 0.3 * (k // 7)) if rows else places[k]
            x, y = x * wide, y * high
            box(image, x, y, x + w, y + h, (248, 246, 240) if marks[k] else (150, 40, 50))
            box(image, x, y, x + w, y + h, (30, 30, 30), 1)
            ink: Colour = (190, 20, 30) if marks[k] % 2 else (20, 20, 20)
            write(image, "A23456789TJQK"[marks[k]], x + 4, y + 2, h * 0.3, ink)
            box(image, x + w * 0.4, y + h * 0.45, x + w * 0.65, y + h * 0.65, ink)
        yield image
