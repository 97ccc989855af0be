"""What runs the renderer's step, by one line of settings: torch or ONNX Runtime, on a CPU or a GPU.

`HEADROOM_RENDERER_RUNTIME="torch?device=cuda&dtype=float16&compile=reduce-overhead"`, or `onnx?device=tensorrt`. The warp, the
motion and H.264 stay on the CPU whatever is said here: a step of the motion's network takes less than sending it elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

import torch

from modeling.renderer import RendererNet
from modeling.renderer_export import CPU, MOST_APART, OnnxRenderer, TorchRenderer, most_apart

NAME = "HEADROOM_RENDERER_RUNTIME"
RUNTIMES = ("auto", "torch", "onnx")
DTYPES = ("auto", "float32", "bfloat16", "float16")
COMPILED = ("no", "inductor", "reduce-overhead", "aot_eager")
PROVIDERS = {
    "cpu": (CPU,),
    "cuda": ("CUDAExecutionProvider", CPU),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU),
}
NATIVE_BF16 = (8, 0)
"""From this compute capability on (Ampere) a GPU has bfloat16 itself; a T4 or a V100 would emulate it."""
MOST_APART_HALF = 0.03
"""Of a pixel from 0 to 1, in 16 bits: eight gray levels, of a change that lies in one pixel out of many."""


@dataclass(frozen=True)
class Runtime:
    """`auto` is the checkpoint's graph on the CPU where it has one, else torch there."""

    name: str = "auto"
    device: str = "cpu"
    """cpu, cuda, cuda:1; for onnx also tensorrt."""
    dtype: str = "auto"
    """Of torch: float32 on a CPU; on a GPU bfloat16 where that is native, else float16."""
    compile: str = "no"
    """Of torch: inductor, or reduce-overhead, which also records CUDA graphs."""


def runtime_of(told: str) -> Runtime:
    """Raises ValueError for what can't be, naming what can, and for a device that is not here."""
    name, _, text = told.partition("?")
    settings = dict(parse_qsl(text, keep_blank_values=True))
    known = [f.name for f in fields(Runtime)][1:]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"{NAME}: {unknown[0]!r} is none of {', '.join(known)}")
    made = Runtime(name or "auto", **settings)
    for what, value, allowed in (
        ("runtime", made.name, RUNTIMES), ("dtype", made.dtype, DTYPES), ("compile", made.compile, COMPILED),
    ):  # fmt: skip
        if value not in allowed:
            raise ValueError(f"{NAME}: {what} {value!r} is none of {', '.join(allowed)}")
    if made.name != "torch" and (made.dtype, made.compile) != ("auto", "no"):
        raise ValueError(f"{NAME}: dtype and compile are of torch; a graph runs as it was exported")
    if made.name == "onnx":
        _refuse_provider(made.device)
    else:
        _refuse_device(made)
    return made


def dtype_of(runtime: Runtime) -> torch.dtype:
    if runtime.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[runtime.dtype]
    if runtime.device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(runtime.device) >= NATIVE_BF16 else torch.float16


def step_of(runtime: Runtime, net: RendererNet, graph: bytes | None) -> OnnxRenderer | TorchRenderer:
    """Raises ValueError for a graph that is missing, and for a step that draws something else than the network does."""
    if runtime.name == "onnx" and graph is None:
        raise ValueError(f"{NAME}: the renderer has no graph; headroom export-model makes it")
    if graph is not None and runtime.name != "torch":
        step: OnnxRenderer | TorchRenderer = _of_graph(graph, runtime.device)
        most, why = MOST_APART, "its graph is of other weights; headroom export-model makes it anew"
    else:
        dtype = dtype_of(runtime)
        step = TorchRenderer(net, runtime.device, dtype, "" if runtime.compile == "no" else runtime.compile)
        if (runtime.device, dtype, runtime.compile) == ("cpu", torch.float32, "no"):
            return step  # the network itself
        most = MOST_APART if dtype == torch.float32 else MOST_APART_HALF
        why = f"on {runtime.device} in {str(dtype).removeprefix('torch.')} it draws something else than on the CPU"
    if not most_apart(net, step) <= most:
        raise ValueError(why)
    return step


def _of_graph(graph: bytes, device: str) -> OnnxRenderer:
    from onnxruntime.capi import onnxruntime_pybind11_state as refused

    try:
        return OnnxRenderer(graph, PROVIDERS[device])
    except (refused.Fail, refused.InvalidArgument, refused.InvalidGraph, refused.InvalidProtobuf) as error:
        raise ValueError(f"its graph can't be read ({error}); headroom export-model makes it anew") from error


def _refuse_device(runtime: Runtime) -> None:
    if runtime.name == "auto" and runtime.device != "cpu":
        raise ValueError(f"{NAME}: a device needs torch or onnx before it, as in torch?device={runtime.device}")
    try:
        kind = torch.device(runtime.device).type
    except RuntimeError as error:
        raise ValueError(f"{NAME}: device {runtime.device!r} is none of cpu, cuda, cuda:N") from error
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"{NAME}: device {runtime.device!r} is none of cpu, cuda, cuda:N")
    if kind == "cuda" and (torch.device(runtime.device).index or 0) >= torch.cuda.device_count():
        raise ValueError(f"{NAME}: device {runtime.device!r} is not here, or torch was built without CUDA")


def _refuse_provider(device: str) -> None:
    import onnxruntime

    if device not in PROVIDERS:
        raise ValueError(f"{NAME}: device {device!r} of onnx is none of {', '.join(PROVIDERS)}")
    have = onnxruntime.get_available_providers()
    if PROVIDERS[device][0] not in have:
        raise ValueError(
            f"{NAME}: this onnxruntime has {', '.join(have)}, and no {PROVIDERS[device][0]}; pip install onnxruntime-gpu in "
            "the place of onnxruntime"
        )
