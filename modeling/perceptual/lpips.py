"""LPIPS, the distance of two pictures in features of AlexNet, and how much more or less a video changes by it than the true one.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, version 0.1. Weights
are those of two files: the trunk as torchvision names it (`features.N.*`), and the heads as the package lpips does (`linN.*`).

Legend: T frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from modeling.perceptual.weights import fill, read_weights

TRUNK, HEADS = "alexnet*.pth", "alex.pth"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of R, G and B between -1 and 1: what the paper's code subtracts and divides by."""
CHANNELS = (64, 192, 384, 256, 256)
TAKEN_AT = (1, 4, 7, 9, 11)
"""After each of the five ReLU."""
FRAMES_AT_ONCE = 32


class Lpips(nn.Module):
    """Five layers of AlexNet, each with one weight a channel."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        one, two, three, four, five = CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(3, one, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(one, two, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(two, three, 3, padding=1), nn.ReLU(),
            nn.Conv2d(three, four, 3, padding=1), nn.ReLU(),
            nn.Conv2d(four, five, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        for number, channels in enumerate(CHANNELS):
            head = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))  # a dropout, where it was learnt
            setattr(self, f"lin{number}", nn.ModuleDict({"model": head}))
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def seen(self, frames_TCHW: Tensor) -> list[Tensor]:
        """Of frames between -1 and 1 the features of the five layers, (T, C, h, w), each of length 1 over the channels."""
        hidden, found = (frames_TCHW - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            hidden = layer(hidden)
            if number in TAKEN_AT:
                found.append(hidden / (hidden.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found

    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """The distances (T,) of pictures by what `seen` gave of them."""
        found = torch.zeros(len(a[0]), device=a[0].device)
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            head = getattr(self, f"lin{number}")["model"]
            found = found + head((one - other).square()).mean(dim=(1, 2, 3))
        return found

    @torch.inference_mode()
    def of_pictures(self, frames_THWC: np.ndarray) -> list[Tensor]:
        """`seen` of RGB uint8 pictures."""
        device, found = self.shift.device, []
        for start in range(0, len(frames_THWC), FRAMES_AT_ONCE):
            part = np.ascontiguousarray(frames_THWC[start : start + FRAMES_AT_ONCE].transpose(0, 3, 1, 2))
            found.append(self.seen(torch.from_numpy(part).to(device).float() / 127.5 - 1))
        return [torch.cat(layer) for layer in zip(*found, strict=True)]


@torch.inference_mode()
def lpips_measures(net: Lpips, made_TSSC: np.ndarray, true_TSSC: np.ndarray, frames_T: np.ndarray) -> dict[str, float]:
    """`lpips`: the mean over frames; `temporal_lpips`: the mean over neighbouring ones of how far LPIPS from the frame before
    is from what it is in the true video, lacking where no frame follows another. 0 is best of both.

    `frames_T` are the frames' numbers in their video.
    """
    made, true = net.of_pictures(made_TSSC), net.of_pictures(true_TSSC)
    found = {"lpips": float(net.between(made, true).mean())}
    follows = torch.from_numpy(np.flatnonzero(np.diff(frames_T) == 1) + 1).to(made[0].device)
    if len(follows):
        changes = [net.between([v[follows] for v in of], [v[follows - 1] for v in of]) for of in (made, true)]
        found["temporal_lpips"] = float((changes[0] - changes[1]).abs().mean())
    return found


def files_of(folder: Path) -> tuple[Path, Path]:
    """The trunk's file and the heads'. Raises ValueError where the folder has none, or several trunks."""
    trunks = sorted(folder.glob(TRUNK))
    if len(trunks) != 1 or not (folder / HEADS).is_file():
        have = ", ".join(sorted(f.name for f in folder.iterdir())[:5]) if folder.is_dir() else "no such folder"
        raise ValueError(f"{folder}: needs one file {TRUNK} and {HEADS}; it has {have or 'nothing'}")
    return trunks[0], folder / HEADS


def load(folder: Path) -> Lpips:
    """Raises ValueError for files that are lacking, can't be read, or are of another network."""
    trunk, heads = files_of(folder)
    net = Lpips()
    of_trunk, of_heads = nn.ModuleDict({"features": net.features}), nn.ModuleDict()
    for number in range(len(CHANNELS)):
        of_heads[f"lin{number}"] = getattr(net, f"lin{number}")
    fill(of_trunk, read_weights(trunk), trunk, "AlexNet of torchvision")
    fill(of_heads, read_weights(heads), heads, "heads of LPIPS 0.1 on AlexNet")
    return net.eval()
