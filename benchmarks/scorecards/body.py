"""Scorecard of body: somebody or nobody, points where the face's own detector sees them, and shoulders that leave the
picture. That the body follows transforms is measured at pose, which reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.face_track import shifted
from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.pose import NOBODY, skin_ratio
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.body_geometry import LEFT_SHOULDER, RIGHT_SHOULDER, bodies_of
from tasks.signals import body, faces

LEFT_EYE, RIGHT_EYE, NOSE = 2, 5, 0
POINTS = {"nose": NOSE, "right_eye": RIGHT_EYE, "left_eye": LEFT_EYE}
SHOULDERS = (LEFT_SHOULDER, RIGHT_SHOULDER)
CLEARLY = 0.8


def found_on(frame: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """(presence, points (33, 2), visibility (33,)); None where no body is found."""
    table = timeline_of(body.compute, media_of([frame], 1.0))
    if table.num_rows == 0:
        return None
    _, points, visible = bodies_of(table)
    return float(table["presence"][0].as_py()), points[0, :, :2], visible[0]


def against_faces(frame: np.ndarray, points: np.ndarray) -> tuple[list[float], list[float]]:
    """Percent of the shoulders' width by which nose and eyes miss YuNet's of the largest face, and by which the middle
    of the frame does; empty without a face."""
    rows = timeline_of(faces.compute, media_of([frame], 1.0)).to_pylist()
    if not rows:
        return [], []
    face = rows[0]
    theirs = np.array([[face[f"{name}_x"], face[f"{name}_y"]] for name in POINTS])
    shoulders = float(np.hypot(*(points[LEFT_SHOULDER] - points[RIGHT_SHOULDER])))
    guesses = (points[list(POINTS.values())], np.array([frame.shape[1] / 2, frame.shape[0] / 2]))
    ours, naive = (float(np.hypot(*(p - theirs).T).mean()) / shoulders * 100 for p in guesses)
    return [ours], [naive]


def shoulder_pairs(frame: np.ndarray, points: np.ndarray, visible: np.ndarray) -> list[tuple[float, bool]]:
    """(visibility, is it within the picture) of shoulders as they are, and moved below the border."""
    plain = [i for i in SHOULDERS if visible[i] >= CLEARLY and points[i, 1] < frame.shape[0] - 1]
    if len(plain) < 2:
        return []
    pairs = [(float(visible[i]), True) for i in plain]
    room = frame.shape[0] - int(points[plain, 1].min()) + 8
    after = found_on(shifted(frame, 0, room))
    return pairs + ([] if after is None else [(float(after[2][i]), False) for i in plain])


def run(root: Path) -> list[Row]:
    either: dict[str, list[tuple[float, bool]]] = {}
    skin: list[tuple[float, bool]] = []
    found: dict[str, list[bool]] = {}
    none: dict[str, list[bool]] = {}
    missed: dict[str, list[float]] = {}
    naive: list[float] = []
    shoulders: dict[str, list[tuple[float, bool]]] = {}
    for entry in manifest(root, "talk", "neg"):
        person, talking = entry["person"], entry["file"].startswith("talk/")
        if not talking and entry["file"] not in NOBODY:
            continue
        for number, frame in enumerate(read_frames(entry["path"], 1.0, max_s=1.1)[0]):
            told = found_on(frame)
            either.setdefault(person, []).append((told[0] if told else 0.0, talking))
            skin.append((skin_ratio([frame]), talking))
            (found if talking else none).setdefault(person, []).append(told is not None)
            if told is None or not talking or number:
                continue
            ours, theirs = against_faces(frame, told[1])
            missed.setdefault(person, []).extend(ours)
            naive += theirs
            shoulders.setdefault(person, []).extend(shoulder_pairs(frame, told[1], told[2]))
    claims: list[tuple[Any, ...]] = [
        ("a talking head has a body", "share of frames", found, np.mean, 0.98, "higher", None, ""),
        ("a body where there is nobody", "share of frames", none, np.mean, 0.1, "lower", 1.0, "always a body"),
        ("somebody or nobody", "AUC of presence by frame", either, auc_of_pairs, 0.98, "higher", auc_of_pairs(skin), "skin colour"),
        ("nose and eyes lie where the face detector, another network, sees them", "median miss, % of shoulder width", missed, np.median, 8.0, "lower", float(np.median(naive)), "middle of the frame"),
        ("shoulders in the picture against the same shoulders moved below it", "AUC of visibility", shoulders, auc_of_pairs, 0.95, "higher", 0.5, "chance"),
    ]  # fmt: skip
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(Row("body", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name))
    return rows


if __name__ == "__main__":
    command(run)
