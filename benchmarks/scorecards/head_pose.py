"""Scorecard of head_pose: roll on turned pictures, yaw and pitch on rendered heads, and MediaPipe's own fit beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.mediapipe_oracle import ORACLE_PYTHON, fits
from benchmarks.scorecards.rendered_head import Skin, render, shape_of
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.face_geometry import FACE_OVAL, NOSE_TIP, face_rows, points_of
from tasks.head_geometry import NUM_CANONICAL, angles_of
from tasks.signals import faces, head_pose, landmarks

ROLLS_DEG = (-30.0, -15.0, 15.0, 30.0)
RENDERED_PER_PERSON = 4
REACH_DEG = (40.0, 20.0, 15.0)
"""Rendered heads are turned by up to this much of yaw, pitch and roll."""
SECONDS = 8.0
FRONTAL_ASYMMETRY = 0.15
YAW, PITCH, ROLL = range(3)

ByPerson = dict[str, list[float]]


def mesh_of(image: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Mesh points (478, 3) of the picture's main face, and the slope of the line between its eyes as YuNet sees it."""
    media = media_of([image], 25.0)
    found = timeline_of(faces.compute, media)
    mesh = timeline_of(landmarks.compute, media, {"faces": found})
    if mesh.num_rows == 0:
        return None
    row = face_rows(found)[0]
    slope = np.arctan2(row["left_eye_y"] - row["right_eye_y"], row["left_eye_x"] - row["right_eye_x"])
    return points_of(mesh)[0], float(np.degrees(slope))


def pose_of(image: np.ndarray) -> np.ndarray | None:
    """Yaw, pitch and roll (3,) that the signal gives one picture; None when it sees no face."""
    media = media_of([image], 25.0)
    mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
    if mesh.num_rows == 0:
        return None
    row = head_pose.compute(media, {"landmarks": mesh}).row
    return np.array([row[f"{angle}_deg"] for angle in head_pose.ANGLES])


def rotated(image: np.ndarray, clockwise_deg: float) -> np.ndarray:
    import cv2

    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -clockwise_deg, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE))


def roll_errors(image: np.ndarray) -> tuple[list[float], list[float]]:
    """Degrees by which roll, and the eyes' slope of the detector, miss each known turn of the picture."""
    ours, eyes = [], []
    pose, mesh = pose_of(image), mesh_of(image)
    for turn in ROLLS_DEG:
        seen, turned = pose_of(rotated(image, turn)), mesh_of(rotated(image, turn))
        if pose is None or mesh is None or seen is None or turned is None:
            continue  # a face that the detector loses has no roll; face_track's scorecard counts those
        ours.append(abs(float(seen[ROLL] - pose[ROLL] - turn)))
        eyes.append(abs(turned[1] - mesh[1] - turn))
    return ours, eyes


def skin_of(images: list[np.ndarray]) -> Skin | None:
    """The most frontal of the frames, or None when the person never faces the camera."""
    best: tuple[float, Skin] | None = None
    for image in images:
        mesh = mesh_of(image)
        if mesh is None:
            continue
        points = mesh[0][:NUM_CANONICAL, :2].astype(np.float64)
        oval = points[list(FACE_OVAL), 0]
        asymmetry = abs(points[NOSE_TIP, 0] - (oval.min() + oval.max()) / 2) / np.ptp(oval)
        if best is None or asymmetry < best[0]:
            best = (float(asymmetry), Skin(image, points))
    return best[1] if best is not None and best[0] <= FRONTAL_ASYMMETRY else None


def run(root: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    turned: ByPerson = {}
    eyes: list[float] = []
    rendered: tuple[ByPerson, ByPerson] = ({}, {})
    truth: list[np.ndarray] = []
    frames: dict[str, np.ndarray] = {}
    people: dict[str, str] = {}
    for entry in manifest(root, "talk"):
        person = entry["person"]
        images = read_frames(entry["path"], 1.0, max_s=SECONDS)[0]
        ours, theirs = roll_errors(images[0])
        turned.setdefault(person, []).extend(ours)
        eyes += theirs
        for i, image in enumerate(images[::2]):
            frames[f"{len(people)}_{i}"] = image
            people[f"{len(people)}_{i}"] = person
        skin = skin_of(images)
        for _ in range(RENDERED_PER_PERSON if skin is not None else 0):
            assert skin is not None
            angles = rng.uniform(-1, 1, 3) * REACH_DEG
            pose = pose_of(render(skin, shape_of(rng), (angles[0], angles[1], angles[2])))
            for angle, values in zip((YAW, PITCH), rendered, strict=True):
                error = 90.0 if pose is None else abs(float(pose[angle] - angles[angle]))
                values.setdefault(person, []).append(error)
            truth.append(np.abs(angles))
    upright = np.mean(truth, axis=0)
    claims: list[tuple[Any, ...]] = [
        ("roll follows a turned picture", "MAE, degrees", turned, 3.0, float(np.mean(eyes)), "slope of YuNet's eyes"),
        ("yaw of rendered heads", "MAE, degrees", rendered[YAW], 6.0, float(upright[YAW]), "always frontal"),
        ("pitch of rendered heads", "MAE, degrees", rendered[PITCH], 6.0, float(upright[PITCH]), "always frontal"),
    ]
    claims += _beside_the_oracle(frames, people)
    rows = []
    for claim, measure, values, goal, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, np.mean)
        n, num_people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(
            Row("head_pose", claim, measure, value, low, high, n, num_people, baseline, goal, "lower", baseline_name)
        )
    return rows


def _beside_the_oracle(frames: dict[str, np.ndarray], people: dict[str, str]) -> list[tuple[Any, ...]]:
    """One claim an angle; none when the oracle is not set up, which is said."""
    told = fits(frames)
    if not told:
        print(f"no oracle: set {ORACLE_PYTHON} to the python of an environment with mediapipe 0.10.21")
        return []
    errors: list[ByPerson] = [{}, {}, {}]
    sizes: list[np.ndarray] = []
    for key, fit in told.items():
        oracle, pose = angles_of(fit.matrix[:3, :3]), pose_of(frames[key])
        if pose is None:
            continue
        sizes.append(np.abs(oracle))
        for angle, values in enumerate(errors):
            values.setdefault(people[key], []).append(abs(float(pose[angle] - oracle[angle])))
    frontal = np.mean(sizes, axis=0)
    return [
        (
            f"{name} agrees with MediaPipe's own fit",
            "MAE, degrees",
            errors[angle],
            4.0,
            float(frontal[angle]),
            "always frontal",
        )
        for angle, name in enumerate(head_pose.ANGLES)
    ]


if __name__ == "__main__":
    command(run)
