"""LSE-D and LSE-C: how far lips are from the sound that goes with them, by SyncNet.

Sources: Chung and Zisserman, "Out of Time: Automated Lip Sync in the Wild", ACCV-W 2016, of which the network's second version
was published as syncnet_v2.model; Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In the
Wild", MM 2020, which names the two measures. Headroom's own signal of lip sync is another network and has other units.

Legend: T frames at 25 fps, W windows of 5 of them, D embedding, R rows of MFCC, four a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pairwise_distance

from modeling.perceptual.mfcc import mfcc
from modeling.perceptual.weights import fill, read_weights

SIDE_PX = 224
WINDOW_FRAMES, ROWS_PER_FRAME = 5, 4
MAX_OFFSET = 15
"""Frames, 0.6 s, by which the sound is moved either way."""
WINDOWS_AT_ONCE = 16
SAMPLES_PER_FRAME = 640


class SyncNet(nn.Module):
    """Two towers that give 1024 numbers each: of 5 frames of a face, and of the 0.2 s of sound with them. Parts have the names
    and the places that they have in syncnet_v2.model."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_flat(1, 64, (3, 3), (1, 1)), nn.Identity(),
            *_flat(64, 192, (3, 3), (1, 1)), nn.MaxPool2d((3, 3), (1, 2)),
            *_flat(192, 384, (3, 3), (1, 1)), *_flat(384, 256, (3, 3), (1, 1)), *_flat(256, 256, (3, 3), (1, 1)),
            nn.MaxPool2d((3, 3), (2, 2)), *_flat(256, 512, (5, 4), (0, 0)),
        )  # fmt: skip
        self.netcnnlip = nn.Sequential(
            *_deep(3, 96, (5, 7, 7), (0, 0, 0), 2), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_deep(96, 256, (1, 5, 5), (0, 1, 1), 2), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_deep(256, 256, (1, 3, 3), (0, 1, 1)), *_deep(256, 256, (1, 3, 3), (0, 1, 1)),
            *_deep(256, 256, (1, 3, 3), (0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_deep(256, 512, (1, 6, 6), (0, 0, 0)),
        )  # fmt: skip
        self.netfcaud, self.netfclip = _last(), _last()

    def sounds(self, rows_W1CR: Tensor) -> Tensor:
        """(W, D) of MFCC, (W, 1, 13, 20)."""
        return Tensor(self.netfcaud(self.netcnnaud(rows_W1CR).flatten(1)))

    def lips(self, faces_WCTHW: Tensor) -> Tensor:
        """(W, D) of faces, (W, 3, 5, 224, 224), blue first, from 0 to 255."""
        return Tensor(self.netfclip(self.netcnnlip(faces_WCTHW).flatten(1)))


def _flat(into: int, out: int, kernel: tuple[int, int], padding: tuple[int, int]) -> list[nn.Module]:
    return [nn.Conv2d(into, out, kernel, padding=padding), nn.BatchNorm2d(out), nn.ReLU()]


def _deep(into: int, out: int, kernel: Any, padding: Any, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv3d(into, out, kernel, stride=(1, stride, stride), padding=padding)
    return [layer, nn.BatchNorm3d(out), nn.ReLU()]


def _last() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


def load(path: Path) -> SyncNet:
    """Raises ValueError for a file that is lacking, can't be read, or is of another network."""
    net = SyncNet()
    fill(net, read_weights(path), path, "SyncNet V2 (syncnet_v2.model)")
    return net.eval()


def lse_measures(
    net: SyncNet, faces: Mapping[str, Sequence[np.ndarray]], frames_T: np.ndarray, sound_N: np.ndarray
) -> dict[str, dict[str, float]]:
    """By who is shown: `lse_d`, the least over 31 offsets of the mean distance between lips and sound, lower is better;
    `lse_c`, the median of the 31 less the least, higher is surer.

    `faces` are by who RGB uint8, one a frame, of any one size; `frames_T` their numbers in the sound, frame 0 at its beginning.
    Only windows count that have sound for all offsets: where none has, as in a clip of under 1.44 s, nobody is measured.
    """
    last = len(sound_N) // SAMPLES_PER_FRAME - WINDOW_FRAMES - 1  # of the sound's windows: MFCC end a row early
    at = [
        row
        for row in range(len(frames_T) - WINDOW_FRAMES + 1)
        if frames_T[row + WINDOW_FRAMES - 1] - frames_T[row] == WINDOW_FRAMES - 1
        and MAX_OFFSET <= frames_T[row] <= last - MAX_OFFSET
    ]
    if not at:
        return {}
    rows_RC = mfcc(sound_N)
    heard = np.unique(np.concatenate([np.arange(f - MAX_OFFSET, f + MAX_OFFSET + 1) for f in frames_T[at]]))
    windows = [rows_RC[ROWS_PER_FRAME * f : ROWS_PER_FRAME * (f + WINDOW_FRAMES)].T[None] for f in heard]
    sounds = _embedded(net, net.sounds, windows)
    places, found = np.searchsorted(heard, frames_T[at]), {}
    for who, shown in faces.items():
        pictures = np.stack([_ready(face) for face in shown])
        lips = _embedded(net, net.lips, [pictures[row : row + WINDOW_FRAMES].transpose(3, 0, 1, 2) for row in at])
        found[who] = lse(lips, sounds, places)
    return found


def lse(lips_WD: Tensor, sounds_VD: Tensor, at_W: np.ndarray) -> dict[str, float]:
    """Of embeddings; window w of the lips belongs to sound at_W[w], whose neighbours are those of the frames beside it."""
    places = torch.from_numpy(np.asarray(at_W)[:, None] + np.arange(-MAX_OFFSET, MAX_OFFSET + 1))
    apart = pairwise_distance(lips_WD[:, None], sounds_VD[places]).mean(dim=0)
    return {"lse_d": float(apart.min()), "lse_c": float(apart.median() - apart.min())}


def _ready(face_HWC: np.ndarray) -> np.ndarray:
    """224 px, blue first: SyncNet learnt from pictures as OpenCV reads them."""
    return np.asarray(cv2.resize(face_HWC, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)[..., ::-1])


@torch.inference_mode()
def _embedded(net: SyncNet, tower: Callable[[Tensor], Tensor], windows: Sequence[np.ndarray]) -> Tensor:
    device, found = next(net.parameters()).device, []
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        part = np.stack(windows[start : start + WINDOWS_AT_ONCE]).astype(np.float32)
        found.append(tower(torch.from_numpy(part).to(device)).cpu())
    return torch.cat(found)
