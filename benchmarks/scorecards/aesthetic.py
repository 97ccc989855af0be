"""Scorecard of aesthetic: does the score fall with each fault it claims to see, and how does it rank whole clips?

It is no measure of taste: nobody's opinions are at hand to compare with. Graded faults are made of clean frames; the
last row asks whether stock portraits, shot and lit by professionals, stand above other people's talking heads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command, spearman
from benchmarks.scorecards.visual_quality import clean_frames
from tasks.signals import aesthetic, faces

GRADES = (5, 4, 3, 2, 1)
STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.0, 0.8, 1.4, 2.4, 4.0),
    "darkness": (1.0, 0.6, 0.4, 0.25, 0.12),
    "overexposure": (1.0, 1.5, 2.0, 3.0, 5.0),
    "loss of colour": (1.0, 0.7, 0.45, 0.2, 0.0),
    "loss of contrast": (1.0, 0.75, 0.5, 0.3, 0.15),
    "a shift to the corner": (0.0, 0.1, 0.2, 0.3, 0.4),
}


def spoil(rgb: np.ndarray, kind: str, strength: float) -> np.ndarray:
    """The first strength of each kind changes nothing."""
    import cv2

    if strength == STRENGTHS[kind][0]:
        return rgb
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), strength))
    if kind in ("darkness", "overexposure"):
        return np.clip(rgb * strength, 0, 255).astype(np.uint8)
    if kind == "loss of colour":
        gray = rgb.mean(axis=2, keepdims=True)
        return np.clip(gray + (rgb - gray) * strength, 0, 255).astype(np.uint8)
    if kind == "loss of contrast":
        return np.clip(128 + (rgb.astype(np.float32) - 128) * strength, 0, 255).astype(np.uint8)
    height, width = rgb.shape[:2]
    move = np.array([[1.0, 0, strength * width], [0, 1, strength * height]])
    return np.asarray(cv2.warpAffine(rgb, move, (width, height), borderMode=cv2.BORDER_REFLECT))


def score_of(frames: list[np.ndarray]) -> float:
    media = media_of(frames, 1.0)
    return float(aesthetic.compute(media, {"faces": timeline_of(faces.compute, media)}).row["score"])


def within_frame(curves: list[list[float]]) -> float:
    """Mean over the frames of the rank correlation of grade and score; a frame that does not react counts 0."""
    told = [spearman(GRADES, curve) for curve in curves]
    return float(np.mean([0.0 if np.isnan(t) else t for t in told]))


def colours_alone(frames: list[np.ndarray]) -> float:
    return float(np.mean([aesthetic.colourfulness(f) for f in frames]))


def curves_of(frames: list[tuple[str, np.ndarray]], kind: str, measure: Callable) -> dict[str, list[list[float]]]:
    by_person: dict[str, list[list[float]]] = {}
    for person, frame in frames:
        by_person.setdefault(person, []).append([measure([spoil(frame, kind, s)]) for s in STRENGTHS[kind]])
    return by_person


def run(root: Path) -> list[Row]:
    frames = clean_frames(root)[::4]
    rows = []
    for kind in STRENGTHS:
        told = curves_of(frames, kind, score_of)
        naive = within_frame([c for v in curves_of(frames, kind, colours_alone).values() for c in v])
        value, low, high = bootstrap_ci(told, within_frame)
        claim, measure, n = f"the score falls with {kind}", "Spearman within a frame, mean", len(frames) * len(GRADES)
        rows.append(
            Row("aesthetic", claim, measure, value, low, high, n, len(told), naive, 0.8, "higher", "colourfulness")
        )
    pairs: dict[str, list[tuple[float, bool]]] = {}
    naive_pairs: list[tuple[float, bool]] = []
    for entry in manifest(root, "talk", "neg"):
        stock = "stock portrait" in (entry.get("notes") or "")
        if not stock and not entry["file"].startswith("talk/"):
            continue
        clip = read_frames(entry["path"], 1.0, max_s=3.0)[0]
        pairs.setdefault(entry["person"], []).append((score_of(clip), stock))
        naive_pairs.append((colours_alone(clip), stock))
    value, low, high = bootstrap_ci(pairs, auc_of_pairs)
    claim, n = "stock portraits above other talking heads", sum(len(v) for v in pairs.values())
    baseline = auc_of_pairs(naive_pairs)
    rows.append(
        Row(
            "aesthetic",
            claim,
            "AUC of score",
            value,
            low,
            high,
            n,
            len(pairs),
            baseline,
            0.7,
            "higher",
            "colourfulness",
        )
    )
    return rows


if __name__ == "__main__":
    command(run)
