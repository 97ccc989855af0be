"""Cartoons drawn to train on only: faces with large eyes, ink on paper, panels of a comic, cut paper on a painted ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from modeling.scenes.stage import SHOWN, Colour, Stage, box, smooth_noise, write

INK: Colour = (28, 22, 30)


def _shape(
    image: np.ndarray,
    points: np.ndarray,
    colour: Sequence[int] | None,
    ink: Sequence[int] = INK,
    line_px: int = 2,
    *,
    closed: bool = True,
) -> None:
    """A polygon (N, 2) filled and outlined; either may be left out."""
    import cv2

    whole = np.round(points).astype(np.int32)
    if colour is not None:
        cv2.fillPoly(image, [whole], tuple(colour), cv2.LINE_AA)
    if line_px:
        cv2.polylines(image, [whole], closed, tuple(ink), line_px, cv2.LINE_AA)


def _round(x: float, y: float, rx: float, ry: float, wobble: np.ndarray | float = 0.0, num: int = 40) -> np.ndarray:
    """Points (num, 2) around an ellipse; `wobble` changes its radius."""
    turn = np.arange(num) * 2 * np.pi / num
    return np.stack([x + rx * np.cos(turn) * (1 + wobble), y + ry * np.sin(turn) * (1 + wobble)], axis=1)


def _strand(a: np.ndarray, b: np.ndarray, bend: float, wide: float) -> np.ndarray:
    """A pointed lock (24, 2) from a to b."""
    t = np.linspace(0, 1, 12)[:, None]
    side = np.array([a[1] - b[1], b[0] - a[0]])
    middle = a + (b - a) * t + side * bend * np.sin(np.pi * t)
    offset = side / max(1e-6, float(np.linalg.norm(side))) * wide * (1 - t)
    return np.concatenate([middle + offset, (middle - offset)[::-1]])


def portrait(stage: Stage) -> Iterator[np.ndarray]:
    """A face close up with large eyes and pointed locks, in two tones, outlined; lids and lips move."""
    rng, wide, high = stage.rng, stage.width_px, stage.height_px
    size, line = high * rng.uniform(0.2, 0.36), int(rng.integers(1, 4))
    skin = tuple(int(c) for c in np.array([250, 222, 200]) * rng.uniform(0.55, 1.0) * rng.uniform(0.95, 1.02, 3))
    dark = tuple(int(c * 0.82) for c in skin)
    hair, iris, cloth = stage.colour(20, 240), stage.colour(30, 230), stage.colour(30, 240)
    ends = [stage.colour(60, 256), stage.colour(60, 256)]
    back: np.ndarray = np.linspace(ends[0], ends[1], high)[:, None] + np.zeros((1, wide, 1))
    if rng.random() < 0.5:
        back = back + smooth_noise(rng, high, wide, int(rng.integers(3, 30)))[..., None] * rng.uniform(5, 25)
    back = np.clip(back, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0, 1, 2) * (wide, high)
        _shape(
            back,
            _round(x, y, size * rng.uniform(0.3, 1.5), size * rng.uniform(0.3, 1.5)),
            stage.colour(60, 250),
            line_px=0,
        )
    at = np.array([rng.uniform(0.35, 0.65) * wide, rng.uniform(0.42, 0.55) * high])
    locks = [
        (rng.uniform(-1, 1, 2) * (0.9, 0.3) + (0, -0.8), rng.uniform(-0.4, 0.4), rng.uniform(0.1, 0.25))
        for _ in range(9)
    ]
    eye_w, eye_h, tilt = rng.uniform(0.2, 0.28), rng.uniform(0.2, 0.38), rng.normal(0, 0.02)
    sway, long = rng.normal(0, 0.02, 2), rng.uniform(0.4, 2.0)
    for i in SHOWN:
        image = back.copy()
        x, y = at + size * sway * np.sin(i * 0.8)
        _shape(image, _round(x, y + size * (long - 0.6), size * 1.15, size * (long + 0.3)), hair, line_px=line)
        _shape(image, _round(x, y + size * 2.3, size * 1.5, size * 1.1), cloth, line_px=line)
        _shape(
            image,
            np.array(
                [
                    [x - size * 0.25, y + size * 0.7],
                    [x + size * 0.25, y + size * 0.7],
                    [x + size * 0.3, y + size * 1.5],
                    [x - size * 0.3, y + size * 1.5],
                ]
            ),
            dark,
            line_px=line,
        )
        turn = np.linspace(0, 2 * np.pi, 40)
        jaw = np.where(np.sin(turn) > 0, 1.1 - 0.25 * np.abs(np.cos(turn)), 0.95)
        _shape(
            image, np.stack([x + size * 0.85 * np.cos(turn), y + size * jaw * np.sin(turn)], axis=1), skin, line_px=line
        )
        for side in (-1, 1):
            ex, ey, open_ = x + side * size * 0.38, y + size * (0.12 + tilt * side), 0.1 if i % 9 == 5 else 1.0
            _shape(image, _round(ex, ey, size * eye_w, size * eye_h * open_), (252, 252, 252), line_px=line)
            if open_ == 1.0:
                _shape(image, _round(ex, ey, size * eye_w * 0.62, size * eye_h * 0.85), iris, line_px=0)
                _shape(image, _round(ex, ey + size * 0.02, size * eye_w * 0.3, size * eye_h * 0.5), INK, line_px=0)
                _shape(
                    image,
                    _round(ex - size * 0.06, ey - size * 0.1, size * 0.05, size * 0.06),
                    (255, 255, 255),
                    line_px=0,
                )
            brow = np.array(
                [[ex - size * 0.2, ey - size * 0.42], [ex, ey - size * 0.48], [ex + size * 0.2, ey - size * 0.42]]
            )
            _shape(image, brow, None, hair, line + 1, closed=False)
        gap = 0.02 + 0.09 * abs(np.sin(i * 1.9))
        _shape(image, _round(x, y + size * 0.68, size * 0.16, size * gap), (170, 60, 70), line_px=line)
        _shape(
            image, np.array([[x, y + size * 0.4], [x + size * 0.04, y + size * 0.46]]), None, dark, line, closed=False
        )
        for start, bend, thick in locks:
            tip = np.array([x + size * start[0] * 1.1, y - size * 0.1 + size * abs(start[1]) * 0.3])
            _shape(image, _strand(np.array([x, y - size * 1.05]), tip, bend, size * thick), hair, line_px=line)
        yield image


def ink_drawing(stage: Stage) -> Iterator[np.ndarray]:
    """Lines and washes of one ink on paper: hills or hatched shapes, and figures of a few strokes that move."""
    import cv2

    rng, wide, high = stage.rng, stage.width_px, stage.height_px
    paper = np.array(stage.colour(205, 256)) + smooth_noise(rng, high, wide, 90)[..., None] * rng.uniform(0, 6)
    ink, washed = stage.colour(0, 90), rng.random() < 0.5
    base: np.ndarray = np.asarray(paper, np.float32)
    for k in range(int(rng.integers(1, 5))):
        ridge = high * (0.3 + 0.12 * k) + high * 0.1 * smooth_noise(rng, 2, wide, int(rng.integers(4, 16)))[0]
        below = np.arange(high)[:, None] - ridge[None]
        if washed:
            share = np.where(below > 0, np.exp(-below / (high * rng.uniform(0.05, 0.3))), 0) * rng.uniform(0.3, 0.9)
        else:
            slant = (np.arange(high)[:, None] + np.arange(wide)[None]) % int(rng.integers(5, 14)) == 0
            share = ((below > 0) & slant & (below < high * 0.25)) * 0.8 + (np.abs(below) < 1.2)
        base = base * (1 - share[..., None]) + np.array(ink) * share[..., None]
    made = np.clip(base, 0, 255).astype(np.uint8)
    thick, tones = max(1, round(high / rng.uniform(90, 250))), [None, ink, stage.colour(80, 250)]
    figures = [
        (rng.uniform(0.2, 0.8), rng.uniform(0.5, 0.8), rng.uniform(0.08, 0.3)) for _ in range(int(rng.integers(1, 5)))
    ]
    fill, shake = tones[int(rng.integers(3))], rng.uniform(0, 0.03)
    for i in SHOWN:
        image = made.copy()
        for k, (fx, fy, fs) in enumerate(figures):
            x, y, s = fx * wide + 6 * np.sin(i + k), fy * high, fs * high
            wobble = shake * rng.normal(size=40)
            _shape(image, _round(x, y + s * 0.2, s * 0.35, s * 0.6, wobble), fill, ink, thick)
            _shape(image, _round(x, y - s * 0.6, s * 0.28, s * 0.3, wobble), (245, 240, 230), ink, thick)
            for side in (-1, 1):
                joint = np.array([x + side * s * 0.3, y])
                hand = joint + s * 0.5 * np.array([side * 0.8, np.sin(i * 1.1 + k + side)])
                cv2.line(image, joint.astype(int).tolist(), hand.astype(int).tolist(), ink, thick, cv2.LINE_AA)
                eye = (int(x + side * s * 0.1), int(y - s * 0.62))
                cv2.circle(image, eye, max(1, int(s * 0.03)), ink, -1, cv2.LINE_AA)
        yield image


def comic(stage: Stage) -> Iterator[np.ndarray]:
    """Panels with dots for tones, figures in outline and what they say; the page may be moved."""
    import cv2

    rng, wide, high = stage.rng, stage.width_px, stage.height_px
    page: np.ndarray = np.full((high * 2, wide, 3), (250, 248, 240), np.uint8)
    rows, columns, gap = int(rng.integers(2, 5)), int(rng.integers(1, 4)), max(3, high // 50)
    step, dots = int(rng.integers(4, 9)), np.indices((high * 2, wide))
    screen = ((dots[0] % step - step / 2) ** 2 + (dots[1] % step - step / 2) ** 2) < (step * 0.3) ** 2
    for r in range(rows):
        for c in range(columns):
            x0, y0 = c * wide // columns + gap, r * high * 2 // rows + gap
            x1, y1 = (c + 1) * wide // columns - gap, (r + 1) * high * 2 // rows - gap
            panel = page[y0:y1, x0:x1]
            tone = stage.colour(120, 256)
            panel[:] = np.where(screen[y0:y1, x0:x1, None], tuple(int(v * 0.75) for v in tone), tone)
            size = (y1 - y0) * rng.uniform(0.15, 0.3)
            for _ in range(int(rng.integers(1, 3))):
                x, y = rng.uniform(0.2, 0.8) * panel.shape[1], panel.shape[0] * rng.uniform(0.5, 0.7)
                _shape(panel, _round(x, y + size * 1.5, size * 0.8, size), stage.colour(40, 240), line_px=2)
                _shape(panel, _round(x, y, size * 0.6, size * 0.7), stage.colour(150, 250), line_px=2)
                for side in (-1, 1):
                    _shape(
                        panel, _round(x + side * size * 0.2, y - size * 0.1, size * 0.08, size * 0.1), INK, line_px=0
                    )
                _shape(
                    panel,
                    np.array([[x - size * 0.2, y + size * 0.3], [x + size * 0.2, y + size * 0.35]]),
                    None,
                    closed=False,
                )
            if rng.random() < 0.8:
                _shape(
                    panel,
                    _round(panel.shape[1] * 0.5, panel.shape[0] * 0.14, panel.shape[1] * 0.4, panel.shape[0] * 0.12),
                    (255, 255, 255),
                )
                text = stage.words(2, 5).upper()
                write(panel, text, panel.shape[1] * 0.18, panel.shape[0] * 0.1, panel.shape[0] * 0.07, INK)
            cv2.rectangle(page, (x0, y0), (x1, y1), INK, 2)
    move = int(rng.choice([0, 2, 8]))
    for i in SHOWN:
        yield page[min(i * move, high) :][:high].copy()


def cut_paper(stage: Stage) -> Iterator[np.ndarray]:
    """Flat figures of simple shapes without lines before a painted ground, with houses and trees; some of it moves."""
    rng, wide, high = stage.rng, stage.width_px, stage.height_px
    paint = smooth_noise(rng, high, wide, 6) * 14 + smooth_noise(rng, high, wide, 40) * rng.uniform(0, 12)
    ends = [stage.colour(70, 256), stage.colour(70, 256)]
    base: np.ndarray = np.linspace(ends[0], ends[1], high)[:, None] + paint[..., None]
    made = np.clip(base, 0, 255).astype(np.uint8)
    line = int(rng.choice([0, 1, 3]))
    box(made, 0, high * rng.uniform(0.6, 0.8), wide, high, stage.colour(40, 200))
    for _ in range(int(rng.integers(2, 8))):
        x, y, s = rng.uniform(0, 1) * wide, high * rng.uniform(0.5, 0.75), high * rng.uniform(0.1, 0.35)
        if rng.random() < 0.5:
            house = np.array([[x, y - s], [x + s, y - s], [x + s, y + s * 0.5], [x, y + s * 0.5]])
            _shape(made, house, stage.colour(60, 250), line_px=line)
            _shape(
                made,
                np.array([[x - s * 0.1, y - s], [x + s / 2, y - s * 1.6], [x + s * 1.1, y - s]]),
                stage.colour(60, 230),
                line_px=line,
            )
            box(made, x + s * 0.3, y - s * 0.6, x + s * 0.6, y - s * 0.2, stage.colour(100, 256))
        else:
            box(made, x - s * 0.08, y, x + s * 0.08, y + s * 0.7, stage.colour(40, 120))
            _shape(
                made,
                _round(x, y - s * 0.2, s * 0.5, s * 0.6, 0.08 * rng.normal(size=40)),
                stage.colour(30, 200),
                line_px=line,
            )
    walkers = [
        (rng.uniform(0, 1), rng.uniform(0.6, 0.8), rng.uniform(0.1, 0.3), [stage.colour(40, 250) for _ in range(4)])
        for _ in range(int(rng.integers(1, 4)))
    ]
    pan = int(rng.choice([0, 0, 3]))
    for i in SHOWN:
        image = np.ascontiguousarray(np.roll(made, -pan * i, axis=1))
        for k, (fx, fy, fs, tones) in enumerate(walkers):
            x, y, s = (fx * wide + i * 5 * (1 - 2 * (k % 2))) % wide, fy * high, fs * high
            legs = s * 0.2 * np.sin(i * 1.5)
            for side in (-1, 1):
                foot = np.array(
                    [[x - s * 0.06, y + s * 0.3], [x + s * 0.06, y + s * 0.3], [x + side * legs, y + s * 0.8]]
                )
                _shape(image, foot, tones[3], line_px=line)
            body = np.array(
                [
                    [x - s * 0.12, y - s * 0.3],
                    [x + s * 0.12, y - s * 0.3],
                    [x + s * 0.3, y + s * 0.4],
                    [x - s * 0.3, y + s * 0.4],
                ]
            )
            _shape(image, body, tones[0], line_px=line)
            _shape(image, _round(x, y - s * 0.55, s * 0.28, s * 0.28), tones[1], line_px=line)
            _shape(
                image,
                np.array([[x - s * 0.3, y - s * 0.6], [x, y - s], [x + s * 0.3, y - s * 0.6]]),
                tones[2],
                line_px=line,
            )
            for side in (-1, 1):
                _shape(image, _round(x + side * s * 0.1, y - s * 0.52, s * 0.04, s * 0.05), INK, line_px=0)
        yield image
