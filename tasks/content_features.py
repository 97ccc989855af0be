"""What the content filter looks at beside the clip's vector: flatness, palette, edges, lines that stay, what moves how.

Shared by the signal `content` and by `tasks/content_corpus.py`, which makes the features that it is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.content_rectangle import NUM_RECTANGLE, rectangle

KINDS = ("natural", "screencast", "slides", "game", "cartoon", "still", "inset", "test_pattern", "statue")
SIDE_PX = 320
MOTION_SIDE_PX = 160
MAX_FRAMES = 6
"""Frames that are looked at: as many, evenly over the clip, one second apart at least."""
STRONG_STEP = 12
"""Gray levels between neighbours from which an edge counts as one."""
ECC_ROUNDS = 20
FIT_ROUNDS = 4
NUM_FEATURES = 68 + NUM_RECTANGLE
MOVES, RESTS = 1.5, 0.7
"""Mean change of a block in gray levels from which it moves, and below which it rests."""


def spread(num: int) -> list[int]:
    """Positions of the frames looked at: all of them, or MAX_FRAMES evenly spread."""
    return sorted({round(i) for i in np.linspace(0, num - 1, min(num, MAX_FRAMES))})


def features(images_rgb: Sequence[np.ndarray]) -> np.ndarray:
    """Float64 (NUM_FEATURES,) of frames about a second apart, (H, W, 3) at SIDE_PX.

    21 of each frame, as mean; 8 of the edges that all frames share; 11 of each pair of neighbours, as mean, least and
    most; 4 of where it always moves; 6 of the likeliest video within the picture; 2 of sizes. One frame alone counts as
    a pair with itself.
    """
    import cv2

    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images_rgb]
    looks = np.mean([_look(image, gray) for image, gray in zip(images_rgb, grays, strict=True)], axis=0)
    scale = min(1.0, MOTION_SIDE_PX / max(grays[0].shape))
    small = [cv2.resize(g, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32) for g in grays]
    pairs = [*pairwise(small)] or [(small[0], small[0])]
    moves = np.stack([_motion(a, b) for a, b in pairs])
    height, width = grays[0].shape
    told = np.concatenate(
        [
            looks,
            _lasting(grays),
            moves.mean(axis=0),
            moves.min(axis=0),
            moves.max(axis=0),
            _where(pairs),
            rectangle(grays),
            [width / height, min(height, width) / SIDE_PX],
        ]
    )
    return np.asarray(np.nan_to_num(told, posinf=0.0, neginf=0.0))


def _look(image: np.ndarray, gray: np.ndarray) -> list[float]:
    """21 measures of one picture."""
    import cv2

    blocks = gray[: gray.shape[0] // 8 * 8, : gray.shape[1] // 8 * 8].reshape(gray.shape[0] // 8, 8, -1, 8)
    span = blocks.max(axis=(1, 3)).astype(int) - blocks.min(axis=(1, 3))
    dx = np.abs(np.diff(gray.astype(np.int16), axis=1))[:-1]
    dy = np.abs(np.diff(gray.astype(np.int16), axis=0))[:, :-1]
    strong = np.maximum(dx, dy) > STRONG_STEP
    aligned = strong & (np.minimum(dx, dy) <= 0.15 * np.maximum(dx, dy))
    laplacian = np.abs(cv2.Laplacian(gray, cv2.CV_16S))
    crisp = dx[:, 1:-1][strong[:, 1:-1]] / (dx[:, :-2] + dx[:, 1:-1] + dx[:, 2:] + 1.0)[strong[:, 1:-1]]
    counts = cv2.calcHist([image >> 4], [0, 1, 2], None, [16] * 3, [0, 16] * 3).ravel()
    shares = np.sort(counts / counts.sum())[::-1]
    entropy = -float((shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    high, low = image.max(axis=2).astype(np.float32), image.min(axis=2).astype(np.float32)
    chroma = (high - low) / 255
    return [
        *(float((span <= limit).mean()) for limit in (1, 3, 8)),
        float(np.log1p(np.median(laplacian))),
        float(np.log1p(np.quantile(laplacian, 0.95))),
        float(strong.mean()),
        float(aligned.sum() / max(1, strong.sum())),
        float(crisp.mean()) if crisp.size else 0.0,
        *(float(shares[:n].sum()) for n in (1, 4, 16)),
        entropy,
        float(chroma.mean()),
        float(np.quantile(chroma, 0.9)),
        float((chroma > 0.6).mean()),
        float((chroma < 0.04).mean()),
        float(gray.mean() / 255),
        float(gray.std() / 128),
        float((gray > 235).mean()),
        float((gray < 20).mean()),
        float((span > 120).mean()),
    ]


def _lasting(grays: Sequence[np.ndarray]) -> list[float]:
    """8 measures of the edges that are there in every frame: how many, and the longest straight ones inside."""
    edges = []
    for axis in (1, 0):
        steps = np.min([np.abs(np.diff(g.astype(np.int16), axis=axis)) for g in grays], axis=0) > STRONG_STEP
        edges.append(steps if axis == 1 else steps.T)
    here = np.mean([(np.abs(np.diff(g.astype(np.int16), axis=1)) > STRONG_STEP).mean() for g in grays])
    lines = [value for steps in edges for value in _longest(steps)]
    return [float(edges[0].mean()), float(edges[0].mean() / max(here, 1e-3)), *lines]


def _longest(steps: np.ndarray) -> list[float]:
    """The longest run down a column, that of another column at least 8 % away, and their lesser; shares of the height.

    Columns within 2 % of the border don't count; a run bridges no gap.
    """
    run = np.zeros(steps.shape[1], int)
    best = run.copy()
    for row in steps:
        run = (run + 1) * row
        np.maximum(best, run, out=best)
    width = len(best)
    margin = max(1, width // 50)
    inner = best.copy()
    inner[:margin] = inner[-margin:] = 0
    first = int(inner.argmax())
    told = inner[first] / len(steps)
    inner[max(0, first - width // 12) : first + width // 12 + 1] = 0
    other = inner.max() / len(steps)
    return [float(told), float(other), float(told * other)]


def _motion(a: np.ndarray, b: np.ndarray) -> list[float]:
    """11 measures of what changed in a second, and of what is left of it once a global affine motion is taken out."""
    changed = np.abs(b - a)
    left, move = _registered(a, b)
    height, width = a.shape
    top, side = max(1, height // 8), max(1, width // 8)
    middle = changed[top:-top, side:-side]
    ring = (changed.sum() - middle.sum()) / max(1, changed.size - middle.size)
    cells = changed[: height // 4 * 4, : width // 4 * 4].reshape(4, height // 4, 4, width // 4).mean(axis=(1, 3))
    return [
        float(np.log1p(changed.mean())),
        float(np.log1p(np.quantile(changed, 0.99))),
        float((changed <= 2).mean()),
        float((cells < 0.7).mean()),
        float(np.log1p(left.mean())),
        float(np.log1p(np.quantile(left, 0.95))),
        float(np.log1p(np.quantile(left, 0.99))),
        float((left.mean() + 0.3) / (changed.mean() + 0.3)),
        float(np.log((middle.mean() + 0.3) / (ring + 0.3))),
        move,
        float((left <= 3).mean()),
    ]


def _where(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Shares of 8 px blocks that move in every pair and that rest in every pair; of those that always move, the share
    of the frame that their bounding box takes, and of the box that they fill: a video in a picture fills one."""
    height, width = (side // 8 for side in pairs[0][0].shape)
    if height == 0 or width == 0:
        return [0.0] * 4
    changed = np.stack([np.abs(b - a)[: height * 8, : width * 8] for a, b in pairs])
    blocks = changed.reshape(len(pairs), height, 8, width, 8).mean(axis=(2, 4))
    always, never = blocks.min(axis=0) > MOVES, blocks.max(axis=0) < RESTS
    rows, columns = np.flatnonzero(always.any(axis=1)), np.flatnonzero(always.any(axis=0))
    if len(rows) == 0:
        return [0.0, float(never.mean()), 0.0, 0.0]
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return [float(always.mean()), float(never.mean()), float(box / always.size), float(always.sum() / box)]


def _registered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """|b - a| once a is moved onto b by the affine motion of the highest correlation, within what both show, and how
    far that moves the corners, in widths. Source: Evangelidis and Psarakis, ECC, TPAMI 2008; it starts from what
    optical flow says, as a second's camera move is more than it finds by itself.

    Where no motion is found (a flat picture, another scene) the pictures are compared as they are.
    """
    import cv2

    found: Any = _affine_of_flow(a, b)
    everywhere = np.full(a.shape, 255, np.uint8)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ECC_ROUNDS, 1e-4)
    try:
        _, found = cv2.findTransformECC(b, a, found, cv2.MOTION_AFFINE, stop, everywhere, 3)
    except cv2.error:  # it says so when the correlation does not rise
        return np.abs(b - a), 0.0
    height, width = a.shape
    moved = cv2.warpAffine(
        a, found, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float32)
    far = float(np.abs(corners @ found.T - corners[:, :2]).max() / width)
    inside = slice(height // 12, -(height // 12)), slice(width // 12, -(width // 12))
    return np.abs(b - moved)[inside] if far < 0.5 else np.abs(b - a), min(far, 0.5)


def _affine_of_flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Float32 (2, 3): where in a each place of b comes from, by dense flow (DIS) and a robust affine fit to it."""
    import cv2

    if min(a.shape) < 32:  # the flow's pyramid needs as much
        return np.eye(2, 3, dtype=np.float32)
    matcher: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = matcher.calc(b.astype(np.uint8), a.astype(np.uint8), None)
    step = 4
    y, x = np.mgrid[: a.shape[0] : step, : a.shape[1] : step].reshape(2, -1).astype(np.float64)
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    target = np.stack([x, y], axis=1) + flow[::step, ::step].reshape(-1, 2)
    steep = np.abs(cv2.Laplacian(b, cv2.CV_32F))[::step, ::step].ravel().astype(np.float64) + 0.01
    weight = steep
    for _ in range(FIT_ROUNDS):
        root = np.sqrt(weight)[:, None]
        affine = np.linalg.lstsq(design * root, target * root, rcond=None)[0]
        off = np.linalg.norm(target - design @ affine, axis=1)
        weight = steep / (1 + np.square(off / max(float(np.median(off)), 0.3)))
    return np.ascontiguousarray(affine.T, np.float32)
