"""Rows of the `landmarks` timeline whose answer is known: a canonical face turned, blinking and speaking as told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tasks.digest import timeline_schema
from tasks.eye_geometry import INNER, IRIS_LEVEL, OUTER
from tasks.face_geometry import BLENDSHAPE_SCALE, DETECTION_STEP, NUM_POINTS, POINT_SCALE
from tasks.face_mesh import BLENDSHAPES
from tasks.head_geometry import NUM_CANONICAL, canonical_face, turn_of
from tasks.media.media import Media
from tasks.signals import landmarks

PX_PER_CM = 10.0
EYE_WIDTH_PX = 25.9


def turned_face(
    angles_deg: tuple[float, float, float] = (0, 0, 0), *, center_px: tuple[float, float] = (320, 180), scale: float = 1
) -> np.ndarray:
    """Mesh points (478, 3) in pixels of the canonical face, seen from afar; its irises look straight out of the head."""
    points = np.zeros((NUM_POINTS, 3))
    points[:NUM_CANONICAL] = canonical_face().points
    for first, outer, inner in zip((468, 473), OUTER, INNER, strict=True):
        points[first : first + 5] = (points[outer] + points[inner]) / 2
        points[first : first + 5, 1] += IRIS_LEVEL * EYE_WIDTH_PX / PX_PER_CM
        points[first + 1 : first + 5, :2] += np.array([[0.55, 0], [0, 0.55], [-0.55, 0], [0, -0.55]])
    seen = points @ turn_of(np.array(angles_deg)).T * PX_PER_CM * scale * [1, -1, -1]
    return np.asarray(seen + np.array([*center_px, 0]))


def landmarks_of(
    points_TNC: Sequence[np.ndarray],
    *,
    start_frame: int = 0,
    blendshapes: Sequence[Mapping[str, float]] | None = None,
) -> pa.Table:
    """A row per frame from `start_frame` on; every fifth frame has blendshapes, 0 but for the named ones."""
    columns: dict[str, list[object]] = {"frame": [], **{c.name: [] for c in landmarks.SIGNAL.timeline}}
    for i, points in enumerate(points_TNC):
        frame = start_frame + i
        columns["frame"].append(frame)
        columns["presence"].append(1.0)
        for name, value in zip(("x0", "y0", "x1", "y1"), (*points[:, :2].min(0), *points[:, :2].max(0)), strict=True):
            columns[name].append(float(value))
        columns["points"].append(np.rint(points.ravel() * POINT_SCALE).astype(np.int16))
        shape = None
        if frame % DETECTION_STEP == 0:
            told = blendshapes[i] if blendshapes is not None else {}
            shape = np.array([told.get(n, 0.0) for n in BLENDSHAPES]) * BLENDSHAPE_SCALE
            shape = np.rint(shape).astype(np.int16)
        columns["blendshapes"].append(shape)
    return pa.table(columns, schema=timeline_schema(landmarks.SIGNAL.timeline))


def no_landmarks() -> pa.Table:
    return timeline_schema(landmarks.SIGNAL.timeline).empty_table()


def span(num_frames: int, *, start_frame: int = 0, size_px: tuple[int, int] = (640, 360)) -> Media:
    """Media without frames: what a signal gets that looks at timelines alone."""
    return Media(start_frame, start_frame + num_frames, *size_px, source_width_px=size_px[0])
