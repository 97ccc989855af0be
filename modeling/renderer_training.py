"""Training of the renderer: each step's data follow from the seed and the step's number alone, as in modeling/training.py.

There are no perceptual losses here: those that are usual compare features of networks whose weights no package ships. In
their place stand a Laplacian pyramid, which weighs edges of every size, SSIM, and how strong edges are, wherever they lie.

Legend: B batch, T frames after each other, C channels, S the square's side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from modeling.ranks import ALONE, Machine, Place, train_in_processes
from modeling.recipes.renderer import Renderer
from modeling.renderer import RendererNet, Unrolled
from modeling.renderer_set import FaceClip
from modeling.training import (
    Progress,
    deterministic,
    refuse_other_run,
    refuse_unshared,
    save_state,
    saved_state,
    schedule,
)

LEVELS = 4
SSIM_SIDE = 7
MOUTH_ROOM_PX = 7
"""How far beyond the lips' outline pixels count as the mouth's."""
Weights = Mapping[str, Tensor]


def train(
    recipe: Renderer, clips: Sequence[FaceClip], folder: Path, on_step: Callable[[Progress], None] = lambda step: None,
    start: Weights | None = None, place: Place = ALONE,
) -> RendererNet:  # fmt: skip
    """Trains from where `folder` stands, saves into it, and gives the network ready to draw; `start` are the weights that it
    begins with, of a checkpoint that goes on with one person. At a `place` that is one of several processes all of them call
    it, and the first alone writes and calls `on_step`.

    Raises ValueError without a clip of enough frames, and for a folder that holds a run of another recipe or other clips.
    """
    batches = Batches(recipe, clips, place.rank, place.world_size)
    run = refuse_wrong(recipe, clips, folder, start, place.world_size)
    saved = saved_state(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with deterministic(recipe.seed):
        net = RendererNet(recipe)
        if weights := saved.get("net") or start:
            net.load_state_dict(weights)
        if place.world_size == 1:  # FSDP2 spreads weights only as they lie by default
            net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        unrolled = place.spread(Unrolled(net), net.blocks(), recipe.compile).train()
        optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        if saved:
            optimiser.load_state_dict(place.cut(saved["optimiser"], optimiser))
        for step in range(int(saved["step"]) if saved else 0, recipe.num_steps):
            losses = _one_step(recipe, unrolled, optimiser, batches, step, place)
            if place.is_first:
                with (folder / "losses.jsonl").open("a") as log:
                    log.write(json.dumps({"step": step + 1, **losses}) + "\n")
                on_step(Progress(step + 1, recipe.num_steps, losses))
            if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.num_steps:
                weights, moments = place.whole(net.state_dict()), place.whole(optimiser.state_dict())
                if place.is_first:
                    told = {"run": run, "recipe": asdict(recipe), "step": step + 1}
                    save_state(folder, {**told, "net": weights, "optimiser": moments})
        trained = RendererNet(recipe)
        trained.load_state_dict(place.whole(net.state_dict()))
    return trained.eval()


def train_on(
    machine: Machine, recipe: Renderer, clips: Sequence[FaceClip], folder: Path,
    on_step: Callable[[Progress], None] = lambda step: None, start: Weights | None = None,
) -> RendererNet:  # fmt: skip
    """`train` on a machine, with its errors, and those of `train_in_processes`."""
    if machine.processes == 1:
        return train(recipe, clips, folder, on_step, start, Place(torch.device(machine.kind)))
    Batches(recipe, clips)
    refuse_wrong(recipe, clips, folder, start, machine.processes)
    train_in_processes(machine, partial(train, recipe, list(clips), folder, start=start), on_step)
    net = network_in(folder)
    assert net is not None
    return net


def refuse_wrong(
    recipe: Renderer, clips: Sequence[FaceClip], folder: Path, start: Weights | None = None, world_size: int = 1
) -> str:
    """The run's key. Raises ValueError for a batch that can't be shared out, and for another run's folder."""
    refuse_unshared(recipe.batch_size, world_size)
    run = run_key(recipe, clips, start)
    refuse_other_run(folder, run)
    return run


def network_in(folder: Path) -> RendererNet | None:
    """The network as a run saved it last, ready to draw; None before that."""
    if not (saved := saved_state(folder)):
        return None
    net = RendererNet(Renderer(**saved["recipe"]))
    net.load_state_dict(saved["net"])
    return net.eval()


def run_key(recipe: Renderer, clips: Sequence[FaceClip], start: Weights | None = None) -> str:
    """What a run is of: its values, the very pixels it learns from, and the weights it begins with."""
    told = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    for clip in clips:
        told.update(f"{clip.clip_id}:{clip.who}:{clip.weight!r}:{list(clip.plates)}".encode())
        for values in (clip.frames, clip.true, clip.lips, clip.face, clip.warps, clip.references):
            told.update(np.ascontiguousarray(values).tobytes())
    for name, weights in sorted((start or {}).items()):
        told.update(name.encode() + weights.numpy().tobytes())
    return told.hexdigest()


def _one_step(
    recipe: Renderer, unrolled: Unrolled, optimiser: torch.optim.Optimizer, batches: Batches, step: int, place: Place
) -> dict[str, float]:
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * schedule(step, recipe.num_steps, recipe.warmup_steps)
    given, reference, true, weight = (part.to(place.device) for part in batches(step))
    with torch.autocast(place.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        made = unrolled(given, reference)
    losses = losses_of(recipe, made.float(), true, weight, place)
    optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(unrolled.parameters(), recipe.max_gradient_norm)
    optimiser.step()
    told = place.mean(torch.stack([v.detach() for v in losses.values()]))
    return dict(zip(losses, told.tolist(), strict=True))


class Batches:
    """Frames that follow each other, by the number of the step: given (B, T, 5, S, S), reference (B, 6, S, S), true (B, T, 3,
    S, S), and the weight of each pixel (B, T, 1, S, S). A clip is drawn as often as its weight says where clips have one, else
    by its length. Of several ranks each gets every `world_size`-th row of the same batch. Raises ValueError without a clip that
    has enough frames, and when all weights are 0."""

    def __init__(self, recipe: Renderer, clips: Sequence[FaceClip], rank: int = 0, world_size: int = 1) -> None:
        self.recipe, self._mine = recipe, slice(rank, None, world_size)
        runs = [(c, c.runs(recipe.crop_frames)) for c in clips]
        self._runs = [(c, starts) for c, starts in runs if len(starts)]
        if not self._runs:
            raise ValueError(
                f"train: no clip has {recipe.crop_frames} frames in a row to learn from; give a larger tier"
            )
        weights = [c.weight for c, _ in self._runs if c.weight is not None]
        often = np.array(weights if len(weights) == len(self._runs) else [len(s) for _, s in self._runs], np.float64)
        if not often.sum() > 0:
            raise ValueError(
                "train: every clip to learn from has weight 0; give other targets to headroom tier balance"
            )
        self._share = often / often.sum()

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        seed, size = self.recipe.seed, self.recipe.batch_size
        drawn = np.random.default_rng([seed, step]).choice(len(self._runs), size, p=self._share)
        rows = [
            self._row(np.random.default_rng([seed, step, 2 + row]), int(clip))
            for row, clip in list(enumerate(drawn))[self._mine]
        ]
        given, reference, true, weight = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        return given, reference, true, weight

    def _row(self, draw: np.random.Generator, number: int) -> tuple[np.ndarray, ...]:
        clip, starts = self._runs[number]
        first, plate = int(draw.choice(starts)), int(draw.integers(len(clip.plates)))
        rows = slice(first, first + self.recipe.crop_frames)
        given, reference = given_of(clip, plate, rows), reference_of(clip, plate)
        true, weight = _scaled(clip.true[rows]), weight_of(self.recipe, clip, rows)
        # One light for all pictures of a row: the colours of a reference must tell those of the frame.
        gain = 1 + self.recipe.gain * draw.uniform(-1, 1) + self.recipe.gain / 4 * draw.uniform(-1, 1, (3, 1, 1))
        gain = gain.astype(np.float32)
        given[:, :3] *= gain
        true *= gain
        reference *= np.concatenate([gain, gain])
        if draw.random() < self.recipe.flip_share:
            given, reference, true, weight = (
                np.ascontiguousarray(v[..., ::-1]) for v in (given, reference, true, weight)
            )
        return given, reference, true, weight


def given_of(clip: FaceClip, plate: int, rows: slice) -> np.ndarray:
    """What the network sees of frames, float32 (T, 5, S, S)."""
    return np.concatenate([_scaled(clip.warps[plate, rows]), clip.lips[rows].astype(np.float32) / 255], axis=1)


def reference_of(clip: FaceClip, plate: int) -> np.ndarray:
    """What it sees of the person, float32 (6, S, S)."""
    return np.concatenate(list(_scaled(clip.references[plate])))


def mouth_mask(lips_S: np.ndarray, room_px: int = MOUTH_ROOM_PX) -> np.ndarray:
    """bool (S, S): the lips, all within them, and the skin beside them, from the mask of their outline."""
    return np.asarray(cv2.dilate(lips_S, np.ones((2 * room_px + 1, 2 * room_px + 1), np.uint8)) > 127)


def weight_of(recipe: Renderer, clip: FaceClip, rows: slice) -> np.ndarray:
    """float32 (T, 1, S, S)."""
    face = clip.face[rows] > 127
    mouth = np.stack([mouth_mask(lips[1]) for lips in clip.lips[rows]])
    weight = np.where(face, 1.0, recipe.around_weight) + (recipe.mouth_weight - 1) * mouth
    return np.asarray(weight[:, None], np.float32)


def losses_of(
    recipe: Renderer, made_BTCSS: Tensor, true_BTCSS: Tensor, weight_BTCSS: Tensor, place: Place = ALONE
) -> dict[str, Tensor]:
    """The loss and its parts. Of several ranks the mean of their losses is that of the whole batch."""
    made, true, weight = (v.flatten(0, 1) for v in (made_BTCSS, true_BTCSS, weight_BTCSS))
    change = (made_BTCSS - true_BTCSS).diff(dim=1).flatten(0, 1)
    levels = [_charbonnier(level) for level in laplacian_pyramid(made - true)]
    unlike, edge = 1 - ssim_map(made, true), (edges(made) - edges(true)).abs()
    terms = {
        "charbonnier": [(_charbonnier(made - true), weight)],
        "pyramid": [(level, _sized(weight, level)) for level in levels],
        "ssim": [(unlike, _sized(weight, unlike))],
        "temporal": [(_charbonnier(change), weight_BTCSS[:, 1:].flatten(0, 1))],
        "sharpness": [(edge, _sized(weight, edge))],
    }
    totals = iter(place.mean(torch.stack([w.sum() for pairs in terms.values() for _, w in pairs])))
    parts = {
        name: torch.stack([(v * w).sum() / (next(totals) * v.shape[1]) for v, w in pairs]).sum()
        for name, pairs in terms.items()
    }
    loss = torch.stack([getattr(recipe, name) * value for name, value in parts.items()]).sum()
    return {"loss": loss, **parts}


def laplacian_pyramid(x_BCSS: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """What each halving of the size loses, the finest first, and what is left. Linear: that of a difference is the difference.

    Source: Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983; with boxes for its kernel."""
    made = []
    for _ in range(levels - 1):
        small = avg_pool2d(x_BCSS, 2)
        made.append(x_BCSS - interpolate(small, scale_factor=2, mode="bilinear"))
        x_BCSS = small
    return [*made, x_BCSS]


def ssim_map(a_BCSS: Tensor, b_BCSS: Tensor) -> Tensor:
    """SSIM at each place, (B, C, S - 6, S - 6), of values from 0 to 1, over boxes of 7 px.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", TIP 2004.
    """

    def mean(x: Tensor) -> Tensor:
        return avg_pool2d(x, SSIM_SIDE, stride=1)

    a, b = mean(a_BCSS), mean(b_BCSS)
    var_a, var_b = mean(a_BCSS * a_BCSS) - a * a, mean(b_BCSS * b_BCSS) - b * b
    both = mean(a_BCSS * b_BCSS) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * a * b + c1) * (2 * both + c2) / ((a * a + b * b + c1) * (var_a + var_b + c2))


def edges(x_BCSS: Tensor) -> Tensor:
    """How strong edges are in 8 px around, (B, C, S/8, S/8): not where they lie."""
    across, down = x_BCSS.diff(dim=3)[..., :-1, :], x_BCSS.diff(dim=2)[..., :-1]
    strength = torch.sqrt(across * across + down * down + 1e-6)
    return avg_pool2d(strength, 8, ceil_mode=True)


def _scaled(pictures_TSSC: np.ndarray) -> np.ndarray:
    """float32 (T, 3, S, S) from 0 to 1."""
    return np.ascontiguousarray(pictures_TSSC.transpose(0, 3, 1, 2)).astype(np.float32) / 255


def _charbonnier(x: Tensor) -> Tensor:
    return torch.sqrt(x * x + 1e-6)


def _sized(weight_BCSS: Tensor, like: Tensor) -> Tensor:
    return interpolate(weight_BCSS, size=like.shape[-2:], mode="area")
