"""What every hub model shares: loading in the dtype and on the device asked for, batches that shrink when memory ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tasks.backend import Checkpoint

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class NotLoaded(ConnectionError):  # noqa: N818 - what a machine lacks now, it may have later: the row is tried again
    """The checkpoint could not be loaded on this machine; the message says what transformers said."""


def device_of(checkpoint: Checkpoint) -> torch.device:
    """The device asked for; "auto" is the first GPU, or the CPU where there is none."""
    import torch

    if checkpoint.device != "auto":
        return torch.device(checkpoint.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def part(kind: str, checkpoint: Checkpoint, **more: Any) -> Any:
    """A tokenizer, an image processor or a feature extractor of the checkpoint, by its class in transformers.

    Raises NotLoaded.
    """
    transformers: Any = import_module("transformers")
    try:
        return getattr(transformers, kind).from_pretrained(checkpoint.model, **_where(checkpoint), **more)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise NotLoaded(f"{checkpoint.model}: {kind} can't be loaded ({str(error).splitlines()[0]})") from error


def network(kind: str, checkpoint: Checkpoint, *, whole: bool = False, **more: Any) -> Any:
    """The network in its dtype on its device, for inference. `whole` refuses a checkpoint that lacks weights, for which
    transformers would draw random ones. Raises NotLoaded."""
    import torch

    torch.backends.cudnn.deterministic = True  # the same clip must give the same digest
    torch.backends.cudnn.benchmark = False
    made, told = part(kind, checkpoint, dtype=getattr(torch, checkpoint.dtype), output_loading_info=True, **more)
    lacking = sorted(told["missing_keys"])
    if whole and lacking:
        raise NotLoaded(f"{checkpoint.model}: {kind} has no weights for {lacking[0]} and {len(lacking) - 1} more")
    return made.to(device_of(checkpoint)).eval()


def image_processor(checkpoint: Checkpoint) -> Any:
    """Through Pillow: the same pixels on every machine, and no torchvision."""
    return part("AutoImageProcessor", checkpoint, backend="pil")


def moved(batch: Any, to: Any) -> dict[str, Any]:
    """A processor's output where the network `to` is, floats in its dtype."""
    return {
        name: value.to(to.device, to.dtype) if value.is_floating_point() else value.to(to.device)
        for name, value in batch.items()
    }


def in_batches(items: Sequence[T], batch_size: int, run: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
    """One result per item, `batch_size` items at a time; when memory runs out the batch is halved, and stays so.

    Raises MemoryError when one item alone is too much: the row is tried again later.
    """
    made: list[R] = []
    size = batch_size
    while len(made) < len(items):
        told = ""
        try:
            made += run(items[len(made) : len(made) + size])
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            told = str(error)
        if told:  # outside of the handler, whose frames hold what takes up the memory
            _free()
            if size == 1:
                raise MemoryError(f"one item is too much for this device: {told.splitlines()[0]}")
            size = max(1, min(size, len(items) - len(made)) // 2)
    return made


def out_of_memory(error: BaseException) -> bool:
    import torch

    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def unit(vectors_ND: Any) -> np.ndarray:
    """Rows of length 1, float64, of a tensor or a list of tensors."""
    made = np.asarray([v.float().cpu().numpy() for v in vectors_ND], np.float64)
    return np.asarray(made / np.maximum(np.linalg.norm(made, axis=-1, keepdims=True), 1e-12))


def pooled(output: Any) -> Any:
    """The pooled features (B, D) of what transformers' get_*_features give: a tensor, or an output that holds it."""
    return output if hasattr(output, "shape") else output.pooler_output


def _free() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _where(checkpoint: Checkpoint) -> dict[str, Any]:
    """A folder has no revision; nothing is fetched in the middle of a batch, and no code of a repository is run."""
    told: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    return told if checkpoint.revision.startswith("folder-") else {**told, "revision": checkpoint.revision}
