"""Scorecard of expressiveness: frozen faces against living ones, and blinks drawn into still pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.rendered_head import LEFT_LIDS, RIGHT_LIDS
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.eye_geometry import closed_eyes, eyes_of
from tasks.face_geometry import points_of
from tasks.media.media import Media
from tasks.signals import expressiveness, faces, head_pose, landmarks

SECONDS = 3.0
FPS = 5.0
"""Of the expression weights; the living faces are read at no more."""
NOISE = 4.0
"""Gray levels that a frozen picture flickers by, so that it isn't told by being the same to the bit."""
BLINKS = ((20, 24), (50, 55))
NUM_FRAMES = 75
LID_SKIN = 0.3
"""Of the eye's width: how much skin above the upper lid's rim is stretched."""
OPEN, BOTH, ONE = range(3)


def row_of(media: Media, mesh: pa.Table) -> dict[str, Any]:
    needs = {"landmarks": mesh, "head_pose": head_pose.compute(media, {"landmarks": mesh}).row}
    return dict(expressiveness.compute(media, needs).row)


def meshes(frames: list[np.ndarray], fps: float = 25.0) -> tuple[Media, pa.Table]:
    media = media_of(frames, fps)
    return media, timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})


def frozen(frame: np.ndarray, num_frames: int, rng: np.random.Generator) -> list[np.ndarray]:
    noise = (rng.normal(0, NOISE, frame.shape) for _ in range(num_frames))
    return [np.clip(frame + n, 0, 255).astype(np.uint8) for n in noise]


def shut_eyes(frame: np.ndarray, points: np.ndarray, *rings: tuple[int, ...]) -> np.ndarray:
    """A copy whose upper lids are drawn down over the eyes: the skin from below the brow to the lid's rim is stretched,
    column by column, until the rim with its lashes meets the lower lid."""
    import cv2

    image = frame.copy()
    for ring in rings:
        outline = points[list(ring), :2].astype(np.float64)
        lower, upper = outline[:9], outline[[0, 15, 14, 13, 12, 11, 10, 9, 8]]
        along = slice(None, None, 1 if lower[0, 0] < lower[-1, 0] else -1)
        xs = np.arange(int(np.ceil(lower[:, 0].min())), int(lower[:, 0].max()) + 1)
        low = np.interp(xs, lower[along, 0], lower[along, 1])
        high = np.minimum(np.interp(xs, upper[along, 0], upper[along, 1]), low - 0.1)
        top = high - LID_SKIN * np.linalg.norm(lower[0] - lower[-1])
        ys = np.arange(max(0, int(top.min())), min(frame.shape[0], int(np.ceil(low.max())) + 1))[:, None]
        shrunk = top + (ys - top) * (high - top) / (low - top)
        source = np.where((ys >= top) & (ys <= low), shrunk, ys).astype(np.float32)
        columns = np.broadcast_to(xs.astype(np.float32), source.shape)
        inside = (xs >= 0) & (xs < frame.shape[1])
        lids = cv2.remap(
            frame, np.ascontiguousarray(columns), source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        image[ys[:, 0][:, None], xs[inside]] = lids[:, inside]
    return image


def blinking(frame: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Rows of a still face that blinks as BLINKS says, with both eyes and with the right one alone; None without mesh
    and for a face whose eyes are closed already."""
    mesh = meshes([frame])[1]
    if mesh.num_rows == 0:
        return None
    points = points_of(mesh)[0]
    both, one = shut_eyes(frame, points, RIGHT_LIDS, LEFT_LIDS), shut_eyes(frame, points, RIGHT_LIDS)
    media, drawn = meshes([frame, both, one])
    if drawn.num_rows < 3 or closed_eyes(eyes_of(points_of(drawn))[1])[OPEN].any():
        return None
    rows = []
    for shut in (BOTH, ONE):
        order = np.zeros(NUM_FRAMES, int)
        for first, end in BLINKS:
            order[first:end] = shut
        table = drawn.take(order).set_column(0, "frame", pa.array(np.arange(NUM_FRAMES, dtype=np.int32)))
        rows.append(row_of(Media(0, NUM_FRAMES, media.width_px, media.height_px), table))
    return rows[0], rows[1]


def run(root: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    living: dict[str, list[tuple[float, bool]]] = {}
    pixels: list[tuple[float, bool]] = []
    counted: dict[str, list[float]] = {}
    winks: dict[str, list[tuple[float, bool]]] = {}
    for entry in manifest(root, "talk"):
        person = entry["person"]
        frames = read_frames(entry["path"], FPS, max_s=SECONDS)[0]
        still = frozen(frames[0], len(frames), rng)
        for shown, lives in ((frames, True), (still, False)):
            media, mesh = meshes(shown, FPS)
            value = float(row_of(media, mesh)["activity"]) if mesh.num_rows > 1 else 0.0
            living.setdefault(person, []).append((value, lives))
            pixels.append((float(np.abs(np.diff(np.stack(shown).astype(np.int16), axis=0)).mean()), lives))
        made = blinking(frames[0])
        if made is not None:
            counted.setdefault(person, []).append(float(made[0]["num_blinks"] == len(BLINKS)))
            winks.setdefault(person, []).extend(
                ((float(made[0]["blink_asymmetry"]), False), (float(made[1]["blink_asymmetry"]), True))
            )
    claims: tuple[tuple[Any, ...], ...] = (
        (
            "a living face against a frozen one under noise",
            "AUC of activity",
            living,
            auc_of_pairs,
            0.98,
            auc_of_pairs(pixels),
            "change of pixels",
        ),
        (
            "two blinks drawn into a still face",
            "share of clips with two counted",
            counted,
            np.mean,
            0.9,
            0.0,
            "none counted",
        ),
        ("one eye closed against both", "AUC of blink_asymmetry", winks, auc_of_pairs, 0.95, 0.5, "chance"),
    )
    rows = []
    for claim, measure, values, statistic, goal, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(
            Row(
                "expressiveness",
                claim,
                measure,
                value,
                low,
                high,
                n,
                people,
                baseline,
                goal,
                baseline_name=baseline_name,
            )
        )
    return rows


if __name__ == "__main__":
    command(run)
