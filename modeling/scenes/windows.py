"""Drawn windows of programs in small print, as a recorder of a large desktop sees them: to train on only.

They are drawn large and shrunk by `screens.screencast`; letters of code and terminals stand on a grid.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modeling.scenes.stage import ACCENTS, SHOWN, Colour, Stage, box, cover, smooth_noise, write

Theme = tuple[Colour, Colour, Colour]


def palette(stage: Stage) -> Theme:
    """Ground, ink and panel of a program, light or dark, of any tint."""
    tint, light = stage.rng.normal(0, 6, 3), stage.rng.random() < 0.5
    levels = (stage.rng.uniform(225, 255), 40, stage.rng.uniform(200, 240)) if light else (28, 215, 50)
    ground, ink, panel = (np.clip(level + tint, 0, 255).astype(int) for level in levels)
    return tuple(map(int, ground)), tuple(map(int, ink)), tuple(map(int, panel))  # type: ignore[return-value]


def _accent(stage: Stage) -> Colour:
    return ACCENTS[int(stage.rng.integers(len(ACCENTS)))] if stage.rng.random() < 0.6 else stage.colour(40, 230)


def _print(stage: Stage) -> float:
    """Height of the letters: 1.5 to 3.2 % of the screen's, as on screens of 700 to 1400 lines."""
    return float(stage.height_px * stage.rng.uniform(0.015, 0.032))


def _grid_text(image: np.ndarray, text: str, x: float, y: float, size: float, colour: Colour) -> None:
    """Letters as wide as one another."""
    for i, letter in enumerate(text):
        if letter != " ":
            write(image, letter, x + 0.6 * size * i, y, size, colour)


def _coloured(stage: Stage, image: np.ndarray, x: float, y: float, size: float, wide: float, ink: Colour) -> None:
    """A line of a program, from x to at most x + wide."""
    end = x + wide
    x += 2.4 * size * int(stage.rng.integers(0, 4))
    for _ in range(int(stage.rng.integers(0, 7))):
        word = stage.words(1, 2) + ("()" if stage.rng.random() < 0.2 else "")
        if x + 0.6 * size * len(word) > end:
            return
        _grid_text(image, word, x, y, size, _accent(stage) if stage.rng.random() < 0.45 else ink)
        x += 0.6 * size * (len(word) + 1)


def _tools(stage: Stage, image: np.ndarray, theme: Theme, x: float, y: float, wide: float, high: float) -> None:
    """A bar of small symbols and words."""
    box(image, x, y, x + wide, y + high, theme[2])
    step = high * stage.rng.uniform(1.0, 2.2)
    for i in range(int(wide * stage.rng.uniform(0.3, 0.95) / step)):
        left = x + 4 + i * step
        if stage.rng.random() < 0.5:
            box(image, left, y + high * 0.25, left + high * 0.5, y + high * 0.75, _accent(stage))
        else:
            write(image, stage.words(1, 2)[: int(step / high * 3)], left, y + high * 0.25, high * 0.4, theme[1])


def _paragraph(stage: Stage, image: np.ndarray, x: float, y: float, wide: float, size: float, colour: Colour) -> float:
    """A few full lines; returns where the next one starts."""
    for row in range(int(stage.rng.integers(2, 7))):
        text = stage.words(30, 31)[: int(wide / (size * 0.5) * (1 if row % 5 else 0.7))]
        write(image, text, x, y, size, colour)
        y += size * 1.5
    return y + size


def browser(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """A page with a heading, pictures, columns and boxes beside them, which may be scrolled."""
    wide, high = stage.width_px, stage.height_px
    size = _print(stage)
    top = int(size * 4.5)
    long = np.full((2 * high, wide, 3), theme[0], np.uint8)
    box(long, 0, 0, wide, high * 0.09, _accent(stage))
    left, right = wide * stage.rng.uniform(0.03, 0.22), wide * stage.rng.uniform(0.6, 0.97)
    y = high * 0.12
    write(long, stage.words(2, 6).title(), left, y, size * 2.2, theme[1])
    y += size * 3.5
    while y < 2 * high - 3 * size:
        if stage.rng.random() < 0.25:
            w, h = int((right - left) * stage.rng.uniform(0.3, 1)), int(high * stage.rng.uniform(0.15, 0.4))
            part = cover(stage.photo(), w, h)[: 2 * high - int(y)]
            long[int(y) : int(y) + len(part), int(left) : int(left) + w] = part
            y += h + size
        y = _paragraph(stage, long, left, y, right - left, size, theme[1])
    for row in range(int(stage.rng.integers(0, 6))):
        y0 = high * (0.15 + 0.3 * row)
        box(long, right + 8, y0, wide - 8, y0 + high * 0.24, _accent(stage) if stage.rng.random() < 0.3 else theme[2])
        write(long, stage.words(2, 4), right + 14, y0 + 6, size, theme[1])
    bar = np.full((top, wide, 3), theme[2], np.uint8)
    for i in range(int(stage.rng.integers(1, 6))):
        x0 = 6 + i * wide * 0.16
        box(bar, x0, top * 0.1, x0 + wide * 0.15, top * 0.45, theme[0] if i == 0 else theme[2])
        write(bar, stage.words(1, 3), x0 + 6, top * 0.15, size * 0.9, theme[1])
    box(bar, wide * 0.08, top * 0.55, wide * 0.85, top * 0.92, theme[0])
    write(bar, "https://" + stage.words(1, 2).replace(" ", "."), wide * 0.1, top * 0.6, size, theme[1])
    step = int(stage.rng.choice([0, 0, 3, 12]) * high / 360)
    for i in SHOWN:
        yield np.concatenate([bar, long[min(i * step, high) :][: high - top]])


def workbench(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """A tree of files, tabs, code with line numbers, its miniature, a panel below; a line is being typed."""
    wide, high, size = stage.width_px, stage.height_px, _print(stage)
    base, line = stage.canvas(theme[0]), _print(stage) * 1.55
    left, right = wide * stage.rng.choice([0.04, 0.15, 0.24]), wide * stage.rng.choice([0.88, 1.0])
    low = high * stage.rng.choice([0.97, 0.72, 0.6])
    box(base, 0, 0, left, high, theme[2])
    for row in range(int(high / line) * (left > wide * 0.1)):
        write(base, stage.words(1, 3), 6 + size * int(stage.rng.integers(0, 3)), row * line, size, theme[1])
    _tools(stage, base, theme, left, 0, wide - left, line * 1.3)
    rows = int((low - line * 1.6) / line)
    for row in range(rows):
        y = line * 1.6 + row * line
        _grid_text(base, f"{row + 1:3d}", left + 2, y, size, (128, 128, 128))
        if row != rows // 2:
            _coloured(stage, base, left + size * 3, y, size, right - left - size * 4, theme[1])
        if right < wide:
            box(base, right + 3, y / 2, right + 3 + stage.rng.uniform(2, wide * 0.08), y / 2 + 1, _accent(stage))
    box(base, left, low, wide, low + 1, theme[1])
    for row in range(int((high - low) / line)):
        _grid_text(base, stage.words(2, 9), left + 6, low + 4 + row * line, size, theme[1])
    box(base, 0, high - line, wide, high, _accent(stage))
    typed = stage.words(6, 10)
    for i in SHOWN:
        image = base.copy()
        _grid_text(image, typed[: 2 * i + 2], left + size * 3, line * 1.6 + rows // 2 * line, size, theme[1])
        yield image


def panes(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """Terminals side by side or one above another, of which one runs on."""
    ground: Colour = stage.colour(0, 45)
    ink: Colour = [(210, 210, 210), (80, 220, 90), (230, 190, 90), (170, 200, 240)][int(stage.rng.integers(4))]
    size, line = _print(stage), _print(stage) * 1.3
    columns, stacks = int(stage.rng.integers(1, 4)), int(stage.rng.integers(1, 3))
    base = stage.canvas(ground)
    wide, high = stage.width_px / columns, stage.height_px / stacks
    for c in range(columns):
        for r in range(stacks):
            for row in range(int(stage.rng.uniform(0.3, 1) * high / line)):
                _coloured(stage, base, c * wide + 4, r * high + 2 + row * line, size, wide - 12, ink)
            box(base, (c + 1) * wide - 1, r * high, (c + 1) * wide, (r + 1) * high, (90, 90, 90))
        box(base, c * wide, high * stacks - line, (c + 1) * wide, high * stacks, (40, 130, 60))
    speed = int(stage.rng.integers(0, 4))
    for i in SHOWN:
        image = base.copy()
        part = image[: int(high - line), : int(wide - 4)]
        part[:] = np.roll(part, -int(i * speed * line), axis=0)
        yield image


def dashboard(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """Tiles with curves, bars, rings and numbers, of which one curve runs on."""
    import cv2

    size = _print(stage)
    base = stage.canvas(theme[2])
    _tools(stage, base, theme, 0, 0, stage.width_px, size * 2.4)
    columns, rows = int(stage.rng.integers(2, 5)), int(stage.rng.integers(2, 4))
    wide, high = stage.width_px / columns, (stage.height_px - size * 2.8) / rows
    curves = []
    for c in range(columns):
        for r in range(rows):
            x, y = c * wide + 5, size * 2.8 + r * high
            box(base, x, y, x + wide - 10, y + high - 8, theme[0])
            write(base, stage.words(1, 4), x + 5, y + 3, size, theme[1])
            kind, tone = int(stage.rng.integers(4)), _accent(stage)
            if kind == 0:
                curves.append((x + 8, y + high * 0.55, tone))
            elif kind == 1:
                for k, tall in enumerate(stage.rng.uniform(0.1, 0.6, 8)):
                    x0 = x + 8 + k * (wide - 30) / 8
                    box(base, x0, y + high * (0.85 - tall), x0 + wide / 14, y + high * 0.85, tone)
            elif kind == 2:
                middle, radius = (int(x + wide / 2), int(y + high * 0.55)), max(2, int(min(wide, high) * 0.28))
                for turn in range(0, 360, 90):
                    cv2.ellipse(base, middle, (radius, radius), 0, turn, turn + 90, _accent(stage), radius // 3)
            else:
                write(base, f"{stage.rng.uniform(0, 999):.1f}", x + 8, y + high * 0.3, high * 0.25, tone)
    walks = [np.cumsum(stage.rng.normal(0, high * 0.03, 120)).clip(-high * 0.3, high * 0.3) for _ in curves]
    for i in SHOWN:
        image = base.copy()
        for (x, y, tone), walk in zip(curves, walks, strict=True):
            points = np.stack([x + np.arange(100) * (wide - 26) / 100, y + walk[i : i + 100]], axis=1)
            cv2.polylines(image, [points.astype(np.int32)], False, tone, 1, cv2.LINE_AA)
        yield image


def notebook(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """Cells of code, each with text or a figure under it; scrolled now and then."""
    import cv2

    size, wide = _print(stage), stage.width_px
    long: np.ndarray = np.full((2 * stage.height_px, wide, 3), theme[0], np.uint8)
    left, y = wide * stage.rng.uniform(0.04, 0.15), size * 4
    while y < len(long) - size * 8:
        lines = int(stage.rng.integers(1, 6))
        box(long, left, y, wide * 0.95, y + lines * size * 1.5 + 6, theme[2])
        _grid_text(long, "[1]", left - size * 2.4, y, size, _accent(stage))
        for row in range(lines):
            _coloured(stage, long, left + 6, y + 3 + row * size * 1.5, size, wide * 0.8, theme[1])
        y += lines * size * 1.5 + size
        if stage.rng.random() < 0.5:
            w, h = wide * 0.4, stage.height_px * 0.3
            box(long, left, y, left + w, y + h, theme[1], 1)
            for x0, y0 in stage.rng.uniform(0.05, 0.95, (40, 2)):
                cv2.circle(long, (int(left + w * x0), int(y + h * y0)), 2, _accent(stage), -1, cv2.LINE_AA)
            y += h + size
        else:
            y = _paragraph(stage, long, left, y, wide * 0.6, size, theme[1])
    _tools(stage, long, theme, 0, 0, wide, size * 2.5)
    step = int(stage.rng.choice([0, 0, 8]) * stage.height_px / 360)
    for i in SHOWN:
        yield long[min(i * step, stage.height_px) :][: stage.height_px].copy()


def paint(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """A white sheet between bars of tools, on which a hand draws."""
    import cv2

    wide, high, size = stage.width_px, stage.height_px, _print(stage)
    base = stage.canvas(theme[2])
    _tools(stage, base, theme, 0, 0, wide, size * 2.5)
    x0, y0 = wide * stage.rng.uniform(0.05, 0.15), size * 4
    box(base, x0, y0, wide * stage.rng.uniform(0.75, 0.97), high * 0.96, (255, 255, 255))
    for row in range(8):
        box(base, 4, y0 + row * x0, x0 - 6, y0 + row * x0 + x0 - 8, _accent(stage))
    spots = np.cumsum(stage.rng.normal(0, high * 0.05, (90, 2)), axis=0) % (wide * 0.6, high * 0.7) + (x0 + 5, y0 + 5)
    pens, thick = [_accent(stage) for _ in range(9)], int(stage.rng.integers(1, 5))
    for i in SHOWN:
        image = base.copy()
        for k in range(20 + 3 * i):
            if k % 10 and np.abs(spots[k + 1] - spots[k]).max() < high * 0.3:
                a, b = spots[k].astype(int).tolist(), spots[k + 1].astype(int).tolist()
                cv2.line(image, a, b, pens[k // 10], thick, cv2.LINE_AA)
        yield image


def street_map(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """Ground, water, woods and roads with names, moved below a box to search in."""
    import cv2

    size, wide, high = _print(stage), stage.width_px, stage.height_px
    light = sum(theme[0]) > 380
    long: np.ndarray = np.full((high * 2, wide * 2, 3), (242, 239, 233) if light else (36, 42, 54), np.uint8)
    field = smooth_noise(stage.rng, high * 2, wide * 2, 8)
    long[field > 0.9] = (170, 211, 223) if light else (23, 38, 60)
    long[field < -0.8] = (200, 223, 179) if light else (38, 60, 63)
    for k in range(40):
        a, b = (stage.rng.uniform(0, 2, (2, 2)) * (wide, high)).astype(int).tolist()
        if k % 2:
            b[k // 2 % 2] = a[k // 2 % 2]
        thick = int(stage.rng.choice([1, 2, 4, 7]) * high / 360)
        cv2.line(long, a, b, (255, 255, 255) if light else (70, 80, 100), max(1, thick), cv2.LINE_AA)
        if k % 3 == 0:
            write(long, stage.words(1, 3).title(), a[0], a[1], size, theme[1])
    way, sought = stage.rng.choice([0, 1, 6], 2) * high / 360, stage.words(1, 3)
    for i in SHOWN:
        x, y = (int(v) for v in way * i)
        image = long[y : y + high, x : x + wide].copy()
        box(image, 10, 10, wide * 0.4, 10 + size * 2, theme[0])
        write(image, sought, 16, 10 + size * 0.4, size, theme[1])
        yield image


def phone(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """The screen of a telephone between plain margins: rows with a round picture and two lines, being scrolled."""
    import cv2

    high = stage.height_px
    image = stage.canvas(stage.colour(0, 60) if stage.rng.random() < 0.6 else stage.colour(180, 256))
    wide = int(min(stage.width_px, high * stage.rng.uniform(0.45, 0.6)))
    left, row_px = (stage.width_px - wide) // 2, int(high * stage.rng.uniform(0.08, 0.14))
    long: np.ndarray = np.full((high * 2, wide, 3), theme[0], np.uint8)
    for y in range(row_px, 2 * high - row_px, row_px):
        cv2.circle(long, (row_px // 2 + 4, y + row_px // 2), row_px // 3, _accent(stage), -1, cv2.LINE_AA)
        write(long, stage.words(1, 3).title(), row_px + 8, y + row_px * 0.12, row_px * 0.26, theme[1])
        write(long, stage.words(2, 6), row_px + 8, y + row_px * 0.55, row_px * 0.2, (130, 130, 130))
    step, title = int(stage.rng.choice([0, 2, 9]) * high / 360), stage.words(1, 2).title()
    for i in SHOWN:
        made = image.copy()
        made[:, left : left + wide] = long[min(i * step, high) :][:high]
        box(made, left, 0, left + wide, row_px, theme[2])
        write(made, title, left + 8, row_px * 0.3, row_px * 0.4, theme[1])
        box(made, left, high - row_px, left + wide, high, theme[2])
        yield made


def document(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """A sheet of text on a plain ground under bars of tools; a line is being written."""
    size, wide, high = _print(stage), stage.width_px, stage.height_px
    base = stage.canvas(theme[2])
    top = 0.0
    for _ in range(int(stage.rng.integers(1, 4))):
        _tools(stage, base, theme, 0, top, wide, size * 2)
        top += size * 2
    left, right = wide * stage.rng.uniform(0.05, 0.28), wide * stage.rng.uniform(0.72, 0.95)
    box(base, left, top + size, right, high, (255, 255, 255))
    y = top + size * 4
    write(base, stage.words(2, 5).title(), left + size * 4, y, size * 2, (20, 20, 20))
    y += size * 4
    while y < high * 0.75:
        y = _paragraph(stage, base, left + size * 4, y, right - left - size * 8, size, (40, 40, 40))
    typed = stage.words(9, 12)
    for i in SHOWN:
        image = base.copy()
        write(image, typed[: 3 * i + 1], left + size * 4, y, size, (40, 40, 40))
        yield image


def pictures(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """A folder of photographs as small pictures with names, of which another is chosen each second."""
    size, wide = _print(stage), stage.width_px
    base = stage.canvas(theme[0])
    _tools(stage, base, theme, 0, 0, wide, size * 2.5)
    left, columns = wide * stage.rng.choice([0, 0.2]), int(stage.rng.integers(3, 7))
    box(base, 0, size * 2.5, left, stage.height_px, theme[2])
    step = (wide - left) / columns
    places = []
    for row in range(int(stage.height_px / step) + 1):
        for column in range(columns):
            x, y = int(left + column * step + step * 0.1), int(size * 3.5 + row * step)
            side_w, side_h = int(step * 0.8), int(min(step * 0.65, stage.height_px - y))
            if side_h > 4:
                base[y : y + side_h, x : x + side_w] = cover(stage.photo(), side_w, side_h)
                write(base, stage.words(1, 2), x, y + side_h + 2, size, theme[1])
                places.append((x, y, side_w, side_h))
    first = int(stage.rng.integers(len(places)))
    for i in SHOWN:
        image = base.copy()
        x, y, w, h = places[(first + i // 5) % len(places)]
        box(image, x - 3, y - 3, x + w + 3, y + h + 3, ACCENTS[0], 2)
        yield image


def modeller(stage: Stage, theme: Theme) -> Iterator[np.ndarray]:
    """A solid drawn by its edges over a floor of lines, being turned, among panels."""
    import cv2

    size, wide, high = _print(stage), stage.width_px, stage.height_px
    base = stage.canvas(tuple(int(c * 0.6 + 60) for c in theme[0]))
    right = wide * stage.rng.uniform(0.7, 0.85)
    box(base, right, 0, wide, high, theme[2])
    for row in range(int(high / (size * 1.8))):
        write(base, stage.words(1, 3), right + 6, row * size * 1.8, size, theme[1])
        box(base, right + wide * 0.1, row * size * 1.8, wide - 6, row * size * 1.8 + size * 1.2, theme[0])
    _tools(stage, base, theme, 0, 0, right, size * 2.2)
    num, turn, tone = int(stage.rng.integers(4, 9)), stage.rng.choice([0.0, 0.1]), _accent(stage)
    for i in SHOWN:
        image, at = base.copy(), np.arange(num) * 2 * np.pi / num + turn * i
        for k in range(-6, 7):
            for a, b in (((k, -6), (k, 6)), ((-6, k), (6, k))):
                ends = [(int(right / 2 + 40 * (x - z)), int(high * 0.7 + 12 * (x + z))) for x, z in (a, b)]
                cv2.line(image, ends[0], ends[1], (110, 110, 110), 1, cv2.LINE_AA)
        rings = [
            np.stack([right / 2 + high * 0.2 * np.cos(at), y + high * 0.07 * np.sin(at)], axis=1).astype(np.int32)
            for y in (high * 0.35, high * 0.65)
        ]
        cv2.fillConvexPoly(image, cv2.convexHull(np.concatenate(rings)), tone)
        for ring in rings:
            cv2.polylines(image, [ring], True, (240, 170, 60), 1, cv2.LINE_AA)
        for a, b in zip(*rings, strict=True):
            cv2.line(image, a.tolist(), b.tolist(), (240, 170, 60), 1, cv2.LINE_AA)
        yield image


WINDOWS = (
    *(browser, browser, workbench, workbench, panes, dashboard, notebook),
    *(paint, street_map, phone, document, pictures, modeller),
)
