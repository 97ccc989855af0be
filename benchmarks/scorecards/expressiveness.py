"""Scorecard of expressiveness: frozen faces against living ones, raised brows, blinks seen by eye, one eye kept open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.anatomy import frozen_eye, pushed
from benchmarks.scorecards.blinks_seen import BLINKS, Span
from benchmarks.scorecards.cuts import Counts, f1, recall
from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.eye_geometry import blinks, closed_eyes, eyes_of
from tasks.face_geometry import CHIN, FOREHEAD, points_of
from tasks.face_plausibility import eye_openness
from tasks.media.media import Media
from tasks.signal import GRID_FPS
from tasks.signals import expressiveness, faces, head_pose, landmarks

SECONDS, STILL_SECONDS = 10.0, 3.0
FPS = 5.0
"""Of the expression weights; frozen faces, and living ones against them, are read at no more."""
NOISE = 4.0
"""Gray levels that a frozen picture flickers by, so that it isn't told by being the same to the bit."""
RAISED = 0.04
"""Of the face's height, that brows are moved up on every other look."""
BROWS = [105, 334]
LIVELY = ("activity", "mouth_speed", "brow_speed", "head_speed_deg_s")
AROUND_FRAMES = 30
"""Before and after the first blink: the part of a clip in which one eye is kept open."""
NEAR_FRAMES = 3
"""Between a blink seen and the one found."""
EYE_ASPECT = 0.2
"""Below it an eye is closed, by the rule of thumb that the baseline follows (Soukupova and Cech, 2016)."""
USUAL_PER_MIN = 17.0
"""Blinks of adults at rest: Bentivoglio et al., Movement Disorders 1997."""


def row_of(media: Media, mesh: pa.Table) -> dict[str, Any]:
    needs = {"landmarks": mesh, "head_pose": head_pose.compute(media, {"landmarks": mesh}).row}
    return dict(expressiveness.compute(media, needs).row)


def mesh_of(media: Media) -> pa.Table:
    return timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})


def frozen(frame: np.ndarray, num_frames: int, rng: np.random.Generator) -> list[np.ndarray]:
    noise = (rng.normal(0, NOISE, frame.shape) for _ in range(num_frames))
    return [np.clip(frame + n, 0, 255).astype(np.uint8) for n in noise]


def raising_brows(frames: Sequence[np.ndarray], points: np.ndarray) -> list[np.ndarray]:
    """Frames of a still face, mesh (478, 2), whose brows go up on every other one."""
    up = points[FOREHEAD] - points[CHIN]
    ways, radius = np.stack([RAISED * up] * 2), 0.08 * float(np.hypot(*up))
    return [pushed(f, points[BROWS], ways, radius) if i % 2 else f for i, f in enumerate(frames)]


def counts(found: Sequence[Span], seen: Sequence[int], unclear: Sequence[Span]) -> Counts:
    """(right, false, missed). What is found where nothing can be told by eye is left out."""
    left, hits, false = list(seen), 0, 0
    for first, end in found:
        near = [f for f in left if first - NEAR_FRAMES <= f < end + NEAR_FRAMES]
        if near:
            left.remove(min(near, key=lambda f: abs(f - first)))
            hits += 1
        elif not any(first < until and end > since for since, until in unclear):
            false += 1
    return hits, false, len(left)


def precision(counted: Sequence[Counts]) -> float:
    hits, false = sum(c[0] for c in counted), sum(c[1] for c in counted)
    return hits / (hits + false) if hits + false else float("nan")


Pairs = dict[str, list[tuple[float, bool]]]


@dataclass
class Told:
    """What is gathered, by person; `pixels`, `plainly` and `usual` are what the baselines say."""

    lively: dict[str, Pairs] = field(default_factory=lambda: {column: {} for column in LIVELY})
    brows: Pairs = field(default_factory=dict)
    one_eyed: Pairs = field(default_factory=dict)
    counted: dict[str, list[Counts]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    pixels: list[tuple[float, bool]] = field(default_factory=list)
    plainly: list[Counts] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)


def look_at_stills(entry: dict[str, Any], told: Told, rng: np.random.Generator) -> None:
    person = entry["person"]
    frames = read_frames(entry["path"], FPS, max_s=STILL_SECONDS)[0]
    for shown, lives in ((frames, True), (frozen(frames[0], len(frames), rng), False)):
        media = media_of(shown, FPS)
        mesh = mesh_of(media)
        row = row_of(media, mesh) if mesh.num_rows > 1 else {}
        for column in LIVELY:
            told.lively[column].setdefault(person, []).append((float(row.get(column, 0.0)), lives))
        told.pixels.append((float(np.abs(np.diff(np.stack(shown).astype(np.int16), axis=0)).mean()), lives))
        if not lives and row:
            moved = media_of(raising_brows(shown, points_of(mesh)[0, :, :2].astype(np.float64)), FPS)
            up = float(row_of(moved, mesh_of(moved))["brow_range"])
            told.brows.setdefault(person, []).extend(((float(row["brow_range"]), False), (up, True)))


def look_at_blinks(entry: dict[str, Any], told: Told) -> None:
    person, (seen, unclear) = entry["person"], BLINKS[entry["path"].name]
    frames = read_frames(entry["path"], GRID_FPS, max_s=SECONDS)[0]
    media = media_of(frames, GRID_FPS)
    mesh = mesh_of(media)
    at, points = mesh["frame"].to_numpy(), points_of(mesh)
    row = row_of(media, mesh)
    found = blinks(at, np.asarray(closed_eyes(eyes_of(points)[1]).all(axis=1)))
    assert row["num_blinks"] == len(found)
    told.counted.setdefault(person, []).append(counts(found, seen, unclear))
    by_thumb = np.asarray((eye_openness(points) < EYE_ASPECT).all(axis=0))
    told.plainly.append(counts(blinks(at, by_thumb), seen, unclear))
    if not unclear:
        per_min = len(seen) * 60 * GRID_FPS / len(frames)
        told.rates.setdefault(person, []).append(abs(float(row["blink_rate_per_min"]) - per_min))
        told.usual.append(abs(USUAL_PER_MIN - per_min))
    if seen:
        since, until = max(0, seen[0] - AROUND_FRAMES), seen[0] + AROUND_FRAMES
        part = media_of(frames[since:until], GRID_FPS)
        both = mesh.filter(pa.array((at >= since) & (at < until)))
        both = both.set_column(0, "frame", pa.array(both["frame"].to_numpy() - since, pa.int32()))
        places = dict(zip(both["frame"].to_pylist(), points_of(both)[..., :2].astype(np.float64), strict=True))
        spoiled = media_of(frozen_eye(frames[since:until], places), GRID_FPS)
        told.one_eyed.setdefault(person, []).extend(
            (float(row_of(m, e)["blink_asymmetry"]), winks)
            for m, e, winks in ((part, both, False), (spoiled, mesh_of(spoiled), True))
        )


def run(root: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    told = Told()
    for entry in manifest(root, "talk"):
        look_at_stills(entry, told, rng)
        if entry["path"].name in BLINKS:
            look_at_blinks(entry, told)
    claims: list[tuple[Any, ...]] = [
        (
            "a living face against a frozen one under noise",
            f"AUC of {column}",
            told.lively[column],
            auc_of_pairs,
            0.98 if column == "activity" else 0.9,
            "higher",
            auc_of_pairs(told.pixels),
            "change of pixels",
        )
        for column in LIVELY
    ]
    claims += [
        ("brows raised on a frozen face", "AUC of brow_range", told.brows, auc_of_pairs, 0.9, "higher", 0.5, "chance"),
        (
            "blinks seen by eye are found",
            "F1 of blinks",
            told.counted,
            f1,
            0.9,
            "higher",
            f1(told.plainly),
            f"both eyes below {EYE_ASPECT:g}",
        ),
        (
            "blinks seen by eye are found",
            "recall",
            told.counted,
            recall,
            0.9,
            "higher",
            recall(told.plainly),
            "the same",
        ),
        (
            "blinks that are found are seen",
            "precision",
            told.counted,
            precision,
            0.9,
            "higher",
            precision(told.plainly),
            "the same",
        ),
        (
            "the rate is that counted by eye",
            "MAE of blink_rate_per_min",
            told.rates,
            np.mean,
            5.0,
            "lower",
            float(np.mean(told.usual)),
            f"{USUAL_PER_MIN:g} a minute",
        ),
        (
            "one eye kept open through blinks, against both shut",
            "AUC of blink_asymmetry",
            told.one_eyed,
            auc_of_pairs,
            0.95,
            "higher",
            0.5,
            "chance",
        ),
    ]
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len(values)
        if values is told.counted:
            n = sum(hits + missed for clips in told.counted.values() for hits, _, missed in clips)
        rows.append(
            Row("expressiveness", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name)
        )
    return rows


if __name__ == "__main__":
    command(run)
