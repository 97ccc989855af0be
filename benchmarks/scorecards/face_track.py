"""Scorecard of face_track: are faces found where they are and only there, and does the place follow a known shift?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signal import NotApplicable, Output
from tasks.signals import face_track, faces, landmarks

FPS = 5
SECONDS = 3.0
SHIFTS = ((0.1, 0.0), (-0.1, 0.05), (0.05, -0.1))
"""Of the frame's longer side."""


def face_row(frames: list[np.ndarray], fps: float = FPS) -> Output | None:
    """None when the signal says that there is no face."""
    media = media_of(frames, fps)
    found = timeline_of(faces.compute, media)
    mesh = timeline_of(landmarks.compute, media, {"faces": found})
    try:
        return face_track.compute(media, {"faces": found, "landmarks": mesh})
    except NotApplicable:
        return None


def face_ratio(frames: list[np.ndarray]) -> float:
    made = face_row(frames)
    return float(made.row["face_ratio"]) if made else 0.0


def skin_ratio(frames: list[np.ndarray]) -> float:
    """Baseline: share of pixels within a common rule for skin in YCrCb (Chai and Ngan, 1999)."""
    import cv2

    shares = []
    for frame in frames:
        _, cr, cb = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))
        shares.append(float(((cr > 133) & (cr < 173) & (cb > 77) & (cb < 127)).mean()))
    return float(np.mean(shares))


def shifted(frame: np.ndarray, dx_px: int, dy_px: int) -> np.ndarray:
    import cv2

    move = np.array([[1.0, 0, dx_px], [0, 1, dy_px]])
    size = (frame.shape[1], frame.shape[0])
    return np.asarray(cv2.warpAffine(frame, move, size, borderMode=cv2.BORDER_REPLICATE))


def shift_errors(frame: np.ndarray) -> list[float]:
    """Percent of the face's height by which the centre misses each known shift; 100 when the face is lost."""
    made = face_row([frame], 1.0)
    if made is None:
        return [100.0] * len(SHIFTS)
    height, width = frame.shape[:2]
    errors = []
    for share_x, share_y in SHIFTS:
        dx, dy = round(share_x * max(width, height)), round(share_y * max(width, height))
        moved = face_row([shifted(frame, dx, dy)], 1.0)
        if moved is None:
            errors.append(100.0)
            continue
        off_x = (moved.row["center_x"] - made.row["center_x"]) * width - dx
        off_y = (moved.row["center_y"] - made.row["center_y"]) * height - dy
        errors.append(float(np.hypot(off_x, off_y) / made.row["main_face_height_px"] * 100))
    return errors


def mouth_pairs(frame: np.ndarray) -> list[tuple[float, bool]]:
    """(mouth_visible_ratio, is it) of the frame, and of the frame moved down until its mouth is below the border."""
    media = media_of([frame], 1.0)
    found = timeline_of(faces.compute, media).to_pylist()
    if not found:
        return []
    below = frame.shape[0] - int((found[0]["mouth_left_y"] + found[0]["mouth_right_y"]) / 2) + 2
    whole, cut = face_row([frame], 25.0), face_row([shifted(frame, 0, below)], 25.0)
    return [
        (float(whole.row["mouth_visible_ratio"]) if whole else 0.0, True),
        (float(cut.row["mouth_visible_ratio"]) if cut else 0.0, False),
    ]


def run(root: Path) -> list[Row]:
    ratios: dict[str, list[tuple[float, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    errors: dict[str, list[float]] = {}
    mouths: dict[str, list[tuple[float, bool]]] = {}
    for entry in manifest(root, "talk", "neg"):
        person = entry["person"]
        talking = entry["file"].startswith("talk/")
        if not talking and entry["people"]:
            continue
        frames = read_frames(entry["path"], FPS, max_s=SECONDS)[0]
        ratios.setdefault(person, []).append((face_ratio(frames), talking))
        naive.append((skin_ratio(frames), talking))
        if talking:
            errors.setdefault(person, []).extend(shift_errors(frames[0]))
            mouths.setdefault(person, []).extend(mouth_pairs(frames[0]))
    found = {p: [r for r, talking in v if talking] for p, v in ratios.items()}
    alarms = {p: [r for r, talking in v if not talking] for p, v in ratios.items()}
    claims: tuple[Any, ...] = (
        ("faces are found on talking heads", "mean face_ratio", found, np.mean, 0.98, "higher", None, ""),
        ("no faces where there are none", "mean face_ratio", alarms, np.mean, 0.05, "lower", None, ""),
        (
            "a face or none",
            "AUC of face_ratio by file",
            ratios,
            auc_of_pairs,
            0.98,
            "higher",
            auc_of_pairs(naive),
            "skin colour",
        ),
        (
            "the centre follows a shift",
            "median error, % of face height",
            errors,
            np.median,
            5.0,
            "lower",
            _unmoved(),
            "does not move, % of frame",
        ),
        ("a mouth below the border", "AUC of mouth_visible_ratio", mouths, auc_of_pairs, 0.95, "higher", 0.5, "chance"),
    )
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(
            Row("face_track", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name)
        )
    return rows


def _unmoved() -> float:
    return float(np.median([np.hypot(x, y) for x, y in SHIFTS])) * 100


if __name__ == "__main__":
    command(run)
