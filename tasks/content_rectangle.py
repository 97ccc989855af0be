"""The likeliest frame of a video within the picture: four straight sides that stay while what lies along them moves.

Read by `tasks/content_features.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

STEP = 10
"""Gray levels across two pixels from which a side shows."""
APART_PX = 4
"""A side is a line: so far beside it there is less of it. Moving texture has as much everywhere."""
NUM_LINES = 12
"""Lines that are tried each way, beside the picture's borders."""
MIN_SIDE, MAX_AREA = 0.12, 0.85
"""Of the picture's lesser side, and of its area."""
MOVES = 1.5
"""Mean change in gray levels from which a place moves."""
FILLED = 0.3
"""Share of a rectangle that moves from which it counts in full: of a speaker before a wall no more moves."""
SMALL = 0.25
"""Short sides show by chance more often than long ones: a rectangle weighs as this power of its area."""
NUM_RECTANGLE = 6


def rectangle(grays: Sequence[np.ndarray]) -> list[float]:
    """6 measures, from frames (H, W) uint8 about a second apart.

    How much of the least of its sides shows, 0 to 1, less where little moves inside, for the best rectangle whose four
    sides lie inside, and for the best of those that lie against one or two borders; then of the better one its share of
    the picture, and in natural logarithms the change inside over that outside, and the change along its sides, within
    and without.
    """
    import cv2

    height, width = grays[0].shape
    stack = np.stack(grays).astype(np.int16)
    upright = _lines(stack)
    lying = _lines(stack.transpose(0, 2, 1))
    least = max(round(MIN_SIDE * min(height, width)), 1)
    columns, rows = _places(upright, 2 * least), _places(lying, 2 * least)
    x = np.array([p for p in combinations(columns, 2) if p[1] - p[0] >= least])
    y = np.array([p for p in combinations(rows, 2) if p[1] - p[0] >= least])
    if len(x) == 0 or len(y) == 0:
        return [0.0] * NUM_RECTANGLE
    sides = np.stack([*_shown(upright, x, y), *(side.T for side in _shown(lying, y, x))])
    on_border = np.stack(np.broadcast_arrays(*_against(x, width, 0), *_against(y, height, 1)))
    shown = np.where(on_border, 1.0, sides).min(axis=0)
    changed = np.mean([np.abs(b - a) for a, b in pairwise(stack)] or [np.zeros((height, width))], axis=0)
    moves = np.pad((cv2.blur(changed, (5, 5)) > MOVES).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    pixels = np.outer(x[:, 1] - x[:, 0], y[:, 1] - y[:, 0])
    filled = (moves[y[:, 1]] - moves[y[:, 0]]).T
    filled = (filled[x[:, 1]] - filled[x[:, 0]]) / pixels
    area = pixels / (height * width)
    shown *= np.minimum(filled / FILLED, 1) * (area <= MAX_AREA)
    num_against = on_border.sum(axis=0)
    told, best = [], (0.0, 0, 0)
    for allowed in (num_against == 0, (num_against > 0) & (num_against <= 2)):
        weighed = shown * allowed * area**SMALL
        i, j = divmod(int(weighed.argmax()), weighed.shape[1])
        told.append(float(shown[i, j]) if weighed[i, j] > 0 else 0.0)
        best = max(best, (float(weighed[i, j]), i, j))
    if best[0] <= 0:
        return [0.0] * NUM_RECTANGLE
    _, i, j = best
    x0, x1, y0, y1 = (int(v) for v in (*x[i], *y[j]))
    return [*told, float(area[i, j]), *_changes(changed, x0, x1, y0, y1)]


def _lines(stack: np.ndarray) -> np.ndarray:
    """(H, W): share of the frames with a step at x that is not as much beside it; 0 near the borders."""
    shows = np.zeros(stack.shape[1:], np.float32)
    shows[:, 1:-1] = (np.abs(stack[:, :, 2:] - stack[:, :, :-2]) > STEP).mean(axis=0)
    line = np.zeros_like(shows)
    inner = slice(APART_PX, -APART_PX)
    line[:, inner] = shows[:, inner] - (shows[:, : -2 * APART_PX] + shows[:, 2 * APART_PX :]) / 2
    return np.maximum(line, 0)


def _places(line: np.ndarray, long_px: int) -> list[int]:
    """The columns with most of a line along `long_px`, apart from one another, and both borders; ascending."""
    summed = np.pad(line.cumsum(axis=0), ((1, 0), (0, 0)))
    long_px = min(long_px, len(line))
    amount = (summed[long_px:] - summed[:-long_px]).max(axis=0)
    places = [0, len(amount)]
    for _ in range(NUM_LINES):
        place = int(amount.argmax())
        if amount[place] <= 0:
            break
        places.append(place)
        amount[max(0, place - APART_PX + 1) : place + APART_PX] = 0
    return sorted(places)


def _shown(line: np.ndarray, across: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pairs across, pairs along) each for the first and the second of `across`: how much of that side shows."""
    summed = np.concatenate([np.zeros((1, line.shape[1])), line.cumsum(axis=0)])
    summed = np.concatenate([summed, np.zeros((len(summed), 1))], axis=1)  # the border after the last column
    length = (along[:, 1] - along[:, 0])[None]
    first, second = (
        (summed[along[:, 1]][:, across[:, k]] - summed[along[:, 0]][:, across[:, k]]).T / length for k in (0, 1)
    )
    return first, second


def _against(pairs: np.ndarray, end: int, axis: int) -> list[np.ndarray]:
    """Whether the first lies on the border at 0 and the second on that at `end`, ready to be broadcast."""
    told = [pairs[:, 0] == 0, pairs[:, 1] == end]
    return [t[:, None] if axis == 0 else t[None] for t in told]


def _changes(changed: np.ndarray, x0: int, x1: int, y0: int, y1: int) -> list[float]:
    """The change inside over outside, and along the sides within and without, as natural logarithms."""
    within = np.zeros(changed.shape, bool)
    within[y0:y1, x0:x1] = True
    near, far = 2, 8  # pixels from the side: what a codec smears across it is left out
    core, rim = np.zeros_like(within), np.zeros_like(within)
    core[y0 + far : y1 - far, x0 + far : x1 - far] = True
    rim[y0 + near : y1 - near, x0 + near : x1 - near] = True
    wide, gap = np.zeros_like(within), np.zeros_like(within)
    wide[max(0, y0 - far) : y1 + far, max(0, x0 - far) : x1 + far] = True
    gap[max(0, y0 - near) : y1 + near, max(0, x0 - near) : x1 + near] = True
    means = [float(changed[m].mean()) if m.any() else 0.0 for m in (within, ~within, rim & ~core, wide & ~gap)]
    logs = np.log(np.array(means) + 0.3)
    return [float(logs[0] - logs[1]), float(logs[2]), float(logs[3])]
