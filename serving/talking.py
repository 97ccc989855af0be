"""The motion-first pipeline: a checkpoint's motion of the sound, drawn as an avatar. Causal, on a CPU, without I chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from modeling.audio_to_motion import MotionNet
from modeling.idle_motion import Idle
from modeling.made_motion import idle_of, network, refuse_not_live
from modeling.mouth_crop import crop_affine
from serving.avatar import Avatar
from serving.checkpoints import NONE_YET, RECIPE
from serving.engine import Chunk, Module, Pipeline, Session
from serving.face_warp import FaceWarp
from serving.refined_face import Drawing, RefinedFace
from serving.speech_motion import SpeechMotion
from store import registry
from store.workspace import Workspace


def motion_module(workspace: Workspace, checkpoint: str | None = None) -> Module[tuple[MotionNet, Idle]]:
    """The checkpoint named, else the latest one of the recipe. Raises ValueError when there is none, naming the command
    that trains one, and for one that is not what was published or can't be used."""
    try:
        found = registry.load(workspace, checkpoint or RECIPE)
    except ValueError as error:
        if checkpoint is not None:
            raise
        raise ValueError(NONE_YET.format(error=error)) from error
    return Module("audio_to_motion", found.id, (_network(workspace, found), idle_of(found)))


def _network(workspace: Workspace, found: registry.Checkpoint) -> MotionNet:
    """What steps through the sound, by the setting HEADROOM_MOTION_RUNTIME: the network, or its graph, which is called as the
    network is and takes a third of the time (benchmarks/serving_backends.py). Raises ValueError for a graph that is missing or
    says something else than the network."""
    refuse_not_live(found)
    net, runtime = network(found), workspace.settings.motion_runtime
    if runtime not in ("auto", "torch", "onnx"):
        raise ValueError(f"HEADROOM_MOTION_RUNTIME {runtime!r} is none of auto, torch, onnx")
    graph = registry.exported(workspace, found.id) if runtime != "torch" else None
    if runtime == "torch" or (runtime == "auto" and graph is None):
        return net
    from modeling.export import MOST_APART, OnnxNet, most_apart

    if graph is None:
        raise ValueError(f"checkpoint {found.id}: has no graph to serve; headroom export-model {found.id[:8]} makes it")
    served = OnnxNet(graph, net.recipe)
    if not most_apart(net, served) <= MOST_APART:
        raise ValueError(f"checkpoint {found.id}: its graph is of other weights; headroom export-model makes it anew")
    return cast(MotionNet, served)


class DrawnFace:
    """The stage that draws, by the warp alone or with a renderer over it. An avatar is made ready once per session; what the
    renderer keeps of the frame before is not worth drawing again elsewhere, so it remembers nothing that matters."""

    name, remembers = "draw", False

    def __init__(self, renderer: Module[Drawing] | None = None) -> None:
        self.renderer = renderer

    def begin(self, session: Session) -> _Drawn:
        shown: Avatar = session.identity
        warp = FaceWarp(shown.plate, shown.person)
        return _Drawn(warp, self.renderer, self._face(warp))

    def step(self, state: _Drawn, chunk: Chunk) -> Iterator[Chunk]:
        assert chunk.motion is not None
        made = [state.draw(row) for row in chunk.motion]
        if made:
            state.last = chunk.motion[-1]
        yield replace(chunk, frames=[picture for picture, _ in made], squares=[square for _, square in made])

    def end(self, state: _Drawn) -> Iterator[Chunk]:
        yield from ()

    def prepare(self, state: _Drawn, other: DrawnFace) -> Callable[[], bool]:
        """Encodes who is shown for the other renderer, and lets it come to rest on the frame drawn last. That frame may be one
        chunk old by the time of the flip, which a frame or two make up for: it is never too late."""
        if other.renderer is state.renderer:
            return lambda: True
        face, last = other._face(state.warp), state.last
        if isinstance(face, RefinedFace) and last is not None:
            face.settle(last)

        def flip() -> bool:
            state.renderer, state.face = other.renderer, face
            return True

        return flip

    def _face(self, warp: FaceWarp) -> FaceWarp | RefinedFace:
        return RefinedFace(warp, self.renderer.model) if self.renderer else warp


@dataclass
class _Drawn:
    """Of one session: the warp that all renderers share, what draws now, and the motion of the frame drawn last, (P,)."""

    warp: FaceWarp
    renderer: Module[Drawing] | None
    face: FaceWarp | RefinedFace
    last: np.ndarray | None = None

    def draw(self, motion_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and where the mouth's square lies, (2, 3)."""
        if isinstance(self.face, RefinedFace):
            return self.face.drawn(motion_P)
        picture, vertices = self.warp.drawn(motion_P)
        return picture, crop_affine(vertices, self.warp.across_px)


def talking(module: Module[tuple[MotionNet, Idle]], renderer: Module[Drawing] | None = None) -> Pipeline[Chunk]:
    """The first module is that of the motion, the second, if any, the renderer: by both a pipeline is known."""
    return Pipeline([module, *([renderer] if renderer else [])], [SpeechMotion(module), DrawnFace(renderer)])
