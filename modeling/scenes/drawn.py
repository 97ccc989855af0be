"""Drawn games and cartoons: rendered by our own few lines, flat, textured or shaded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modeling.scenes.inked import comic, cut_paper, ink_drawing, portrait
from modeling.scenes.played import duel, dungeon, overlaid, table, town
from modeling.scenes.rendered import field_game, film
from modeling.scenes.stage import SHOWN, Colour, Stage, box, smooth_noise, write


def game(stage: Stage) -> Iterator[np.ndarray]:
    """A side scroller, a maze, a corridor, a block world, a race and the like; held out: a shooter in space, a landscape."""
    drawn = [_scroller, _maze, _corridor, _blocks, _race, _puzzle, _arena, _hills, town, duel, dungeon, table]
    draw = stage.pick([*drawn, field_game, field_game], [_space, _landscape])
    if not stage.held_out and stage.rng.random() < 0.5:
        yield from overlaid(stage, draw(stage))
        return
    shown = stage.rng.random() < 0.7
    score, life, ink = int(stage.rng.integers(0, 9000)), stage.rng.uniform(0.3, 1), (255, 255, 255)
    size = stage.height_px * 0.06
    for i, image in zip(SHOWN, draw(stage), strict=True):
        if shown:
            write(image, f"SCORE {score + 10 * i}", 8, 6, size, ink)
            box(image, stage.width_px * 0.68, 8, stage.width_px * (0.68 + 0.28 * life), 8 + size, (210, 40, 40))
            box(image, stage.width_px * 0.68, 8, stage.width_px * 0.96, 8 + size, ink, 1)
        yield image


def _tile(stage: Stage, low: int = 30, high: int = 220) -> np.ndarray:
    """A texture of 16 x 16 coarse pixels, uint8."""
    base = np.array(stage.colour(low, high), np.float32)
    return np.clip(base + stage.rng.normal(0, 14, (16, 16, 1)) + np.zeros(3), 0, 255).astype(np.uint8)


def _enlarged(small: np.ndarray, stage: Stage) -> np.ndarray:
    import cv2

    return np.asarray(cv2.resize(small, (stage.width_px, stage.height_px), interpolation=cv2.INTER_NEAREST))


def _scroller(stage: Stage) -> Iterator[np.ndarray]:
    rng, tile = stage.rng, max(16, stage.height_px // 12)
    sky, hill, ground = (
        stage.colour(90, 256),
        stage.colour(40, 180),
        np.kron(_tile(stage), np.ones((tile // 16, tile // 16, 1), np.uint8)),
    )
    columns = rng.integers(1, 5, 200)
    plates = rng.random((200, 12)) < 0.06
    speed, hero = int(rng.integers(3, 14)), stage.colour(60, 256)
    side = ground.shape[0]
    for i in SHOWN:
        image = stage.canvas(sky)
        for k in range(6):
            x = (k * 160 - i * speed // 3) % (stage.width_px + 200) - 100
            box(image, x, stage.height_px * 0.55, x + 110, stage.height_px, hill)
        for c in range(stage.width_px // side + 2):
            number = (c + i * speed // side) % 200
            x = c * side - (i * speed) % side
            rows = [stage.height_px - side * (r + 1) for r in range(columns[number])]
            rows += [side * int(r) for r in np.flatnonzero(plates[number])[:2]]
            for y in rows:
                part = image[max(0, y) : y + side, max(0, x) : max(0, x + side)]
                part[:] = ground[: part.shape[0], side - part.shape[1] if x < 0 else 0 :][:, : part.shape[1]]
        y = stage.height_px * 0.5 - abs(np.sin(i * 0.7)) * stage.height_px * 0.2
        box(image, stage.width_px * 0.3, y, stage.width_px * 0.3 + side, y + side * 1.5, hero)
        box(image, stage.width_px * 0.3 + side * 0.5, y + 3, stage.width_px * 0.3 + side * 0.8, y + 8, (20, 20, 20))
        yield image


def _maze(stage: Stage) -> Iterator[np.ndarray]:
    rng, tile = stage.rng, 16
    walls, floor = _tile(stage), _tile(stage)
    plan = rng.random((80, 80)) < 0.35
    world = np.where(
        np.kron(plan, np.ones((tile, tile), bool))[..., None], np.tile(walls, (80, 80, 1)), np.tile(floor, (80, 80, 1))
    )
    high, wide = stage.height_px // 2, stage.width_px // 2
    x, y = rng.integers(0, 300, 2)
    step = rng.integers(-6, 7, 2)
    foes = rng.uniform(0.1, 0.9, (6, 2))
    for i in SHOWN:
        top, left = int(np.clip(y + i * step[1], 0, 1000)), int(np.clip(x + i * step[0], 0, 900))
        small = world[top : top + high, left : left + wide].copy()
        for k, (fx, fy) in enumerate(foes + rng.normal(0, 0.01, (6, 2))):
            box(small, fx * wide, fy * high, fx * wide + 10, fy * high + 10, (250, 60 + 30 * k, 20))
        box(small, wide / 2, high / 2, wide / 2 + 11, high / 2 + 11, (60, 200, 250))
        yield _enlarged(small, stage)


def _rays(
    stage: Stage, plan: np.ndarray, at: np.ndarray, heading: float, wide: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance, cell value and place on the wall of what each column of a first-person view meets."""
    angles = heading + np.linspace(-0.5, 0.5, wide)
    way = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reach = np.full(wide, 20.0)
    met, along = np.zeros(wide, int), np.zeros(wide)
    for distance in np.arange(0.1, 20, 0.04):
        spot = at + way * distance
        cell = plan[spot[:, 1].astype(int) % len(plan), spot[:, 0].astype(int) % len(plan)]
        new = (met == 0) & (cell > 0)
        reach[new], met[new] = distance, cell[new]
        along[new] = (spot[new].sum(axis=1)) % 1
    return reach * np.cos(angles - heading), met, along


def _corridor(stage: Stage) -> Iterator[np.ndarray]:
    yield from _first_person(stage, sky=stage.rng.random() < 0.3, scale=2)


def _blocks(stage: Stage) -> Iterator[np.ndarray]:
    yield from _first_person(stage, sky=True, scale=1)


def _first_person(stage: Stage, *, sky: bool, scale: int) -> Iterator[np.ndarray]:
    rng = stage.rng
    wide, high = stage.width_px // scale, stage.height_px // scale
    plan = (rng.random((24, 24)) < 0.22) * rng.integers(1, 4, (24, 24))
    walls = [_tile(stage) for _ in range(3)]
    above, below = (stage.colour(120, 256) if sky else stage.colour(20, 90)), stage.colour(40, 160)
    at, heading, turn = rng.uniform(8, 16, 2), rng.uniform(0, 6), rng.normal(0, 0.06)
    rows = np.arange(high)[:, None]
    for i in SHOWN:
        reach, met, along = _rays(
            stage, plan, at + i * 0.1 * np.array([np.cos(heading), np.sin(heading)]), heading + turn * i, wide
        )
        tall = high / np.maximum(reach, 0.15)
        level = (rows - (high - tall) / 2) / tall
        wall = (level >= 0) & (level < 1) & (met > 0)
        texture = np.stack(walls)[
            np.maximum(met - 1, 0)[None], (level * 15.99).clip(0, 15).astype(int), (along * 15.99).astype(int)[None]
        ]
        ground = np.where(rows[..., None] < high / 2, np.array(above), np.array(below)).astype(np.float32)
        ground = ground * (1 + 0.06 * np.sign(np.sin(rows[..., None] * 2.0)) * (rows[..., None] > high / 2))
        shade = np.clip(1.2 - reach / 12, 0.25, 1)[None, :, None]
        small = np.where(wall[..., None], texture * shade, ground).clip(0, 255).astype(np.uint8)
        box(small, wide * 0.6, high * 0.8, wide * 0.72, high, (90, 80, 70))
        yield _enlarged(small, stage)


def _race(stage: Stage) -> Iterator[np.ndarray]:
    import cv2

    grass, road, sky = stage.colour(30, 160), stage.colour(70, 110), stage.colour(100, 256)
    bend, speed, car = stage.rng.normal(0, 60), stage.rng.uniform(0.5, 2), stage.colour(60, 256)
    horizon = int(stage.height_px * 0.45)
    rows = np.arange(horizon, stage.height_px)
    depth = 1 / ((rows - horizon + 3) / stage.height_px)
    for i in SHOWN:
        image = stage.canvas(sky)
        for row, far in zip(rows, depth, strict=True):
            stripe = int(far * 0.6 + i * speed) % 2
            middle, half = stage.width_px / 2 + bend * (far / 20) ** 2, stage.width_px * 0.9 / far
            image[row] = np.array(grass) * (1.0 if stripe else 0.85)
            for reach, colour in ((half * 1.12, (230, 230, 230) if stripe else (200, 30, 30)), (half, road)):
                image[row, max(0, int(middle - reach)) : max(0, int(middle + reach))] = colour
        x, y = stage.width_px / 2 + 10 * np.sin(i), stage.height_px * 0.86
        box(image, x - 40, y - 14, x + 40, y + 14, car)
        cv2.circle(image, (int(x - 26), int(y + 14)), 9, (20, 20, 20), -1)
        cv2.circle(image, (int(x + 26), int(y + 14)), 9, (20, 20, 20), -1)
        yield image


def _puzzle(stage: Stage) -> Iterator[np.ndarray]:
    """Coloured stones in a grid, of which some change."""
    import cv2

    rng, num = stage.rng, int(stage.rng.integers(6, 12))
    side = stage.height_px * 0.8 / num
    tones, stones = [stage.colour(60, 256) for _ in range(6)], rng.integers(0, 7, (num, num))
    back, left, round_ones = stage.colour(0, 110), stage.width_px * 0.5 - side * num / 2, rng.random() < 0.5
    for _ in SHOWN:
        image = stage.canvas(back)
        stones[rng.integers(num), rng.integers(num)] = rng.integers(7)
        for row, column in np.argwhere(stones < 6):
            x, y = left + column * side, stage.height_px * 0.12 + row * side
            tone = tones[stones[row, column]]
            if round_ones:
                cv2.circle(
                    image, (int(x + side / 2), int(y + side / 2)), max(2, int(side * 0.42)), tone, -1, cv2.LINE_AA
                )
            else:
                box(image, x + 1, y + 1, x + side - 2, y + side - 2, tone)
                box(image, x + 1, y + 1, x + side - 2, y + side - 2, (240, 240, 240), 1)
        yield image


def _arena(stage: Stage) -> Iterator[np.ndarray]:
    """Seen from above: a ground, figures that run, shots that fly."""
    import cv2

    rng = stage.rng
    ground = np.kron(_tile(stage, 0, 140), np.ones((4, 4, 1), np.uint8))
    base = np.tile(ground, (stage.height_px // 64 + 1, stage.width_px // 64 + 1, 1))[
        : stage.height_px, : stage.width_px
    ]
    base = base if rng.random() < 0.6 else stage.canvas(stage.colour(0, 50))
    at, way = rng.uniform(0, 1, (14, 2)), rng.normal(0, 0.02, (14, 2))
    tones = [stage.colour(90, 256) for _ in range(14)]
    for i in SHOWN:
        image = base.copy()
        for k, (x, y) in enumerate((at + way * i) % 1):
            spot, size = (
                (int(x * stage.width_px), int(y * stage.height_px)),
                int(stage.height_px * (0.012 if k > 8 else 0.035)),
            )
            cv2.circle(image, spot, max(1, size), tones[k], -1)
            if k <= 8:
                box(image, spot[0] - size, spot[1] - 2 * size, spot[0] + size, spot[1] - 1.7 * size, (60, 220, 60))
        yield image


def _hills(stage: Stage) -> Iterator[np.ndarray]:
    """Hills of flat triangles, flown over, under a plain sky."""
    import cv2

    rng, num = stage.rng, 14
    heights = rng.uniform(0, 1, (60, num + 1)) * rng.uniform(0.1, 0.3)
    tone, sky, speed = np.array(stage.colour(60, 220)), stage.colour(110, 256), rng.uniform(0.1, 0.4)
    for i in SHOWN:
        image = stage.canvas(sky)
        for far in range(20, 0, -1):
            for column in range(num):
                corners = []
                for row, over in ((far, 0), (far, 1), (far - 1, 0)):
                    depth = max(0.4, row - i * speed % 1)
                    high = heights[(row + int(i * speed)) % 60, column + over]
                    x = stage.width_px * (0.5 + (column + over - num / 2) * 0.5 / depth)
                    corners.append([x, stage.height_px * (0.45 + (0.45 - high * 2) / depth)])
                lit = 0.55 + 0.5 * ((column * 7 + far * 3) % 5) / 5 - 0.02 * far
                cv2.fillConvexPoly(
                    image, np.array(corners, np.int32), tuple(int(c) for c in np.clip(tone * lit, 0, 255))
                )
        yield image


def _space(stage: Stage) -> Iterator[np.ndarray]:
    import cv2

    rng = stage.rng
    stars, foes = rng.uniform(0, 1, (80, 3)), rng.uniform(0.05, 0.9, (9, 2))
    colours = [stage.colour(80, 256) for _ in range(9)]
    for i in SHOWN:
        image = stage.canvas((6, 6, 20))
        for x, y, z in stars:
            box(
                image,
                x * stage.width_px,
                (y + z * i * 0.05) % 1 * stage.height_px,
                x * stage.width_px + 1 + 2 * z,
                (y + z * i * 0.05) % 1 * stage.height_px + 2,
                (200, 200, 220),
            )
        for (x, y), colour in zip(foes, colours, strict=True):
            px, py, s = x * stage.width_px + 12 * np.sin(i + y * 9), y * stage.height_px * 0.6, stage.height_px * 0.05
            box(image, px - s, py - s / 2, px + s, py + s / 2, colour)
            box(image, px - s / 2, py - s, px + s / 2, py + s, colour)
        ship = np.array([[0.5, 0.8], [0.46, 0.92], [0.54, 0.92]]) * (stage.width_px, stage.height_px)
        cv2.fillPoly(image, [(ship + np.array([14 * np.sin(i), 0])).astype(np.int32)], (120, 220, 255))
        box(
            image,
            stage.width_px * 0.5,
            stage.height_px * (0.7 - 0.04 * i),
            stage.width_px * 0.5 + 3,
            stage.height_px * (0.75 - 0.04 * i),
            (255, 255, 120),
        )
        yield image


def _landscape(stage: Stage) -> Iterator[np.ndarray]:
    """A height field flown over, column by column, far to near."""
    rng, wide, high = stage.rng, stage.width_px // 2, stage.height_px // 2
    field = smooth_noise(rng, 256, 256, 12) * 22 + smooth_noise(rng, 256, 256, 50) * 5
    low, top = np.array(stage.colour(20, 120)), np.array(stage.colour(120, 240))
    sky = stage.colour(110, 256)
    for i in SHOWN:
        small: np.ndarray = np.full((high, wide, 3), sky, np.uint8)
        for far in np.geomspace(160, 4, 60):
            x = ((np.arange(wide) / wide - 0.5) * far * 1.2 + 128).astype(int) % 256
            level = field[int(far + i * 4) % 256, x]
            rows = (high * 0.4 + (70 - level) / far * 22).clip(0, high)
            shade = np.clip((level + 40) / 80, 0, 1)[:, None]
            colour = (low * (1 - shade) + top * shade) * (1 - far / 260)
            below = np.arange(high)[:, None] >= rows[None]
            small = np.where(below[..., None], colour[None], small)
        yield _enlarged(small.astype(np.uint8), stage)


def cartoon(stage: Stage) -> Iterator[np.ndarray]:
    """Figures flat, shaded, inked, cut of paper or rendered; held out: beasts, pastel without lines."""
    drawn = [_figures, _figures, film, film, portrait, ink_drawing, comic, cut_paper]
    yield from stage.pick(drawn, [_figures])(stage)


def _figures(stage: Stage) -> Iterator[np.ndarray]:
    """Figures in a landscape or close up, flat with outlines or smoothly shaded; those held out are beasts."""
    import cv2

    rng, height, width = stage.rng, stage.height_px, stage.width_px
    shaded = rng.random() < 0.45
    line = 0 if shaded or (stage.held_out and rng.random() < 0.5) else int(rng.integers(2, 5))
    skies: tuple[Colour, Colour] = (stage.colour(60, 256), stage.colour(120, 256))
    sky = np.linspace(skies[0], skies[1], height)[:, None] + np.zeros((1, width, 1))
    base: np.ndarray = np.clip(sky, 0, 255).astype(np.uint8)
    for k in range(int(rng.integers(1, 4))):
        tone = stage.colour(40, 220)
        ridge = height * (0.5 + 0.15 * k) + 0.08 * height * np.sin(
            np.linspace(0, rng.uniform(3, 12), width) + rng.uniform(0, 6)
        )
        outline = np.stack([np.r_[np.arange(width), width, 0], np.r_[ridge, height, height]], axis=1).astype(np.int32)
        cv2.fillPoly(base, [outline], tone)
        if line:
            cv2.polylines(base, [outline], True, (25, 20, 25), line, cv2.LINE_AA)
    num, close = int(rng.integers(1, 4)), rng.random() < 0.4
    size = height * (rng.uniform(0.3, 0.45) if close else rng.uniform(0.1, 0.22))
    figures = [
        (
            rng.uniform(0.2, 0.8) * width,
            height * rng.uniform(0.4, 0.65),
            [stage.colour(50, 250) for _ in range(4)],
            rng.uniform(0.8, 1.2, 4),
            rng.normal(0, 6, 2),
        )
        for _ in range(1 if close else num)
    ]
    pan = rng.choice([0, 0, 3])
    for i in SHOWN:
        image = np.roll(base, -pan * i, axis=1)
        for x, y, tones, shape, way in figures:
            at = (x + way[0] * i * 0.5 + 4 * np.sin(i), y + abs(np.sin(i * 0.9)) * way[1])
            _figure(image, stage, at, size, tones, shape, i, shaded, line)
        yield image


def _figure(
    image: np.ndarray,
    stage: Stage,
    at: tuple[float, float],
    size: float,
    tones: list[Colour],
    f: np.ndarray,
    i: int,
    shaded: bool,
    line: int,
) -> None:
    def blob(dx: float, dy: float, rx: float, ry: float, colour: Colour, drawn: bool = True) -> None:
        _blob(image, at[0] + dx * size, at[1] + dy * size, rx * size, ry * size, colour, shaded, line if drawn else 0)

    swing = 0.3 * np.sin(i * 1.3)
    blob(-0.7, 1.5 + swing, 0.25, 0.7, tones[1])
    blob(0.7, 1.5 - swing, 0.25, 0.7, tones[1])
    blob(0, 1.7, 0.75 * f[0], 1.0, tones[1])
    if stage.held_out:
        blob(-0.55, -0.95, 0.3, 0.55, tones[0])
        blob(0.55, -0.95, 0.3, 0.55, tones[0])
    else:
        blob(0, -0.45, 0.95 * f[1], 0.85, tones[2])
    blob(0, 0, 0.85 * f[1], 0.95 * f[2], tones[0])
    for side in (-1, 1):
        blob(0.33 * side, -0.15, 0.22, 0.3 * (0.2 if i % 9 == 4 else 1), (252, 252, 252))
        blob(0.33 * side + 0.04 * np.sin(i), -0.12, 0.1, 0.13, (20, 20, 30), False)
    blob(0, 0.15, 0.1, 0.1, tones[3])
    blob(0, 0.5, 0.3 * f[3], 0.06 + 0.1 * abs(np.sin(i * 1.7)), (150, 40, 50))


def _blob(image: np.ndarray, x: float, y: float, rx: float, ry: float, colour: Colour, shaded: bool, line: int) -> None:
    """An ellipse: flat with an outline, or shaded as a ball lit from the upper left."""
    import cv2

    centre, axes = (int(x), int(y)), (max(1, int(rx)), max(1, int(ry)))
    if not shaded:
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)
        if line:
            cv2.ellipse(image, centre, axes, 0, 0, 360, (25, 20, 25), line, cv2.LINE_AA)
        return
    x0, y0 = max(0, centre[0] - axes[0]), max(0, centre[1] - axes[1])
    part = image[y0 : max(0, centre[1] + axes[1]), x0 : max(0, centre[0] + axes[0])]
    if part.size == 0:
        return
    dy, dx = np.mgrid[: part.shape[0], : part.shape[1]]
    u, v = (dx + x0 - centre[0]) / axes[0], (dy + y0 - centre[1]) / axes[1]
    depth = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    lit = np.clip(0.35 + 0.75 * (-0.4 * u - 0.5 * v + 0.75 * depth), 0.15, 1.1)
    glow = 90 * np.clip(-0.45 * u - 0.5 * v + 0.74 * depth, 0, 1) ** 24
    ball = np.array(colour) * lit[..., None] + glow[..., None]
    part[:] = np.where((u**2 + v**2 < 1)[..., None], np.clip(ball, 0, 255), part).astype(np.uint8)
