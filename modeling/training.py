"""Training of audio-to-motion: each step's data follow from the seed and the step's number alone.

So a run that was killed and goes on from its last save draws what it would have drawn, and its losses are the same bit for
bit on one device. What is saved, every `save_every` steps and in one piece, is weights, their average over the steps, which
is what a training gives, and the optimiser.

Several processes (modeling/ranks.py) each take their rows of every batch and train one network that is spread over them: the
losses and gradients are those of one process, up to rounding. What they save is the same: a run may go on with another number.

Legend: B batch, T frames, P predicted parameters, M log-mel windows, C mel bands, N samples.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeling.audio_to_motion import MotionNet
from modeling.log_mel import SAMPLES_PER_FRAME, log_mel
from modeling.motion import HEAD, MOUTH
from modeling.motion_set import MotionClip
from modeling.ranks import ALONE, Machine, Place, train_in_processes
from modeling.recipes.audio_to_motion import AudioToMotion

NUM_MOUTH = MOUTH.stop
LEAST_SNR_DB = 15.0
ROUND = 2.5e-4
"""Rounds off the distance's tip at 0."""


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
    quiet: np.ndarray | None = None
    """Where clips have features: those of a quiet room, float32 (rows, F), to be put in as silence."""


def train(
    recipe: AudioToMotion,
    clips: Sequence[MotionClip],
    folder: Path,
    on_step: Callable[[Progress], None] = lambda step: None,
) -> MotionNet:
    """One stage of `train_stages`."""
    return train_stages([Stage(recipe, clips)], folder, on_step)


def train_stages(
    stages: Sequence[Stage],
    folder: Path,
    on_step: Callable[[Progress], None] = lambda step: None,
    place: Place = ALONE,
) -> MotionNet:
    """Trains one network through the stages, from where `folder` stands, saves into it, and gives it ready to predict.

    Steps are counted through all stages; the learning rate rises and falls in each. The state is also saved where a stage
    ends. At a `place` that is one of several processes all of them call it, and the first alone writes and calls `on_step`.
    Raises ValueError for a folder that holds a run of another recipe or other clips, and for a stage without a clip.
    """
    refuse_wrong(stages, folder, place.world_size)
    folder.mkdir(parents=True, exist_ok=True)
    recipe, num_steps = stages[0].recipe, sum(stage.recipe.num_steps for stage in stages)
    with deterministic(recipe.seed):
        net, average, run, saved, begins = MotionNet(recipe), MotionNet(recipe), run_key(stages), saved_state(folder), 0
        average.load_state_dict(saved["average"] if saved else net.state_dict())
        if saved:
            net.load_state_dict(saved["net"])
        net = place.spread(net, net.blocks(), recipe.compile)
        average = place.spread(average, average.blocks())
        optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        if saved:
            optimiser.load_state_dict(place.cut(saved["optimiser"], optimiser))
        first = int(saved["step"]) if saved else 0
        net.train()
        for number, stage in enumerate(stages, 1):
            ends = begins + stage.recipe.num_steps
            batches = Batches(stage.recipe, stage.clips, place.rank, place.world_size, stage.quiet)
            for step in range(max(first, begins), ends):
                losses = _one_step(stage.recipe, net, optimiser, batches, step, step - begins, place)
                _averaged(average, net, min(recipe.average, (step + 1) / (step + 10)))
                done = Progress(step + 1, num_steps, losses, number, len(stages))
                if place.is_first:
                    with (folder / "losses.jsonl").open("a") as log:
                        log.write(json.dumps({"step": done.step, **done.losses}) + "\n")
                    on_step(done)
                if (step + 1) % recipe.save_every == 0 or step + 1 == ends:
                    _save(folder, run, step + 1, (net, average), optimiser, place)
            begins = ends
        trained = MotionNet(recipe)
        trained.load_state_dict(place.whole(average.state_dict()))
    return trained.eval()


def train_on(
    machine: Machine,
    stages: Sequence[Stage],
    folder: Path,
    on_step: Callable[[Progress], None] = lambda step: None,
) -> MotionNet:
    """`train_stages` on a machine, with its errors, and those of `train_in_processes`."""
    if machine.processes == 1:
        return train_stages(stages, folder, on_step, Place(torch.device(machine.kind)))
    refuse_wrong(stages, folder, machine.processes)
    train_in_processes(machine, partial(train_stages, list(stages), folder), on_step)
    net = network_in(folder)
    assert net is not None
    return net


def refuse_wrong(stages: Sequence[Stage], folder: Path, world_size: int = 1) -> None:
    """Raises ValueError for a stage without a clip, a batch that can't be shared out, and another run's folder."""
    if not all(stage.clips for stage in stages):
        raise ValueError("train: no clip to learn from; give a larger tier")
    for stage in stages:
        refuse_unshared(stage.recipe.batch_size, world_size)
    refuse_other_run(folder, run_key(stages))


def refuse_unshared(batch_size: int, world_size: int) -> None:
    if batch_size % world_size:
        raise ValueError(
            f"train: batch_size {batch_size} can't be shared by {world_size} processes; make it a multiple"
        )


def refuse_other_run(folder: Path, run: str) -> None:
    saved = saved_state(folder)
    if saved and saved["run"] != run:
        raise ValueError(f"{folder} holds a run of another recipe or other clips; give another folder, or remove it")


def _one_step(
    recipe: AudioToMotion,
    net: MotionNet,
    optimiser: torch.optim.Optimizer,
    batches: Batches,
    step: int,
    step_of_stage: int,
    place: Place,
) -> dict[str, float]:
    torch.manual_seed(_seed(recipe.seed, step, place.rank))  # of this step's dropout
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * schedule(step_of_stage, recipe.num_steps, recipe.warmup_steps)
        group["weight_decay"] = recipe.weight_decay
    mel, target, weight, silent = (part.to(place.device) for part in batches(step))
    losses = losses_of(recipe, net, mel, target, weight, silent, place)
    optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.max_gradient_norm)
    optimiser.step()
    told = place.mean(torch.stack([v.detach() for v in losses.values()]))
    return dict(zip(losses, told.tolist(), strict=True))


@torch.no_grad()
def _averaged(average: MotionNet, net: MotionNet, kept: float) -> None:
    """Of the average so much is kept, the rest is what the weights are now."""
    for mean, now in zip(average.parameters(), net.parameters(), strict=True):
        mean.mul_(kept).add_(now, alpha=1 - kept)


def run_key(stages: Sequence[Stage]) -> str:
    """What a run is of: its values and the very numbers it learns from."""
    told = hashlib.sha256()
    for stage in stages:
        told.update(json.dumps(asdict(stage.recipe), sort_keys=True).encode())
        for clip in stage.clips:
            told.update(f"{clip.clip_id}:{clip.first_frame}:{clip.who}".encode())
            if clip.weight is not None:
                told.update(repr(clip.weight).encode())
            for values in (clip.motion.values, clip.motion.seen, clip.sound, clip.speech, clip.heard):
                if values is not None:
                    told.update(np.ascontiguousarray(values).tobytes())
    return told.hexdigest()


class Batches:
    """Crops of clips by the number of the step: (mel, target, weight, silent). A clip is drawn as often as its weight says
    where clips have one, else by its length. Of several ranks each gets every `world_size`-th row of the same batch.

    Clips that have features are heard by them: then "mel" is these, their loudness is left as it is, and silence is a stretch
    of `quiet`. Raises ValueError when all weights are 0.
    """

    def __init__(
        self,
        recipe: AudioToMotion,
        clips: Sequence[MotionClip],
        rank: int = 0,
        world_size: int = 1,
        quiet: np.ndarray | None = None,
    ) -> None:
        self.recipe, self.clips, self._mine, self._quiet = recipe, clips, slice(rank, None, world_size), quiet
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
        seed = self.recipe.seed
        drawn = np.random.default_rng([seed, step]).choice(len(self.clips), self.recipe.batch_size, p=self._share)
        # Each row has a draw of its own, so that a rank need not make those of others.
        rows = [
            self._crop(np.random.default_rng([seed, step, 2 + row]), self.clips[clip])
            for row, clip in list(enumerate(drawn))[self._mine]
        ]
        sound, target, weight, silent = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        heard = sound if self.recipe.hearing == "hubert" else log_mel(sound, self.recipe.num_mels)
        return heard, target, weight, silent

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
        put_in = self.recipe.silence_share
        if cut.heard is not None:
            heard = np.pad(cut.heard, ((0, short), (0, 0)))
            if draw.random() < put_in and self._quiet is not None:
                start, end = self._silence(draw, weight, silent)
                begin = int(draw.integers(0, max(1, len(self._quiet) - num)))
                heard[start:end] = np.resize(self._quiet[begin:], (end - start, heard.shape[1]))
            return heard, target, weight, silent
        sound = self._louder_or_softer(draw, sound)
        if draw.random() < put_in:
            start, end = self._silence(draw, weight, silent)
            level = 10 ** ((self.recipe.noise_db - 40 * draw.random()) / 20)
            place = slice(start * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME)
            sound[place] = draw.normal(0, level, place.stop - place.start)
        return sound, target, weight, silent

    def _louder_or_softer(self, draw: np.random.Generator, sound_N: np.ndarray) -> np.ndarray:
        gained = sound_N * 10 ** (draw.uniform(-1, 1) * self.recipe.gain_db / 20)
        level = np.sqrt(np.square(gained).mean()) * 10 ** (-(LEAST_SNR_DB + 30 * draw.random()) / 20)
        noise = draw.standard_normal(len(gained), np.float32)
        return np.asarray(gained + np.float32(level + 1e-6) * noise, np.float32)

    def _silence(self, draw: np.random.Generator, weight_TP: np.ndarray, silent_T: np.ndarray) -> tuple[int, int]:
        """(start, end) of frames, 0.6 s or more, in which the sound is to be as soft as a room's, and the mouth comes to
        rest."""
        num = self.recipe.crop_frames
        start = int(draw.integers(0, max(1, num - 15)))
        end = num if draw.random() < 0.5 else min(num, start + 15 + int(draw.integers(0, 20)))
        settled = start + (self.recipe.settle_frames if start else 0)
        weight_TP[start:end] = 0
        silent_T[settled:end] = 1
        # A voice that sets in again: the lips move before it, which the sound can't tell.
        weight_TP[end : end + 3] = 0
        return start, end


def losses_of(
    recipe: AudioToMotion,
    net: MotionNet,
    mel_BMC: Tensor,
    target_BTP: Tensor,
    weight_BTP: Tensor,
    silent_BT: Tensor,
    place: Place = ALONE,
) -> dict[str, Tensor]:
    """The loss and its parts; velocity and acceleration are differences from frame to frame. Of several ranks the mean of
    their losses is that of the whole batch."""
    with torch.autocast(mel_BMC.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        made_BTP = net(mel_BMC, *net.start(len(mel_BMC)))[0].float()
    wrong, seen = made_BTP - target_BTP, weight_BTP.amin(dim=2)
    pair = seen[:, 1:] * seen[:, :-1]
    triple = pair[:, 1:] * seen[:, :-2]
    weights = (seen, pair, triple, silent_BT)
    position, velocity, acceleration, rest = place.sum(torch.stack([w.sum() for w in weights])) / place.world_size
    mouth_BTK = made_BTP[..., :NUM_MOUTH]
    parts = {
        "position": _sum(recipe, wrong, seen) / (position + 1e-6),
        "velocity": _sum(recipe, wrong.diff(dim=1), pair) / (velocity + 1e-6),
        "acceleration": _sum(recipe, wrong.diff(n=2, dim=1), triple) / (acceleration + 1e-6),
        "smoothness": made_BTP.diff(n=2, dim=1).square().mean(),
        "rest": (_huber(mouth_BTK) * silent_BT).sum() / (rest + 1e-6),
    }
    loss = torch.stack([getattr(recipe, name) * value for name, value in parts.items()]).sum()
    return {"loss": loss, **parts}


@torch.no_grad()
def predict(net: MotionNet, sound_N: np.ndarray) -> np.ndarray:
    """What the network says of a whole sound of 640 T samples: float32 (T, P), mouth and head, normalised."""
    if net.recipe.hearing == "hubert":
        assert net.hear is not None, "whoever loads a network that hears by HuBERT sets net.hear"
        heard = torch.from_numpy(net.hear(sound_N))[None]
    else:
        heard = log_mel(torch.from_numpy(sound_N)[None], net.recipe.num_mels)
    made: np.ndarray = net(heard, *net.start(1))[0][0].numpy()
    return made


def network_in(folder: Path) -> MotionNet | None:
    """The network as a run saved it last, ready to predict; None before that."""
    if not (saved := saved_state(folder)):
        return None
    net = MotionNet(AudioToMotion(**saved["recipe"]))
    net.load_state_dict(saved["average"])
    return net.eval()


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


def _sum(recipe: AudioToMotion, wrong_BTP: Tensor, weight_BT: Tensor) -> Tensor:
    """Over frames, of how far the mouth is off as the measures tell it: by the distance over its parameters, not by squares, so
    that frames which nobody could foretell do not rule; and of the head."""
    mouth, head = wrong_BTP[..., :NUM_MOUTH], wrong_BTP[..., NUM_MOUTH:]
    apart_BT = torch.sqrt(mouth.square().mean(dim=-1) + ROUND)
    return ((apart_BT + recipe.head * _huber(head)) * weight_BT).sum()


def _huber(wrong_BTK: Tensor) -> Tensor:
    """With its bend at 1, mean over parameters, (B, T)."""
    return torch.nn.functional.huber_loss(wrong_BTK, torch.zeros_like(wrong_BTK), reduction="none").mean(dim=-1)


def schedule(step: int, num_steps: int, warmup_steps: int) -> float:
    """Linear up, then half a cosine down to a tenth."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _seed(seed: int, step: int, rank: int) -> int:
    """Ranks drop different things; the first one drops what a process alone does."""
    return int(np.random.SeedSequence([seed, step, 1, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """The same numbers whatever drew before, and the world's generator as it was afterwards."""
    kept = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(kept)


def _save(
    folder: Path, run: str, step: int, nets: tuple[MotionNet, MotionNet], optimiser: torch.optim.Optimizer, place: Place
) -> None:
    """Whole tensors, whoever holds them: ranks give their parts, and the first one writes. `nets` are weights and average."""
    weights, average = (place.whole(net.state_dict()) for net in nets)
    moments = place.whole(optimiser.state_dict())
    if not place.is_first:
        return
    told = {"run": run, "recipe": asdict(nets[0].recipe), "step": step}
    save_state(folder, {**told, "net": weights, "average": average, "optimiser": moments})


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """In one piece: a kill leaves the state before or this one."""
    part = folder / ".state.part"
    with part.open("wb") as sink:
        torch.save(dict(state), sink)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(folder / "state.pt")


def saved_state(folder: Path) -> dict[str, Any]:
    """What is saved; empty where nothing is."""
    if not (folder / "state.pt").exists():
        return {}
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    return state
