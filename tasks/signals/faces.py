"""Faces of a video, five times a second: boxes and five points of each. Everything about people starts here."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Signal

FPS = 5
SMALL_SIDE_PX = 320
# On the talking heads every face scores 0.90 or more; traffic and a cat reach 0.80. Where the small image shows no
# face, faces are rarer and a detection must be surer.
MIN_SCORE = 0.7
MIN_SCORE_RETRY = 0.85
MAX_FACES = 16
POINTS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")

SIGNAL = Signal(
    grain="video",
    version=2,
    timeline=(
        Column("face", pa.int16(), "count", "number of the face on this frame, by falling area, from 0", 0, MAX_FACES),
        Column("x0", pa.float32(), "px", "left edge of the face in the proxy, cut at its border", 0, 640, 2),
        Column("y0", pa.float32(), "px", "top edge (about the hairline)", 0, 640, 2),
        Column("x1", pa.float32(), "px", "right edge", 0, 640, 2),
        Column("y1", pa.float32(), "px", "bottom edge (about the chin)", 0, 640, 2),
        Column("score", pa.float32(), "score", "YuNet's confidence that this is a face", 0, 1, 4),
        *(
            Column(
                f"{point}_{axis}", pa.float32(), "px", f"{point.replace('_', ' ')} of the subject, {axis}", decimals=2
            )
            for point in POINTS
            for axis in "xy"
        ),
    ),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.021,
    weights=("yunet",),
    params={
        "fps": FPS,
        "small_side_px": SMALL_SIDE_PX,
        "min_score": MIN_SCORE,
        "min_score_retry": MIN_SCORE_RETRY,
        "max_faces": MAX_FACES,
    },
    backend="yunet_int8",
    summary="Face boxes and five points at 5 fps: first at 320 px, again at full proxy size where that finds nothing.",
    source="Wu, Peng and Yu, YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 2023.",
)

_own = threading.local()


def _detector() -> Any:
    """One detector per thread: OpenCV's networks keep state while they run."""
    if not hasattr(_own, "detector"):
        import cv2

        model = str(weights.path("yunet"))
        _own.detector = cv2.FaceDetectorYN.create(model, "", (320, 320), MIN_SCORE, 0.3, 5000)
    return _own.detector


def _detect(image_rgb: np.ndarray, scale: float, min_score: float) -> np.ndarray:
    """Faces (N, 15) in pixels of the proxy: x, y, width, height, five points, score."""
    import cv2

    detector = _detector()
    detector.setInputSize((image_rgb.shape[1], image_rgb.shape[0]))
    found = detector.detect(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))[1]
    if found is None:
        return np.zeros((0, 15), np.float32)
    # On a picture a few pixels high the network's box sizes overflow: no face is there.
    kept: np.ndarray = found[(found[:, 14] >= min_score) & np.isfinite(found).all(axis=1)].copy()
    # Pixel centres: a pixel of the small image covers `scale` pixels of the proxy.
    kept[:, 4:14] = (kept[:, 4:14] + 0.5) * scale - 0.5
    kept[:, :4] *= scale
    return kept


def faces_on(media: Media, frame: int) -> np.ndarray:
    side = max(media.width_px, media.height_px)
    small = media.image(frame, SMALL_SIDE_PX)
    found = _detect(small, media.width_px / small.shape[1], MIN_SCORE)
    if len(found) == 0 and side > SMALL_SIDE_PX:
        found = _detect(media.image(frame), 1.0, MIN_SCORE_RETRY)
    order = np.lexsort((found[:, 0], -found[:, 2] * found[:, 3]))
    largest: np.ndarray = found[order][:MAX_FACES]
    return largest


def compute(media: Media, needs: Needs) -> Output:
    columns: dict[str, list[float]] = {"frame": [], **{c.name: [] for c in SIGNAL.timeline}}
    for frame in media.at(FPS):
        for number, face in enumerate(faces_on(media, frame)):
            x, y, width, height = (float(v) for v in face[:4])
            columns["frame"].append(frame)
            columns["face"].append(number)
            columns["x0"].append(min(max(x, 0.0), media.width_px))
            columns["y0"].append(min(max(y, 0.0), media.height_px))
            columns["x1"].append(min(max(x + width, 0.0), media.width_px))
            columns["y1"].append(min(max(y + height, 0.0), media.height_px))
            columns["score"].append(min(max(float(face[14]), 0.0), 1.0))
            for i, point in enumerate(POINTS):
                columns[f"{point}_x"].append(float(face[4 + 2 * i]))
                columns[f"{point}_y"].append(float(face[5 + 2 * i]))
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.table(columns, schema=schema))
