"""Bodies of slides with photographs, grounds that are not plain, formulas, programs and clouds of points: to train on only."""

from __future__ import annotations

import numpy as np

from modeling.scenes.stage import ACCENTS, Colour, Stage, box, cover, smooth_noise, write


def full_picture(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """A photograph behind all, and a heading on a band."""
    image[:] = cover(stage.photo(), stage.width_px, stage.height_px)
    top = stage.height_px * stage.rng.uniform(0.1, 0.7)
    if stage.rng.random() < 0.7:
        box(image, 0, top, stage.width_px, top + stage.height_px * 0.2, accent)
    write(image, stage.words(2, 5).title(), stage.width_px * 0.06, top + 8, stage.height_px * 0.1, (255, 255, 255))


def half_picture(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """A photograph as one half of the slide, points in the other."""
    wide, right = stage.width_px // 2, stage.rng.random() < 0.5
    x = wide if right else 0
    image[:, x : x + wide] = cover(stage.photo(), wide, stage.height_px)
    size, left = stage.height_px * stage.rng.uniform(0.03, 0.06), stage.width_px * (0.04 if right else 0.54)
    for row in range(int(stage.rng.integers(2, 9))):
        text = stage.words(2, 6)[: int(wide * 0.85 / size / 0.5)]
        write(image, text, left, stage.height_px * 0.25 + row * size * 1.7, size, ink)


def gallery(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """Two to six photographs with a line under each."""
    columns, rows = int(stage.rng.integers(2, 4)), int(stage.rng.integers(1, 3))
    wide, high = stage.width_px * 0.92 / columns, stage.height_px * 0.7 / rows
    for c in range(columns):
        for r in range(rows):
            x, y = int(stage.width_px * 0.04 + c * wide), int(stage.height_px * 0.24 + r * high)
            w, h = int(wide * 0.9), int(high * 0.78)
            image[y : y + h, x : x + w] = cover(stage.photo(), w, h)
            write(image, stage.words(1, 3), x, y + h + 3, stage.height_px * 0.035, ink)


def section(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """A large heading on a ground of two colours, with rings or bands, and an emblem."""
    import cv2

    ends = stage.rng.uniform(0, 255, (2, 3))
    share = np.linspace(0, 1, stage.width_px)[None, :, None] * stage.rng.uniform(0.3, 1)
    ground = ends[0] * (1 - share) + ends[1] * share + np.zeros((stage.height_px, 1, 1))
    if stage.rng.random() < 0.3:
        ground = ground + smooth_noise(stage.rng, stage.height_px, stage.width_px, 4)[..., None] * 12
    image[:] = np.clip(ground, 0, 255).astype(np.uint8)
    for _ in range(int(stage.rng.integers(0, 4))):
        spot = (stage.rng.uniform(0, 1, 2) * (stage.width_px, stage.height_px)).astype(int).tolist()
        cv2.circle(image, spot, int(stage.height_px * stage.rng.uniform(0.05, 0.5)), stage.colour(), 2, cv2.LINE_AA)
    light: Colour = (250, 250, 250) if ends.mean() < 140 else (20, 20, 25)
    size = stage.height_px * stage.rng.uniform(0.09, 0.16)
    for row in range(int(stage.rng.integers(1, 3))):
        write(
            image,
            stage.words(1, 3).title(),
            stage.width_px * 0.08,
            stage.height_px * 0.35 + row * size * 1.3,
            size,
            light,
        )
    write(image, stage.words(2, 4), stage.width_px * 0.08, stage.height_px * 0.75, size * 0.45, light)


def formulas(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """Lines of signs with bars of fractions, sums and small letters above and below."""
    size = stage.height_px * stage.rng.uniform(0.045, 0.08)
    for row in range(int(stage.rng.integers(2, 5))):
        x, y = stage.width_px * stage.rng.uniform(0.08, 0.3), stage.height_px * (0.28 + 0.16 * row)
        for _ in range(int(stage.rng.integers(3, 9))):
            sign = "abxyzfgkn=+-()<>~"[int(stage.rng.integers(17))]
            write(image, sign, x, y, size, ink)
            if stage.rng.random() < 0.4:
                write(image, "012ijn"[int(stage.rng.integers(6))], x + size * 0.6, y - size * 0.3, size * 0.5, ink)
            if stage.rng.random() < 0.25:
                box(image, x, y + size * 1.2, x + size, y + size * 1.2 + 1, ink)
                write(image, "uvw"[int(stage.rng.integers(3))], x + size * 0.2, y + size * 1.25, size * 0.8, ink)
            x += size * 1.1


def program(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """A dark or light block with lines of a program, and a remark beside it."""
    dark = stage.rng.random() < 0.6
    right = stage.width_px * stage.rng.uniform(0.55, 0.94)
    box(
        image,
        stage.width_px * 0.06,
        stage.height_px * 0.24,
        right,
        stage.height_px * 0.9,
        (32, 34, 42) if dark else (238, 238, 236),
    )
    size = stage.height_px * stage.rng.uniform(0.03, 0.05)
    for row in range(int(stage.height_px * 0.6 / (size * 1.5))):
        x = stage.width_px * 0.08 + size * 2 * int(stage.rng.integers(0, 3))
        text = stage.words(0, 5)[: int((right - x) / size / 0.5)]
        tone = (
            ACCENTS[int(stage.rng.integers(5))]
            if stage.rng.random() < 0.5
            else ((220, 220, 215) if dark else (40, 40, 40))
        )
        write(image, text, x, stage.height_px * 0.27 + row * size * 1.5, size, tone)


def cloud(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """A cloud of points or a cut disc beside its legend."""
    import cv2

    if stage.rng.random() < 0.5:
        for k in range(int(stage.rng.integers(30, 160))):
            x, y = stage.rng.normal([0.4 + 0.1 * (k % 3), 0.6 - 0.08 * (k % 3)], 0.08) * (
                stage.width_px,
                stage.height_px,
            )
            cv2.circle(image, (int(x), int(y)), 3, ACCENTS[k % 3], -1, cv2.LINE_AA)
        box(image, stage.width_px * 0.12, stage.height_px * 0.25, stage.width_px * 0.12 + 1, stage.height_px * 0.9, ink)
        box(image, stage.width_px * 0.12, stage.height_px * 0.9, stage.width_px * 0.8, stage.height_px * 0.9 + 1, ink)
    else:
        cuts = np.concatenate([[0], np.sort(stage.rng.integers(10, 350, int(stage.rng.integers(2, 6)))), [360]])
        centre, radius = (int(stage.width_px * 0.35), int(stage.height_px * 0.58)), int(stage.height_px * 0.28)
        for k in range(len(cuts) - 1):
            cv2.ellipse(
                image, centre, (radius, radius), 0, int(cuts[k]), int(cuts[k + 1]), ACCENTS[k % 5], -1, cv2.LINE_AA
            )
    for row in range(4):
        y = stage.height_px * (0.35 + 0.1 * row)
        box(image, stage.width_px * 0.7, y, stage.width_px * 0.72, y + stage.height_px * 0.04, ACCENTS[row])
        write(image, stage.words(1, 3), stage.width_px * 0.74, y, stage.height_px * 0.04, ink)


def prose(stage: Stage, image: np.ndarray, ink: Colour, accent: Colour) -> None:
    """Full lines in small print, as of a paper that is shown."""
    size, columns = stage.height_px * stage.rng.uniform(0.02, 0.038), int(stage.rng.integers(1, 3))
    wide = stage.width_px * 0.9 / columns
    for c in range(columns):
        for row in range(int(stage.height_px * stage.rng.uniform(0.4, 0.68) / (size * 1.4))):
            text = stage.words(30, 31)[: int(wide * (0.95 if row % 6 else 0.5) / size / 0.5)]
            write(image, text, stage.width_px * 0.05 + c * wide, stage.height_px * 0.25 + row * size * 1.4, size, ink)


DECKS = (full_picture, half_picture, half_picture, gallery, section, formulas, program, cloud, prose)
