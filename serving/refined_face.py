"""The drawn face with what a renderer's checkpoint adds to its lower half: teeth, tongue, shadow, and seams of skin.

The warp draws the whole picture; a square of it around the mouth goes through the network, and what that changes is added
where the square lies (modeling/mouth_crop.py), nothing at the square's border. What remains of a session is the state of one
frame; a session that goes on elsewhere begins it anew, which a few frames make up for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from modeling.made_renderer import KIND, renderer_of
from modeling.mouth_crop import add, crop_affine, cut, masks, placed
from modeling.renderer import RendererNet
from modeling.renderer_runtime import runtime_of, step_of
from serving.checkpoints import WARP_ALONE
from serving.engine import Module
from serving.face_warp import FaceWarp
from store import deployments, registry
from store.workspace import Workspace

SETTLE_STEPS = 4
"""A mouth that is held still changes by under a gray level after so many."""
Step = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Drawing:
    """`net` encodes who is shown, once a session; `step` draws, for one session or, along the first axis, for several."""

    net: RendererNet
    step: Step


def renderer_module(workspace: Workspace, checkpoint: str | None = None) -> Module[Drawing] | None:
    """The renderer named, else the one that is deployed; None for "none" and where none is deployed.

    Raises ValueError for a checkpoint that is not what was published or can't be used, for a graph of other weights, and for a
    HEADROOM_RENDERER_RUNTIME that can't be.
    """
    name = checkpoint or deployments.serving(workspace, KIND).stable
    if not name or name == WARP_ALONE:
        return None
    found = registry.load(workspace, name)
    net = renderer_of(found)
    runtime = runtime_of(workspace.settings.renderer_runtime)
    try:
        return Module(KIND, found.id, Drawing(net, step_of(runtime, net, registry.exported(workspace, found.id))))
    except ValueError as error:
        raise ValueError(f"checkpoint {found.id}: {error}") from error


@dataclass
class Placed:
    """A frame on its way: the warped picture, where the square lies in it, and what the network is given, (5, S, S)."""

    picture: np.ndarray
    affine: np.ndarray
    given: np.ndarray


class RefinedFace:
    """Draws one session: a frame follows from its motion and from the frame before."""

    def __init__(self, warp: FaceWarp, drawing: Drawing) -> None:
        self._warp, self._step = warp, drawing.step
        plate = warp.plate
        affine = crop_affine(plate.points, warp.across_px)
        reference = np.concatenate([_channels(cut(picture, affine)) for picture in (plate.picture, plate.inside)])
        with torch.inference_mode():
            self.identity = drawing.net.identity(torch.from_numpy(reference)[None]).numpy()
        self.state = drawing.net.start().numpy()

    def draw(self, motion_P: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one row of normalised motion."""
        return self.drawn(motion_P)[0]

    def drawn(self, motion_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and where its square lies, (2, 3)."""
        placed = self.place(motion_P)
        made, self.state = self._step(placed.given[None], self.identity, self.state)
        return self.finish(placed, made[0]), placed.affine

    def settle(self, motion_P: np.ndarray) -> None:
        """Comes to rest on a frame without drawing it: what follows does not begin with the state of nothing."""
        placed = self.place(motion_P)
        for _ in range(SETTLE_STEPS):
            _, self.state = self._step(placed.given[None], self.identity, self.state)

    def place(self, motion_P: np.ndarray) -> Placed:
        picture, vertices = self._warp.drawn(motion_P)
        affine = crop_affine(vertices, self._warp.across_px)
        lips = masks(placed(vertices, affine)).astype(np.float32) / 255
        return Placed(picture, affine, np.concatenate([_channels(cut(picture, affine)), lips]))

    def finish(self, placed: Placed, made_CSS: np.ndarray) -> np.ndarray:
        change = 255 * (made_CSS - placed.given[:3]).transpose(1, 2, 0)
        return add(placed.picture, np.ascontiguousarray(change, np.float32), placed.affine)


def _channels(picture: np.ndarray) -> np.ndarray:
    """float32 (3, S, S) from 0 to 1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / 255
