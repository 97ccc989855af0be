"""What is behind the people, as one vector: for balance over rooms, and to tell a person from his room."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.face_geometry import DETECTION_STEP, box_of, face_rows
from tasks.litert import interpreter
from tasks.media.media import Media
from tasks.person_mask import WEIGHTS as MASK_WEIGHTS
from tasks.person_mask import person_mask
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

FPS = 1
LOOK_SIDE_PX = 320
SIDE_PX = 224
DIMENSION = 1280
EVERY_S, MAX_FRAMES = 4, 4
"""Backgrounds change little: one frame in four seconds, at most four."""
PERSON_PROB = 0.3
"""Low, so that hair and shoulders that the segmenter is unsure of count as person."""
GROW_PX = 7
FACE_GROWTH = 0.35
"""Of its height on each side: a face that the segmenter misses, such as one far behind, is masked with its hair."""
MISSED_PROB = 0.5
MIN_BACKGROUND = 0.04
FEATURE_MAP = (
    "efficientnet-lite0/model/head/Relu6;efficientnet-lite0/model/head/tpu_batch_normalization/FusedBatchNormV3;"
    "efficientnet-lite0/head/conv2d/kernel;efficientnet-lite0/model/head/conv2d/Conv2D1"
)
"""Features (7, 7, 1280) before the average over the image."""

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("num_frames", pa.int16(), "count", "frames that were averaged", 1, MAX_FRAMES),
        Column("background_ratio", pa.float32(), "ratio", "share of the frame that is no person, mean", 0, 1, 4),
        Column(
            "spread",
            pa.float32(),
            "ratio",
            "1 - mean cosine of a frame's background to the vector; 0 is a static room",
            0,
            1,
            4,
        ),
    ),
    vectors={"background": DIMENSION},
    needs=("faces",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.016,
    weights=(MASK_WEIGHTS, "efficientnet_lite0"),
    params={
        "fps": FPS,
        "every_s": EVERY_S,
        "max_frames": MAX_FRAMES,
        "person_prob": PERSON_PROB,
        "grow_px": GROW_PX,
        "face_growth": FACE_GROWTH,
        "missed_prob": MISSED_PROB,
        "min_background": MIN_BACKGROUND,
        "fill": "blurred background",
    },
    backend="efficientnet_lite0_masked",
    summary="EfficientNet-lite0 features of the picture with the people painted over, pooled over the background only.",
    source="Tan and Le, EfficientNet, ICML 2019; person mask by MediaPipe Selfie Segmentation.",
)

_own = threading.local()


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable where people fill the picture."""
    frames = media.at(FPS)
    num = min(len(frames), MAX_FRAMES, max(1, round(media.duration_s / EVERY_S)))
    chosen = [frames[round(i)] for i in (np.arange(num) + 0.5) * len(frames) / num - 0.5]
    rows = face_rows(needs["faces"])
    features, ratios = [], []
    for frame in chosen:
        image = media.image(frame, LOOK_SIDE_PX)
        behind = background_of(image, faces_at(rows, frame, image.shape[1] / media.width_px))
        ratios.append(float(behind.mean()))
        if ratios[-1] >= MIN_BACKGROUND:
            features.append(masked_features(image, behind))
    if not features:
        raise NotApplicable(f"under {MIN_BACKGROUND:.0%} of the picture is background")
    frames_ND = np.stack(features)
    mean = frames_ND.mean(axis=0)
    vector = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return Output(
        row={
            "num_frames": len(features),
            "background_ratio": float(np.mean(ratios)),
            "spread": min(max(1 - float((frames_ND @ vector).mean()), 0.0), 1.0),
        },
        vectors={"background": vector.astype(np.float32)},
    )


def faces_at(rows: list[dict[str, float]], frame: int, scale: float) -> list[tuple[int, int, int, int]]:
    """Boxes of all faces detected nearest to the frame, in pixels of the small picture."""
    boxes = [box_of(r) for r in rows if abs(r["frame"] - frame) < DETECTION_STEP]
    return [(round(b.x0 * scale), round(b.y0 * scale), round(b.x1 * scale), round(b.y1 * scale)) for b in boxes]


def background_of(image_rgb: np.ndarray, faces: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Bool (H, W): where no person is."""
    import cv2

    height, width = image_rgb.shape[:2]
    prob = cv2.resize(person_mask(image_rgb), (width, height), interpolation=cv2.INTER_LINEAR)
    person = prob >= PERSON_PROB
    for x0, y0, x1, y1 in faces:
        inside = prob[y0:y1, x0:x1]
        if inside.size and inside.mean() < MISSED_PROB:
            grown = round(FACE_GROWTH * (y1 - y0))
            person[max(0, y0 - grown) : y1 + grown, max(0, x0 - grown) : x1 + grown] = True
    masked = cv2.dilate(person.astype(np.uint8), np.ones((GROW_PX, GROW_PX), np.uint8))
    return np.asarray(masked == 0)


def masked_features(image_rgb: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Float64 (1280,) of length 1: features pooled over the background, each cell by its share of it, square-rooted.

    People are painted over by the blurred background first: a cell's features see far beyond its own place.
    """
    import cv2

    square = cv2.resize(image_rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(behind.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)[..., None]
    share = (share > 0.999).astype(np.float32)  # a pixel that is part person would let him through
    network = _network()
    told = (painted_over(square, share) - 127) / 128
    network.set_tensor(network.get_input_details()[0]["index"], told[None].astype(np.float32))
    network.invoke()
    map_HWD = network.get_tensor(network.get_output_details()[0]["index"])[0].astype(np.float64)
    cells = cv2.resize(share[..., 0], map_HWD.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float64)
    pooled = np.sqrt(((map_HWD * cells[..., None]).sum(axis=(0, 1)) / max(float(cells.sum()), 1e-9)).clip(min=0))
    return np.asarray(pooled / max(float(np.linalg.norm(pooled)), 1e-12))


def painted_over(image: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) where `share` (H, W, 1) is 1, and where it is 0 the mean of what is seen around it."""
    import cv2

    filled = image * share
    weight = share.copy()
    for sigma in (4.0, 16.0, 64.0):  # near surroundings first, wider ones where nothing is near
        blurred = cv2.GaussianBlur(image * share, (0, 0), sigma)
        seen = cv2.GaussianBlur(share, (0, 0), sigma)[..., None]
        here = (1 - weight) * np.minimum(1, 8 * seen)
        filled = filled + here * blurred / np.maximum(seen, 1e-6)
        weight = weight + here
    mean = (image * share).sum(axis=(0, 1)) / max(float(share.sum()), 1e-6)
    return np.asarray(filled + (1 - weight) * mean)


def _network() -> Any:
    """One interpreter per thread, which ends at the feature map."""
    if not hasattr(_own, "network"):
        from ai_edge_litert import schema_py_generated as schema

        model = bytearray(weights.path("efficientnet_lite0").read_bytes())
        graph = schema.Model.GetRootAsModel(model, 0).Subgraphs(0)
        names = [graph.Tensors(i).Name().decode() for i in range(graph.TensorsLength())]
        graph.OutputsAsNumpy()[0] = names.index(FEATURE_MAP)
        _own.network = interpreter(bytes(model))
    return _own.network
