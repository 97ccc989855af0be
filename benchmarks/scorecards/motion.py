"""Scorecard of motion: known pans over real pictures, a face moved at known speed, and frozen frames."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command, spearman
from tasks.signals import faces, flow, motion

FPS = 5
NUM_FRAMES = 8
SPEEDS = (0.0, 1.0, 3.0, 8.0, 20.0, 40.0)
"""Percent of frame height a second."""
WINDOW = 0.6
"""A panned picture shows this share of the frame at a time."""

Curve = list[tuple[float, float]]


def row_of(frames: list[np.ndarray]) -> dict[str, float]:
    media = media_of(frames, FPS)
    return dict(motion.compute(media, {"flow": timeline_of(flow.compute, media)}).row)


def frame_difference(frames: list[np.ndarray]) -> float:
    """Baseline: mean absolute difference of successive frames, in gray levels."""
    gray = [f.mean(axis=2) for f in frames]
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(gray)]))


def panned(picture: np.ndarray, speed: float) -> list[np.ndarray]:
    """A window that swings over the picture at `speed`, turning at its borders."""
    import cv2

    height, width = (int(side * WINDOW) // 2 * 2 for side in picture.shape[:2])
    room = picture.shape[1] - width
    frames = []
    for i in range(NUM_FRAMES):
        way = speed / 100 * height * i / FPS
        left = way % (2 * room)
        left = left if left <= room else 2 * room - left
        at = np.array([[1.0, 0, left], [0, 1, (picture.shape[0] - height) / 2]])
        frames.append(
            np.asarray(cv2.warpAffine(picture, at, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
        )
    return frames


def moved_face(picture: np.ndarray, speed: float) -> list[np.ndarray]:
    """The picture at rest, with a copy of its largest face that swings sideways at `speed` within a soft edge."""
    import cv2

    found = timeline_of(faces.compute, media_of([picture], 1.0)).to_pylist()
    if not found:
        return []
    x0, y0, x1, y1 = (found[0][k] for k in ("x0", "y0", "x1", "y1"))
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), np.float32)
    center, axes = (int((x0 + x1) / 2), int((y0 + y1) / 2)), (int((x1 - x0) * 0.55), int((y1 - y0) * 0.55))
    cv2.ellipse(mask, center, axes, 0, 0, 360, 1, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    room = 0.25 * (x1 - x0)
    frames = []
    for i in range(NUM_FRAMES):
        way = speed / 100 * height * i / FPS % (4 * room)
        offset = way if way < room else 2 * room - way if way < 3 * room else way - 4 * room
        put = np.array([[1.0, 0, offset], [0, 1, 0]])
        cover = np.asarray(cv2.warpAffine(np.asarray(mask, np.float32), put, (width, height)))[..., None]
        face = cv2.warpAffine(np.asarray(picture * mask, np.float32), put, (width, height))
        frames.append(np.clip(picture * (1 - cover) + face, 0, 255).astype(np.uint8))
    return frames


def pooled(curves: list[Curve]) -> float:
    pairs = [pair for curve in curves for pair in curve]
    return spearman([speed for speed, _ in pairs], [value for _, value in pairs])


def median_error(curves: list[Curve]) -> float:
    """Median relative error at speeds of 1 % and more."""
    return float(np.median([abs(value - speed) / speed for curve in curves for speed, value in curve if speed >= 1]))


def mean_leak(curves: list[Curve]) -> float:
    return float(np.mean([value for curve in curves for speed, value in curve if speed > 0]))


def run(root: Path) -> list[Row]:
    pans: dict[str, list[Curve]] = {}
    subjects: dict[str, list[Curve]] = {}
    leaks: dict[str, list[Curve]] = {}
    frozen: dict[str, list[tuple[float, bool]]] = {}
    naive_pan: list[Curve] = []
    naive_subject: list[Curve] = []
    for entry in manifest(root, "talk"):
        person = entry["person"]
        frames = read_frames(entry["path"], FPS, max_s=(NUM_FRAMES - 1) / FPS)[0]
        picture = frames[0]
        shown = [(s, panned(picture, s)) for s in SPEEDS]
        pans.setdefault(person, []).append([(s, row_of(f)["camera_speed"]) for s, f in shown])
        naive_pan.append([(s, frame_difference(f)) for s, f in shown])
        shown = [(s, f) for s in SPEEDS if (f := moved_face(picture, s))]
        told = [(s, row_of(f)) for s, f in shown]
        subjects.setdefault(person, []).append([(s, r["subject_speed"]) for s, r in told])
        leaks.setdefault(person, []).append([(s, r["camera_speed"]) for s, r in told])
        naive_subject.append([(s, frame_difference(f)) for s, f in shown])
        frozen.setdefault(person, []).append((row_of([picture] * NUM_FRAMES)["static_ratio"], True))
        frozen[person].append((row_of(frames)["static_ratio"], False))
    rows = []
    claims: tuple[Any, ...] = (
        (
            "camera_speed follows a known pan",
            "Spearman",
            pans,
            pooled,
            0.95,
            "higher",
            pooled(naive_pan),
            "frame difference",
        ),
        ("camera_speed is a pan's speed", "median relative error", pans, median_error, 0.1, "lower", None, ""),
        (
            "subject_speed follows a moving face",
            "Spearman",
            subjects,
            pooled,
            0.8,
            "higher",
            pooled(naive_subject),
            "frame difference",
        ),
        ("a moving face is not the camera", "camera_speed, % height/s, mean", leaks, mean_leak, 1.0, "lower", None, ""),
        (
            "a frozen clip is static, a talking head not",
            "AUC of static_ratio",
            frozen,
            auc_of_pairs,
            0.95,
            "higher",
            0.5,
            "chance",
        ),
    )
    for claim, measure, values, statistic, goal, better, baseline, name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len(values)
        rows.append(Row("motion", claim, measure, value, low, high, n, people, baseline, goal, better, name))
    return rows


if __name__ == "__main__":
    command(run)
