"""MediaPipe's face mesh and blendshapes, run by LiteRT: 478 points and 52 expression weights from one image."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from infra import weights
from tasks.face_geometry import NUM_POINTS, Crop
from tasks.litert import interpreter

MESH_SIDE_PX = 256
UNIT = np.float32(1 / 255)
BLENDSHAPES = (
    "neutral", "brow_down_left", "brow_down_right", "brow_inner_up", "brow_outer_up_left", "brow_outer_up_right",
    "cheek_puff", "cheek_squint_left", "cheek_squint_right", "eye_blink_left", "eye_blink_right", "eye_look_down_left",
    "eye_look_down_right", "eye_look_in_left", "eye_look_in_right", "eye_look_out_left", "eye_look_out_right",
    "eye_look_up_left", "eye_look_up_right", "eye_squint_left", "eye_squint_right", "eye_wide_left", "eye_wide_right",
    "jaw_forward", "jaw_left", "jaw_open", "jaw_right", "mouth_close", "mouth_dimple_left", "mouth_dimple_right",
    "mouth_frown_left", "mouth_frown_right", "mouth_funnel", "mouth_left", "mouth_lower_down_left",
    "mouth_lower_down_right", "mouth_press_left", "mouth_press_right", "mouth_pucker", "mouth_right",
    "mouth_roll_lower", "mouth_roll_upper", "mouth_shrug_lower", "mouth_shrug_upper", "mouth_smile_left",
    "mouth_smile_right", "mouth_stretch_left", "mouth_stretch_right", "mouth_upper_up_left", "mouth_upper_up_right",
    "nose_sneer_left", "nose_sneer_right",
)  # fmt: skip
# What the blendshape network reads, in its order, as MediaPipe's face_blendshapes_graph.cc states it.
BLENDSHAPE_INPUTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)  # fmt: skip

_own = threading.local()


def _network(name: str) -> Any:
    """One interpreter per thread and network: they keep their tensors while they run."""
    networks = _own.__dict__.setdefault("networks", {})
    if name not in networks:
        networks[name] = interpreter(weights.path(name).read_bytes())
    return networks[name]


def mesh(square_rgb: np.ndarray, crop: Crop) -> tuple[np.ndarray, float]:
    """Points float32 (478, 3) in pixels of the image, and the probability that the crop shows a face.

    The square is uint8 (256, 256, 3), the crop of the image at MESH_SIDE_PX. z has the scale of x and is smaller
    toward the viewer.
    """
    to_image = crop.to_image(MESH_SIDE_PX)
    network = _network("face_mesh")
    network.set_tensor(network.get_input_details()[0]["index"], np.multiply(square_rgb[None], UNIT, dtype=np.float32))
    network.invoke()
    outputs = network.get_output_details()
    points = network.get_tensor(outputs[0]["index"]).reshape(NUM_POINTS, 3)
    logit = float(network.get_tensor(outputs[1]["index"]).ravel()[0])
    placed = points[:, :2] @ to_image[:, :2].T + to_image[:, 2]
    depth = points[:, 2:] * (crop.side_px / MESH_SIDE_PX)
    return np.hstack([placed, depth]).astype(np.float32), float(1 / (1 + np.exp(-logit)))


def blendshapes(points: np.ndarray) -> np.ndarray:
    """52 expression weights of BLENDSHAPES, float32 in 0 to 1, from points (478, 2 or 3) in pixels."""
    network = _network("face_blendshapes")
    chosen = np.ascontiguousarray(points[list(BLENDSHAPE_INPUTS), :2], np.float32)
    network.set_tensor(network.get_input_details()[0]["index"], chosen[None])
    network.invoke()
    out: np.ndarray = network.get_tensor(network.get_output_details()[0]["index"]).ravel().copy()
    return np.clip(out, 0, 1)
