"""Where people are in a picture, by MediaPipe's selfie segmenter: what lies outside is background."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from infra import weights
from tasks.litert import interpreter

WEIGHTS = "selfie_segmenter"
SIDE_PX = 256

_own = threading.local()


def person_mask(image_rgb: np.ndarray) -> np.ndarray:
    """Probability float32 (256, 256) that a place shows a person; the image, of any shape, is squeezed to a square.

    Made for one person within about 2 m of the camera; smaller people are missed.
    """
    import cv2

    network = _network()
    square = cv2.resize(image_rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    network.set_tensor(network.get_input_details()[0]["index"], square[None].astype(np.float32) / 255)
    network.invoke()
    out: np.ndarray = network.get_tensor(network.get_output_details()[0]["index"])[0, :, :, 0].copy()
    return out


def _network() -> Any:
    """One interpreter per thread: it keeps its tensors while it runs."""
    if not hasattr(_own, "network"):
        _own.network = interpreter(weights.path(WEIGHTS).read_bytes())
    return _own.network
