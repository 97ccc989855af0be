"""Scorecard of flow, pair by pair: known pans and zooms of real pictures, a face that moves, and pictures that rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.motion import FPS, SPEEDS, moved_face, panned
from benchmarks.scorecards.score import Row, bootstrap_ci, command, spearman
from tasks.signals import flow

NUM_FRAMES = 3
ZOOMS = (1.01, 1.03, 1.06)
"""Scale from each frame to the next, a fifth of a second later."""

Pairs = list[tuple[float, float]]
"""(known speed, speed told), in percent of the frame's height a second."""


def told(frames: Sequence[np.ndarray]) -> list[dict[str, float]]:
    return list(timeline_of(flow.compute, media_of(frames, FPS)).to_pylist())


def by_phase(frames: Sequence[np.ndarray]) -> list[float]:
    """Baseline: the shift between two frames by phase correlation."""
    import cv2

    gray = [f.mean(axis=2, dtype=np.float32) for f in frames]
    window = cv2.createHanningWindow(gray[0].shape[::-1], cv2.CV_32F)
    shifts = [cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(gray)]
    return [float(np.hypot(*s)) / gray[0].shape[0] * 100 * FPS for s in shifts]


def zoomed(picture: np.ndarray, scale: float) -> tuple[list[np.ndarray], list[float]]:
    """Frames that come nearer by `scale` each, and how fast each pair's pixels move, mean over the frame."""
    import cv2

    height, width = picture.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    frames = []
    for i in range(NUM_FRAMES):
        grown = scale**i
        at = np.hstack([grown * np.eye(2), ((1 - grown) * middle)[:, None]])
        frames.append(np.asarray(cv2.warpAffine(picture, at, (width, height), flags=cv2.INTER_LINEAR)))
    y, x = np.mgrid[:height, :width]
    away = float(np.hypot(x - middle[0], y - middle[1]).mean())
    return frames, [(scale - 1) * away / height * 100 * FPS] * (NUM_FRAMES - 1)


def relative_error(pairs: Pairs) -> float:
    """Median, of known speeds of 1 % and more."""
    return float(np.median([abs(value - known) / known for known, value in pairs if known >= 1]))


def rank(pairs: Pairs) -> float:
    return spearman([known for known, _ in pairs], [value for _, value in pairs])


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def run(root: Path) -> list[Row]:
    pans: dict[str, Pairs] = {}
    zooms: dict[str, Pairs] = {}
    subjects: dict[str, Pairs] = {}
    rests: dict[str, list[float]] = {}
    naive_pans: Pairs = []
    naive_zooms: Pairs = []
    naive_subjects: Pairs = []
    seen: set[str] = set()
    for entry in manifest(root, "talk"):
        person = entry["person"]
        if person in seen:
            continue
        seen.add(person)
        picture = read_frames(entry["path"], FPS, max_s=0.1)[0][0]
        for speed in SPEEDS[1:]:
            frames = panned(picture, speed)[:NUM_FRAMES]
            pans.setdefault(person, []).extend((speed, r["camera"]) for r in told(frames))
            naive_pans += [(speed, value) for value in by_phase(frames)]
            frames = moved_face(picture, speed)[:NUM_FRAMES]
            if frames:
                subjects.setdefault(person, []).extend((speed, r["subject"]) for r in told(frames))
                naive_subjects += [(speed, value) for value in by_phase(frames)]
        for scale in ZOOMS:
            frames, known = zoomed(picture, scale)
            zooms.setdefault(person, []).extend((k, r["camera"]) for k, r in zip(known, told(frames), strict=True))
            naive_zooms += list(zip(known, by_phase(frames), strict=True))
        rests[person] = [r["total"] for r in told([picture] * NUM_FRAMES)]
    base = {"baseline_name": "phase correlation"}
    return [
        row("camera is the speed of a pan", "median relative error", pans, relative_error, goal=0.1, better="lower", baseline=relative_error(naive_pans), **base),
        row("camera is the mean speed of a zoom", "median relative error", zooms, relative_error, goal=0.2, better="lower", baseline=relative_error(naive_zooms), **base),
        row("subject follows a face that moves before a ground that rests", "Spearman", subjects, rank, goal=0.8, baseline=rank(naive_subjects), **base),
        row("total of a picture that rests", "mean, % of height a second", rests, mean, goal=0.1, better="lower"),
    ]  # fmt: skip


def row(claim: str, measure: str, values: Mapping[str, Sequence[Any]], statistic: Any, **more: Any) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    return Row("flow", claim, measure, value, low, high, sum(map(len, values.values())), len(values), **more)


if __name__ == "__main__":
    command(run)
