"""From a published checkpoint to the renderer's network, ready to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeling.published import network_of
from modeling.recipes.renderer import Renderer
from store.registry import Checkpoint

if TYPE_CHECKING:
    from modeling.renderer import RendererNet

KIND = "renderer"


def renderer_of(found: Checkpoint) -> RendererNet:
    """Raises ValueError for a checkpoint of another kind, and for weights that can't be read, don't have the recipe's shapes,
    or hold a NaN or an infinity."""
    from modeling.renderer import RendererNet

    return network_of(found, KIND, lambda recipe: RendererNet(Renderer(**recipe)))
