"""VideoMAE: features of short videos, by which FVD tells how far drawn ones are from true ones.

Source: Tong et al., VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training, NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import NotLoaded, image_processor, in_batches, moved, network, part

FRAMES = 16


@dataclass(frozen=True)
class VideoMae:
    checkpoint: Checkpoint
    network: Any
    processor: Any

    def features(self, videos: Sequence[np.ndarray]) -> np.ndarray:
        """Float64 (N, D) of N videos, each RGB uint8 (16, H, W, 3) at 25 fps: the mean over the last layer's tokens."""
        import torch

        def run(some: Sequence[np.ndarray]) -> list[np.ndarray]:
            inputs = self.processor([list(video) for video in some], return_tensors="pt")
            hidden = self.network(**moved(inputs, self.network)).last_hidden_state
            return list(hidden.float().mean(dim=1).cpu().numpy())

        with torch.inference_mode():
            made = in_batches(videos, self.checkpoint.batch_size, run)
        return np.stack(made).astype(np.float64) if made else np.zeros((0, self.network.config.hidden_size))


def load(checkpoint: Checkpoint) -> VideoMae:
    """Raises NotLoaded, also for a checkpoint of another architecture, of another length, or without all weights: transformers
    would fill in random ones."""
    config = part("AutoConfig", checkpoint)
    if config.model_type != "videomae":
        raise NotLoaded(f"{checkpoint.model}: is {config.model_type}, not videomae")
    if config.num_frames != FRAMES:
        raise NotLoaded(f"{checkpoint.model}: takes {config.num_frames} frames, FVD is of {FRAMES}")
    return VideoMae(checkpoint, network("VideoMAEModel", checkpoint, whole=True), image_processor(checkpoint))
