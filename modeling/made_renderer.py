"""From a published checkpoint to the renderer's network, ready to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeling.recipes.renderer import Renderer
from store.registry import Checkpoint

if TYPE_CHECKING:
    from modeling.renderer import RendererNet

KIND = "renderer"


def renderer_of(found: Checkpoint) -> RendererNet:
    """Raises ValueError for a checkpoint of another kind, and for weights that can't be read, don't have the recipe's shapes,
    or hold a NaN or an infinity."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from modeling.renderer import RendererNet

    if found.told.get("kind") != KIND:
        raise ValueError(f"checkpoint {found.id}: is of kind {found.told.get('kind')!r}, not {KIND}")
    try:
        net = RendererNet(Renderer(**found.told["recipe"]))
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
