"""Optical flow of a video, five pairs of frames a second: how fast the camera moves, and how fast what it films."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Signal

FPS = 5
STEP = GRID_FPS // FPS
SIDE_PX = 320
CELL_PX = 8
IRLS_ROUNDS = 12
SETTLED_PX = 1e-4
# A talking head fills the middle and the bottom; the camera is read off the top and the sides first.
BORDER_RATIO = 0.2
SHOULDERS_RATIO = 0.7
CLEARLY_MORE = 0.1
MIDDLE_WEIGHT = 0.15
MAX_SCALE_PX = 0.5
BLED_PX = 1.5
MAX_SPEED = 5000.0

_SPEED = "percent_height_per_s"

SIGNAL = Signal(
    grain="video",
    version=3,
    timeline=(
        Column(
            "camera", pa.float32(), _SPEED, "mean speed of the global affine motion over the frame", 0, MAX_SPEED, 3
        ),
        Column(
            "subject",
            pa.float32(),
            _SPEED,
            "mean speed over the frame of what the camera's does not explain",
            0,
            5000,
            3,
        ),
        Column("total", pa.float32(), _SPEED, "mean speed of the whole flow", 0, MAX_SPEED, 3),
    ),
    look=Look(frames_fps=FPS, context_frames=STEP),
    cost_cpu_s=0.023,
    params={
        "fps": FPS,
        "side_px": SIDE_PX,
        "cell_px": CELL_PX,
        "preset": "fast",
        "irls_rounds": IRLS_ROUNDS,
        "settled_px": SETTLED_PX,
        "border_ratio": BORDER_RATIO,
        "shoulders_ratio": SHOULDERS_RATIO,
        "clearly_more": CLEARLY_MORE,
        "middle_weight": MIDDLE_WEIGHT,
        "max_scale_px": MAX_SCALE_PX,
        "bled_px": BLED_PX,
    },
    backend="dis_fast",
    summary="Speed of camera and subject between frame f and frame f + 5, by DIS optical flow and a robust affine fit.",
    source="Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016; Odobez and Bouthemy, 1995 (fit).",
)


def compute(media: Media, needs: Needs) -> Output:
    """One row for each sampled frame f whose partner f + 5 exists; the last fifth of a second has none.

    Raises NotApplicable for a picture so narrow that it holds no whole cell.
    """
    import cv2

    matcher = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
    have = set(media.frames)
    columns: dict[str, list[float]] = {"frame": [], "camera": [], "subject": [], "total": []}
    for frame in media.at(FPS):
        if frame % STEP or frame + STEP not in have:
            continue
        before, after = (media.image(f, SIDE_PX, "gray") for f in (frame, frame + STEP))
        if min(before.shape) < CELL_PX:
            raise NotApplicable(f"a picture of {media.width_px} x {media.height_px} is too narrow to measure motion")
        flow_HW2 = matcher.calc(before, after, None)
        speeds = split_motion(flow_HW2, before, after)
        columns["frame"].append(frame)
        for name, pixels in zip(("camera", "subject", "total"), speeds, strict=True):
            columns[name].append(min(pixels / before.shape[0] * 100 * FPS, MAX_SPEED))
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.table(columns, schema=schema))


def split_motion(flow_HW2: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Mean displacement in pixels of (camera, subject, everything) between the two frames.

    The camera is an affine field fitted by iteratively reweighted least squares (Tukey weights) to the flow of
    8 px cells, each trusted by its texture, and cells of the border more than the middle. Flow of a fast head bleeds
    far into plain ground around it, so a cell that looks the same without any motion counts as resting, and a second
    fit, which begins at the median flow, wins only if it explains clearly more of the border: a plain background
    tells nothing of the camera, which is then held to rest. Likewise a cell whose flow is far from the field's, but
    which the field explains as well, moves with the camera.
    """
    cells, x, y = _cells(flow_HW2)
    height, width = before.shape
    # The sides belong to the border down to the shoulders only.
    side = (np.minimum(x, width - x) < BORDER_RATIO * width) & (y < SHOULDERS_RATIO * height)
    border = side | (y < BORDER_RATIO * height)
    trust = np.where(border, 1.0, MIDDLE_WEIGHT) * _texture(before)
    design = np.stack([np.ones_like(x), (x - width / 2) / width, (y - height / 2) / width], axis=1)

    tolerated = 1.1 * _mismatch(flow_HW2, before, after) + 0.5
    resting = _differ(after, before) <= tolerated
    calm = np.where(resting[:, None], 0.0, cells)
    median = [_weighted_median(cells[:, axis], trust) for axis in (0, 1)]

    def fit(flow: np.ndarray, start: Sequence[float], *, loose: bool) -> tuple[float, np.ndarray, np.ndarray]:
        """(share of the border that it explains, the field, what it explains)"""
        field = design @ _robust_affine(design, flow, trust, start, loose=loose)
        explained = _mismatch(_dense(field, flow_HW2.shape), before, after) <= tolerated
        return float(explained[border].mean()), field, explained

    share, field, explained = fit(calm, (0.0, 0.0), loose=False)
    if share < 1 - CLEARLY_MORE:  # else nothing can explain clearly more
        median = [_weighted_median(cells[:, axis], trust) for axis in (0, 1)]
        other = fit(cells, median, loose=True)
        if other[0] > share + CLEARLY_MORE:
            _, field, explained = other
    apart = np.hypot(*(cells - field).T)
    bled = explained & (apart > BLED_PX)
    moved = np.where(bled[:, None], field, cells)
    return (
        float(np.hypot(*field.T).mean()),
        float(np.where(bled, 0.0, apart).mean()),
        float(np.hypot(*moved.T).mean()),
    )


def _mismatch(flow_HW2: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean gray levels (N,) by which each cell differs from where the flow says it went."""
    import cv2

    x, y = _grid(*before.shape)
    there = cv2.remap(
        after, x + flow_HW2[..., 0], y + flow_HW2[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return _differ(there, before)


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean gray levels (N,) by which each cell differs."""
    import cv2

    return _cell_means(cv2.absdiff(a, b))[:, 0]


def _dense(field: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine field (N, 2), given on cells, on every pixel, float32 (H, W, 2)."""
    import cv2

    rows, columns = shape[0] // CELL_PX, shape[1] // CELL_PX
    coarse = field.reshape(rows, columns, 2).astype(np.float32)
    dense: np.ndarray = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return dense


def _cell_means(values_HWC: np.ndarray) -> np.ndarray:
    """Means (N, C) over whole cells, row by row."""
    import cv2

    rows, columns = values_HWC.shape[0] // CELL_PX, values_HWC.shape[1] // CELL_PX
    whole = np.ascontiguousarray(values_HWC[: rows * CELL_PX, : columns * CELL_PX], np.float32)
    means: np.ndarray = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    return means.reshape(rows * columns, -1).astype(np.float64)


@cache
def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y


def _cells(flow_HW2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean flow (N, 2) of each cell, and the centres' x and y (N,)."""
    rows, columns = flow_HW2.shape[0] // CELL_PX, flow_HW2.shape[1] // CELL_PX
    y, x = np.mgrid[0:rows, 0:columns] * float(CELL_PX) + CELL_PX / 2
    return _cell_means(flow_HW2), x.ravel(), y.ravel()


def _texture(gray: np.ndarray) -> np.ndarray:
    """Trust (N,) in a cell's flow, 0 to 1: flow on flat ground is a guess."""
    values = gray.astype(np.float32)
    mean, mean_square = _cell_means(values)[:, 0], _cell_means(values * values)[:, 0]
    spread = np.sqrt(np.maximum(mean_square - mean**2, 0))
    trust: np.ndarray = 0.05 + spread / (spread + 4.0)
    return trust


def _robust_affine(
    design: np.ndarray, flow: np.ndarray, trust: np.ndarray, start: Sequence[float], *, loose: bool
) -> np.ndarray:
    """Affine parameters (3, 2), from the translation `start`; cells far from the present fit have no say.

    `loose` lets all cells speak at first and halves the bound from round to round: a zoom starts as a shift.
    """
    parameters = np.zeros((3, 2))
    parameters[0] = start
    for i in range(IRLS_ROUNDS):
        before = parameters
        off = flow - design @ parameters
        residual = np.sqrt(off[:, 0] * off[:, 0] + off[:, 1] * off[:, 1])  # hypot takes ten times as long
        bound = max(MAX_SCALE_PX, 32.0 / 2**i) if loose else MAX_SCALE_PX
        scale = float(np.clip(1.4826 * _weighted_median(residual, trust), 0.1, bound))
        inside = np.maximum(1 - np.square(residual / (4.685 * scale)), 0)
        weight = trust * inside * inside
        weighted = design * weight[:, None]
        # The ridge keeps zoom and shear at rest where the trusted cells do not show them.
        normal = weighted.T @ design + (1e-4 * weight.sum() + 1e-9) * np.eye(3)
        parameters = np.linalg.solve(normal, weighted.T @ flow)
        settled = bound == MAX_SCALE_PX and float(np.abs(parameters - before).max()) < SETTLED_PX
        if settled:
            break
    return parameters


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(cumulative, cumulative[-1] / 2)]])
