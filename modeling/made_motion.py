"""From a published checkpoint to motion: its network, and what it makes of a whole sound. A stream gives the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modeling.recipes.audio_to_motion import AudioToMotion
from store.registry import Checkpoint

if TYPE_CHECKING:
    from modeling.audio_to_motion import MotionNet


def network(found: Checkpoint) -> MotionNet:
    """The network of a checkpoint, ready to predict. Raises ValueError for one of another kind."""
    from safetensors.torch import load

    from modeling.audio_to_motion import MotionNet

    if found.told.get("kind") != "audio_to_motion":
        raise ValueError(f"checkpoint {found.id}: is of kind {found.told.get('kind')!r}, not audio_to_motion")
    net = MotionNet(AudioToMotion(**found.told["recipe"]))
    net.load_state_dict(load(found.weights))
    return net.eval()


def made_motion(found: Checkpoint, sound: np.ndarray, seed: int = 0) -> np.ndarray:
    """All nine parameters of a whole sound, float32 (T, 9): the network's mouth and head, swayed, and blinks."""
    from modeling.idle_motion import IdleMotion, idle_from, loudness_db
    from modeling.training import predict

    told = predict(network(found), sound)
    idle = IdleMotion(idle_from(found.told["idle"]), seed).step(loudness_db(sound))
    return np.concatenate([told[:, :4], idle[:, :2], told[:, 4:] + idle[:, 2:]], axis=1)
