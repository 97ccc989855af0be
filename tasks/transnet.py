"""TransNetV2: a small network that tells, per frame, whether a shot ends there. Used by `cuts` where it is unsure.

Run by numpy on checked weights. The four branches of a layer look at the same 3 x 3 neighbourhoods, so one product of
matrices serves them all, and a worker is spared torch.

Source: Soucek and Lokoc, "TransNet V2: An effective deep network architecture for fast shot transition detection",
arXiv 2008.04838, 2020. Shapes: T frames, H 27, W 48, C channels.
"""

from __future__ import annotations

import numpy as np

from infra import weights
from tasks import checkpoint_file
from tasks.networks import per_process

HEIGHT_PX, WIDTH_PX = 27, 48
_BLOCKS, _LAYERS, _DILATIONS = 3, 2, (1, 2, 4, 8)
_REACH_FRAMES = 50
"""Each frame is compared with so many before and after it."""
_BATCH_NORM_EPS = 1e-3
_LEAST_NORM = 1e-12

Weights = dict[str, np.ndarray]


def transitions(yuv_THWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 (T,) in [0, 1]: that a frame is the last of its shot, and that it is part of a transition.

    Frames are uint8 (T, 27, 48, 3) Y, U, V squeezed to that shape whatever the aspect ratio, as in training;
    half a CPU-second for 60 of them.
    """
    w = _weights()
    rgb_THWC = _to_rgb(yuv_THWC)
    x_THWC = rgb_THWC.astype(np.float32) / 255
    means = []
    for block in range(_BLOCKS):
        x_THWC = _block(x_THWC, w, block)
        means.append(x_THWC.mean(axis=(1, 2)))
    similar = _unit(_linear(np.concatenate(means, axis=1), w, "frame_sim_layer.projection"))
    features = [
        _compared(_unit(_histograms(rgb_THWC)), w, "color_hist_layer.fc"),
        _compared(similar, w, "frame_sim_layer.fc"),
        x_THWC.reshape(len(x_THWC), -1),
    ]
    seen = np.maximum(_linear(np.concatenate(features, axis=1), w, "fc1"), 0)
    return _sigmoid(_linear(seen, w, "cls_layer1"))[:, 0], _sigmoid(_linear(seen, w, "cls_layer2"))[:, 0]


def _block(x_THWC: np.ndarray, w: Weights, block: int) -> np.ndarray:
    """Two layers, the first one's output added to the second's, then halved by the mean of 2 x 2."""
    first = np.maximum(_layer(x_THWC, w, f"SDDCNN.{block}.DDCNN.0"), 0)
    x_THWC = np.maximum(_layer(first, w, f"SDDCNN.{block}.DDCNN.1"), 0) + first
    num, height, width, channels = x_THWC.shape
    even = x_THWC[:, : height // 2 * 2, : width // 2 * 2]
    return np.asarray(even.reshape(num, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4)))


def _layer(x_THWC: np.ndarray, w: Weights, name: str) -> np.ndarray:
    """Four branches, each 3 x 3 in space and then 3 frames in time, 1, 2, 4 and 8 frames apart; normalised."""
    num, height, width, _ = x_THWC.shape
    pixels = height * width
    space, time = w[f"{name}.space"], w[f"{name}.time"]
    spread = np.empty((len(_DILATIONS), num * pixels, space.shape[2]), np.float32)
    for t in range(num):
        around = _neighbourhoods(x_THWC[t])
        for branch, kernel in zip(spread, space, strict=True):
            np.matmul(around, kernel, out=branch[t * pixels : (t + 1) * pixels])
    made = []
    for branch, (before, same, after), frames in zip(spread, time, _DILATIONS, strict=True):
        out, apart = branch @ same, frames * pixels
        if frames < num:
            out[apart:] += branch[:-apart] @ before
            out[:-apart] += branch[apart:] @ after
        made.append(out)
    x = np.concatenate(made, axis=1) * w[f"{name}.gain"] + w[f"{name}.shift"]
    return np.asarray(x.reshape(num, height, width, -1))


def _neighbourhoods(x_HWC: np.ndarray) -> np.ndarray:
    """float32 (H * W, 9 * C): of each pixel the 3 x 3 around it, row by row; black beyond the edge."""
    height, width, channels = x_HWC.shape
    padded = np.pad(x_HWC, ((1, 1), (1, 1), (0, 0)))
    parts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.stack(parts, axis=2).reshape(height * width, 9 * channels)


def _histograms(rgb_THWC: np.ndarray) -> np.ndarray:
    """float32 (T, 512): pixels by the upper three bits of each colour."""
    r, g, b = np.moveaxis(rgb_THWC.astype(np.int32) >> 5, 3, 0)
    bins = ((r << 6) + (g << 3) + b).reshape(len(rgb_THWC), -1)
    return np.stack([np.bincount(row, minlength=512) for row in bins]).astype(np.float32)


def _compared(x_TD: np.ndarray, w: Weights, name: str) -> np.ndarray:
    """What a layer makes of a frame's likeness to those around it; what lies beyond the ends is like none."""
    alike = np.pad(x_TD @ x_TD.T, ((0, 0), (_REACH_FRAMES, _REACH_FRAMES)))
    nearby = np.arange(len(x_TD))[:, None] + np.arange(2 * _REACH_FRAMES + 1)
    return np.asarray(np.maximum(_linear(np.take_along_axis(alike, nearby, axis=1), w, name), 0))


def _unit(x_TD: np.ndarray) -> np.ndarray:
    return np.asarray(x_TD / np.maximum(np.linalg.norm(x_TD, axis=1, keepdims=True), _LEAST_NORM))


def _linear(x_TD: np.ndarray, w: Weights, name: str) -> np.ndarray:
    return np.asarray(x_TD @ w[f"{name}.weight"].T + w[f"{name}.bias"])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _to_rgb(yuv_THWC: np.ndarray) -> np.ndarray:
    """BT.601, limited range."""
    y, u, v = (yuv_THWC[..., c].astype(np.float32) - zero for c, zero in enumerate((16.0, 128.0, 128.0)))
    y = y * 1.164383
    rgb_THWC = np.stack([y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u], axis=-1)
    whole_THWC: np.ndarray = np.clip(np.rint(rgb_THWC), 0, 255).astype(np.uint8)
    return whole_THWC


@per_process
def _weights() -> Weights:
    """By name: the linear layers as they are, the others as `_layer` multiplies them."""
    told: Weights = checkpoint_file.load(weights.path("transnetv2"))
    made = {k: v for k, v in told.items() if not k.startswith("SDDCNN.")}
    for name in (f"SDDCNN.{b}.DDCNN.{i}" for b in range(_BLOCKS) for i in range(_LAYERS)):
        space = [told[f"{name}.Conv3D_{d}.layers.0.weight"][:, :, 0] for d in _DILATIONS]  # out, in, y, x
        time = [told[f"{name}.Conv3D_{d}.layers.1.weight"][..., 0, 0] for d in _DILATIONS]  # out, in, t
        gain = told[f"{name}.bn.weight"] / np.sqrt(told[f"{name}.bn.running_var"] + _BATCH_NORM_EPS)
        made[f"{name}.space"] = np.stack([k.transpose(2, 3, 1, 0).reshape(-1, len(k)) for k in space])
        made[f"{name}.time"] = np.ascontiguousarray(np.stack(time).transpose(0, 3, 2, 1))
        made[f"{name}.gain"], made[f"{name}.shift"] = (
            gain,
            told[f"{name}.bn.bias"] - told[f"{name}.bn.running_mean"] * gain,
        )
    return made
