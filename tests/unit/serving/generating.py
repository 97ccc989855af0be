"""A diffusion family, small and whole: a flow that makes latents of sound from anchors in N and I chunks, and a causal decoder.

It is untrained, so what it is to show is built in: the first number of a latent follows the loudness, and the rest is what
layers drawn by lot make of noise, sound, anchors and who is shown. Its frames are pictures of the avatar with a gray mouth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from serving.chunks import ChunkPlan, Job
from serving.engine import SAMPLES_PER_FRAME, Chunk, Module, Pipeline, Session
from serving.generated import Generated, Generator

WIDTH, STEPS = 8, 3
PLAN = ChunkPlan(10, seam_frames=4, anchor_frames=2)


class Flow(nn.Module):
    """Legend: T frames, D numbers of a latent. `called` keeps the jobs in their order."""

    def __init__(self, plan: ChunkPlan = PLAN, seed: int = 0, loud: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.plan, self.loud, self.called = plan, loud, list[str]()
        self.enter = nn.Conv1d(2 * WIDTH + 4, 16, 5, padding=2)
        self.leave = nn.Conv1d(16, WIDTH, 5, padding=2)

    def encode(self, session: Session) -> tuple[float, int]:
        return float(session.identity.plate.picture.mean()) / 255, session.seed

    @torch.inference_mode()
    def next_frames(
        self, who: tuple[float, int], job: Job, heard: Chunk, before: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        num = job.end - job.start
        made = self._made(who, job, heard, job.start - len(before), [*before, *[None] * num])
        return made[len(before) :]

    @torch.inference_mode()
    def between(
        self, who: tuple[float, int], job: Job, heard: Chunk, before: Sequence[np.ndarray], after: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        num = job.end - job.start - len(before) - len(after)
        return self._made(who, job, heard, job.start, [*before, *[None] * num, *after])

    def _made(
        self, who: tuple[float, int], job: Job, heard: Chunk, first: int, known: Sequence[np.ndarray | None]
    ) -> list[np.ndarray]:
        """From noise along the flow, all of the context at once; the anchors are told beside it, and predicted again."""
        self.called.append(f"{job.kind}{job.number}")
        assert (heard.first_frame, len(heard.sound)) == (job.start, (job.end - job.start) * SAMPLES_PER_FRAME)
        loud = np.abs(heard.sound.reshape(-1, SAMPLES_PER_FRAME).astype(np.float32)).mean(axis=1) / 8000
        loud_T = torch.from_numpy(np.concatenate([np.zeros(job.start - first, np.float32), loud]))
        zeros = np.zeros(WIDTH, np.float32)
        anchors_TD = torch.from_numpy(np.stack([zeros if one is None else one for one in known]))
        is_known_T = torch.tensor([float(one is not None) for one in known])
        noise = [
            np.random.default_rng([who[1], ord(job.kind), first + n]).normal(0, 1, WIDTH) for n in range(len(known))
        ]
        x_TD = torch.from_numpy(np.stack(noise).astype(np.float32))
        given = torch.stack([loud_T, is_known_T, torch.full_like(loud_T, who[0])], dim=1)
        for step in range(STEPS):
            x_TD = x_TD + self._velocity(x_TD, anchors_TD, given, step / STEPS) / STEPS
        x_TD[:, 0] = self.loud * loud_T + 0.02 * torch.tanh(x_TD[:, 0])
        return list(x_TD.numpy())

    def _velocity(self, x_TD: Tensor, anchors_TD: Tensor, given: Tensor, time: float) -> Tensor:
        told = torch.cat([x_TD, anchors_TD, given, torch.full_like(given[:, :1], time)], dim=1)
        made: Tensor = self.leave(torch.tanh(self.enter(told.T[None])))[0].T
        return made - x_TD


class Decoder:
    """The stage after it: pictures of latents, each from the one before too. One frame of them is what it remembers."""

    name, remembers = "decode", True

    def begin(self, session: Session) -> dict[str, Any]:
        plate = session.identity.plate
        x, y = plate.points[13, :2].astype(int)
        return {"picture": plate.picture, "mouth": np.s_[y - 8 : y + 8, x - 16 : x + 16], "before": None}

    def step(self, state: dict[str, Any], chunk: Chunk) -> Iterator[Chunk]:
        shown = []
        for latent in chunk.frames:
            before = latent if state["before"] is None else state["before"]
            state["before"] = latent
            level = 0.8 * latent[0] + 0.2 * before[0]
            picture = state["picture"].copy()
            picture[state["mouth"]] = np.clip(60 + 150 * level + 5 * np.tanh(latent[1:4]), 0, 255)
            shown.append(picture)
        yield replace(chunk, frames=shown)

    def end(self, state: dict[str, Any]) -> Iterator[Chunk]:
        yield from ()


def opening(picture: np.ndarray, plate: Any) -> float:
    """How far open the mouth is that was drawn, as the sound's loudness: 0 at rest."""
    x, y = plate.points[13, :2].astype(int)
    return float((picture[y - 8 : y + 8, x - 16 : x + 16].mean() - 60) / 150)


def generating(checkpoint: str = "g0", flow: Flow | None = None) -> Pipeline[Chunk]:
    module: Module[Generator] = Module("flow", checkpoint, flow or Flow())
    return Pipeline([module], [Generated(module), Decoder()])
