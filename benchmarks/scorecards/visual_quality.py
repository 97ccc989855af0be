"""Scorecard of visual_quality: does `quality` follow five known grades of degradation, and how was it calibrated?

    python -m benchmarks.scorecards.visual_quality          the claims
    python -m benchmarks.scorecards.visual_quality --fit    the coefficients for tasks/frame_quality.py

Grades follow ITU-T P.910's degradation category rating, 5 imperceptible to 1 very annoying; which strength deserves
which grade was set by eye at 640 px, so `quality` ranks and is not a mean opinion score.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, bootstrap_ci, command, media_root, spearman
from tasks.frame_quality import FEATURES, measures
from tasks.signals import keyframes, visual_quality

STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.0, 0.8, 1.4, 2.4, 4.0),
    "noise": (0.0, 4.0, 9.0, 18.0, 35.0),
    "jpeg": (101, 50, 28, 14, 6),
    "downscale": (1.0, 1.6, 2.4, 3.6, 6.0),
    "darkness": (1.0, 0.6, 0.4, 0.25, 0.12),
}
GRADES = (5, 4, 3, 2, 1)
CLEAN_SCALE = 2
"""Frames are halved first, which hides what the source's own coding did to them."""
CLEAN_LIMIT_PX = 224


def degrade(rgb: np.ndarray, kind: str, strength: float, seed: int = 0) -> np.ndarray:
    """The frame with one degradation. blur: sigma in px; noise: sigma in gray levels; jpeg: quality; downscale:
    factor, and back up; darkness: gain. The first strength of each kind changes nothing."""
    import cv2

    height, width = rgb.shape[:2]
    if strength == STRENGTHS[kind][0]:
        return rgb
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), strength))
    if kind == "noise":
        noisy = rgb + np.random.default_rng(seed).normal(0, strength, rgb.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
    if kind == "jpeg":
        coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(strength)])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if kind == "downscale":
        small = cv2.resize(rgb, (round(width / strength), round(height / strength)), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(np.rint(rgb * strength), 0, 255).astype(np.uint8)


def clean_frames(root: Path) -> list[tuple[str, np.ndarray]]:
    """(person, RGB frame): two frames of each file of at least 448 px, halved."""
    import cv2

    frames = []
    for entry in manifest(root, "talk", "neg"):
        if entry["people"] != 1 or min(entry["w"], entry["h"]) < CLEAN_SCALE * CLEAN_LIMIT_PX:
            continue
        for frame in read_frames(entry["path"], 0.5, max_s=2.1)[0]:
            height, width = (side // CLEAN_SCALE // 2 * 2 for side in frame.shape[:2])
            frames.append((entry["person"], cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)))
    return frames


def quality_of(rgb: np.ndarray) -> float:
    """Through the two signals, as a clip of one frame."""
    media = media_of([rgb], 1.0)
    rows = timeline_of(keyframes.compute, media)
    return float(visual_quality.compute(media, {"keyframes": rows}).row["quality"])


def luma_variance(rgb: np.ndarray) -> float:
    return float(rgb.mean(axis=2).std())


def graded(frames: list[tuple[str, np.ndarray]], kind: str, measure: Callable[[np.ndarray], float]) -> dict[str, list]:
    """By person: (grade, value) pairs, one list a frame."""
    by_person: dict[str, list] = {}
    for person, frame in frames:
        pairs = [(g, measure(degrade(frame, kind, s))) for g, s in zip(GRADES, STRENGTHS[kind], strict=True)]
        by_person.setdefault(person, []).append(pairs)
    return by_person


def pooled_spearman(curves: list[list[tuple[int, float]]]) -> float:
    pairs = [pair for curve in curves for pair in curve]
    return spearman([g for g, _ in pairs], [v for _, v in pairs])


def run(root: Path) -> list[Row]:
    frames = clean_frames(root)
    rows = []
    for kind in STRENGTHS:
        measured = graded(frames, kind, quality_of)
        naive = graded(frames, kind, luma_variance)
        value, low, high = bootstrap_ci(measured, pooled_spearman)
        baseline = pooled_spearman([c for curves in naive.values() for c in curves])
        rows.append(
            Row(
                "visual_quality",
                f"quality falls with {kind}",
                "Spearman over all frames",
                value,
                low,
                high,
                len(frames) * len(GRADES),
                len(measured),
                baseline,
                0.8,
                baseline_name="luma deviation",
            )
        )
    errors = fit(root)[1]
    value, low, high = bootstrap_ci(errors, np.mean)
    claim, measure = "the mapping holds for people it was not fitted to", "mean error in grades"
    n = sum(len(v) for v in errors.values())
    rows.append(Row("visual_quality", claim, measure, value, low, high, n, len(errors), 1.2, 0.7, "lower", "always 3"))
    return rows


def fit(root: Path) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Coefficients (of FEATURES, then the constant), and by person the errors in grades of a fit without them."""
    from scipy.optimize import least_squares

    samples: list[tuple[str, np.ndarray, float]] = []
    for person, frame in clean_frames(root):
        for kind, strengths in STRENGTHS.items():
            for grade, strength in zip(GRADES, strengths, strict=True):
                luma = media_of([degrade(frame, kind, strength)], 1.0).image(0, None, "gray")
                told = measures(luma)
                samples.append((person, np.array([f(told) for f in FEATURES.values()]), grade))
    design = np.array([[*features, 1.0] for _, features, _ in samples])
    target = np.array([grade for _, _, grade in samples], float)

    def solve(chosen: np.ndarray) -> np.ndarray:
        def error(w: np.ndarray) -> np.ndarray:
            off = 1 + 4 / (1 + np.exp(-design[chosen] @ w)) - target[chosen]
            return np.concatenate([off, 0.05 * w])

        # Quality may only fall with BRISQUE, noise and blocks, and only rise with sharpness and exposure.
        signs = np.array([SIGNS[name] for name in FEATURES])
        low = np.where(signs > 0, 0, -np.inf)
        high = np.where(signs < 0, 0, np.inf)
        bounds: Any = ([*low, -np.inf], [*(high + (high == 0) * 1e-12), np.inf])
        return np.asarray(least_squares(error, np.r_[0.1 * signs, 0.0], bounds=bounds, loss="soft_l1").x)

    people = np.array([person for person, _, _ in samples])
    errors: dict[str, list[float]] = {}
    for person in sorted(set(people)):
        out = people == person
        w = solve(np.flatnonzero(~out))
        errors[person] = list(np.abs(1 + 4 / (1 + np.exp(-design[out] @ w)) - target[out]))
    return solve(np.arange(len(target))), errors


SIGNS = {"brisque": -1, "sharpness": 1, "noise": -1, "blockiness": -1, "exposure": 1}


def main() -> None:
    if "--fit" in sys.argv:
        coefficients, errors = fit(media_root())
        print(dict(zip([*FEATURES, "constant"], np.round(coefficients, 4), strict=True)))
        print(f"mean error on people left out: {np.mean([e for v in errors.values() for e in v]):.2f} grades")
    else:
        command(run)


if __name__ == "__main__":
    main()
