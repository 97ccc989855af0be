"""A head whose mesh and picture are known: MediaPipe's canonical face, with irises, on a plain picture. And renderers for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from modeling.mesh_warp import Plate
from modeling.motion import NUM_PARAMETERS, Person, mouth_of, upright
from modeling.mouth_inside import painted_inside
from modeling.recipes.renderer import renderer
from modeling.renderer import RendererNet
from serving.face_warp import FaceWarp
from store import registry
from store.workspace import Workspace
from tasks.head_geometry import angles_of, head_turns
from tests.face_meshes import turned_face

SIDE = 128


def plate() -> Plate:
    """Stripes, so that a warp can be seen."""
    points = turned_face(scale=0.42, center_px=(SIDE / 2, SIDE / 2)).astype(np.float64)
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.stack([150 + 60 * ((x // 8) % 2), 110 + 60 * ((y // 8) % 2), np.full_like(x, 100)], axis=-1).astype(
        np.uint8
    )
    return Plate(picture, points, painted_inside(picture, points))


def person(points: np.ndarray) -> Person:
    angles = angles_of(head_turns(points[None]))[:, [1, 0, 2]]
    rest, scale = np.zeros(NUM_PARAMETERS), np.ones(NUM_PARAMETERS)
    rest[:4] = mouth_of(upright(points[None], angles))[0]
    scale[:4] = (0.05, 0.04, 0.07, 1.6)
    rest[4:6], scale[4:6] = 0.3, -0.3
    rest[6:], scale[6:] = angles[0], 10
    return Person(rest, scale)


def warp() -> FaceWarp:
    made = plate()
    return FaceWarp(made, person(made.points))


def net(seed: int = 0, painted: float = 0.2) -> RendererNet:
    torch.manual_seed(seed)
    made = RendererNet(renderer("renderer_tiny")).eval()
    torch.nn.init.normal_(made.leave.weight, std=painted)
    return made


def publish(workspace: Workspace, made: RendererNet, weights: bytes | None = None, **more: Any) -> str:
    from safetensors.torch import save

    told = {
        "kind": "renderer",
        "recipe": asdict(made.recipe),
        "snapshot": {"id": "s0", "sha256": "0", "tier": "t"},
        "data": {"licences": {}},
        "code": {"commit": "c"},
        **more,
    }
    return registry.publish(workspace, weights or save(dict(made.state_dict())), told).id
