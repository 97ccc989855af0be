"""Scenes made of pictures by artists, to train on only: painted figures, animated pictures, stone, games, blocks, counters.

What our own few lines draw is plain; free games hold what people drew, painted and modelled. `Art` is read from a folder
and no scene that judges sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from modeling.scenes.filmed import before_plain, several_shots, watched
from modeling.scenes.photos import bump
from modeling.scenes.stage import ACCENTS, NUM_FRAMES, SHOWN, Art, Colour, Scene, Stage, box, cover, smooth_noise, write

FOLDERS = ("pictures", "figures", "people", "screens", "blocks")
MAX_ART_PX = 700


def load_art(folder: Path) -> Art:
    """Of the folder's subfolders FOLDERS.

    Raises ValueError for a subfolder without pictures, or for a file that is no image.
    """
    return Art(*(_read(folder / name, cut_out=name in ("figures", "people")) for name in FOLDERS))


def _read(folder: Path, *, cut_out: bool) -> list[np.ndarray]:
    import cv2

    made = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        read = cv2.imread(str(file), cv2.IMREAD_UNCHANGED if cut_out else cv2.IMREAD_COLOR)
        if read is None or (cut_out and read.shape[2:] != (4,)):
            raise ValueError(f"{file}: not an image {'with an alpha channel ' if cut_out else ''}that OpenCV reads")
        scale = min(1.0, MAX_ART_PX / max(read.shape[:2]))
        read = cv2.resize(read, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        made.append(cv2.cvtColor(read, cv2.COLOR_BGRA2RGBA if cut_out else cv2.COLOR_BGR2RGB))
    if not made:
        raise ValueError(f"{folder}: no pictures there; it is one of {', '.join(FOLDERS)} that art consists of")
    return made


def _art(stage: Stage) -> Art:
    assert stage.art is not None
    return stage.art


def _any(stage: Stage, of: Sequence[np.ndarray]) -> np.ndarray:
    """One of them, at times mirrored."""
    image = of[int(stage.rng.integers(len(of)))]
    return image[:, ::-1] if stage.rng.random() < 0.5 else image


def _ground(stage: Stage) -> np.ndarray:
    """What figures stand before: a colour that changes, paper, a painted picture; at times unsharp. No photograph, not
    even one smoothed to look painted: such a ground is too near to natural scenes."""
    import cv2

    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    kind = int(rng.integers(4))
    if kind == 0:
        ends = rng.uniform(30, 255, (2, 3))
        ramp = np.linspace(0, 1, high)[:, None, None] * rng.uniform(0, 1)
        made: np.ndarray = ends[0] * (1 - ramp) + ends[1] * ramp + np.zeros((1, wide, 1))
    elif kind == 1:
        made = np.array(stage.colour(150, 256)) + smooth_noise(rng, high, wide, 60)[..., None] * rng.uniform(1, 7)
    else:
        made = cover(_any(stage, _art(stage).pictures), wide, high).astype(np.float32)
    if rng.random() < 0.25:
        made = cv2.GaussianBlur(made.astype(np.float32), (0, 0), rng.uniform(2, 7))
    return np.clip(made, 0, 255).astype(np.uint8)


def _laid(image: np.ndarray, figure: np.ndarray, x: float, y: float, height_px: float, turn: float = 0.0) -> None:
    """A figure RGBA of a height, its middle at (x, y), turned by degrees, into the image; what is outside is cut off."""
    import cv2

    high, wide = figure.shape[:2]
    scale = height_px / high
    move = np.asarray(cv2.getRotationMatrix2D((wide / 2, high / 2), turn, scale), np.float64)
    move[:, 2] += (x - wide / 2, y - high / 2)
    if scale < 0.7:
        figure = np.asarray(cv2.GaussianBlur(figure, (0, 0), 0.4 / scale))
    put = cv2.warpAffine(figure, move, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    share = put[..., 3:].astype(np.float32) / 255
    image[:] = np.clip(image * (1 - share) + put[..., :3] * share, 0, 255).astype(np.uint8)


def _warped(stage: Stage, base: np.ndarray) -> Iterator[np.ndarray]:
    """Parts move on their own, as lips and hair of a painted face that was made to speak."""
    import cv2

    y, x = np.mgrid[: base.shape[0], : base.shape[1]].astype(np.float32)
    bumps = [bump(stage, x, y, True) for _ in range(int(stage.rng.integers(2, 6)))]
    for i in SHOWN:
        dx = sum((push[i, 0] * weight for weight, push in bumps), np.zeros_like(x))
        dy = sum((push[i, 1] * weight for weight, push in bumps), np.zeros_like(x))
        moved = (x + dx).astype(np.float32), (y + dy).astype(np.float32)
        yield np.asarray(cv2.remap(base, *moved, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT))


def painted(stage: Stage) -> Iterator[np.ndarray]:
    """One or two painted people close up, in colours or in ink, that speak a little."""
    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    base = _ground(stage)
    num = 1 if rng.random() < 0.65 else 2
    size = high * rng.uniform(1.1, 2.4) if num == 1 else high * rng.uniform(0.8, 1.3)
    for k in range(num):
        middle = wide * (0.5 if num == 1 else 0.28 + 0.44 * k) + rng.normal(0, 0.05 * wide)
        _laid(base, _any(stage, _art(stage).people), middle, max(high * 0.05 + size / 2, high - size * 0.5), size)
    if rng.random() < 0.25:
        gray = base.mean(axis=2, keepdims=True)
        base = np.clip(gray + (base - gray) * rng.uniform(0, 0.35), 0, 255).astype(np.uint8)
    yield from _warped(stage, base)


def animated(stage: Stage) -> Iterator[np.ndarray]:
    """A painted ground under a moving camera, figures that walk, hop or turn before it, at times a title."""
    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    large = Stage(rng, wide * 5 // 4, high * 5 // 4, stage.photos, stage.held_out, stage.art)
    back = _ground(large)
    art = _art(stage)
    figures = [_any(stage, art.figures if rng.random() < 0.7 else art.people) for _ in range(int(rng.integers(1, 4)))]
    places, sizes = rng.uniform((0.1, 0.4), (0.9, 0.85), (4, 2)), rng.uniform(0.2, 0.9, 4) * high
    walks, turns = rng.normal(0, 0.02, (4, 2)), rng.normal(0, 4, 4)
    pan, lit = rng.uniform(0, 1, (2, 2)), rng.uniform(0.5, 1.1)
    title = stage.words(1, 3).title() if rng.random() < 0.25 else ""
    tone, size = stage.colour(120, 256), high * rng.uniform(0.08, 0.2)
    from_dark = rng.random() < 0.15
    for i in SHOWN:
        share = i / NUM_FRAMES
        top, left = ((pan[0] + (pan[1] - pan[0]) * share) * (back.shape[0] - high, back.shape[1] - wide)).astype(int)
        image = back[top : top + high, left : left + wide].copy()
        for k, figure in enumerate(figures):
            x, y = (places[k] + walks[k] * i) * (wide, high)
            _laid(image, figure, x, y - abs(np.sin(i * 0.9 + k)) * high * 0.04, sizes[k], turns[k] * np.sin(i + k))
        if title:
            write(image, title, wide * 0.5 - len(title) * size * 0.28, high * (0.3 + 0.1 * share), size, tone)
        gain = lit * (min(1.0, 0.1 + 1.2 * share) if from_dark else 1.0)
        yield np.clip(image * gain, 0, 255).astype(np.uint8)


def stone(stage: Stage) -> Iterator[np.ndarray]:
    """A carved figure: a painted one in the tones of one stone before a dark, a plain or an unsharp ground; it may speak."""
    import cv2

    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    size = high * rng.uniform(1.0, 2.2)
    figure = _any(stage, _art(stage).people).copy()
    light = cv2.GaussianBlur(figure[..., :3].mean(axis=2).astype(np.float32), (0, 0), rng.uniform(0.6, 2.0))
    inside = light[figure[..., 3] > 128]
    low, top = np.quantile(inside, (0.03, 0.97)) if inside.size else (0.0, 255.0)
    level = np.clip((light - low) / max(top - low, 1.0), 0, 1) ** rng.uniform(0.4, 0.9)
    material = np.array([(205, 200, 190), (150, 150, 150), (120, 95, 60), (90, 100, 85)][int(rng.integers(4))])
    carved = material * (rng.uniform(0.1, 0.4) + rng.uniform(0.75, 1.05) * level[..., None])
    figure[..., :3] = np.clip(carved, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        back = np.clip(np.array(stage.colour(5, 80)) + np.zeros((high, wide, 1)), 0, 255).astype(np.uint8)
    else:
        back = cover(stage.photo(), wide, high)
        back = np.asarray(cv2.GaussianBlur(back, (0, 0), rng.uniform(1, 9)))
    _laid(back, figure, wide * rng.uniform(0.35, 0.65), max(high * 0.05 + size / 2, high - size * 0.5), size)
    if rng.random() < 0.4:
        for _ in SHOWN:
            yield back.copy()
    else:
        yield from _warped(stage, back)


def screen_of_game(stage: Stage) -> Iterator[np.ndarray]:
    """A picture out of a game, under a camera that turns and nears it."""
    import cv2

    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    base = cover(_any(stage, _art(stage).screens), wide * 3 // 2, high * 3 // 2)
    near, turn, walk = rng.normal(0, 0.03), rng.normal(0, 2.0), rng.normal(0, 0.01, 2)
    start = rng.uniform(0.7, 1.1)
    for i in SHOWN:
        middle = base.shape[1] / 2, base.shape[0] / 2
        move = np.asarray(cv2.getRotationMatrix2D(middle, turn * i, start * np.exp(near * i)), np.float64)
        move[:, 2] += np.array([wide / 2, high / 2]) - middle + walk * i * (wide, high)
        yield np.asarray(cv2.warpAffine(base, move, (wide, high), borderMode=cv2.BORDER_REFLECT))


def block_world(stage: Stage) -> Iterator[np.ndarray]:
    """A world of textured cubes seen by the one who walks there, with what such games lay over it."""
    import cv2

    rng, scale = stage.rng, 3
    wide, high = stage.width_px // scale, stage.height_px // scale
    textures, world = np.stack(_art(stage).blocks), _cubes(stage, len(_art(stage).blocks))
    far = np.array(stage.colour(90, 256), np.float32) if rng.random() < 0.8 else np.array([10, 10, 25], np.float32)
    at = np.array([24.5, 24.5, 0.0])
    at[2] = np.flatnonzero(world[24, 24])[-1] + rng.uniform(1.7, 4)
    heading, pitch, turn = rng.uniform(0, 6.28), rng.uniform(-0.35, 0.1), rng.normal(0, 0.07)
    lay = _overlay(stage)
    for i in SHOWN:
        image = _cast(world, textures, at, heading + turn * i, pitch, (high, wide), far)
        at[:2] += 0.9 * np.array([np.cos(heading), np.sin(heading)]) * (rng.random() < 0.8)
        way = (cv2.INTER_NEAREST, cv2.INTER_CUBIC)[int(rng.random() < 0.6)]
        made = np.asarray(cv2.resize(image, (stage.width_px, stage.height_px), interpolation=way))
        yield lay(made, i)


def _cubes(stage: Stage, num: int) -> np.ndarray:
    """Kinds of blocks (48, 48, 20), 0 for air: hills, trees, a wall."""
    rng, side = stage.rng, 48
    tops = np.clip(5 + 1.6 * smooth_noise(rng, side, side, int(rng.integers(3, 8))), 2, 11).astype(int)
    ground, below, trunk, leaf, wall = rng.integers(1, num + 1, 5)
    z = np.arange(20)
    world = np.where(z < tops[..., None], below, 0)
    world[z == tops[..., None]] = ground
    for x, y in rng.integers(2, side - 3, (int(rng.integers(0, 40)), 2)):
        top, tall = tops[x, y], int(rng.integers(3, 6))
        if abs(x - 24) + abs(y - 24) > 5:
            world[x - 2 : x + 3, y - 2 : y + 3, top + tall - 1 : top + tall + 2] = leaf
            world[x, y, top : top + tall] = trunk
    if rng.random() < 0.5:
        x, y = rng.integers(4, 38, 2)
        if abs(x - 24) > 6:
            world[x : x + 5, y : y + 5, : tops[x, y] + 4] = wall
    return world


def _cast(
    world: np.ndarray,
    textures: np.ndarray,
    at: np.ndarray,
    heading: float,
    pitch: float,
    size: tuple[int, int],
    far: np.ndarray,
) -> np.ndarray:
    """The picture (H, W, 3) by stepping each ray from one face of the grid to the next (Amanatides and Woo, 1987)."""
    high, wide = size
    v, u = np.mgrid[:high, :wide].reshape(2, -1)
    u, v = (u - wide / 2) / (0.6 * max(size)), (high / 2 - v) / (0.6 * max(size))
    ahead = np.array([np.cos(heading) * np.cos(pitch), np.sin(heading) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(heading), -np.cos(heading), 0.0])
    ray = ahead + u[:, None] * right + v[:, None] * np.cross(right, ahead)
    ray = np.where(np.abs(ray) < 1e-6, 1e-6, ray)
    step, per = np.sign(ray).astype(int), 1 / np.abs(ray)
    cell = np.floor(at).astype(int) + np.zeros_like(step)
    until = (np.where(step > 0, cell + 1 - at, at - cell)) * per
    met, reach, axis = np.zeros(len(ray), int), np.zeros(len(ray)), np.zeros(len(ray), int)
    live = np.arange(len(ray))
    for _ in range(60):
        near = until[live].argmin(axis=1)
        reached = until[live, near]
        cell[live, near] += step[live, near]
        until[live, near] += per[live, near]
        inside = ((cell[live] >= 0) & (cell[live] < world.shape)).all(axis=1)
        live, near, reached = live[inside], near[inside], reached[inside]
        kind = world[tuple(cell[live].T)]
        hit = kind > 0
        met[live[hit]], reach[live[hit]], axis[live[hit]] = kind[hit], reached[hit], near[hit]
        live = live[~hit]
        if len(live) == 0:
            break
    place = at + ray * reach[:, None]
    across = np.where(axis == 0, place[:, 1], place[:, 0]) % 1
    along = np.where(axis == 2, place[:, 1], -place[:, 2]) % 1
    side = textures.shape[1]
    seen = textures[np.maximum(met - 1, 0), (along * side).astype(int) % side, (across * side).astype(int) % side]
    lit = seen * np.array([0.8, 0.62, 1.0])[axis][:, None]
    haze = np.clip(reach / 26, 0, 1)[:, None] ** 2
    sky = far * (1 - 0.25 * np.clip(v, -1, 1))[:, None]
    made = np.where(met[:, None] > 0, lit * (1 - haze) + far * haze, sky)
    return np.clip(made, 0, 255).astype(np.uint8).reshape(high, wide, 3)


def _overlay(stage: Stage) -> Callable[[np.ndarray, int], np.ndarray]:
    """A row of things at hand, hearts, a cross, a hand, a panel, lines of text: each by chance, the same over a scene."""
    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    slot, num, chosen = high * rng.uniform(0.045, 0.09), 9, int(rng.integers(9))
    blocks, shown = _art(stage).blocks, rng.random(6) < (0.85, 0.6, 0.6, 0.6, 0.3, 0.4)
    items = [blocks[int(k)] if rng.random() < 0.6 else None for k in rng.integers(len(blocks), size=num)]
    skin, hearts = stage.colour(60, 230), rng.uniform(0.3, 1)
    panel = rng.uniform((0.0, 0.1, 0.15, 0.2), (0.02, 0.3, 0.35, 0.5)) * (wide, high, wide, high)
    tint, dies = np.array([160, 20, 20]), rng.random() < 0.1
    lines = [stage.words(1, 5) for _ in range(int(rng.integers(1, 5)))]

    def lay(image: np.ndarray, i: int) -> np.ndarray:
        left, top = wide / 2 - slot * num / 2, high - slot * 1.15
        if shown[3]:
            import cv2

            x, y = wide * 0.8, high * (0.8 + 0.03 * np.sin(i))
            corners = np.array(
                [[x, y], [x + wide * 0.07, y - high * 0.04], [wide, high * 0.95], [wide * 0.85, high * 1.1]]
            )
            cv2.fillPoly(image, [corners.astype(np.int32)], tuple(int(c) for c in skin))
        if dies and i > 4:
            image[:] = (image * 0.6 + tint * 0.4).astype(np.uint8)
        for k in range(num if shown[0] else 0):
            x = left + k * slot
            box(image, x, top, x + slot, top + slot, (60, 60, 60))
            if (item := items[k]) is not None:
                part = image[int(top + 3) : int(top + slot - 3), int(x + 3) : int(x + slot - 3)]
                if min(part.shape[:2]) > 2:
                    part[:] = cover(item, part.shape[1], part.shape[0])
            box(
                image,
                x,
                top,
                x + slot,
                top + slot,
                (235, 235, 235) if k == chosen else (130, 130, 130),
                1 + (k == chosen),
            )
        for k in range(10 if shown[1] else 0):
            tone = (220, 30, 30) if k < 10 * hearts else (50, 20, 20)
            box(
                image,
                left + k * slot * 0.42,
                top - slot * 0.45,
                left + k * slot * 0.42 + slot * 0.3,
                top - slot * 0.15,
                tone,
            )
        if shown[2]:
            box(image, wide / 2 - 5, high / 2 - 1, wide / 2 + 5, high / 2, (230, 230, 230))
            box(image, wide / 2 - 1, high / 2 - 5, wide / 2, high / 2 + 5, (230, 230, 230))
        if shown[4]:
            x, y, w, h = (int(p) for p in panel)
            image[y : y + h, x : x + w] = (image[y : y + h, x : x + w] * 0.25).astype(np.uint8)
            box(image, x, y, x + w, y + 8, ACCENTS[1])
        for k, text in enumerate(lines if shown[5] else ()):
            write(image, text, 6, 6 + k * high * 0.045, high * 0.035, (240, 240, 240))
        return image

    return lay


def plain_counter(stage: Stage) -> Iterator[np.ndarray]:
    """One colour, the same or another each second, with a number that runs: in a corner, in the middle, on two lines."""
    rng, high, wide = stage.rng, stage.height_px, stage.width_px
    changes, lines = rng.random() < 0.5, int(rng.integers(1, 3))
    size = high * rng.uniform(0.05, 0.2)
    x, y = [(0.03, 0.04), (0.6, 0.8), (0.4, 0.42), (0.05, 0.8)][int(rng.integers(4))]
    first, rate = int(rng.integers(0, 200)), int(rng.integers(1, 40))
    words = ["", "Frame = ", "t = ", "PTS: "][int(rng.integers(4))], ["s", " s", "", ":00"][int(rng.integers(4))]
    dark = rng.random() < 0.35
    shade = int(rng.integers(0, 12)) if dark else 0
    ground: Colour = (shade, shade, shade) if dark else stage.colour()
    for i in SHOWN:
        image = stage.canvas(ground)
        ink = (255, 255, 255) if sum(ground) < 450 else (0, 0, 0)
        write(image, f"{words[0]}{first + i * rate}", wide * x, high * y, size, ink)
        if lines == 2:
            write(image, f"{i / 5:.1f}{words[1]}", wide * x, high * y + size * 1.2, size, ink)
        yield image
        if changes and not dark:
            r, g, b = (int(c) for c in rng.integers(0, 256, 3))
            ground = (r, g, b)


STYLES: dict[str, tuple[Scene, ...]] = {
    "natural": (watched, several_shots, before_plain),
    "cartoon": (painted, painted, animated, animated),
    "game": (block_world, block_world, screen_of_game),
    "statue": (stone,),
    "test_pattern": (plain_counter,),
}
"""Of the kinds that have some."""
SHARE = 0.5
"""Of the scenes of such a kind, where there is art."""


def of_art(kind: str, stage: Stage) -> Scene | None:
    """A style that no scene to judge by uses, by chance, for a stage to train on that has art."""
    if stage.art is None or stage.held_out or kind not in STYLES or stage.rng.random() >= SHARE:
        return None
    return STYLES[kind][int(stage.rng.integers(len(STYLES[kind])))]
