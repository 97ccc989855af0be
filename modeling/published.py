"""Weights of a published checkpoint, put into the network of its recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from store.registry import Checkpoint

if TYPE_CHECKING:
    from torch.nn import Module

Net = TypeVar("Net", bound="Module")


def network_of(found: Checkpoint, kind: str, of_recipe: Callable[[Mapping[str, Any]], Net]) -> Net:
    """The network that `of_recipe` makes of the checkpoint's recipe, with its weights, ready to predict.

    Raises ValueError for a checkpoint of another kind, and for weights that can't be read, don't have the recipe's shapes, or
    hold a NaN or an infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if found.told.get("kind") != kind:
        raise ValueError(f"checkpoint {found.id}: is of kind {found.told.get('kind')!r}, not {kind}")
    try:
        net = of_recipe(found.told["recipe"])
        weights = load(found.weights)
        net.load_state_dict(weights)
    except (SafetensorError, RuntimeError, TypeError) as error:
        first = " ".join(str(error).split())[:200]
        raise ValueError(
            f"checkpoint {found.id}: its weights don't fit its recipe ({first}); train it again"
        ) from error
    for name, values in weights.items():
        if not bool(values.isfinite().all()):
            raise ValueError(f"checkpoint {found.id}: {name} holds values that are not finite; train it again")
    return net.eval()
