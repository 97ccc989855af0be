"""Drawn screens: what a recorder of a desktop sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modeling.scenes.stage import ACCENTS, SHOWN, Colour, Stage, box, cover, write
from modeling.scenes.windows import WINDOWS, Theme, palette

LIGHT: tuple[Colour, Colour, Colour] = (250, 250, 250), (40, 40, 45), (225, 228, 232)
DARK: tuple[Colour, Colour, Colour] = (30, 31, 38), (212, 212, 205), (52, 54, 64)


def screencast(stage: Stage) -> Iterator[np.ndarray]:
    """A program's windows with a pointer, drawn large and seen small, whole or in part; held out: a calendar, mail."""
    import cv2

    if stage.held_out:
        yield from _operated(stage)
        return
    rng, scale = stage.rng, float(stage.rng.choice([1.0, 1.5, 2.0, 2.5]))
    large = Stage(rng, round(stage.width_px * scale), round(stage.height_px * scale), stage.photos)
    part = rng.uniform(0.45, 0.9) if rng.random() < 0.2 else 1.0
    width, height = (int(side * part) for side in (large.width_px, large.height_px))
    x, y = (int(rng.uniform(0, 1 - part) * side) for side in (large.width_px, large.height_px))
    size = (stage.width_px, stage.height_px)
    around = cover(stage.photo(), *size) if rng.random() < 0.5 else stage.canvas(stage.colour())
    margin = rng.uniform(0.03, 0.12) if rng.random() < 0.15 else 0.0
    inner = tuple(round(side * (1 - 2 * margin)) for side in size)
    left, top = (round(side * margin) for side in size)
    for image in _operated(large):
        seen = cv2.resize(image[y : y + height, x : x + width], inner, interpolation=cv2.INTER_AREA)
        made = around.copy()
        made[top : top + inner[1], left : left + inner[0]] = seen
        yield made


def _operated(stage: Stage) -> Iterator[np.ndarray]:
    """A program and a pointer over it."""
    drawn = [_editor, _terminal, _page, _desktop, _form, _cards, _files, _sheet, _chat, *WINDOWS]
    draw = stage.pick(drawn, [_calendar, _mail])
    theme = LIGHT if stage.rng.random() < 0.5 else DARK
    if not stage.held_out and stage.rng.random() < 0.6:
        theme = palette(stage)
    frames = draw(stage, theme)
    x, y = stage.rng.uniform(0.2, 0.8, 2) * (stage.width_px, stage.height_px)
    pause = stage.rng.random() < 0.4
    for image in frames:
        if not pause:
            x, y = np.clip(
                np.array([x, y]) + stage.rng.normal(0, 18, 2), 4, (stage.width_px - 12, stage.height_px - 16)
            )
        _pointer(image, x, y, 1.0 if stage.held_out else max(1.0, stage.height_px / 400))
        yield image


def _pointer(image: np.ndarray, x: float, y: float, scale: float) -> None:
    import cv2

    tip = (np.array([[0, 0], [0, 13], [4, 9], [9, 9]]) * scale + (x, y)).astype(np.int32)
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
        first = min(i * step, stage.height_px)  # a small page ends before the scene does
        image = long[first : first + stage.height_px].copy()
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


def _calendar(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    base = stage.canvas(theme[0])
    top, rows = _bar(stage, base, theme) + stage.height_px * 0.06, int(stage.rng.integers(4, 7))
    wide, high = stage.width_px / 7, (stage.height_px - top) / rows
    size = high * 0.16
    for column, day in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")):
        write(base, day, column * wide + 4, top - size * 1.6, size, theme[1])
        for row in range(rows):
            x, y = column * wide, top + row * high
            box(base, x, y, x + wide, y + high, theme[2], 1)
            write(base, str(1 + row * 7 + column), x + 4, y + 2, size, theme[1])
            for _ in range(int(stage.rng.choice([0, 0, 1, 2]))):
                y += size * 1.5
                box(base, x + 3, y, x + wide - 3, y + size * 1.3, ACCENTS[int(stage.rng.integers(5))])
                write(base, stage.words(1, 2), x + 6, y + 1, size * 0.9, (255, 255, 255))
    for i in SHOWN:
        image = base.copy()
        x, y = (2 + i // 5) * wide, top + high
        box(image, x, y, x + wide, y + high, ACCENTS[0], 2)
        yield image


def _mail(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """Folders, a list of messages of which another is chosen each second, and the message beside it."""
    import cv2

    base = stage.canvas(theme[0])
    top, size = int(_bar(stage, base, theme)), stage.height_px * stage.rng.uniform(0.03, 0.045)
    left, middle = stage.width_px * 0.16, stage.width_px * 0.48
    box(base, 0, top, left, stage.height_px, theme[2])
    for row in range(7):
        write(base, stage.words(1, 2), 6, top + size * (1 + 2 * row), size, theme[1])
    high, first = size * 3.4, int(stage.rng.integers(0, 3))
    rows = int((stage.height_px - top) / high)
    for row in range(rows):
        y = top + row * high
        spot = (int(left + size * 1.6), int(y + high / 2))
        cv2.circle(base, spot, int(size), ACCENTS[int(stage.rng.integers(5))], -1, cv2.LINE_AA)
        write(base, stage.words(1, 3).title(), left + size * 3.2, y + size * 0.4, size, theme[1])
        write(base, stage.words(2, 4), left + size * 3.2, y + size * 1.9, size * 0.8, (130, 130, 130))
        box(base, left, y + high, middle, y + high, theme[2], 1)
    box(base, middle, top, stage.width_px, stage.height_px, theme[0])
    told = [[stage.words(3, 6) for _ in range(9)] for _ in SHOWN]
    for number, lines in enumerate(told):
        image = base.copy()
        y = top + min(first + number, rows - 1) * high
        box(image, left, y, middle, y + high, ACCENTS[0], 2)
        for row, text in enumerate(lines):
            write(image, text, middle + size, top + size * (1 + 1.8 * row), size, theme[1])
        yield image
