"""HuBERT as the ears of audio-to-motion: its features of every clip's sound, and of a quiet room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import numpy as np

from modeling.recipes.audio_to_motion import AudioToMotion
from tasks.backend import Backend, Checkpoint, checkpoint_of

if TYPE_CHECKING:
    from modeling.audio_to_motion import Hear, MotionNet
    from modeling.motion_set import MotionClip

BACKEND = Backend("tasks.backends.hubert:load", "facebook/hubert-large-ls960-ft", "Apache-2.0", dtype="float32")
QUIET_S, QUIET_DB = 10, -55.0


@dataclass(frozen=True)
class Ears:
    """`told` says which checkpoint hears: it is published with what was trained on its features."""

    hear: Hear
    told: dict[str, Any]

    def heard(self, clips: Sequence[MotionClip]) -> list[MotionClip]:
        """The clips with the features of their sounds."""
        return [replace(clip, heard=self.hear(clip.sound)) for clip in clips]

    def quiet(self) -> np.ndarray:
        """Features of the noise of a room."""
        noise = np.random.default_rng(0).normal(0, 10 ** (QUIET_DB / 20), QUIET_S * 16_000)
        return self.hear(noise.astype(np.float32))


def ears_of(made: AudioToMotion, published: dict[str, Any] | None = None) -> Ears | None:
    """What a recipe hears by, None for log-mel, which the network has itself; `published` is what a checkpoint says of its own.

    Raises ValueError where transformers or the checkpoint is missing, where it gives rows of another size than the recipe has,
    and where it is not the published one.
    """
    if made.hearing == "log_mel":
        return None
    try:
        from tasks.backends import hubert

        model = hubert.load(_checkpoint(made))
    except ImportError as error:
        raise ValueError("hearing=hubert: transformers is not installed; pip install -e '.[hub]'") from error
    size = int(model.network.config.hidden_size)
    if size != made.num_features:
        raise ValueError(
            f"recipe {made.name}: num_features is {made.num_features}, {model.checkpoint.model} gives {size}; "
            f"--set num_features={size}"
        )
    place = Path(model.checkpoint.model)
    told = {"model": place.name if place.is_dir() else str(place), "revision": model.checkpoint.revision, "dtype": model.checkpoint.dtype,
            "licence": BACKEND.licence}  # fmt: skip
    if published is not None and (published["revision"], published["dtype"]) != (told["revision"], told["dtype"]):
        raise ValueError(
            f"hearing=hubert: it learnt from revision {published['revision']} in {published['dtype']}, here is "
            f"{told['revision']} in {told['dtype']}; put that checkpoint in its place"
        )
    return Ears(model.features, told)


def with_ears(net: MotionNet, published: dict[str, Any] | None = None) -> MotionNet:
    """A network that can be given whole sounds. Raises ValueError as `ears_of`."""
    ears = ears_of(net.recipe, published)
    net.hear = ears.hear if ears else None
    return net


def _checkpoint(made: AudioToMotion) -> Checkpoint:
    model, _, text = made.hubert.partition("?")
    told = dict(parse_qsl(text, keep_blank_values=True))
    return checkpoint_of("hubert", BACKEND, {**({"model": model} if model else {}), **told})
