"""Whose face it is, as a vector: for identities, and for whether the face stays the same through the clip."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.face_geometry import (
    LEFT_EYE_INNER,
    LEFT_EYE_OUTER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE_TIP,
    RIGHT_EYE_INNER,
    RIGHT_EYE_OUTER,
    points_of,
)
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

WEIGHTS = "sface"
FPS = 1
DIMENSION = 128
SIDE_PX = 112
EVERY_S = 2
MIN_FACES, MAX_FACES = 3, 16
"""One face in two seconds, but three of a short clip: on 81 clips the vector of these and that of one a second agree to
a cosine of 0.99 in the median and 0.96 at worst, at half the cost."""
MIN_EYES_PX = 10.0
SAME_COSINE = 0.363
"""The threshold that SFace's authors publish for the same person."""
EMBEDDING_SCALE = 10_000

# Where the network's training put the eyes, the tip of the nose and the corners of the mouth, in a square of 112 px.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("num_faces", pa.int16(), "count", "faces looked at, at most one in two seconds", 1, MAX_FACES),
        Column("num_pooled", pa.int16(), "count", "those that show the person of the vector", 1, MAX_FACES),
        Column(
            "spread",
            pa.float32(),
            "ratio",
            "1 - mean cosine of a pooled face to the vector; 0 is a still, 0.05 a person who talks",
            0,
            2,
            4,
        ),
        Column(
            "eyes_px",
            pa.float32(),
            "px",
            "distance between the eyes' centres in source pixels, median; under 20 the vector is weak",
            0,
            20_000,
            1,
        ),
    ),
    timeline=(
        Column(
            "embedding",
            pa.list_(pa.int16()),
            "score/10000",
            "embedding of the main face on this frame, 128 values of length 1",
        ),
    ),
    vectors={"face": DIMENSION},
    needs=("landmarks",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.023,
    weights=(WEIGHTS,),
    params={
        "fps": FPS,
        "every_s": EVERY_S,
        "min_faces": MIN_FACES,
        "max_faces": MAX_FACES,
        "min_eyes_px": MIN_EYES_PX,
        "same_cosine": SAME_COSINE,
        "points": "eye centres, nose tip and mouth corners of the mesh",
    },
    backend="sface_int8",
    summary="SFace embedding of the main face, averaged over the sampled faces of the clip's main person, of length 1.",
    source="Zhong et al., SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition, TIP 2021; "
    "OpenCV Zoo weights, whose training on web-crawled celebrity faces is debated.",
)

_own = threading.local()


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no face on the sampled frames, or only faces too small to tell whose they are."""
    landmarks = needs["landmarks"]
    points = dict(zip(landmarks["frame"].to_pylist(), five_points(points_of(landmarks)), strict=True))
    frames = [f for f in media.at(FPS) if f in points]
    if not frames:
        raise NotApplicable("no face")
    frames = [f for f in frames if _eyes_px(points[f]) >= MIN_EYES_PX]
    if not frames:
        raise NotApplicable(f"no face with eyes {MIN_EYES_PX:g} px apart")
    frames = spread_evenly(frames, media.duration_s)
    faces_ND = np.stack([embedding(media.image(f), points[f]) for f in frames])
    # What the timeline holds is what the row is made of, so that both tell the same.
    fixed_ND = np.rint(faces_ND * EMBEDDING_SCALE).astype(np.int16)
    vector, of_main = pooled(fixed_ND / EMBEDDING_SCALE)
    scale = (media.source_width_px or media.width_px) / media.width_px
    timeline = {"frame": pa.array(frames, pa.int32()), "embedding": pa.array(list(fixed_ND), pa.list_(pa.int16()))}
    return Output(
        row={
            "num_faces": len(frames),
            "num_pooled": int(of_main.sum()),
            "spread": max(0.0, 1 - float((fixed_ND[of_main] / EMBEDDING_SCALE @ vector).mean())),
            "eyes_px": float(np.median([_eyes_px(points[f]) for f in frames]) * scale),
        },
        timeline=pa.table(timeline),
        vectors={"face": vector.astype(np.float32)},
    )


def five_points(points_TNC: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip and mouth corners (T, 5, 2), the subject's right first, from meshes (T, 478, 3)."""
    plane = points_TNC[..., :2]
    right = plane[:, (RIGHT_EYE_OUTER, RIGHT_EYE_INNER)].mean(axis=1)
    left = plane[:, (LEFT_EYE_INNER, LEFT_EYE_OUTER)].mean(axis=1)
    return np.stack([right, left, plane[:, NOSE_TIP], plane[:, MOUTH_RIGHT], plane[:, MOUTH_LEFT]], axis=1)


def spread_evenly(frames: list[int], duration_s: float) -> list[int]:
    """One frame for each EVERY_S, at least MIN_FACES and at most MAX_FACES of those there are."""
    num = min(len(frames), MAX_FACES, max(MIN_FACES, round(duration_s / EVERY_S)))
    return [frames[round(i)] for i in np.linspace(0, len(frames) - 1, num)]


def aligned(image_rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face (112, 112, 3) turned and scaled so that its five points (5, 2) come as near TEMPLATE as they can."""
    import cv2

    plane, wanted = points @ (1, 1j), TEMPLATE @ (1, 1j)
    away = plane - plane.mean()
    # One complex factor is rotation and scale at once.
    factor = (np.conj(away) * (wanted - wanted.mean())).sum() / max(float((np.abs(away) ** 2).sum()), 1e-9)
    moved = wanted.mean() - factor * plane.mean()
    to_square = np.array([[factor.real, -factor.imag, moved.real], [factor.imag, factor.real, moved.imag]])
    return np.asarray(cv2.warpAffine(image_rgb, to_square, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR))


def embedding(image_rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Float64 (128,) of length 1: SFace of the face whose five points are given in pixels of the image."""
    import cv2

    bgr = cv2.cvtColor(aligned(image_rgb, points), cv2.COLOR_RGB2BGR)
    raw = _recogniser().feature(bgr).ravel().astype(np.float64)
    return np.asarray(raw / max(float(np.linalg.norm(raw)), 1e-9))


def pooled(faces_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of length 1 (128,) of the faces of the clip's main person, and which faces (N,) these are.

    The main person is that of the medoid, the face nearest to all others. Faces of somebody else (under SAME_COSINE
    to the medoid) stay out: a mean of two people would resemble both, and join them.
    """
    cosine_NN = faces_ND @ faces_ND.T
    medoid = int(np.argmax(np.maximum(cosine_NN, SAME_COSINE).sum(axis=1).round(6)))
    of_main = cosine_NN[medoid] >= SAME_COSINE
    of_main[medoid] = True
    mean = faces_ND[of_main].mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9), of_main


def _eyes_px(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[1] - points[0]))


def _recogniser() -> Any:
    """One network per thread: OpenCV's networks keep state while they run."""
    if not hasattr(_own, "recogniser"):
        import cv2

        _own.recogniser = cv2.FaceRecognizerSF.create(str(weights.path(WEIGHTS)), "")
    return _own.recogniser
