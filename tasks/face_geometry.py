"""Geometry that every signal about faces shares: tracks, crops, and landmarks freed of head motion.

Points are those of MediaPipe's face mesh: 468 of the face and 10 of the irises. "Left" and "right" are the
subject's own. Boxes are x0, y0, x1, y1 in pixels of the proxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

NUM_POINTS = 478
POINT_SCALE = 32
"""Landmarks are stored as int16 in units of 1/32 px."""
BLENDSHAPE_SCALE = 10_000
DETECTION_STEP = 5
"""Faces are detected on every fifth frame of the grid."""
MAX_GAP_FRAMES = 10
"""A track bridges detections that are at most 0.4 s apart."""

RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
MOUTH_RIGHT, MOUTH_LEFT = 61, 291
LIP_TOP_OUTER, LIP_TOP_INNER, LIP_BOTTOM_INNER, LIP_BOTTOM_OUTER = 0, 13, 14, 17
CHIN, FOREHEAD, NOSE_TIP = 152, 10, 1
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_OVAL_LEFT = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
_OVAL_RIGHT = (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
FACE_OVAL = (*_OVAL_LEFT, *_OVAL_RIGHT)
STABLE_POINTS = (33, 133, 362, 263, 6, 168, 195, 197, 5, 4, 10, 151, 9, 8, 127, 356, 234, 454)
"""18 points that speech hardly moves: eye corners, bridge and tip of the nose, forehead, temples."""


@dataclass(frozen=True)
class Box:
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area_px(self) -> float:
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    def overlap_px(self, other: Box) -> float:
        width = max(0.0, min(self.x1, other.x1) - max(self.x0, other.x0))
        return width * max(0.0, min(self.y1, other.y1) - max(self.y0, other.y0))

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1; 0 when both are empty."""
        both = self.overlap_px(other)
        union = self.area_px + other.area_px - both
        return both / union if union > 0 else 0.0


@dataclass(frozen=True)
class Crop:
    """A rotated square of the image: centre and side in pixels, angle in radians, clockwise on the screen."""

    center_x: float
    center_y: float
    side_px: float
    angle_rad: float

    def to_image(self, size_px: int) -> np.ndarray:
        """Affine (2, 3) from pixel centres of the square, scaled to `size_px`, to pixel centres of the image."""
        unit = self.side_px / size_px
        cos, sin = unit * np.cos(self.angle_rad), unit * np.sin(self.angle_rad)
        half = (size_px - 1) / 2
        return np.array(
            [
                [cos, -sin, self.center_x - half * cos + half * sin],
                [sin, cos, self.center_y - half * sin - half * cos],
            ]
        )


def face_rows(faces: pa.Table) -> list[dict[str, float]]:
    """Rows of the `faces` timeline, in its order: by frame, the largest face first."""
    rows: list[dict[str, float]] = faces.to_pylist()
    return rows


def box_of(row: dict[str, float]) -> Box:
    return Box(row["x0"], row["y0"], row["x1"], row["y1"])


def associate(
    frames: Sequence[int], boxes: Sequence[Box], *, min_iou: float = 0.3, max_gap: int = MAX_GAP_FRAMES
) -> list[int]:
    """Track number of each box, counted from 0 in the order of appearance.

    Greedy: on each frame the pairs of track and box are taken by falling IoU with the track's last box, if that is
    at least `min_iou` and at most `max_gap` frames old. Frames ascend.
    """
    tracks: list[tuple[int, Box]] = []
    numbers = [-1] * len(boxes)
    for frame in sorted(set(frames)):
        here = [i for i, f in enumerate(frames) if f == frame]
        open_tracks = [t for t, (last, _) in enumerate(tracks) if frame - last <= max_gap]
        pairs = sorted((-tracks[t][1].iou(boxes[i]), t, i) for t in open_tracks for i in here)
        taken: set[int] = set()
        for negative_iou, track, i in pairs:
            if -negative_iou >= min_iou and track not in taken and numbers[i] < 0:
                numbers[i] = track
                taken.add(track)
        for i in here:
            if numbers[i] < 0:
                numbers[i] = len(tracks)
                tracks.append((frame, boxes[i]))
            tracks[numbers[i]] = (frame, boxes[i])
    return numbers


def main_faces(rows: Sequence[dict[str, float]]) -> list[tuple[int, dict[str, float]]]:
    """The main face of each frame that has one, as (track, row): the largest, and the same one throughout.

    Tracks are ranked by the sum of their boxes' areas; each frame gives the face of its best-ranked track.
    """
    numbers = associate([int(r["frame"]) for r in rows], [box_of(r) for r in rows])
    weight: dict[int, float] = {}
    for number, row in zip(numbers, rows, strict=True):
        weight[number] = weight.get(number, 0.0) + box_of(row).area_px
    best: dict[int, tuple[int, dict[str, float]]] = {}
    for number, row in zip(numbers, rows, strict=True):
        frame = int(row["frame"])
        if frame not in best or (weight[number], -number) > (weight[best[frame][0]], -best[frame][0]):
            best[frame] = (number, row)
    return [best[frame] for frame in sorted(best)]


# A YuNet box becomes the square that MediaPipe would take from the mesh itself (1.5 times the mesh's bounds, upright
# in the eyes' frame): measured on 37 talking heads by repeating the crop to convergence, side 1.36 +- 0.05 and
# centre 0.05 +- 0.02 below the box's, in units of its longer side.
CROP_SIDE = 1.36
CROP_DOWN = 0.05


def crop_of(row: dict[str, float]) -> Crop:
    """The square for the face mesh, from a row of `faces`; the line between the eyes lies level in it."""
    angle = float(np.arctan2(row["left_eye_y"] - row["right_eye_y"], row["left_eye_x"] - row["right_eye_x"]))
    longer = max(row["x1"] - row["x0"], row["y1"] - row["y0"])
    down = CROP_DOWN * longer
    return Crop(
        center_x=(row["x0"] + row["x1"]) / 2 - down * np.sin(angle),
        center_y=(row["y0"] + row["y1"]) / 2 + down * np.cos(angle),
        side_px=CROP_SIDE * longer,
        angle_rad=angle,
    )


def crops_between(rows: Sequence[dict[str, float]], frames: Sequence[int]) -> dict[int, Crop]:
    """A crop of the main face for each of `frames` that has a detection within 0.4 s.

    Between two detections of one track at most 0.4 s apart the crop is interpolated, so that it does not jump;
    elsewhere it is that of the nearest detection.
    """
    found = [(int(row["frame"]), track, crop_of(row)) for track, row in main_faces(rows)]
    if not found:
        return {}
    at = np.array([frame for frame, _, _ in found])
    crops: dict[int, Crop] = {}
    for frame in frames:
        after = int(np.searchsorted(at, frame))
        near = [i for i in (after - 1, after) if 0 <= i < len(at)]
        if len(near) == 2 and found[near[0]][1] == found[near[1]][1] and at[after] - at[after - 1] <= MAX_GAP_FRAMES:
            share = (frame - at[after - 1]) / (at[after] - at[after - 1])
            crops[frame] = _mix(found[after - 1][2], found[after][2], float(share))
            continue
        nearest = min(near, key=lambda i: abs(int(at[i]) - frame))
        if abs(int(at[nearest]) - frame) <= MAX_GAP_FRAMES:
            crops[frame] = found[nearest][2]
    return crops


def _mix(a: Crop, b: Crop, share: float) -> Crop:
    turn = (b.angle_rad - a.angle_rad + np.pi) % (2 * np.pi) - np.pi
    return Crop(
        a.center_x + share * (b.center_x - a.center_x),
        a.center_y + share * (b.center_y - a.center_y),
        a.side_px + share * (b.side_px - a.side_px),
        a.angle_rad + share * turn,
    )


def points_of(landmarks: pa.Table) -> np.ndarray:
    """Points of the `landmarks` timeline as float32 (T, 478, 3), in pixels of the proxy, z toward the viewer < 0."""
    flat = landmarks["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    points: np.ndarray = (flat.astype(np.float32) / POINT_SCALE).reshape(-1, NUM_POINTS, 3)
    return points


def blendshapes_of(landmarks: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N,) that have blendshapes, and the 52 values of each, float32 (N, 52) in 0 to 1."""
    import pyarrow.compute as pc

    have = landmarks.filter(pc.is_valid(landmarks["blendshapes"]))
    flat = have["blendshapes"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return have["frame"].to_numpy(), (flat.astype(np.float32) / BLENDSHAPE_SCALE).reshape(-1, 52)


def align_by_similarity(points_TNC: np.ndarray) -> np.ndarray:
    """Landmarks freed of the head's place, size and roll, float32 (T, 478, 3).

    Units: the distance between the eyes' outer corners is 1 on average; origin between them; x to the right of the
    image, y down. Each frame is first set upright on its eye corners; the mean over time of the 18 stable points is
    the template, onto which each frame is then fitted by least squares (similarity in the plane; z is scaled alike).
    """
    points = points_TNC.astype(np.float64)
    plane = points[..., 0] + 1j * points[..., 1]
    right, left = plane[:, RIGHT_EYE_OUTER], plane[:, LEFT_EYE_OUTER]
    span = np.where(np.abs(left - right) > 1e-6, left - right, 1e-6)
    upright = (plane - ((left + right) / 2)[:, None]) / span[:, None]
    template = upright[:, STABLE_POINTS].mean(axis=0)
    stable = plane[:, STABLE_POINTS]
    centre, template_centre = stable.mean(axis=1, keepdims=True), template.mean()
    away = stable - centre
    # Least squares over complex numbers: one complex factor is rotation and scale at once.
    factor = (np.conj(away) * (template - template_centre)).sum(axis=1) / np.maximum(
        (np.abs(away) ** 2).sum(axis=1), 1e-9
    )
    fitted = factor[:, None] * (plane - centre) + template_centre
    depth = np.abs(factor)[:, None] * points[..., 2]
    return np.stack([fitted.real, fitted.imag, depth], axis=-1).astype(np.float32)
