"""CLAP: sounds and sentences in one space, for what is heard beside the voice.

Source: Wu et al., Large-Scale Contrastive Language-Audio Pretraining, ICASSP 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import in_batches, moved, network, part, pooled, unit
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

AUDIO_HZ = 16_000
CLAP_HZ = 48_000
WINDOW_S = 10.0
MUSIC = ("a person speaking over background music", "music", "a person singing")
OTHER = ("a person speaking in a quiet room", "a person speaking with background noise", "noise", "silence")


@dataclass(frozen=True)
class Clap:
    checkpoint: Checkpoint
    network: Any
    tokenizer: Any
    extractor: Any

    def sound_vectors(self, audio: np.ndarray) -> np.ndarray:
        """(windows, D) of length 1, one per 10 s of 16 kHz mono float32 sound."""
        window = round(WINDOW_S * AUDIO_HZ)
        pieces = [audio[start : start + window] for start in range(0, max(1, len(audio)), window)]

        def run(part: Sequence[np.ndarray]) -> list[Any]:
            from scipy.signal import resample_poly

            sounds = [resample_poly(piece, CLAP_HZ // AUDIO_HZ, 1).astype(np.float32) for piece in part]
            inputs = self.extractor(sounds, sampling_rate=CLAP_HZ, return_tensors="pt")
            told = {name: inputs[name] for name in ("input_features", "is_longer") if name in inputs}
            return list(pooled(self.network.get_audio_features(**moved(told, self.network))))

        return self._vectors(pieces, run)

    def text_vectors(self, sentences: Sequence[str]) -> np.ndarray:
        """(N, D) of length 1."""

        def run(part: Sequence[str]) -> list[Any]:
            told = self.tokenizer(list(part), padding=True, truncation=True, return_tensors="pt")
            names = ("input_ids", "attention_mask")
            return list(pooled(self.network.get_text_features(**moved({n: told[n] for n in names}, self.network))))

        return self._vectors(sentences, run)

    def probabilities(self, audio: np.ndarray, sentences: Sequence[str]) -> np.ndarray:
        """(N,): which of the sentences tells best what is heard, mean over windows."""
        logits = self.sound_vectors(audio) @ self.text_vectors(sentences).T
        logits = logits * float(self.network.logit_scale_a.detach().exp())
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray((shares / shares.sum(axis=1, keepdims=True)).mean(axis=0))

    def _vectors(self, items: Sequence[Any], run: Any) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return unit(in_batches(items, self.checkpoint.batch_size, run))


def load(checkpoint: Checkpoint) -> Clap:
    """Raises NotLoaded."""
    return Clap(
        checkpoint,
        network("ClapModel", checkpoint),
        part("AutoTokenizer", checkpoint),
        part("AutoFeatureExtractor", checkpoint),
    )


def speech_quality(model: Clap, media: Media, needs: Needs, default: Compute) -> Output:
    """`music_ratio` as the probability of the sentences about music, mean over windows of 10 s; the rest by the default.

    Raises what the default raises: there is nothing to hear without sound.
    """
    made = default(media, needs)
    assert media.audio is not None
    told = model.probabilities(media.audio, (*MUSIC, *OTHER))
    return Output(row={**made.row, "music_ratio": float(told[: len(MUSIC)].sum())})
