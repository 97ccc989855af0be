"""Training of audio-to-motion: each step's data follow from the seed and the step's number alone.

So a run that was killed and goes on from its last save draws what it would have drawn, and its losses are the same bit for
bit on one device. What is saved, every `save_every` steps and in one piece, is weights, the optimiser, and the losses.

Legend: B batch, T frames, P predicted parameters, M log-mel windows, C mel bands, N samples.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeling.audio_to_motion import PREDICTED, MotionNet
from modeling.log_mel import SAMPLES_PER_FRAME, log_mel
from modeling.motion import HEAD, MOUTH
from modeling.motion_set import MotionClip
from modeling.recipes.audio_to_motion import AudioToMotion

NUM_MOUTH = MOUTH.stop
LEAST_SNR_DB = 15.0


@dataclass(frozen=True)
class Progress:
    """After a step: its number from 1 on, and the loss with its parts."""

    step: int
    num_steps: int
    losses: dict[str, float]
    stage: int = 1
    num_stages: int = 1


@dataclass(frozen=True)
class Stage:
    """A part of a training: its values, `num_steps` among them, and the clips that it draws from."""

    recipe: AudioToMotion
    clips: Sequence[MotionClip]


def train(
    recipe: AudioToMotion,
    clips: Sequence[MotionClip],
    folder: Path,
    on_step: Callable[[Progress], None] = lambda step: None,
) -> MotionNet:
    """One stage of `train_stages`."""
    return train_stages([Stage(recipe, clips)], folder, on_step)


def train_stages(
    stages: Sequence[Stage], folder: Path, on_step: Callable[[Progress], None] = lambda step: None
) -> MotionNet:
    """Trains one network through the stages, from where `folder` stands, saves into it, and gives it ready to predict.

    Steps are counted through all stages; the learning rate rises and falls in each. The state is also saved where a stage
    ends. Raises ValueError for a folder that holds a run of another recipe or other clips, and for a stage without a clip.
    """
    if not all(stage.clips for stage in stages):
        raise ValueError("train: no clip to learn from; give a larger tier")
    folder.mkdir(parents=True, exist_ok=True)
    recipe, num_steps = stages[0].recipe, sum(stage.recipe.num_steps for stage in stages)
    with _deterministic(recipe.seed):
        net = MotionNet(recipe)
        optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        run = run_key(stages)
        first, begins = _go_on(folder, run, net, optimiser), 0
        net.train()
        for number, stage in enumerate(stages, 1):
            ends = begins + stage.recipe.num_steps
            batches = Batches(stage.recipe, stage.clips)
            for step in range(max(first, begins), ends):
                losses = _one_step(stage.recipe, net, optimiser, batches, step, step - begins)
                done = Progress(step + 1, num_steps, losses, number, len(stages))
                with (folder / "losses.jsonl").open("a") as log:
                    log.write(json.dumps({"step": done.step, **done.losses}) + "\n")
                on_step(done)
                if (step + 1) % recipe.save_every == 0 or step + 1 == ends:
                    _save(folder, run, step + 1, net, optimiser)
            begins = ends
    return net.eval()


def _one_step(
    recipe: AudioToMotion,
    net: MotionNet,
    optimiser: torch.optim.Optimizer,
    batches: Batches,
    step: int,
    step_of_stage: int,
) -> dict[str, float]:
    torch.manual_seed(_seed(recipe.seed, step))  # of this step's dropout
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * _schedule(recipe, step_of_stage)
        group["weight_decay"] = recipe.weight_decay
    losses = losses_of(recipe, net, *batches(step))
    optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.max_gradient_norm)
    optimiser.step()
    return {k: float(v.detach()) for k, v in losses.items()}


def run_key(stages: Sequence[Stage]) -> str:
    """What a run is of: its values and the very numbers it learns from."""
    told = hashlib.sha256()
    for stage in stages:
        told.update(json.dumps(asdict(stage.recipe), sort_keys=True).encode())
        for clip in stage.clips:
            told.update(f"{clip.clip_id}:{clip.first_frame}:{clip.who}".encode())
            if clip.weight is not None:
                told.update(repr(clip.weight).encode())
            for values in (clip.motion.values, clip.motion.seen, clip.sound, clip.speech):
                told.update(np.ascontiguousarray(values).tobytes())
    return told.hexdigest()


class Batches:
    """Crops of clips by the number of the step: (mel, target, weight, silent). A clip is drawn as often as its weight says
    where clips have one, else by its length.

    Raises ValueError when all weights are 0.
    """

    def __init__(self, recipe: AudioToMotion, clips: Sequence[MotionClip]) -> None:
        self.recipe, self.clips = recipe, clips
        weights = [c.weight for c in clips if c.weight is not None]
        often = np.array(weights if len(weights) == len(clips) else [len(c) for c in clips], np.float64)
        if not often.sum() > 0:
            raise ValueError(
                "train: every clip to learn from has weight 0; give other targets to headroom tier balance"
            )
        self._share = often / often.sum()

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """mel (B, M, C); target (B, T, P) and its weight, 0 where nothing is known; silent (B, T), 1 where silence was
        put in and the mouth had time to close."""
        draw = np.random.default_rng([self.recipe.seed, step])
        rows = [
            self._crop(draw, self.clips[i]) for i in draw.choice(len(self.clips), self.recipe.batch_size, p=self._share)
        ]
        sound, target, weight, silent = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        return log_mel(sound, self.recipe.num_mels), target, weight, silent

    def _crop(self, draw: np.random.Generator, clip: MotionClip) -> tuple[np.ndarray, ...]:
        num = self.recipe.crop_frames
        start = int(draw.integers(0, max(1, len(clip) - num + 1)))
        cut = clip.cut(start, min(start + num, len(clip)))
        short = num - len(cut)
        sound = np.pad(cut.sound, (0, short * SAMPLES_PER_FRAME))
        predicted = [*range(MOUTH.start, MOUTH.stop), *range(HEAD.start, HEAD.stop)]
        target = np.pad(cut.motion.values[:, predicted], ((0, short), (0, 0)))
        weight = np.pad(cut.motion.seen[:, predicted].astype(np.float32), ((0, short), (0, 0)))
        silent = np.zeros(num, np.float32)
        sound = self._louder_or_softer(draw, sound)
        if draw.random() < self.recipe.silence_share:
            self._silence(draw, sound, weight, silent)
        return sound, target, weight, silent

    def _louder_or_softer(self, draw: np.random.Generator, sound_N: np.ndarray) -> np.ndarray:
        gained = sound_N * 10 ** (draw.uniform(-1, 1) * self.recipe.gain_db / 20)
        level = np.sqrt(np.square(gained).mean()) * 10 ** (-(LEAST_SNR_DB + 30 * draw.random()) / 20)
        return np.asarray(gained + draw.normal(0, level + 1e-6, len(gained)), np.float32)

    def _silence(
        self, draw: np.random.Generator, sound_N: np.ndarray, weight_TP: np.ndarray, silent_T: np.ndarray
    ) -> None:
        """From a frame on, for 0.6 s or more, the sound is noise as soft as a room's, and the mouth comes to rest."""
        num = self.recipe.crop_frames
        start = int(draw.integers(0, max(1, num - 15)))
        end = num if draw.random() < 0.5 else min(num, start + 15 + int(draw.integers(0, 20)))
        level = 10 ** ((self.recipe.noise_db - 40 * draw.random()) / 20)
        place = slice(start * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME)
        sound_N[place] = draw.normal(0, level, place.stop - place.start)
        settled = start + (self.recipe.settle_frames if start else 0)
        weight_TP[start:end] = 0
        silent_T[settled:end] = 1
        # A voice that sets in again: the lips move before it, which the sound can't tell.
        weight_TP[end : end + 3] = 0


def losses_of(
    recipe: AudioToMotion, net: MotionNet, mel_BMC: Tensor, target_BTP: Tensor, weight_BTP: Tensor, silent_BT: Tensor
) -> dict[str, Tensor]:
    """The loss and its parts; velocity and acceleration are differences from frame to frame."""
    made_BTP = net(mel_BMC, *net.start(len(mel_BMC)))[0]
    scale = torch.tensor([1.0] * NUM_MOUTH + [recipe.head] * (len(PREDICTED) - NUM_MOUTH))
    weight = weight_BTP * scale
    wrong = made_BTP - target_BTP
    pair = weight[:, 1:] * weight_BTP[:, :-1]
    triple = pair[:, 1:] * weight_BTP[:, :-2]
    second = wrong.diff(n=2, dim=1)
    parts = {
        "position": _mean(wrong, weight),
        "velocity": _mean(wrong.diff(dim=1), pair),
        "acceleration": _mean(second, triple),
        "smoothness": made_BTP.diff(n=2, dim=1).square().mean(),
        "rest": _mean(made_BTP[..., :NUM_MOUTH], silent_BT[..., None].expand(-1, -1, NUM_MOUTH)),
    }
    loss = torch.stack([getattr(recipe, name) * value for name, value in parts.items()]).sum()
    return {"loss": loss, **parts}


@torch.no_grad()
def predict(net: MotionNet, sound_N: np.ndarray) -> np.ndarray:
    """What the network says of a whole sound of 640 T samples: float32 (T, P), mouth and head, normalised."""
    mel = log_mel(torch.from_numpy(sound_N)[None], net.recipe.num_mels)
    made: np.ndarray = net(mel, *net.start(1))[0][0].numpy()
    return made


def losses_in(folder: Path) -> Iterator[dict[str, float]]:
    """The losses that a run has told so far, step by step, each step once: a killed run told some that were not saved."""
    told: dict[int, dict[str, float]] = {}
    if (folder / "losses.jsonl").exists():
        for line in (folder / "losses.jsonl").read_text().splitlines(keepends=True):
            if not line.endswith("}\n"):
                continue  # cut off by the kill
            row = json.loads(line)
            told[int(row["step"])] = row
    yield from (told[step] for step in sorted(told))


def _mean(wrong: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the Huber loss with its bend at 1: a mesh that jumps must not rule."""
    return (torch.nn.functional.huber_loss(wrong, torch.zeros_like(wrong), reduction="none") * weight).sum() / (
        weight.sum() + 1e-6
    )


def _schedule(recipe: AudioToMotion, step: int) -> float:
    """Linear up, then half a cosine down to a tenth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.num_steps - recipe.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step, 1]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """The same numbers whatever drew before, and the world's generator as it was afterwards."""
    kept = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(kept)


def _save(folder: Path, run: str, step: int, net: MotionNet, optimiser: torch.optim.Optimizer) -> None:
    part = folder / ".state.part"
    state: dict[str, Any] = {"run": run, "step": step, "net": net.state_dict(), "optimiser": optimiser.state_dict()}
    with part.open("wb") as sink:
        torch.save(state, sink)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(folder / "state.pt")


def _go_on(folder: Path, run: str, net: MotionNet, optimiser: torch.optim.Optimizer) -> int:
    """Loads what is saved; gives the number of steps that are done."""
    if not (folder / "state.pt").exists():
        return 0
    state = torch.load(folder / "state.pt", weights_only=True)
    if state["run"] != run:
        raise ValueError(f"{folder} holds a run of another recipe or other clips; give another folder, or remove it")
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
