"""SigLIP: pictures and sentences in one space, for video embeddings and for how well a caption fits.

Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023; SigLIP 2, arXiv 2502.14786.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import image_processor, in_batches, moved, network, part, pooled, unit
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

FPS = 1
TEXT_TOKENS = 64
"""What SigLIP was trained with; longer sentences are cut."""


@dataclass(frozen=True)
class Siglip:
    checkpoint: Checkpoint
    network: Any
    tokenizer: Any
    images: Any

    def image_vectors(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) of length 1, of RGB images."""

        def run(part: Sequence[np.ndarray]) -> list[Any]:
            pixels = moved(self.images(images=list(part), return_tensors="pt"), self.network)
            return list(pooled(self.network.get_image_features(**pixels)))

        return self._vectors(images, run)

    def text_vectors(self, sentences: Sequence[str]) -> np.ndarray:
        """(N, D) of length 1."""

        def run(part: Sequence[str]) -> list[Any]:
            told = self.tokenizer(
                list(part), padding="max_length", truncation=True, max_length=TEXT_TOKENS, return_tensors="pt"
            )
            return list(pooled(self.network.get_text_features(**moved({"input_ids": told["input_ids"]}, self.network))))

        return self._vectors(sentences, run)

    def match(self, images: Sequence[np.ndarray], sentences: Sequence[str]) -> np.ndarray:
        """(images, sentences): the probability that they belong together, by the model's own scale and bias."""
        logits = self.image_vectors(images) @ self.text_vectors(sentences).T
        scale, bias = (float(p.detach().float()) for p in (self.network.logit_scale.exp(), self.network.logit_bias))
        return np.asarray(1 / (1 + np.exp(-(logits * scale + bias))))

    def _vectors(self, items: Sequence[Any], run: Any) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return unit(in_batches(items, self.checkpoint.batch_size, run))


def load(checkpoint: Checkpoint) -> Siglip:
    """Raises NotLoaded."""
    return Siglip(
        checkpoint,
        network("AutoModel", checkpoint),
        part("AutoTokenizer", checkpoint),
        image_processor(checkpoint),
    )


def embedding(model: Siglip, media: Media, needs: Needs, default: Compute) -> Output:
    """Mean of one frame a second, of length 1."""
    frames_TD = model.image_vectors([media.image(frame, 320) for frame in media.at(FPS)])
    mean = frames_TD.mean(axis=0)
    video = mean / max(float(np.linalg.norm(mean)), 1e-12)
    spread = min(max(1 - float((frames_TD @ video).mean()), 0.0), 1.0)
    return Output(
        row={"num_frames": len(frames_TD), "temporal_spread": spread}, vectors={"video": video.astype(np.float32)}
    )


def caption_agreement(model: Siglip, media: Media, needs: Needs, default: Compute) -> Output:
    """The default's checks, and how well the short caption fits one frame a second, mean."""
    row = dict(default(media, needs).row)
    fits = model.match([media.image(frame, 320) for frame in media.at(FPS)], [needs["caption"]["short"]])
    return Output(row=row | {"video_match": float(fits.mean())})
