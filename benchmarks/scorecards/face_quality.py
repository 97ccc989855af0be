"""Scorecard of face_quality: five grades each of blur, downscaling and darkness, a scaled face, and light from a side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command, spearman
from tasks.face_geometry import box_of, face_rows
from tasks.signals import face_quality, faces

BLUR_OF_HEIGHT = (0.0, 0.006, 0.012, 0.024, 0.05)
"""Standard deviation of a Gaussian, in face heights."""
HEIGHTS_PX = (160, 96, 64, 40, 24)
"""Height that a face is reduced to before it is enlarged again."""
GAINS = (1.0, 0.7, 0.5, 0.3, 0.15)
SCALE = 0.5
SIDE_GAIN = 0.5


def row_of(frame: np.ndarray, found: pa.Table) -> dict[str, Any]:
    return dict(face_quality.compute(media_of([frame], 25.0), {"faces": found}).row)


def spoilt(frame: np.ndarray, kind: str, grade: int, height_px: float) -> np.ndarray:
    import cv2

    if kind == "blur":
        sigma = BLUR_OF_HEIGHT[grade] * height_px
        return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma)) if sigma else frame
    if kind == "darkness":
        return np.asarray((frame * GAINS[grade]).astype(np.uint8))
    share = min(1.0, HEIGHTS_PX[grade] / height_px)
    size = frame.shape[1], frame.shape[0]
    small = cv2.resize(frame, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC))


def laplacian(frame: np.ndarray) -> float:
    """Baseline: variance of the Laplacian of the whole frame (Pech-Pacheco et al., 2000)."""
    import cv2

    return float(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def lit_from_the_side(frame: np.ndarray, center_x: float, height_px: float) -> np.ndarray:
    """One half of the face at half the light, with a soft border of a fifth of the face."""
    x = (np.arange(frame.shape[1]) - center_x) / (0.2 * height_px)
    gain = 1 - (1 - SIDE_GAIN) / (1 + np.exp(-x))
    return np.asarray((frame * gain[None, :, None]).astype(np.uint8))


def pooled(curves: list[list[tuple[float, float]]]) -> float:
    pairs = [pair for curve in curves for pair in curve]
    return spearman([grade for grade, _ in pairs], [value for _, value in pairs])


def run(root: Path) -> list[Row]:
    import cv2

    curves: dict[str, dict[str, list[list[tuple[float, float]]]]] = {"blur": {}, "downscaling": {}, "darkness": {}}
    naive: dict[str, list[list[tuple[float, float]]]] = {kind: [] for kind in curves}
    sizes: dict[str, list[float]] = {}
    sides: dict[str, list[tuple[float, bool]]] = {}
    for entry in manifest(root, "talk"):
        person = entry["person"]
        frame = read_frames(entry["path"], 1.0, max_s=0.1)[0][0]
        found = timeline_of(faces.compute, media_of([frame], 25.0))
        if found.num_rows == 0:
            continue
        box = box_of(face_rows(found)[0])
        height = box.y1 - box.y0
        for kind, by_person in curves.items():
            column = "brightness" if kind == "darkness" else "sharpness_db"
            shown = [spoilt(frame, kind, grade, height) for grade in range(5)]
            values = [float(row_of(f, found)[column]) for f in shown]
            by_person.setdefault(person, []).append([(-g, v) for g, v in enumerate(values)])
            plain = [float(f.mean()) if kind == "darkness" else laplacian(f) for f in shown]
            naive[kind].append([(-g, v) for g, v in enumerate(plain)])
        half = cv2.resize(frame, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
        half = np.ascontiguousarray(half[: half.shape[0] // 2 * 2, : half.shape[1] // 2 * 2])
        again = timeline_of(faces.compute, media_of([half], 25.0))
        if again.num_rows:
            ratio = row_of(half, again)["height_px"] / row_of(frame, found)["height_px"]
            sizes.setdefault(person, []).append(100 * abs(float(ratio) / SCALE - 1))
        dark = lit_from_the_side(frame, (box.x0 + box.x1) / 2, height)
        for picture, aside in ((frame, False), (dark, True)):
            sides.setdefault(person, []).append((float(row_of(picture, found)["side_light"]), aside))
    rows = []
    for kind, by_person in curves.items():
        claim = f"{'brightness' if kind == 'darkness' else 'sharpness'} falls with {kind}"
        baseline = pooled(naive[kind])
        name = "mean of the frame" if kind == "darkness" else "variance of the Laplacian, whole frame"
        rows.append(
            _row(claim, "Spearman over all frames and grades", by_person, pooled, 0.9, "higher", baseline, name)
        )
    rows.append(
        _row("a picture of half the size", "median error of height, %", sizes, np.median, 5, "lower", 100, "same size")
    )
    rows.append(
        _row("one half of the face darkened", "AUC of side_light", sides, auc_of_pairs, 0.9, "higher", 0.5, "chance")
    )
    return rows


def _row(
    claim: str, measure: str, values: dict[str, Any], statistic: Any, goal: float, better: Any, *naive: Any
) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    per = 5 if statistic is pooled else 1
    n, people = per * sum(len(v) for v in values.values()), len([v for v in values.values() if v])
    baseline, name = naive
    return Row("face_quality", claim, measure, value, low, high, n, people, baseline, goal, better, name)


if __name__ == "__main__":
    command(run)
