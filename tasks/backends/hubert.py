"""HuBERT: what a voice says, as features on the video's frames; what audio-to-motion models listen to.

Source: Hsu et al., HuBERT: Self-Supervised Speech Representation Learning, TASLP 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import in_batches, moved, network, part

AUDIO_HZ = 16_000
SAMPLES_PER_FRAME = 640
CHUNK_FRAMES, CONTEXT_FRAMES = 500, 50
"""Attention grows with the square of the length: 20 s at a time, with 2 s of sound on both sides."""


@dataclass(frozen=True)
class Hubert:
    checkpoint: Checkpoint
    network: Any
    extractor: Any

    def features(self, audio: np.ndarray) -> np.ndarray:
        """Float32 (T, D) of 16 kHz mono float32 sound, one row per video frame of 40 ms, T = samples // 640."""
        import torch

        num_frames = len(audio) // SAMPLES_PER_FRAME
        starts = range(0, num_frames, CHUNK_FRAMES)
        chunks = [_chunk(audio, start, min(start + CHUNK_FRAMES, num_frames)) for start in starts]

        def run(part: Sequence[tuple[np.ndarray, int, int]]) -> list[np.ndarray]:
            made: list[np.ndarray] = []
            for _, alike in groupby(
                part, key=lambda chunk: len(chunk[0])
            ):  # its normalisation over time forbids padding
                made += self._of(list(alike))
            return made

        with torch.inference_mode():
            made = in_batches(chunks, self.checkpoint.batch_size, run)
        return np.concatenate(made) if made else np.zeros((0, self.network.config.hidden_size), np.float32)

    def _of(self, chunks: Sequence[tuple[np.ndarray, int, int]]) -> list[np.ndarray]:
        """Of chunks whose sounds are equally long."""
        sounds = [sound for sound, _, _ in chunks]
        inputs = self.extractor(sounds, sampling_rate=AUDIO_HZ, return_tensors="pt")
        hidden = self.network(**moved({"input_values": inputs["input_values"]}, self.network)).last_hidden_state
        steps_BTD = hidden.float().cpu().numpy()  # 50 a second; the last one, which would need more sound, is repeated
        num_steps = 2 * (len(sounds[0]) // SAMPLES_PER_FRAME)
        lacking = max(0, num_steps - steps_BTD.shape[1])
        steps_BTD = np.pad(steps_BTD[:, :num_steps], ((0, 0), (0, lacking), (0, 0)), mode="edge")
        frames_BTD = steps_BTD.reshape(len(sounds), -1, 2, steps_BTD.shape[2]).mean(axis=2).astype(np.float32)
        return [frames_TD[before : before + n] for frames_TD, (_, before, n) in zip(frames_BTD, chunks, strict=True)]


def _chunk(audio: np.ndarray, start: int, end: int) -> tuple[np.ndarray, int, int]:
    """(sound with context, frames of context before, frames of the chunk)."""
    low, high = max(0, start - CONTEXT_FRAMES), min(len(audio) // SAMPLES_PER_FRAME, end + CONTEXT_FRAMES)
    return audio[low * SAMPLES_PER_FRAME : high * SAMPLES_PER_FRAME], start - low, end - start


def load(checkpoint: Checkpoint) -> Hubert:
    """Raises NotLoaded."""
    return Hubert(checkpoint, network("AutoModel", checkpoint), part("AutoFeatureExtractor", checkpoint))
