"""Whether pictures of a clip look pornographic: one score, for a person or a stricter model to look at again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.media.media import Media
from tasks.networks import per_process
from tasks.signal import Column, Look, Needs, Output, Signal

WEIGHTS = "open_nsfw"
FPS = 0.2
RESIZED_PX, CROP_PX = 256, 224
MEAN_BGR = (104.0, 117.0, 123.0)
"""What Yahoo's classify_nsfw.py takes off."""
SURE = 0.8
"""Yahoo's own word: below 0.2 likely safe, above 0.8 likely not, between them a person must look."""

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "nsfw_score",
            pa.float32(),
            "score",
            "the network's own score of pornography, worst frame; not calibrated",
            0,
            1,
            4,
        ),
        Column("nsfw_mean_score", pa.float32(), "score", "the same, mean over the frames", 0, 1, 4),
        Column("unsafe_ratio", pa.float32(), "ratio", f"share of the frames at {SURE} and above", 0, 1, 4),
        Column("num_frames", pa.int32(), "count", "frames looked at", 1, 1_000_000),
    ),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.009,
    weights=(WEIGHTS,),
    params={"fps": FPS, "resized_px": RESIZED_PX, "crop_px": CROP_PX, "sure": SURE},
    backend="open_nsfw",
    summary="Yahoo's open_nsfw on one frame in five seconds: pornography only, not violence, hate or drawn pictures. "
    "What it finds is not measured, for want of pictures that may be kept for it; false alarms are.",
    source="Mahadeokar and Pesavento, Open Sourcing a Deep Learning Solution for Detecting NSFW Images, Yahoo 2016.",
)


def compute(media: Media, needs: Needs) -> Output:
    scores = np.array([nsfw_score(media.image(frame)) for frame in media.at(FPS)])
    return Output(
        row={
            "nsfw_score": float(scores.max()),
            "nsfw_mean_score": float(scores.mean()),
            "unsafe_ratio": float((scores >= SURE).mean()),
            "num_frames": len(scores),
        }
    )


def nsfw_score(image_rgb: np.ndarray) -> float:
    """The network's score, 0 to 1, that a picture (H, W, 3) is pornographic. It is squeezed to a square, as in the original."""
    import cv2

    square = cv2.resize(image_rgb, (RESIZED_PX, RESIZED_PX), interpolation=cv2.INTER_AREA)
    margin = (RESIZED_PX - CROP_PX) // 2
    # The network was trained on decoded JPEG files; the original writes one before it crops.
    coded = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    whole = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.float32)
    bgr = whole[margin:-margin, margin:-margin] - np.array(MEAN_BGR, np.float32)
    session = _session()
    name = session.get_inputs()[0].name
    return float(np.clip(session.run(None, {name: bgr[None]})[0][0, 1], 0, 1))


@per_process
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(weights.path(WEIGHTS)), sess_options=options, providers=["CPUExecutionProvider"]
    )
