"""Scorecard of framing: pictures shifted, zoomed and panned by known amounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.face_track import shifted
from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command, spearman
from tasks.face_geometry import FOREHEAD, points_of
from tasks.signals import faces, framing, landmarks

SHIFTS_X = (-0.1, 0.08)
ZOOMS = (1.0, 1.25, 1.6, 2.0)
PAN_PER_S = 0.03
PAN_S = 4
NOISE = 3.0


def row_of(frames: list[np.ndarray], fps: float = 1.0) -> dict[str, Any] | None:
    """None without a face. The mesh is that of the frames given, so a second has one row of it."""
    media = media_of(frames, fps)
    mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
    return None if mesh.num_rows == 0 else dict(framing.compute(media, {"landmarks": mesh}).row)


def zoomed(frame: np.ndarray, center: np.ndarray, factor: float) -> np.ndarray:
    """The part of the frame around `center`, enlarged by `factor`, as large as the frame."""
    import cv2

    height, width = frame.shape[:2]
    back = np.array([[1 / factor, 0, center[0] * (1 - 1 / factor)], [0, 1 / factor, center[1] * (1 - 1 / factor)]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(frame, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def cut_pairs(frame: np.ndarray, hairline: float, tall: float) -> list[tuple[float, bool]]:
    """(minus head_room, is cut) with the hairline just above the frame's top, and well below it."""
    pairs = []
    for at, cut in ((-0.05, True), (0.6, False)):
        row = row_of([shifted(frame, 0, round(at * tall - hairline))])
        if row is not None:
            pairs.append((-float(row["head_room"]), cut))
    return pairs


def run(root: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    cuts: dict[str, list[tuple[float, bool]]] = {}
    shifts: dict[str, list[float]] = {}
    zooms: dict[str, list[float]] = {}
    pans: dict[str, list[tuple[float, bool]]] = {}
    pixels: list[tuple[float, bool]] = []
    for entry in manifest(root, "talk"):
        person = entry["person"]
        frame = read_frames(entry["path"], 1.0, max_s=0.1)[0][0]
        media = media_of([frame], 25.0)
        mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
        base = row_of([frame])
        if mesh.num_rows == 0 or base is None:
            continue
        points = points_of(mesh)[0, :, :2]
        tall = float(base["face_height_ratio"]) * frame.shape[0]
        cuts.setdefault(person, []).extend(cut_pairs(frame, float(points[FOREHEAD, 1]), tall))
        for share in SHIFTS_X:
            moved = row_of([shifted(frame, round(share * frame.shape[1]), 0)])
            missed = abs(share) if moved is None else abs(moved["offset_x"] - base["offset_x"] - share)
            shifts.setdefault(person, []).append(100 * float(missed))
        closer = [row_of([zoomed(frame, points.mean(axis=0), z)]) for z in ZOOMS]
        shown = [1 - float(r["completeness"]) if r else 1.0 for r in closer]
        zooms.setdefault(person, []).append(spearman(ZOOMS, shown))
        step = PAN_PER_S * frame.shape[1]
        for speed, pans_ in ((0.0, False), (step, True)):
            clip = [shifted(frame, round((i - PAN_S / 2) * speed), 0) for i in range(PAN_S)]
            clip = [np.clip(f + rng.normal(0, NOISE, f.shape), 0, 255).astype(np.uint8) for f in clip]
            row = row_of(clip)
            if row is None or row["background_ratio"] == 0:
                continue
            pans.setdefault(person, []).append((float(row["background_change"]), pans_))
            pixels.append((float(np.stack(clip).astype(np.float32).std(axis=0).mean()), pans_))
    claims: tuple[tuple[Any, ...], ...] = (
        ("a head cut by the frame's top", "AUC of head_room", cuts, auc_of_pairs, 0.98, "higher", 0.5, "chance"),
        (
            "the face's place follows a shift",
            "median error, % of frame width",
            shifts,
            np.median,
            1.0,
            "lower",
            100 * float(np.mean(np.abs(SHIFTS_X))),
            "does not move",
        ),
        (
            "head and shoulders leave a picture that zooms in",
            "mean Spearman of 1 - completeness over four zooms",
            zooms,
            np.mean,
            0.95,
            "higher",
            0.0,
            "no relation",
        ),
        (
            "a background that pans by 3 % a second against a still one",
            "AUC of background_change, where there is background",
            pans,
            auc_of_pairs,
            0.95,
            "higher",
            auc_of_pairs(pixels),
            "change of all pixels",
        ),
    )
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(Row("framing", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name))
    return rows


if __name__ == "__main__":
    command(run)
