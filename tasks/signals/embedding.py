"""What a clip looks like, as one vector: for near-duplicates, similar-clip search and balance."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.backend import Backend
from tasks.efficientnet import DIMENSION, SIDE_PX, WEIGHTS, feature_map
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal

FPS = 1

SIGNAL = Signal(
    grain="clip",
    version=3,
    columns=(
        Column("num_frames", pa.int32(), "count", "frames that were pooled", 1, 1_000_000),
        Column(
            "temporal_spread",
            pa.float32(),
            "ratio",
            "1 - mean cosine of a frame to the clip's vector; 0 is static",
            0,
            1,
            5,
        ),
    ),
    vectors={"video": DIMENSION},
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.007,
    weights=(WEIGHTS,),
    params={"fps": FPS, "root": 0.5},
    backend="efficientnet_lite0",
    summary="EfficientNet-lite0 features (ImageNet) of one frame a second, square-rooted, averaged, of length 1.",
    source="Tan and Le, EfficientNet, ICML 2019; lite0 for MediaPipe Image Classifier. Root: Arandjelovic, CVPR 2012.",
)

BACKENDS = {
    "siglip": Backend(
        run="tasks.backends.siglip:embedding",
        model="google/siglip2-base-patch16-224",
        licence="Apache-2.0",
        source="Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023; SigLIP 2, arXiv 2502.14786.",
        changes={"vectors": {"video": 768}, "weights": (), "resources": Resources(gpu_gib=2.0)},
    ),
}


def features(image_rgb: np.ndarray) -> np.ndarray:
    """Float32 (1280,), >= 0, of an RGB image of any size, which is squeezed to a square."""
    import cv2

    square = cv2.resize(image_rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(feature_map(square).mean(axis=(0, 1)))


def compute(media: Media, needs: Needs) -> Output:
    images = [media.image(frame, 320) for frame in media.at(FPS)]
    # The root damps the few features that fire on every talking head.
    frames = np.sqrt(np.stack([features(image) for image in images]).clip(min=0).astype(np.float64))
    frames /= np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
    pooled = frames.mean(axis=0)
    length = float(np.linalg.norm(pooled))
    video = pooled / max(length, 1e-12)
    spread = 1 - float((frames @ video).mean())
    return Output(
        row={"num_frames": len(images), "temporal_spread": min(max(spread, 0.0), 1.0)},
        vectors={"video": video.astype(np.float32)},
    )
