"""Files of weights as their authors publish them, with random values: right names and shapes, no sense."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from modeling.perceptual.lpips import CHANNELS, Lpips
from modeling.perceptual.syncnet import SyncNet


def lpips_folder(folder: Path, seed: int = 0) -> Path:
    """AlexNet as torchvision's file has it, its classifier with it, and heads that are nowhere below nought."""
    torch.manual_seed(seed)
    net = Lpips()
    trunk = {name: value for name, value in net.state_dict().items() if name.startswith("features.")}
    torch.save({**trunk, "classifier.6.bias": torch.zeros(3)}, folder / "alexnet-owt-00000000.pth")
    heads = {f"lin{k}.model.1.weight": torch.rand(1, channels, 1, 1) for k, channels in enumerate(CHANNELS)}
    torch.save(heads, folder / "alex.pth")
    return folder


def syncnet_file(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    net = SyncNet()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    told = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(told, folder / "syncnet_v2.model")
    return folder / "syncnet_v2.model"
