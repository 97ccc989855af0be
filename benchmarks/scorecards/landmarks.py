"""Scorecard of landmarks: MediaPipe's own landmarker beside it, and faces that were moved in a known way.

HEADROOM_ORACLE_PYTHON=... python -m benchmarks.scorecards.landmarks
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.mediapipe_oracle import ORACLE_PYTHON, Fit, fits
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.face_geometry import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, blendshapes_of, points_of
from tasks.face_mesh import BLENDSHAPES
from tasks.signals import faces, landmarks

SECONDS = 8.0
MOVES = tuple((turn_deg, scale) for turn_deg in (-20.0, 20.0) for scale in (0.5, 0.75))
ByPerson = dict[str, list[float]]


def mesh_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Points (478, 2) of the picture's main face in pixels and its blendshapes (52,); None when no face is seen."""
    media = media_of([image], 25.0)
    mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
    if mesh.num_rows == 0:
        return None
    _, weights = blendshapes_of(mesh)
    return points_of(mesh)[0, :, :2], weights[0] if len(weights) else None


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the points, as a share of the distance between the outer corners of the eyes (NME)."""
    eyes = float(np.linalg.norm(truth[LEFT_EYE_OUTER] - truth[RIGHT_EYE_OUTER]))
    return float(np.linalg.norm(found - truth, axis=1).mean()) / eyes


def mean_face_in_box(points: np.ndarray, mean_face: np.ndarray) -> np.ndarray:
    """The mean face (478, 2) in 0 to 1, laid into the box of these points."""
    low, high = points.min(0), points.max(0)
    return low + mean_face * (high - low)


def moved(image: np.ndarray, turn_deg: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture turned and scaled about its middle, and the matrix (2, 3) that takes points along."""
    import cv2

    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn_deg, scale)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)), matrix


def pictures(root: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(person, frame): one every two seconds of the first eight of each talking head."""
    for entry in manifest(root, "talk"):
        for image in read_frames(entry["path"], 1.0, max_s=SECONDS)[0][::2]:
            yield entry["person"], image


def after_moves(image: np.ndarray, points: np.ndarray) -> tuple[list[float], list[float]]:
    """NME of the mesh that is found in moved pictures, and of one that did not move; a lost face counts as 1."""
    found, stayed = [], []
    for turn_deg, scale in MOVES:
        picture, matrix = moved(image, turn_deg, scale)
        truth = points @ matrix[:, :2].T + matrix[:, 2]
        seen = mesh_of(picture)
        found.append(1.0 if seen is None else error(seen[0], truth))
        stayed.append(error(points, truth))
    return found, stayed


def beside_the_oracle(images: dict[str, tuple[str, np.ndarray]], meshes: dict[str, tuple[np.ndarray, np.ndarray | None]]) -> list[Row]:  # fmt: skip
    """Rows of agreement with MediaPipe 0.10.21; none when it is not set up, which is said."""
    told: dict[str, Fit] = fits({key: image for key, (_, image) in images.items()})
    if not told:
        print(f"no oracle: set {ORACLE_PYTHON} to the python of an environment with mediapipe 0.10.21")
        return []
    both = [key for key in told if key in meshes]
    boxes = [(told[k].points - told[k].points.min(0)) / np.ptp(told[k].points, axis=0) for k in both]
    mean_face, mean_weights = np.mean(boxes, axis=0), np.mean([told[k].blendshapes for k in both], axis=0)
    errors: ByPerson = {}
    weights: ByPerson = {}
    plain, plain_weights = [], []
    for key in both:
        person, (points, shapes) = images[key][0], meshes[key]
        errors.setdefault(person, []).append(error(points, told[key].points))
        plain.append(error(mean_face_in_box(told[key].points, mean_face), told[key].points))
        if shapes is not None:
            weights.setdefault(person, []).append(float(np.abs(shapes - told[key].blendshapes).mean()))
            plain_weights.append(float(np.abs(mean_weights - told[key].blendshapes).mean()))
    return [
        _row("points agree with MediaPipe's own landmarker", "NME, of the eyes' distance", errors, 0.03, plain, "mean face in its box"),
        _row(f"the {len(BLENDSHAPES)} blendshapes agree with its own", "MAE", weights, 0.03, plain_weights, "their mean"),
    ]  # fmt: skip


def _row(claim: str, measure: str, values: ByPerson, goal: float, baseline: list[float], name: str) -> Row:
    value, low, high = bootstrap_ci(values, np.mean)
    n, people = sum(map(len, values.values())), len([v for v in values.values() if v])
    return Row("landmarks", claim, measure, value, low, high, n, people, float(np.mean(baseline)), goal, "lower", name)


def run(root: Path) -> list[Row]:
    images = {str(i): told for i, told in enumerate(pictures(root))}
    meshes = {key: mesh for key, (_, image) in images.items() if (mesh := mesh_of(image)) is not None}
    errors: ByPerson = {}
    stayed: list[float] = []
    for key, (points, _) in meshes.items():
        person, image = images[key]
        ours, plain = after_moves(image, points)
        errors.setdefault(person, []).extend(ours)
        stayed += plain
    claim = "the mesh follows a picture turned by 20 degrees and shrunk to 0.75 and 0.5"
    rows = [_row(claim, "NME, of the eyes' distance", errors, 0.05, stayed, "a mesh that stays")]
    return [*beside_the_oracle(images, meshes), *rows]


if __name__ == "__main__":
    command(run)
