"""Drawn slides: what a talk's projector shows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from modeling.scenes.decks import DECKS
from modeling.scenes.stage import ACCENTS, SHOWN, Colour, Stage, box, cover, smooth_noise, write


def slides(stage: Stage) -> Iterator[np.ndarray]:
    """Slides that stand, build up, change or fade; held out: diagrams and comparisons."""
    backs: list[Colour] = [(255, 255, 255), (250, 247, 240), (20, 40, 90), (15, 15, 18), (235, 240, 250)]
    back = backs[int(stage.rng.integers(5))]
    ink: Colour = (25, 25, 30) if sum(back) > 380 else (240, 240, 240)
    shown = [_slide(stage, back, ink) for _ in range(2)]
    turn = int(stage.rng.integers(3, 40))
    fade = stage.rng.random() < 0.4
    for i in SHOWN:
        share = float(np.clip((i - turn) / 3 if fade else i >= turn, 0, 1))
        yield np.clip(shown[0] * (1 - share) + shown[1] * share, 0, 255).astype(np.uint8)


def _slide(stage: Stage, back: Colour, ink: Colour) -> np.ndarray:
    image = stage.canvas(back)
    if not stage.held_out and stage.rng.random() < 0.25:
        ground = image + smooth_noise(stage.rng, stage.height_px, stage.width_px, 3)[..., None] * stage.rng.normal(
            0, 12, 3
        )
        image = np.clip(ground, 0, 255).astype(np.uint8)
    accent = ACCENTS[int(stage.rng.integers(5))]
    high = stage.height_px
    if stage.rng.random() < 0.5:
        box(image, 0, 0, stage.width_px, high * stage.rng.uniform(0.02, 0.16), accent)
    write(image, stage.words(2, 5).title(), stage.width_px * 0.06, high * 0.06, high * 0.085, ink)
    stage.pick(
        [_bullets, _bullets, _pictured, _chart, _columns, _quote, _time_line, _matrix, _agenda, _table, *DECKS],
        [_diagram, _comparison],
    )(stage, image, ink, accent)
    if stage.rng.random() < 0.5:
        write(image, str(int(stage.rng.integers(1, 60))), stage.width_px * 0.94, high * 0.93, high * 0.035, ink)
    return image


def _bullets(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    size = stage.height_px * stage.rng.uniform(0.045, 0.065)
    for row in range(int(stage.rng.integers(2, 7))):
        y = stage.height_px * 0.26 + row * size * 2
        box(image, stage.width_px * 0.08, y + size * 0.4, stage.width_px * 0.08 + size * 0.4, y + size * 0.8, accent)
        write(image, stage.words(3, 8), stage.width_px * 0.12, y, size, ink)


def _pictured(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    wide, high = int(stage.width_px * 0.4), int(stage.height_px * 0.5)
    x, y = int(stage.width_px * 0.52), int(stage.height_px * 0.26)
    image[y : y + high, x : x + wide] = cover(stage.photo(), wide, high)
    for row in range(5):
        write(image, stage.words(2, 4), stage.width_px * 0.06, y + row * high / 5, stage.height_px * 0.05, ink)


def _chart(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    import cv2

    x0, y0, num = stage.width_px * 0.12, stage.height_px * 0.88, int(stage.rng.integers(4, 9))
    step, tall = stage.width_px * 0.76 / num, stage.rng.uniform(0.1, 0.6, num) * stage.height_px
    box(image, x0, y0, x0 + step * num, y0 + 1, ink)
    if stage.rng.random() < 0.5:
        for i in range(num):
            box(image, x0 + i * step + 4, y0 - tall[i], x0 + (i + 1) * step - 4, y0, ACCENTS[i % 5])
    else:
        points = np.stack([x0 + np.arange(num) * step, y0 - tall], axis=1).astype(np.int32)
        cv2.polylines(image, [points], False, accent, 2, cv2.LINE_AA)


def _columns(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    for column in range(int(stage.rng.integers(2, 4))):
        x, size = stage.width_px * (0.06 + 0.31 * column), stage.height_px * 0.045
        box(image, x, stage.height_px * 0.24, x + stage.width_px * 0.28, stage.height_px * 0.33, ACCENTS[column])
        write(image, stage.words(1, 2).title(), x + 6, stage.height_px * 0.255, size, (255, 255, 255))
        for row in range(5):
            write(image, stage.words(1, 4), x + 6, stage.height_px * (0.38 + 0.1 * row), size, ink)


def _quote(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    size = stage.height_px * stage.rng.uniform(0.07, 0.12)
    for row in range(int(stage.rng.integers(1, 4))):
        write(image, stage.words(2, 5), stage.width_px * 0.1, stage.height_px * 0.35 + row * size * 1.4, size, ink)
    box(image, stage.width_px * 0.1, stage.height_px * 0.85, stage.width_px * 0.35, stage.height_px * 0.86, accent)


def _time_line(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    import cv2

    y, num = stage.height_px * 0.55, int(stage.rng.integers(3, 7))
    box(image, stage.width_px * 0.08, y - 2, stage.width_px * 0.92, y + 2, ink)
    for i in range(num):
        x = stage.width_px * (0.1 + 0.8 * i / num)
        cv2.circle(image, (int(x), int(y)), 9, ACCENTS[i % 5], -1, cv2.LINE_AA)
        write(image, stage.words(1, 2), x - 20, y + (20 if i % 2 else -40), stage.height_px * 0.045, ink)


def _matrix(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    num = int(stage.rng.integers(2, 4))
    for row in range(2):
        for column in range(num):
            x, y = stage.width_px * (0.08 + 0.84 * column / num), stage.height_px * (0.26 + 0.34 * row)
            box(image, x, y, x + stage.width_px * 0.78 / num, y + stage.height_px * 0.3, ACCENTS[(row + column) % 5], 2)
            for line in range(2):
                size = stage.height_px * 0.05
                write(image, stage.words(1, 3), x + 10, y + 12 + line * size * 1.6, size, ink)


def _agenda(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    for row in range(int(stage.rng.integers(4, 9))):
        y, size = stage.height_px * (0.24 + 0.08 * row), stage.height_px * 0.045
        write(image, str(row + 1), stage.width_px * 0.08, y, size, accent)
        write(image, stage.words(1, 5), stage.width_px * 0.14, y, size, ink)
        write(image, f"{9 + row}:30", stage.width_px * 0.8, y, size, ink)
        box(image, stage.width_px * 0.08, y + size * 1.4, stage.width_px * 0.92, y + size * 1.4, accent, 1)


def _table(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    for row in range(6):
        for column in range(4):
            x, y = stage.width_px * (0.06 + 0.22 * column), stage.height_px * (0.26 + 0.11 * row)
            box(image, x, y, x + stage.width_px * 0.22, y + stage.height_px * 0.11, accent, -1 if row == 0 else 1)
            write(image, stage.words(1, 2), x + 6, y + 5, stage.height_px * 0.05, ink)


def _diagram(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    import cv2

    centres = stage.rng.uniform([0.15, 0.35], [0.85, 0.85], (5, 2)) * (stage.width_px, stage.height_px)
    for a, b in pairwise(centres):
        cv2.arrowedLine(image, a.astype(int).tolist(), b.astype(int).tolist(), ink, 2, cv2.LINE_AA)
    for i, (x, y) in enumerate(centres):
        box(image, x - 50, y - 16, x + 50, y + 16, ACCENTS[i])
        write(image, stage.words(1, 2), x - 40, y - 9, 15, (255, 255, 255))


def _comparison(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """Two panels that face each other, for and against."""
    size = stage.height_px * 0.05
    for column in range(2):
        x = stage.width_px * (0.06 + 0.46 * column)
        box(image, x, stage.height_px * 0.26, x + stage.width_px * 0.42, stage.height_px * 0.9, accent, 2)
        box(image, x, stage.height_px * 0.26, x + stage.width_px * 0.42, stage.height_px * 0.36, ACCENTS[column])
        write(image, stage.words(1, 3).title(), x + 8, stage.height_px * 0.28, size, (255, 255, 255))
        for row in range(int(stage.rng.integers(2, 6))):
            write(image, "+" if column == 0 else "-", x + 8, stage.height_px * (0.4 + 0.1 * row), size, accent)
            write(image, stage.words(1, 4), x + 28, stage.height_px * (0.4 + 0.1 * row), size, ink)
