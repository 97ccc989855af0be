"""wav2vec 2.0 with a head of classes over sound, such as bona fide against synthetic speech.

Source: Baevski et al., wav2vec 2.0, NeurIPS 2020; Tak et al., Automatic speaker verification spoofing and deepfake
detection using wav2vec 2.0, Odyssey 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import NotLoaded, in_batches, moved, network, part
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

AUDIO_HZ = 16_000
WINDOW_S = 4.0
"""What spoofing detectors are trained on: about four seconds."""
SYNTHETIC_WORDS = ("fake", "spoof", "synthetic", "generated", "tts", "ai")


@dataclass(frozen=True)
class AudioClasses:
    checkpoint: Checkpoint
    network: Any
    extractor: Any

    def windows(self, audio: np.ndarray) -> np.ndarray:
        """Probabilities (W, C) of the checkpoint's classes, of windows of 4 s of 16 kHz mono float32 sound; the last
        one ends where the sound ends."""
        import torch

        window = round(WINDOW_S * AUDIO_HZ)
        starts = sorted({*range(0, max(1, len(audio) - window), window), max(0, len(audio) - window)})
        pieces = [audio[start : start + window] for start in starts]

        def run(part: Sequence[np.ndarray]) -> list[np.ndarray]:
            inputs = self.extractor(list(part), sampling_rate=AUDIO_HZ, return_tensors="pt", padding=True)
            logits = self.network(**moved({"input_values": inputs["input_values"]}, self.network)).logits
            return list(logits.double().softmax(-1).cpu().numpy())

        with torch.inference_mode():
            return np.stack(in_batches(pieces, self.checkpoint.batch_size, run))

    def probabilities(self, audio: np.ndarray) -> dict[str, float]:
        """By the checkpoint's own labels, mean over the windows."""
        return dict(zip(self.labels, map(float, self.windows(audio).mean(axis=0)), strict=True))

    def synthetic(self, audio: np.ndarray) -> np.ndarray:
        """Probability (W,) of each window that the voice is synthetic: the sum over the labels that say so."""
        meant = [means_synthetic(label) for label in self.labels]
        return np.asarray(np.minimum(1.0, self.windows(audio)[:, meant].sum(axis=1)))

    @property
    def labels(self) -> list[str]:
        return [str(self.network.config.id2label[i]) for i in range(len(self.network.config.id2label))]


def means_synthetic(label: str) -> bool:
    words = label.lower().replace("_", " ").replace("-", " ").split()
    return any(word in SYNTHETIC_WORDS for word in words)


def load(checkpoint: Checkpoint) -> AudioClasses:
    """Raises NotLoaded, also for a checkpoint whose labels do not say which means synthetic."""
    made = network("AutoModelForAudioClassification", checkpoint)
    labels = [str(label) for label in made.config.id2label.values()]
    if not 0 < sum(means_synthetic(label) for label in labels) < len(labels):
        raise NotLoaded(f"{checkpoint.model}: none or all of its labels mean synthetic: {', '.join(labels)}")
    return AudioClasses(checkpoint, made, part("AutoFeatureExtractor", checkpoint))


def synthetic_audio(model: AudioClasses, media: Media, needs: Needs, default: Compute) -> Output:
    """The signal's own guards and columns around this model's windows of 4 s."""
    from tasks.signals.synthetic_audio import judge

    def logits_of(voice: np.ndarray) -> np.ndarray:
        probability_W = np.clip(model.synthetic(voice), 1e-9, 1 - 1e-9)
        return np.asarray(np.log(probability_W / (1 - probability_W)))

    return judge(media, needs, logits_of, WINDOW_S)
