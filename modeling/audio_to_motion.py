"""The audio-to-motion network: log-mel windows in, one row of motion for each video frame out, with a state between.

There is one way through it, `forward` with a state: a whole clip is one chunk, a stream is many, and both give the same.
It is causal at 25 Hz; all the lookahead is that of the log-mel windows of the frame itself (modeling/log_mel.py).

It hears log-mel windows, or, where the recipe says so, a row of HuBERT's features for each frame (M = T, C = F then).

Legend: B batch, M log-mel windows (four to a frame), C mel bands, T frames, D width, L layers, H heads, W frames that the
transformer remembers, P predicted parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.log_mel import SILENCE, WINDOWS_PER_FRAME
from modeling.motion import HEAD, MOUTH, PARAMETERS
from modeling.recipes.audio_to_motion import AudioToMotion

PREDICTED = (*PARAMETERS[MOUTH], *PARAMETERS[HEAD])
"""What sound tells about: blinks come from modeling/idle_motion.py."""
PAST_WINDOWS = 8
"""Before its own four, a frame's front sees these many windows: 80 ms."""
PAST_ROWS = 2
"""Of HuBERT's features, one to a frame, it sees the two before its own."""

Hear = Callable[[np.ndarray], np.ndarray]
"""From a sound of 640 T samples to features, float32 (T, F)."""

State = tuple[Tensor, ...]


class MotionNet(nn.Module):
    """`forward(mel_BMC, *state)` gives (motion_BTP, *state); begin with `start(B)`."""

    def __init__(self, recipe: AudioToMotion) -> None:
        super().__init__()
        self.recipe = recipe
        self.hear: Hear | None = None
        """With hearing="hubert", what makes the features; whoever has the checkpoint of it sets it."""
        self.stride: nn.Conv1d | None = None
        if recipe.hearing == "hubert":
            self.near = nn.Conv1d(recipe.num_features, recipe.width, PAST_ROWS + 1)
        else:
            self.near = nn.Conv1d(recipe.num_mels, recipe.width, 5)
            self.stride = nn.Conv1d(recipe.width, recipe.width, 8, stride=WINDOWS_PER_FRAME)
        self.drop = nn.Dropout(recipe.dropout)
        self.body: Recurrent | Attending = Recurrent(recipe) if recipe.kind == "gru" else Attending(recipe)
        self.out = nn.Linear(recipe.width, len(PREDICTED))
        nn.init.zeros_(self.out.bias)

    def blocks(self) -> list[nn.Module]:
        """What is compiled, and spread over devices, piece by piece."""
        return [self.body] if isinstance(self.body, Recurrent) else list(self.body.blocks)

    def start(self, batch: int) -> State:
        """The state before any sound: silence was heard."""
        device = self.out.weight.device
        if self.recipe.hearing == "hubert":
            past = torch.zeros(batch, PAST_ROWS, self.recipe.num_features, device=device)
        else:
            past = torch.full((batch, PAST_WINDOWS, self.recipe.num_mels), SILENCE, device=device)
        return (past, *self.body.start(batch, device))

    def forward(self, mel_BMC: Tensor, past: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        heard = torch.cat([past, mel_BMC], dim=1)
        front = functional.gelu(self.near(heard.transpose(1, 2)))
        if self.stride is not None:
            front = functional.gelu(self.stride(front))
        body_BTD, *after = self.body(self.drop(front.transpose(1, 2)), *state)
        return (self.out(self.drop(body_BTD)), heard[:, -past.shape[1] :], *after)


class Recurrent(nn.Module):
    def __init__(self, recipe: AudioToMotion) -> None:
        super().__init__()
        self.layers, self.width = recipe.num_layers, recipe.width
        self.gru = nn.GRU(recipe.width, recipe.width, recipe.num_layers, batch_first=True)

    def start(self, batch: int, device: torch.device) -> State:
        return (torch.zeros(self.layers, batch, self.width, device=device),)

    def forward(self, steps_BTD: Tensor, hidden_LBD: Tensor) -> tuple[Tensor, Tensor]:
        body_BTD, hidden_LBD = self.gru(steps_BTD, hidden_LBD)
        return body_BTD, hidden_LBD


class Attending(nn.Module):
    """Causal attention over the last W frames, places told by distance alone (ALiBi, Press et al., ICLR 2022), so that a
    stream may go on for ever. The state is what each layer got as input, (L, B, W, D), and which of it was there."""

    def __init__(self, recipe: AudioToMotion) -> None:
        super().__init__()
        self.window, self.width = recipe.window_frames, recipe.width
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.num_layers))

    def start(self, batch: int, device: torch.device) -> State:
        past = torch.zeros(len(self.blocks), batch, self.window, self.width, device=device)
        return past, torch.zeros(batch, self.window, device=device)

    def forward(self, steps_BTD: Tensor, past_LBWD: Tensor, there_BW: Tensor) -> tuple[Tensor, ...]:
        there = torch.cat([there_BW, torch.ones_like(steps_BTD[..., 0])], dim=1)
        kept = []
        for block, past in zip(self.blocks, past_LBWD.unbind(0), strict=True):
            context = torch.cat([past, steps_BTD], dim=1)
            kept.append(context[:, -self.window :])
            steps_BTD = block(steps_BTD, context, there)
        return steps_BTD, torch.stack(kept), there[:, -self.window :]


class Block(nn.Module):
    def __init__(self, recipe: AudioToMotion) -> None:
        super().__init__()
        self.heads, self.window = recipe.num_heads, recipe.window_frames
        self.before, self.between = nn.LayerNorm(recipe.width), nn.LayerNorm(recipe.width)
        self.query = nn.Linear(recipe.width, recipe.width)
        self.key_value = nn.Linear(recipe.width, 2 * recipe.width)
        self.merge = nn.Linear(recipe.width, recipe.width)
        hidden = 2 * recipe.width
        self.feed = nn.Sequential(nn.Linear(recipe.width, hidden), nn.GELU(), nn.Linear(hidden, recipe.width))
        self.drop = nn.Dropout(recipe.dropout)
        slopes = 2.0 ** (-8.0 * torch.arange(1, recipe.num_heads + 1) / recipe.num_heads)
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(self, steps_BTD: Tensor, context_BSD: Tensor, there_BS: Tensor) -> Tensor:
        """`context` is what lies before the steps, then the steps themselves."""
        batch, num, width = steps_BTD.shape
        normed = self.before(context_BSD)
        key, value = (self._split(x) for x in self.key_value(normed).chunk(2, dim=-1))
        query = self._split(self.query(normed[:, -num:]))
        scores = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5
        at = torch.arange(context_BSD.shape[1], device=steps_BTD.device)
        away = at[-num:, None] - at[None]
        allowed = ((away >= 0) & (away < self.window))[None, None] & (there_BS[:, None, None] > 0)
        slopes: Tensor = self.slopes  # type: ignore[assignment]
        scores = (scores - slopes[:, None, None] * away).masked_fill(~allowed, -1e9)
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, num, width)
        steps_BTD = steps_BTD + self.drop(self.merge(mixed))
        fed_BTD: Tensor = steps_BTD + self.drop(self.feed(self.between(steps_BTD)))
        return fed_BTD

    def _split(self, rows_BSD: Tensor) -> Tensor:
        batch, num, width = rows_BSD.shape
        return rows_BSD.reshape(batch, num, self.heads, width // self.heads).transpose(1, 2)
