"""What a session needs, small: an untrained network, a drawn head, and a workspace that published the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from fastapi import FastAPI

from modeling.audio_to_motion import MotionNet
from modeling.idle_motion import Idle
from modeling.recipes.audio_to_motion import recipe
from modeling.renderer_export import TorchRenderer
from serving.avatar import Avatar
from serving.checkpoints import Checkpoints
from serving.engine import Chunk, Module, Pipeline
from serving.gateway import make_app
from serving.lines import pair
from serving.refined_face import Drawing
from serving.routing import Gateway
from serving.sessions import Sessions
from serving.talking import talking
from serving.worker import work
from store import deployments, registry
from store.workspace import Workspace
from tests.unit.serving.faces import net, person, plate

IDLE = Idle(blinks_per_min=26, blink_depth=0.9, sway=(0.2, 0.3, 0.1), pole=(0.9, 0.9, 0.9))


def tiny(kind: str = "gru", seed: int = 0) -> MotionNet:
    torch.manual_seed(seed)
    return MotionNet(recipe("audio_to_motion_tiny", kind=kind)).eval()


def head(key: str = "drawn") -> Avatar:
    made = plate()
    return Avatar(key, "Drawn", made, person(made.points))


def pipeline(checkpoint: str = "c0", seed: int = 0) -> Pipeline[Chunk]:
    return talking(Module("audio_to_motion", checkpoint, (tiny(seed=seed), IDLE)))


def painter(checkpoint: str = "r0", seed: int = 0) -> Module[Drawing]:
    """A renderer whose last layer was drawn by lot."""
    painted = net(seed)
    return Module("renderer", checkpoint, Drawing(painted, TorchRenderer(painted)))


def held(*others: str) -> Checkpoints:
    """`c0` serves; the others can be loaded, and nothing else."""

    def load(checkpoint: str) -> Pipeline[Chunk]:
        if checkpoint not in others:
            raise ValueError(f"checkpoint {checkpoint}: its weights are not what was published")
        return pipeline(checkpoint, seed=1 + others.index(checkpoint))

    return Checkpoints(pipeline(), load)


def served(
    checkpoints: Checkpoints, avatars: Sequence[Avatar], capacity: int, probe_key: str = "", *beside: Any
) -> tuple[Gateway, Sessions, FastAPI]:
    """A gateway with one worker in this process; its app runs both."""
    gateway, sessions = Gateway(avatars, probe_key), Sessions(checkpoints, capacity)
    return gateway, sessions, make_app(gateway, partial(local_worker, gateway, sessions), *beside)


async def local_worker(gateway: Gateway, sessions: Sessions, name: str = "here") -> None:
    ours, theirs = pair()
    await asyncio.gather(gateway.attach(ours), work(sessions, theirs, name))


def promoted(workspace: Workspace, checkpoint: str, kind: str) -> None:
    """Deploys it without looking at it."""
    told = deployments.begin(workspace, checkpoint, kind)
    deployments.to_canary(workspace, told, 0.1)
    deployments.promote(workspace, told, "passed")


def published(workspace: Workspace, **more: str) -> str:
    from safetensors.torch import save

    net = tiny()
    told = {
        "kind": "audio_to_motion",
        "recipe": {**asdict(net.recipe), "name": "audio_to_motion"},
        "idle": json.loads(json.dumps(IDLE.to_dict())),
        "snapshot": {"id": "s0", "sha256": "0", "tier": "t"},
        **more,
    }
    return registry.publish(workspace, save(dict(net.state_dict())), told).id
