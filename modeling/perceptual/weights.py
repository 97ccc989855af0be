"""Weights from files of other projects, put into networks of ours by the names that they have there."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of torch.save by name, on the CPU; nothing but tensors is read. Raises ValueError for a file that
    is not there or holds anything else."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: can't be read as weights ({' '.join(str(error).split())[:150]})") from error
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(
            f"{path}: holds no state dict, tensors by name; save that alone: torch.save(net.state_dict(), FILE)"
        )
    return dict(found)


def fill(net: nn.Module, given: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Copies into a network the tensors of its names; others are passed over, such as a classifier that it does without.

    Raises ValueError where one is lacking, has another shape, or holds a NaN or an infinity.
    """
    for name, own in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # torch before 0.4.1 wrote none, and judging needs none
        if name not in given:
            raise ValueError(f"{path}: is no {what}, it has no {name}; it has {_first(given)}")
        if given[name].shape != own.shape:
            shapes = f"{tuple(given[name].shape)}, not {tuple(own.shape)}"
            raise ValueError(f"{path}: is no {what}, its {name} has shape {shapes}")
        if not bool(given[name].isfinite().all()):
            raise ValueError(f"{path}: {name} holds values that are not finite; fetch it again")
        own.copy_(given[name])


def digest_of(files: Sequence[Path]) -> str:
    """Of their whole content: figures made with other weights are told apart by it."""
    state = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            state.update(hashlib.file_digest(handle, "sha256").digest())
    return f"sha256-{state.hexdigest()[:16]}"


def _first(given: Mapping[str, Tensor]) -> str:
    names = list(given)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nothing"
