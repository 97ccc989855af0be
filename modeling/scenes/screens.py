"""Drawn screens and slides: what a recorder of a desktop or of a talk's projector sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from modeling.scenes.stage import SHOWN, Colour, Stage, box, cover, write

LIGHT: tuple[Colour, Colour, Colour] = (250, 250, 250), (40, 40, 45), (225, 228, 232)
DARK: tuple[Colour, Colour, Colour] = (30, 31, 38), (212, 212, 205), (52, 54, 64)
ACCENTS = ((52, 120, 246), (40, 160, 90), (220, 90, 50), (150, 80, 200), (200, 160, 30))


def screencast(stage: Stage) -> Iterator[np.ndarray]:
    """An editor, a terminal, a page, a desktop, a form, cards or files, with a pointer; held out: a spreadsheet, a chat."""
    draw = stage.pick([_editor, _terminal, _page, _desktop, _form, _cards, _files], [_sheet, _chat])
    theme = LIGHT if stage.rng.random() < 0.5 else DARK
    frames = draw(stage, theme)
    x, y = stage.rng.uniform(0.2, 0.8, 2) * (stage.width_px, stage.height_px)
    pause = stage.rng.random() < 0.4
    for image in frames:
        if not pause:
            x, y = np.clip(
                np.array([x, y]) + stage.rng.normal(0, 18, 2), 4, (stage.width_px - 12, stage.height_px - 16)
            )
        _pointer(image, x, y)
        yield image


Theme = tuple[Colour, Colour, Colour]
Screen = Callable[[Stage, Theme], Iterator[np.ndarray]]


def _pointer(image: np.ndarray, x: float, y: float) -> None:
    import cv2

    tip = np.array([[x, y], [x, y + 13], [x + 4, y + 9], [x + 9, y + 9]], np.int32)
    cv2.fillPoly(image, [tip], (250, 250, 250))
    cv2.polylines(image, [tip], True, (10, 10, 10), 1, cv2.LINE_AA)


def _bar(stage: Stage, image: np.ndarray, theme: Theme) -> float:
    """A title bar; returns the height below which there is room."""
    high = stage.height_px * 0.06
    box(image, 0, 0, stage.width_px, high, theme[2])
    for i in range(3):
        box(image, 6 + 14 * i, high * 0.3, 14 + 14 * i, high * 0.7, ACCENTS[i])
    write(image, stage.words(1, 4), stage.width_px * 0.35, high * 0.15, high * 0.55, theme[1])
    return high


def _code(stage: Stage, theme: Theme, num_lines: int) -> list[list[tuple[str, Colour]]]:
    lines = []
    for _ in range(num_lines):
        indent = "    " * int(stage.rng.integers(0, 4))
        parts = [(indent, theme[1])]
        for _ in range(int(stage.rng.integers(0, 6))):
            accent = ACCENTS[int(stage.rng.integers(5))] if stage.rng.random() < 0.4 else theme[1]
            parts.append((stage.words(1, 2) + " ", accent))
        lines.append(parts)
    return lines


def _typed(image: np.ndarray, parts: list[tuple[str, Colour]], x: float, y: float, size: float) -> None:
    for text, colour in parts:
        write(image, text, x, y, size, colour)
        x += len(text) * size * 0.55


def _editor(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    size = stage.height_px * stage.rng.uniform(0.025, 0.045)
    base = stage.canvas(theme[0])
    top = _bar(stage, base, theme) + 6
    side = stage.width_px * stage.rng.choice([0.05, 0.2])
    box(base, 0, top, side, stage.height_px, theme[2])
    lines = _code(stage, theme, int((stage.height_px - top) / (size * 1.4)))
    for i, parts in enumerate(lines[:-2]):
        write(base, str(i), 4, top + i * size * 1.4, size, (130, 130, 130))
        _typed(base, parts, side + 8, top + i * size * 1.4, size)
    typed = "".join(stage.words(3, 7))
    for i in SHOWN:
        image = base.copy()
        write(image, typed[: 2 * i], side + 8, top + (len(lines) - 2) * size * 1.4, size, theme[1])
        yield image


def _terminal(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    size = stage.height_px * stage.rng.uniform(0.025, 0.05)
    lines = _code(stage, DARK, 80)
    shown, speed = int(stage.height_px / (size * 1.3)), int(stage.rng.integers(0, 3))
    for i in SHOWN:
        image = stage.canvas((12, 14, 18))
        for row in range(shown):
            _typed(image, lines[(row + i * speed) % 80], 6, row * size * 1.3, size)
        yield image


def _page(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    long = np.full((stage.height_px * 2, stage.width_px, 3), theme[0], np.uint8)
    y, size, left = (
        20.0,
        stage.height_px * stage.rng.uniform(0.03, 0.045),
        stage.width_px * stage.rng.uniform(0.05, 0.2),
    )
    while y < long.shape[0] - 10:
        if stage.rng.random() < 0.15:
            high, wide = int(stage.height_px * 0.3), int(stage.width_px * 0.45)
            part = cover(stage.photo(), wide, high)[: long.shape[0] - int(y)]
            long[int(y) : int(y) + len(part), int(left) : int(left) + wide] = part
            y += high
        heading = stage.rng.random() < 0.15
        write(long, stage.words(4, 12), left, y, size * (1.6 if heading else 1), theme[1])
        y += size * (2.4 if heading else 1.5)
    step = int(stage.rng.choice([0, 0, 4, 15]))
    bar = stage.canvas(theme[0])
    top = int(_bar(stage, bar, theme))
    for i in SHOWN:
        image = long[i * step : i * step + stage.height_px].copy()
        image[:top] = bar[:top]
        yield image


def _desktop(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    photo = stage.rng.random() < 0.4
    base = cover(stage.photo(), stage.width_px, stage.height_px) if photo else stage.canvas(stage.colour(20, 140))
    for row in range(6):
        box(base, 12, 12 + row * 50, 40, 40 + row * 50, ACCENTS[row % 5])
    box(base, 0, stage.height_px * 0.94, stage.width_px, stage.height_px, theme[2])
    wide, high = int(stage.width_px * stage.rng.uniform(0.5, 0.8)), int(stage.height_px * stage.rng.uniform(0.5, 0.75))
    window = np.full((high, wide, 3), theme[0], np.uint8)
    box(window, 0, 0, wide, 16, theme[2])
    for row in range(int(high / 18) - 1):
        write(window, stage.words(2, 7), 8, 20 + row * 18, 12, theme[1])
    x, y = stage.rng.uniform(0.1, 0.3) * stage.width_px, stage.rng.uniform(0.05, 0.15) * stage.height_px
    dragged = stage.rng.normal(0, 4, 2) if stage.rng.random() < 0.3 else np.zeros(2)
    for i in SHOWN:
        image = base.copy()
        x0, y0 = (int(max(0, v)) for v in (x + dragged[0] * i, y + dragged[1] * i))
        part = image[y0 : y0 + high, x0 : x0 + wide]
        part[:] = window[: part.shape[0], : part.shape[1]]
        yield image


def _form(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    base = stage.canvas(theme[0])
    top, size = _bar(stage, base, theme), stage.height_px * 0.04
    box(base, 0, top, stage.width_px * 0.2, stage.height_px, theme[2])
    for row in range(8):
        y = top + size + row * size * 2.6
        write(base, stage.words(1, 3), 8, y, size, theme[1])
        write(base, stage.words(1, 4), stage.width_px * 0.24, y, size, theme[1])
        box(base, stage.width_px * 0.5, y - 3, stage.width_px * 0.9, y + size * 1.4, theme[2], -1 if row % 2 else 1)
    box(base, stage.width_px * 0.75, stage.height_px * 0.9, stage.width_px * 0.92, stage.height_px * 0.97, ACCENTS[0])
    told = stage.words(4, 8)
    for i in SHOWN:
        image = base.copy()
        write(image, told[: 2 * i], stage.width_px * 0.51, top + size, size, theme[1])
        yield image


def _cards(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    base = stage.canvas(theme[2])
    top, num = _bar(stage, base, theme), int(stage.rng.integers(2, 5))
    wide, high = stage.width_px / num, (stage.height_px - top) / int(stage.rng.integers(2, 4))
    for column in range(num):
        for row in range(int((stage.height_px - top) / high)):
            x, y = column * wide + 6, top + row * high + 6
            filled = ACCENTS[int(stage.rng.integers(5))] if stage.rng.random() < 0.3 else theme[0]
            box(base, x, y, x + wide - 12, y + high - 12, filled)
            write(base, stage.words(1, 3), x + 6, y + 4, stage.height_px * 0.035, theme[1])
            write(base, str(int(stage.rng.integers(1, 9999))), x + 6, y + high * 0.35, stage.height_px * 0.07, theme[1])
    for i in SHOWN:
        image = base.copy()
        write(image, str(1000 + 37 * i), stage.width_px * 0.8, 2, top * 0.6, ACCENTS[1])
        yield image


def _files(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    base = stage.canvas(theme[0])
    top, high = _bar(stage, base, theme), stage.height_px * stage.rng.uniform(0.045, 0.07)
    chosen = int(stage.rng.integers(0, 6))
    for row in range(int((stage.height_px - top) / high)):
        y = top + row * high
        if row % 2:
            box(base, 0, y, stage.width_px, y + high, theme[2])
        box(base, 8, y + 3, 8 + high * 0.7, y + high * 0.8, ACCENTS[int(stage.rng.integers(5))])
        for place in (0.08, 0.5, 0.7, 0.85):
            write(base, stage.words(1, 3), stage.width_px * place, y + 2, high * 0.6, theme[1])
    for i in SHOWN:
        image = base.copy()
        y = top + (chosen + i // 5) * high
        box(image, 0, y, stage.width_px, y + high, ACCENTS[0], 2)
        yield image


def _sheet(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    base = stage.canvas(theme[0])
    top, wide, high = int(_bar(stage, base, theme)), stage.width_px // 8, 20
    for row, y in enumerate(range(top, stage.height_px, high)):
        for column, x in enumerate(range(0, stage.width_px, wide)):
            box(base, x, y, x + wide, y + high, theme[2], 1)
            told = stage.words(1, 2) if column == 0 or row == 0 else str(int(stage.rng.integers(1, 99999)))
            write(base, told, x + 4, y + 3, 11, theme[1])
    for i in SHOWN:
        image = base.copy()
        row, column = 2 + i // 3, 3
        box(image, column * wide, top + row * high, (column + 1) * wide, top + (row + 1) * high, ACCENTS[0], 2)
        yield image


def _chat(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    said = [(stage.words(2, 8), bool(stage.rng.random() < 0.5)) for _ in range(14)]
    size = stage.height_px * 0.04
    for i in SHOWN:
        image = stage.canvas(theme[0])
        box(image, 0, 0, stage.width_px * 0.22, stage.height_px, theme[2])
        for row, (text, mine) in enumerate(said[: 6 + i // 3]):
            x = stage.width_px * (0.5 if mine else 0.25)
            y = size + row * size * 2
            box(
                image,
                x,
                y,
                x + min(len(text) * size * 0.5 + 12, stage.width_px * 0.48),
                y + size * 1.6,
                ACCENTS[int(mine)],
            )
            write(image, text, x + 6, y + size * 0.2, size, (255, 255, 255))
        yield image


def slides(stage: Stage) -> Iterator[np.ndarray]:
    """Slides that stand, build up, change or fade; held out: tables and diagrams."""
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
    accent = ACCENTS[int(stage.rng.integers(5))]
    high = stage.height_px
    if stage.rng.random() < 0.5:
        box(image, 0, 0, stage.width_px, high * stage.rng.uniform(0.02, 0.16), accent)
    write(image, stage.words(2, 5).title(), stage.width_px * 0.06, high * 0.06, high * 0.085, ink)
    stage.pick(
        [_bullets, _bullets, _pictured, _chart, _columns, _quote, _time_line, _matrix, _agenda], [_table, _diagram]
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
