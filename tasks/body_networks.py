"""MediaPipe's pose and hand networks, run by LiteRT: people and palms in an image, 33 and 21 points of each.

Both go the same way: a detector with fixed anchors finds a box and two points that say which way is up, and a second
network reads the landmarks from the square that follows. Anchors, boxes and squares are those that MediaPipe's graphs
state (pose_detector_graph.cc, pose_landmarks_detector_graph.cc, hand_detector_graph.cc,
hand_landmarks_detector_graph.cc). The refinement of the pose by heat maps is left out: it takes half the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from infra import weights
from tasks.body_geometry import NUM_HAND_POINTS
from tasks.face_geometry import Box, Crop
from tasks.litert import ending_at, interpreter
from tasks.networks import per_thread

NUM_POSE_OUTPUTS = 39
"""Of the pose network: the 33, then the middle of the hips, the reach of the body, and four more."""
BODY_SIDE_PX, HAND_SIDE_PX = 256, 224
MIN_OVERLAP = 0.3
"""IoU from which two detections are one."""


@dataclass(frozen=True)
class Detector:
    """A network of one class: `strides` of its layers of anchors, points of a detection, range of its input."""

    name: str
    side_px: int
    strides: tuple[int, ...]
    low: float
    min_score: float


PEOPLE = Detector("pose_detector", 224, (8, 16, 32, 32, 32), -1.0, 0.5)
PALMS = Detector("hand_detector", 192, (8, 16, 16, 16), 0.0, 0.5)


@dataclass(frozen=True)
class Found:
    """A detection in pixels of the image: its box, its points (K, 2) and the detector's confidence."""

    box: Box
    points: np.ndarray
    score: float


@per_thread
def _network(name: str, outputs: tuple[int, ...] | None = None) -> Any:
    model = weights.path(name).read_bytes()
    return interpreter(model if outputs is None else ending_at(model, outputs))


def _run(network: Any, image: np.ndarray) -> list[np.ndarray]:
    network.set_tensor(network.get_input_details()[0]["index"], image[None])
    network.invoke()
    return [network.get_tensor(d["index"])[0].copy() for d in network.get_output_details()]


def square_of(image_rgb: np.ndarray, crop: Crop, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop as float32 (side, side, 3) in 0 to 1, black beyond the image, and its affine (2, 3) to the image."""
    import cv2

    to_image = crop.to_image(side_px)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    square = cv2.warpAffine(image_rgb, to_image, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return square.astype(np.float32) / 255, to_image


@cache
def anchors(detector: Detector) -> np.ndarray:
    """Centres (N, 2) as shares of the side: two for each cell of a layer; layers of one stride follow one another."""
    rows = []
    for stride in dict.fromkeys(detector.strides):
        cells = detector.side_px // stride
        at = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
        rows.append(np.repeat(grid, 2 * detector.strides.count(stride), axis=0))
    return np.concatenate(rows)


def detect(image_rgb: np.ndarray, detector: Detector) -> list[Found]:
    """What the detector finds on an image, the surest first; detections of one thing are averaged by confidence."""
    height, width = image_rgb.shape[:2]
    whole = Crop((width - 1) / 2, (height - 1) / 2, max(width, height), 0.0)
    # A small image is made smaller by area before it is warped, as a warp by itself takes four pixels only.
    square, to_image = square_of(image_rgb, whole, detector.side_px)
    square = square * (1 - detector.low) + detector.low
    raw_NC, logit_N = _run(_network(detector.name), square.astype(np.float32))
    score_N = 1 / (1 + np.exp(-np.clip(logit_N[:, 0].astype(np.float64), -50, 50)))
    sure = np.flatnonzero(score_N >= detector.min_score)
    centre = anchors(detector)[sure] * detector.side_px
    raw, score = raw_NC[sure].astype(np.float64), score_N[sure]
    middle, half = centre + raw[:, :2], raw[:, 2:4] / 2
    points = centre[:, None] + raw[:, 4:].reshape(len(raw), (raw.shape[1] - 4) // 2, 2)
    corners = np.concatenate([(middle - half)[:, None], (middle + half)[:, None], points], axis=1)
    # The network's pixel grid begins at the corner of its first pixel, the affine's at that pixel's centre.
    placed = (corners - 0.5) @ to_image[:, :2].T + to_image[:, 2]
    return _merged(placed, score)


def _merged(placed_NKC: np.ndarray, score_N: np.ndarray) -> list[Found]:
    boxes = [Box(*p[0], *p[1]) for p in placed_NKC]
    left = [int(i) for i in np.argsort(-score_N, kind="stable")]
    found = []
    while left:
        same = [i for i in left if i == left[0] or boxes[i].iou(boxes[left[0]]) > MIN_OVERLAP]
        mean = np.average(placed_NKC[same], axis=0, weights=score_N[same])
        found.append(Found(Box(*mean[0], *mean[1]), mean[2:], float(score_N[left[0]])))
        left = [i for i in left if i not in same]
    return found


def body_crop(middle: np.ndarray, reach: np.ndarray) -> Crop:
    """The square for the pose network: round the middle of the hips, upright toward the point of the body's reach."""
    away = reach - middle
    return Crop(float(middle[0]), float(middle[1]), 2.5 * float(np.hypot(*away)), _upright(away))


def palm_crop(found: Found) -> Crop:
    """The square for the hand network: 2.6 palms wide, moved half a palm from the wrist toward the fingers."""
    box = found.box
    side = max(box.x1 - box.x0, box.y1 - box.y0)
    angle = _upright(found.points[2] - found.points[0])
    up = 0.5 * (box.y1 - box.y0)
    x, y = (box.x0 + box.x1) / 2 + up * np.sin(angle), (box.y0 + box.y1) / 2 - up * np.cos(angle)
    return Crop(float(x), float(y), 2.6 * side, angle)


def _upright(away: np.ndarray) -> float:
    """Angle of a crop in which a direction points up."""
    return float(np.arctan2(away[0], -away[1]))


def body_points(image_rgb: np.ndarray, crop: Crop) -> tuple[np.ndarray, np.ndarray, float]:
    """Points float32 (39, 3) in pixels of the image (z in its scale, smaller toward the viewer), probability (39,)
    that each is visible, within the image and not covered, and probability that the crop shows a person."""
    square, to_image = square_of(image_rgb, crop, BODY_SIDE_PX)
    raw, presence = _run(_network("pose_landmarks", (0, 1)), square)
    values = raw.reshape(NUM_POSE_OUTPUTS, 5)
    visible = 1 / (1 + np.exp(-np.clip(values[:, 3], -50, 50)))
    return _placed(values[:, :3], to_image, crop.side_px / BODY_SIDE_PX), visible, float(presence[0])


def hand_points(image_rgb: np.ndarray, crop: Crop) -> tuple[np.ndarray, float, float]:
    """Points float32 (21, 3) in pixels of the image, probability that the crop shows a hand, and that it is the
    subject's left one, as an unmirrored camera sees it."""
    square, to_image = square_of(image_rgb, crop, HAND_SIDE_PX)
    raw, presence, right = _run(_network("hand_landmarks", (0, 1, 2)), square)
    points = _placed(raw.reshape(NUM_HAND_POINTS, 3), to_image, crop.side_px / HAND_SIDE_PX)
    # Which of the two the number means was seen on footage: it agrees with the nearer wrist of the body in 93 % of 122.
    return points, float(presence[0]), 1 - float(right[0])


def _placed(points: np.ndarray, to_image: np.ndarray, scale: float) -> np.ndarray:
    plane = (points[:, :2] - 0.5) @ to_image[:, :2].T + to_image[:, 2]
    return np.hstack([plane, points[:, 2:] * scale]).astype(np.float32)
