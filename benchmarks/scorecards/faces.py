"""Scorecard of faces: is each face found and nothing else, also when it is small, and do its points follow transforms?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.pose import changed, skin_ratio, transforms
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signals import faces

FPS = 1.0
SECONDS = 2.1
SMALL = 0.25
"""Of the frame's sides: a face of 300 px has 75 px then, one of 140 px has 35."""
MIRRORED = [faces.POINTS.index(p) for p in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")]


def found_on(frame: np.ndarray) -> tuple[int, float, np.ndarray | None]:
    """(faces, score of the surest, 0 without one, five points (5, 2) of the largest)."""
    rows = timeline_of(faces.compute, media_of([frame], FPS)).to_pylist()
    if not rows:
        return 0, 0.0, None
    points = np.array([[rows[0][f"{p}_{axis}"] for axis in "xy"] for p in faces.POINTS])
    return len(rows), max(r["score"] for r in rows), points


def shrunk(frame: np.ndarray) -> np.ndarray:
    """The frame at a quarter of its sides in the middle of a plain ground."""
    import cv2

    height, width = frame.shape[:2]
    small = cv2.resize(frame, None, fx=SMALL, fy=SMALL, interpolation=cv2.INTER_AREA)
    ground = np.full_like(frame, 128)
    y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    ground[y : y + small.shape[0], x : x + small.shape[1]] = small
    return ground


def misses(frame: np.ndarray, points: np.ndarray, kind: str) -> list[float]:
    """Mean miss of the five points after each known transform, and of points that stay, in percent of the eyes'
    distance; 100 where no face is found."""
    missed = []
    for transform in transforms(frame)[kind]:
        expected = points @ transform[:, :2].T + transform[:, 2]
        if kind == "mirrored":
            expected = expected[MIRRORED]
        eyes = float(np.hypot(*(expected[0] - expected[1])))
        after = found_on(changed(frame, transform))[2]
        missed.append(100.0 if after is None else float(np.hypot(*(after - expected).T).mean()) / eyes * 100)
    return missed


def stays(frame: np.ndarray, points: np.ndarray, kind: str) -> list[float]:
    """The same of points that do not move."""
    moved = [points @ t[:, :2].T + t[:, 2] for t in transforms(frame)[kind]]
    return [float(np.hypot(*(points - m).T).mean() / np.hypot(*(m[0] - m[1]))) * 100 for m in moved]


def run(root: Path) -> list[Row]:
    one: dict[str, list[bool]] = {}
    small: dict[str, list[bool]] = {}
    none: dict[str, list[bool]] = {}
    either: dict[str, list[tuple[float, bool]]] = {}
    skin: list[tuple[float, bool]] = []
    missed: dict[str, dict[str, list[float]]] = {k: {} for k in ("shifted", "scaled", "rotated", "mirrored")}
    unmoved: dict[str, list[float]] = {k: [] for k in missed}
    for entry in manifest(root, "talk", "neg"):
        person, talking = entry["person"], entry["file"].startswith("talk/")
        if not talking and entry["people"]:
            continue
        for number, frame in enumerate(read_frames(entry["path"], FPS, max_s=SECONDS)[0]):
            count, score, points = found_on(frame)
            (one if talking else none).setdefault(person, []).append(count == 1 if talking else count > 0)
            either.setdefault(person, []).append((score, talking))
            skin.append((skin_ratio([frame]), talking))
            if not talking:
                continue
            small.setdefault(person, []).append(found_on(shrunk(frame))[0] > 0)
            if number or points is None:
                continue
            for kind in missed:
                missed[kind].setdefault(person, []).extend(misses(frame, points, kind))
                unmoved[kind] += stays(frame, points, kind)
    claims: list[tuple[Any, ...]] = [
        ("one face, and no other, on a talking head", "share of frames", one, np.mean, 0.98, "higher", None, ""),
        ("a talking head at a quarter of its size is found", "share of frames", small, np.mean, 0.95, "higher", None, ""),
        ("a face where there is nobody", "share of frames", none, np.mean, 0.05, "lower", 1.0, "always a face"),
        ("a face or none", "AUC of the surest score by frame", either, auc_of_pairs, 0.98, "higher", auc_of_pairs(skin), "skin colour"),
    ]  # fmt: skip
    for kind, values in missed.items():
        measure = "median miss, % of the eyes' distance"
        stay = float(np.median(unmoved[kind]))
        claims.append((f"the five points follow a frame {kind}", measure, values, np.median, 8.0, "lower", stay, "do not move"))  # fmt: skip
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n = sum(len(v) for v in values.values())
        rows.append(Row("faces", claim, measure, value, low, high, n, len(values), baseline, goal, better, baseline_name))  # fmt: skip
    return rows


if __name__ == "__main__":
    command(run)
