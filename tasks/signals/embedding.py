"""What a clip looks like, as one vector: for near-duplicates, similar-clip search and balance."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.backend import Backend
from tasks.litert import interpreter
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal

FPS = 1
SIDE_PX = 224
DIMENSION = 1280
POOLED_TENSOR = "efficientnet-lite0/model/head/Squeeze1"
"""Features after the average over the image, before the classifier."""

SIGNAL = Signal(
    grain="clip",
    version=2,
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
    weights=("efficientnet_lite0",),
    params={"fps": FPS, "tensor": POOLED_TENSOR, "root": 0.5},
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

_own = threading.local()


def _network() -> Any:
    """One interpreter per thread, which ends at the pooled features instead of the classes."""
    if not hasattr(_own, "network"):
        from ai_edge_litert import schema_py_generated as schema

        model = bytearray(weights.path("efficientnet_lite0").read_bytes())
        graph = schema.Model.GetRootAsModel(model, 0).Subgraphs(0)
        names = [graph.Tensors(i).Name().decode() for i in range(graph.TensorsLength())]
        graph.OutputsAsNumpy()[0] = names.index(POOLED_TENSOR)
        _own.network = interpreter(bytes(model))
    return _own.network


def features(image_rgb: np.ndarray) -> np.ndarray:
    """Float32 (1280,), >= 0, of an RGB image of any size, which is squeezed to a square."""
    import cv2

    network = _network()
    square = cv2.resize(image_rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    network.set_tensor(network.get_input_details()[0]["index"], ((square.astype(np.float32) - 127) / 128)[None])
    network.invoke()
    out: np.ndarray = network.get_tensor(network.get_output_details()[0]["index"]).ravel().copy()
    return out


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
