"""Scorecard of visual_quality: does `quality` follow five known grades of degradation, and how was it calibrated?

    python -m benchmarks.scorecards.visual_quality          the claims
    python -m benchmarks.scorecards.visual_quality --fit    the coefficients for tasks/frame_quality.py

Grades follow ITU-T P.910's degradation category rating, 5 imperceptible to 1 very annoying; which strength deserves
which grade was set by eye at 640 px, so `quality` ranks and is not a mean opinion score.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames
from benchmarks.scorecards.score import Row, bootstrap_ci, command, media_root, spearman
from tasks.damage import STRENGTHS, degrade
from tasks.frame_quality import DAMAGES, FEATURES, WORST, measures

GRADES = (5, 4, 3, 2, 1)
NUM_FOLDS = 4
CLEAN_SCALE = 2
"""Frames are halved first, which hides what the source's own coding did to them."""
CLEAN_LIMIT_PX = 224

Curve = list[tuple[int, float]]
"""(grade, value) of one frame at five strengths of one damage."""


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


def luma_variance(rgb: np.ndarray) -> float:
    return float(rgb.mean(axis=2).std())


def pooled_spearman(curves: list[Curve]) -> float:
    pairs = [pair for curve in curves for pair in curve]
    return spearman([g for g, _ in pairs], [v for _, v in pairs])


def own_spearman(curve: Curve) -> float:
    """Of one frame's five grades; 0 where all values are alike, which tells nothing."""
    told = spearman([g for g, _ in curve], [v for _, v in curve])
    return 0.0 if np.isnan(told) else told


def run(root: Path) -> list[Row]:
    """Values are of a fit without the person: coefficients come from the other three quarters of the people."""
    samples = samples_of(root)
    graded = left_out(samples)
    rows = []
    for kind in STRENGTHS:
        ours: dict[str, list[Curve]] = {}
        naive: list[Curve] = []
        for sample, value in zip(samples, graded, strict=True):
            if sample.kind == kind:
                curves = ours.setdefault(sample.person, [])
                if sample.grade == GRADES[0]:
                    curves.append([])
                    naive.append([])
                curves[-1].append((sample.grade, value))
                naive[-1].append((sample.grade, sample.deviation))
        n = sum(len(v) for v in ours.values()) * len(GRADES)
        within = {person: [own_spearman(c) for c in curves] for person, curves in ours.items()}
        goal = 0.95 if kind in ("blur", "noise", "jpeg", "downscale") else None
        for measure, told, baseline in (
            (
                "Spearman within a frame's five grades",
                bootstrap_ci(within, np.mean),
                float(np.mean([own_spearman(c) for c in naive])),
            ),
            ("Spearman over all frames together", bootstrap_ci(ours, pooled_spearman), pooled_spearman(naive)),
        ):
            rows.append(
                Row("visual_quality", f"quality falls with {kind}", measure, *told, n, len(ours), baseline, goal,
                    baseline_name="luma deviation")
            )  # fmt: skip
    errors: dict[str, list[float]] = {}
    for sample, value in zip(samples, graded, strict=True):
        errors.setdefault(sample.person, []).append(abs(value - sample.grade))
    value, low, high = bootstrap_ci(errors, np.mean)
    claim, measure = "the mapping holds for people it was not fitted to", "mean error in grades"
    rows.append(
        Row(
            "visual_quality", claim, measure, value, low, high, len(samples), len(errors), 1.2, 0.5, "lower", "always 3"
        )
    )
    return rows


@dataclass(frozen=True)
class Sample:
    """One frame with one damage: its features, the grade meant, and the baseline's value."""

    person: str
    kind: str
    grade: int
    features: dict[str, float]
    deviation: float


def samples_of(root: Path) -> list[Sample]:
    """Frame by frame, kind by kind, from grade 5 down."""
    made = []
    for person, frame in clean_frames(root):
        for kind, strengths in STRENGTHS.items():
            for grade, strength in zip(GRADES, strengths, strict=True):
                rgb = degrade(frame, kind, strength)
                told = measures(media_of([rgb], 1.0).image(0, None, "gray"))
                features = {name: feature(told) for name, feature in FEATURES.items()} | {"constant": 1.0}
                made.append(Sample(person, kind, grade, features, luma_variance(rgb)))
    return made


def left_out(samples: list[Sample]) -> np.ndarray:
    """The quality (N,) of each sample by coefficients that were fitted without its person, in four folds."""
    number = {person: i % NUM_FOLDS for i, person in enumerate(sorted({s.person for s in samples}))}
    folds = np.array([number[s.person] for s in samples])
    values = np.empty(len(samples))
    for fold in range(NUM_FOLDS):
        damages = fit([s for s, f in zip(samples, folds, strict=True) if f != fold])
        chosen = [s for s, f in zip(samples, folds, strict=True) if f == fold]
        values[folds == fold] = predicted(damages, chosen)
    return values


def predicted(damages: dict[str, dict[str, float]], samples: list[Sample]) -> np.ndarray:
    """`quality` of tasks/frame_quality.py for many samples at once, with coefficients of one's own."""
    totals = [sum(w * np.array([s.features[n] for s in samples]) for n, w in c.items()) for c in damages.values()]
    losses = 4 / (1 + np.exp(-np.clip(totals, -50, 50)))
    return np.asarray(5 - np.minimum(4, (losses**WORST).sum(axis=0) ** (1 / WORST)))


def fit(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Coefficients for DAMAGES. Quality may only fall with noise and blocks, and only rise with the rest."""
    from scipy.optimize import least_squares

    target = np.array([s.grade for s in samples], float)
    names = [(kind, name) for kind, told in DAMAGES.items() for name in told]
    columns = {name: np.array([s.features[name] for s in samples]) for name in FEATURES}
    # Coefficients are sought for features of mean 0 and deviation 1.
    center = {n: float(v.mean()) for n, v in columns.items()}
    scale = {n: float(v.std()) for n, v in columns.items()}
    parts = [
        np.stack([(columns[n] - center[n]) / scale[n] if n in columns else np.ones(len(samples)) for n in told])
        for told in DAMAGES.values()
    ]
    ends = np.cumsum([len(p) for p in parts])[:-1]

    def error(w: np.ndarray) -> np.ndarray:
        totals = [c @ part for c, part in zip(np.split(w, ends), parts, strict=True)]
        losses = 4 / (1 + np.exp(-np.clip(totals, -50, 50)))
        off = 5 - np.minimum(4, (losses**WORST).sum(axis=0) ** (1 / WORST)) - target
        return np.concatenate([off, 0.1 * w])

    signs = np.array([SIGNS.get(name, 0) for _, name in names])
    low, high = np.where(signs > 0, 0, -np.inf), np.where(signs < 0, 0, np.inf)
    first = np.where(signs == 0, -2.0, signs)
    found = least_squares(error, first, bounds=(low, high), loss="soft_l1", max_nfev=100).x
    made: dict[str, dict[str, float]] = {kind: {} for kind in DAMAGES}
    for (kind, name), weight in zip(names, found, strict=True):
        if name in columns:
            made[kind][name] = float(weight) / scale[name]
    for (kind, name), weight in zip(names, found, strict=True):
        if name == "constant":
            made[kind][name] = float(weight) - sum(w * center[n] for n, w in made[kind].items() if n != name)
    return made


SIGNS = {
    "brisque": 1,
    "fine_slope": -1,
    "coarse_slope": -1,
    "sharpness": -1,
    "noise": 1,
    "blockiness": 1,
    "exposure": -1,
    "highlight": -1,
}
"""Of the damage."""


def main() -> None:
    if "--fit" in sys.argv:
        samples = samples_of(media_root())
        for kind, coefficients in fit(samples).items():
            print(kind, {name: round(value, 3) for name, value in coefficients.items()})
        off = np.abs(left_out(samples) - [s.grade for s in samples])
        print(f"mean error on people left out: {off.mean():.2f} grades")
    else:
        command(run)


if __name__ == "__main__":
    main()
