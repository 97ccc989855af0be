"""What a renderer must show before it becomes a canary (flows/deploy.py): gates on its evaluation and on its speed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.deploy_gates import WORSE_RATIO, Gate, part_of
from flows.renderer_beside import SERVING
from modeling.made_renderer import renderer_of
from store import registry
from store.workspace import Workspace

if TYPE_CHECKING:
    from modeling.renderer import RendererNet
    from modeling.renderer_export import OnnxRenderer, TorchRenderer

MOST_FRAME_MS = 12.0
"""Of one core, beside 8 for motion, warp, H.264 and the gateway: 30 frames a second have 33, so a core that takes 1.6 times
as long still keeps up."""
LEAST_SHARPNESS, LEAST_CONTRAST = 0.7, 0.6
"""Over the true frames'."""
MOST_STILL, MOST_BORDER, MOST_PAUSE = 0.5, 1.0, 1.0
"""Gray levels: of a mouth that is held still, of the square's edge, and beyond what the person's own mouth does in pauses."""
MOST_DRIFT = 0.1
"""Of the cosine to the person's own face, below the warp's."""
COMPARED = ("mouth_psnr", "mouth_ssim", "mouth_flicker", "closed_error", "sharpness", "identity")
TIMED_FRAMES = 30


def renderer_gates(metrics: Mapping[str, Any], frame_ms: float) -> list[Gate]:
    """On what was held out, for both kinds of plates. Raises ValueError for metrics that lack it."""
    gates = [
        Gate("frame_ms", frame_ms, MOST_FRAME_MS, False, "an engine of 30 frames a second on one core", timing=True)
    ]
    for kind, of in metrics[part_of(metrics)]["plates"].items():
        ours, ahead = of["measures"]["ours"], of["ahead"]["warp"]

        def gate(name: str, value: float, limit: float, least: bool, why: str, kind: str = kind) -> None:
            gates.append(Gate(f"{kind}: {name}", value, limit, least, why))

        gate(
            "mouth_psnr ahead of the warp, lower end", ahead["mouth_psnr"]["low"], 0.0, True, "it must surely be nearer"
        )
        for measure in ("mouth_ssim", "mouth_flicker", "closed_error"):
            if measure in ahead:
                why = "the whole interval below 0 is clearly worse than the warp"
                gate(f"{measure} ahead of the warp, upper end", ahead[measure]["high"], 0.0, True, why)
        if "identity" in ours:
            why = f"the warp keeps {of['measures']['warp']['identity']['value']:.3f}"
            limit = of["measures"]["warp"]["identity"]["value"] - MOST_DRIFT
            gate("identity", ours["identity"]["value"], limit, True, why)
        if "open_contrast" in ours:
            gate(
                "open_contrast", ours["open_contrast"]["value"], LEAST_CONTRAST, True, "an open mouth must be seen open"
            )
        gate("sharpness", ours["sharpness"]["value"], LEAST_SHARPNESS, True, "blur")
        gate("still_quiver", ours["still_quiver"]["value"], MOST_STILL, False, "a mouth that is held still")
        gate("border_step", ours["border_step"]["value"], MOST_BORDER, False, "no box must be seen")
        if "pause_quiver" in ours:
            gate("pause_quiver", ours["pause_quiver"]["value"], MOST_PAUSE, False, "lips must not quiver in silence")
    return gates


def beside_gates(told: Mapping[str, Any]) -> list[Gate]:
    """On the faces that the one which serves drew as well (flows/renderer_beside.py): nothing may be behind it by more than the
    interval of the differences and by more than 5 %, whichever is wider. Of PSNR and SSIM that is of the error."""
    gates = []
    for kind, of in told[part_of(told)]["plates"].items():
        theirs, ahead = of["measures"][SERVING], of["ahead"][SERVING]
        for measure in (m for m in COMPARED if m in theirs and m in ahead):
            value, by = float(theirs[measure]["value"]), ahead[measure]
            limit = -max(_slack(measure, value), by["high"] - by["value"])
            name = f"{kind}: {measure} ahead of the renderer that serves"
            gates.append(Gate(name, by["value"], limit, True, f"that one has {value:.3g}"))
    return gates


def _slack(measure: str, value: float) -> float:
    if measure == "mouth_psnr":
        return 20 * math.log10(1 + WORSE_RATIO)
    return WORSE_RATIO * (1 - value if measure == "mouth_ssim" else value)


def step_ready(workspace: Workspace, found: registry.Checkpoint) -> tuple[RendererNet, OnnxRenderer | TorchRenderer]:
    """Its network, and what draws with it here. Raises ValueError for a checkpoint that can't be used."""
    from modeling.renderer_runtime import runtime_of, step_of

    net, runtime = renderer_of(found), runtime_of(workspace.settings.renderer_runtime)
    try:
        return net, step_of(runtime, net, registry.exported(workspace, found.id))
    except ValueError as error:
        raise ValueError(f"checkpoint {found.id}: {error}") from error


def frame_ms(workspace: Workspace, found: registry.Checkpoint) -> float:
    """Processor time of a frame's step, the median of some. Raises ValueError for a checkpoint that can't be used, or whose
    weights are finite and what it draws is not."""
    from modeling.mouth_crop import SIDE_PX
    from modeling.renderer import GIVEN

    net, step = step_ready(workspace, found)
    draw, state = np.random.default_rng(0), net.start().numpy()
    identity = np.zeros((1, net.recipe.identity_width, *state.shape[2:]), np.float32)
    took, finite = [], True
    for _ in range(TIMED_FRAMES):
        given = draw.random((1, GIVEN, SIDE_PX, SIDE_PX), np.float32)
        began = time.process_time()
        made, state = step(given, identity, state)
        took.append(1000 * (time.process_time() - began))
        finite &= bool(np.isfinite(made).all() and np.isfinite(state).all())
    if not finite:
        raise ValueError(f"checkpoint {found.id}: draws values that are not finite; train it again")
    return float(np.median(took))
