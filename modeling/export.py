"""The audio-to-motion network as an ONNX graph: one step of a stream, its state as inputs and outputs, for ONNX Runtime.

Inputs: `mel` float32 (1, M, C), M windows of whole frames (four each), and `state_0` ...; outputs: `motion` (1, T, P), and
`state_0_out` ..., to be given back at the next step. All of it is float32, so a stream may go on for ever and nothing of it
wears off. The graph says which checkpoint it is of, on which data it learnt and under which licences.

Legend: M log-mel windows, C mel bands, T frames, P predicted parameters.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from modeling.audio_to_motion import MotionNet, State
from modeling.log_mel import WINDOWS_PER_FRAME
from modeling.recipes.audio_to_motion import AudioToMotion

OPSET = 17
MOST_APART = 1e-4
"""Of a standard deviation of a person's motion; rounding alone gives 1e-6."""
CUTS = (1, 1, 10, 3, 1, 25, 2)
"""Frames in each step of the comparison: one graph must serve any cut of the sound."""


def export(net: MotionNet, about: Mapping[str, object]) -> bytes:
    """The graph of a network, compared with it before it is given; `about` is written into it as JSON, by name.

    Raises ValueError when onnx is not installed, and when the graph says something else than the network.
    """
    try:
        import onnx
    except ImportError as error:
        raise ValueError("export: onnx is not installed; pip install -e '.[export]'") from error
    state, sink = net.start(1), io.BytesIO()
    names = [f"state_{i}" for i in range(len(state))]
    with warnings.catch_warnings():
        # The exporter by torch.export unrolls a GRU, so its graph knows one length only: this one gives one GRU operator.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (_mel(2, net.recipe.num_mels, 0), *state),
            sink,  # type: ignore[arg-type]
            input_names=["mel", *names],
            output_names=["motion", *(f"{n}_out" for n in names)],
            dynamic_axes={"mel": {1: "windows"}, "motion": {1: "frames"}},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_from_string(sink.getvalue())
    onnx.checker.check_model(graph)
    told = {"recipe": json.dumps({"kind": net.recipe.kind, "num_mels": net.recipe.num_mels}), **about}
    onnx.helper.set_model_props(graph, {k: v if isinstance(v, str) else json.dumps(v) for k, v in told.items()})
    made: bytes = graph.SerializeToString()
    if (apart := most_apart(net, OnnxNet(made, net.recipe))) > MOST_APART:
        raise ValueError(f"export: the graph is {apart:.2g} away from the network, {MOST_APART:g} at most is rounding")
    return made


class OnnxNet:
    """A graph that is called as its network is: `net(mel_BMC, *state)`, begun with `start(1)`. One thread."""

    def __init__(self, graph: bytes, recipe: AudioToMotion) -> None:
        import onnxruntime

        self.recipe = recipe
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._names = [i.name for i in self._session.get_inputs()]
        self._start = MotionNet(recipe).start(1)

    def start(self, batch: int) -> State:
        if batch != 1:
            raise ValueError(f"OnnxNet: a graph is of one stream, not of {batch}")
        return self._start

    def __call__(self, mel_BMC: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        given = {n: v.numpy() for n, v in zip(self._names, (mel_BMC, *state), strict=True)}
        return tuple(torch.from_numpy(v) for v in self._session.run(None, given))

    def about(self) -> dict[str, str]:
        """What the graph says of itself."""
        return dict(self._session.get_modelmeta().custom_metadata_map)


@torch.inference_mode()
def most_apart(net: MotionNet, other: OnnxNet) -> float:
    """The largest difference of motion or state over a stream that is cut into steps of different lengths."""
    mine, theirs, apart = net.start(1), other.start(1), 0.0
    for number, frames in enumerate(CUTS):
        mel = _mel(frames, net.recipe.num_mels, number)
        made, made_too = net(mel, *mine), other(mel, *theirs)
        apart = max(apart, *(float((a - b).abs().max()) for a, b in zip(made, made_too, strict=True)))
        mine, theirs = made[1:], made_too[1:]
    return apart


def _mel(frames: int, num_mels: int, seed: int) -> Tensor:
    """Noise at the level of speech."""
    drawn = np.random.default_rng(seed).normal(0, 1, (1, frames * WINDOWS_PER_FRAME, num_mels))
    return torch.from_numpy(drawn.astype(np.float32))
