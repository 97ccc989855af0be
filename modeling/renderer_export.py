"""The renderer's step as an ONNX graph: what the engine draws with where it is exported.

Inputs: `given` float32 (B, 5, S, S), `identity` and `state`, as modeling/renderer.py has them; outputs: `made` (B, 3, S, S) and
`after`, the state for the next frame. The identity is encoded by torch, once a session.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from modeling.mouth_crop import SIDE_PX
from modeling.renderer import GIVEN, REFERENCE, RendererNet

OPSET = 17
CPU = "CPUExecutionProvider"
MOST_APART = 1e-3
"""Of a pixel from 0 to 1: a quarter of a gray level. Rounding alone gives 1e-6."""
NUM_COMPARED = 4


def export(net: RendererNet, about: Mapping[str, object]) -> bytes:
    """The graph of a network, compared with it before it is given; `about` is written into it as JSON, by name.

    Raises ValueError when onnx is not installed, and when the graph says something else than the network.
    """
    try:
        import onnx
    except ImportError as error:
        raise ValueError("export: onnx is not installed; pip install -e '.[export]'") from error
    given, identity = _example(net, 0)
    sink = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by torch.export would need onnxscript beside onnx
        torch.onnx.export(
            net,
            (given, identity, net.start()),
            sink,  # type: ignore[arg-type]
            input_names=["given", "identity", "state"],
            output_names=["made", "after"],
            dynamic_axes={name: {0: "batch"} for name in ("given", "identity", "state", "made", "after")},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_from_string(sink.getvalue())
    onnx.checker.check_model(graph)
    onnx.helper.set_model_props(graph, {k: v if isinstance(v, str) else json.dumps(v) for k, v in about.items()})
    made: bytes = graph.SerializeToString()
    if not (apart := most_apart(net, OnnxRenderer(made))) <= MOST_APART:
        raise ValueError(f"export: the graph is {apart:.2g} away from the network, {MOST_APART:g} at most is rounding")
    return made


class OnnxRenderer:
    """A graph's step on arrays, by one thread of the CPU or by what `providers` of ONNX Runtime name:
    `made, state = run(given, identity, state)`."""

    def __init__(self, graph: bytes, providers: Sequence[str] = (CPU,)) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=list(providers))

    def __call__(self, given: np.ndarray, identity: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made, after = self._session.run(None, {"given": given, "identity": identity, "state": state})
        return made, after

    def about(self) -> dict[str, str]:
        """What the graph says of itself."""
        return dict(self._session.get_modelmeta().custom_metadata_map)


class TorchRenderer:
    """The same by torch, on any device and in any dtype that it has. Arrays go in and come out, float32."""

    def __init__(
        self, net: RendererNet, device: str = "cpu", dtype: torch.dtype = torch.float32, compiled: str = ""
    ) -> None:
        self._device, self._dtype = torch.device(device), dtype
        moved = copy.deepcopy(net).to(self._device, dtype).eval()
        self._net: Callable[..., tuple[torch.Tensor, torch.Tensor]] = moved
        if compiled == "reduce-overhead":  # CUDA graphs: a step's forty kernels cost one launch
            self._net = torch.compile(moved, mode=compiled)
        elif compiled:
            self._net = torch.compile(moved, backend=compiled)

    @torch.inference_mode()
    def __call__(self, given: np.ndarray, identity: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made, after = self._net(*(torch.from_numpy(v).to(self._device, self._dtype) for v in (given, identity, state)))
        return made.float().cpu().numpy(), after.float().cpu().numpy()


@torch.inference_mode()
def most_apart(net: RendererNet, other: OnnxRenderer | TorchRenderer) -> float:
    """The largest difference of a pixel or of the state over some frames after each other."""
    mine, apart = net.start(), 0.0
    theirs = mine.numpy()
    for number in range(NUM_COMPARED):
        given, identity = _example(net, number)
        made, mine = net(given, identity, mine)
        made_too, theirs = other(given.numpy(), identity.numpy(), theirs)
        apart = max(apart, float(np.abs(made.numpy() - made_too).max()), float(np.abs(mine.numpy() - theirs).max()))
    return apart


def _example(net: RendererNet, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    given, reference = (draw.random((1, c, SIDE_PX, SIDE_PX), np.float32) for c in (GIVEN, REFERENCE))
    with torch.no_grad():
        return torch.from_numpy(given), net.identity(torch.from_numpy(reference))
