"""What runs the two networks of a live session on one core of a CPU: milliseconds a frame by each backend, beside torch in float32.

    python -m benchmarks.serving --backends [--json]

torch in float32 and bfloat16, ONNX Runtime in float32, and OpenVINO in float32 and bfloat16 where it is installed: it is no
dependency of Headroom. Without onnx, torch alone. Networks of the recipes' size, untrained, their state handed on. The backends take turns of a few frames each,
so a machine that is busy is busy for all of them: what compares is the median, over the rounds, of each one's time over torch's.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from modeling.audio_to_motion import MotionNet
from modeling.export import OnnxNet
from modeling.export import export as export_motion
from modeling.mouth_crop import SIDE_PX
from modeling.recipes.audio_to_motion import recipe
from modeling.recipes.renderer import renderer
from modeling.renderer import GIVEN, RendererNet
from modeling.renderer_export import OnnxRenderer, TorchRenderer
from modeling.renderer_export import export as export_renderer

ROUNDS, FRAMES = 30, {"motion": 40, "renderer": 8}
"""Turns of each backend, and frames in one of them."""
BASE = "torch float32"
Step = Callable[[], np.ndarray]
"""One frame: what it made, to be compared."""


def backends(rounds: int = ROUNDS) -> dict[str, Any]:
    """By network: {"BACKEND": {"ms", "ratio", "apart"}}; `apart` is the most by which it differs from torch in float32 over the
    first frames."""
    torch.manual_seed(0)
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    if openvino() is not None:
        versions["openvino"] = version("openvino")
    return {
        "versions": versions,
        "motion": _timed("motion", _motion(), rounds),
        "renderer": _timed("renderer", _renderer(), rounds),
    }


def openvino() -> Any:
    try:
        import openvino as found
    except ImportError:
        return None
    return found


def table(told: dict[str, Any]) -> str:
    of = ", ".join(f"{name} {what}" for name, what in told["versions"].items())
    lines = [f"| {of} | motion, ms a frame | of torch's | renderer, ms a frame | of torch's |", "|---|---|---|---|---|"]
    for name in told["motion"]:
        cells = [f"{one['ms']:.3f} | {one['ratio']:.2f}" for one in (told["motion"][name], told["renderer"][name])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _timed(network: str, steps: dict[str, Step], rounds: int) -> dict[str, Any]:
    first = {name: [step() for _ in range(4)] for name, step in steps.items()}  # they warm up too
    apart = {
        name: max(float(np.abs(a - b).max()) for a, b in zip(made, first[BASE], strict=True))
        for name, made in first.items()
    }
    took: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            for _ in range(FRAMES[network]):
                step()
            took[name].append(1000 * (time.process_time() - began) / FRAMES[network])
    base = np.array(took[BASE])
    return {
        name: {"ms": float(np.median(of)), "ratio": float(np.median(np.array(of) / base)), "apart": apart[name]}
        for name, of in took.items()
    }


def _motion() -> dict[str, Step]:
    net = MotionNet(recipe("audio_to_motion")).eval()
    mel = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, 4, net.recipe.num_mels)).astype(np.float32))
    graph = _graph(export_motion, net)

    def stepping(of: Any, dtype: torch.dtype = torch.float32) -> Step:
        state = [s.to(dtype) for s in net.start(1)]

        @torch.inference_mode()
        def step() -> np.ndarray:
            nonlocal state
            made, *state = of(mel.to(dtype), *state)
            return made.float().numpy().copy()

        return step

    steps = {
        BASE: stepping(net),
        "torch bfloat16": stepping(copy.deepcopy(net).to(torch.bfloat16), torch.bfloat16),
    }
    if graph is not None:
        steps["ONNX Runtime float32"] = stepping(OnnxNet(graph, net.recipe))
    return steps | {
        name: _by_openvino(run, [mel.numpy(), *(s.numpy() for s in net.start(1))], 1) for name, run in _compiled(graph)
    }


def _renderer() -> dict[str, Step]:
    net = RendererNet(renderer()).eval()
    torch.nn.init.normal_(net.leave.weight, std=0.02)  # else it paints nothing, and nothing is apart
    draw, state = np.random.default_rng(0), net.start().numpy()
    given = draw.random((1, GIVEN, SIDE_PX, SIDE_PX), np.float32)
    identity = draw.random((1, net.recipe.identity_width, *state.shape[2:]), np.float32)
    graph = _graph(export_renderer, net)

    def stepping(of: Any) -> Step:
        held = state

        def step() -> np.ndarray:
            nonlocal held
            made, held = of(given, identity, held)
            return np.array(made)

        return step

    steps = {
        BASE: stepping(TorchRenderer(net)),
        "torch bfloat16": stepping(TorchRenderer(net, dtype=torch.bfloat16)),
    }
    if graph is not None:
        steps["ONNX Runtime float32"] = stepping(OnnxRenderer(graph))
    return steps | {name: _by_openvino(run, [given, identity, state], 2) for name, run in _compiled(graph)}


def _graph(export: Callable[[Any, dict[str, Any]], bytes], net: Any) -> bytes | None:
    """None where onnx, which makes it, is not installed: then torch alone is timed."""
    return export(net, {}) if find_spec("onnx") else None


def _compiled(graph: bytes | None) -> Iterator[tuple[str, Any]]:
    if (found := openvino()) is None or graph is None:
        return
    core = found.Core()
    for name, precision in (("OpenVINO float32", "f32"), ("OpenVINO bfloat16", "bf16")):
        told = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        yield name, core.compile_model(core.read_model(graph), "CPU", told).create_infer_request()


def _by_openvino(run: Any, given: list[np.ndarray], num_given: int) -> Step:
    """The first outputs are what it made, the others the state of the next frame."""
    fixed, state = given[:num_given], given[num_given:]

    def step() -> np.ndarray:
        nonlocal state
        told = run.infer([*fixed, *state])
        made, *after = (np.array(told[n]) for n in range(1 + len(state)))
        state = after
        return made

    return step
