"""From a published checkpoint to motion: its network, and what it makes of a whole sound. A stream gives the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modeling.published import network_of
from modeling.recipes.audio_to_motion import AudioToMotion
from store.registry import Checkpoint

if TYPE_CHECKING:
    from modeling.audio_to_motion import Hear, MotionNet
    from modeling.idle_motion import Idle

KIND = "audio_to_motion"


def network(found: Checkpoint) -> MotionNet:
    """The network of a checkpoint, ready to predict. Raises ValueError for one of another kind, and for weights that can't
    be read, don't have the recipe's shapes, or hold a NaN or an infinity."""
    from modeling.audio_to_motion import MotionNet

    return network_of(found, KIND, lambda recipe: MotionNet(AudioToMotion(**recipe)))


def idle_of(found: Checkpoint) -> Idle:
    """Blinks and sway of a checkpoint. Raises ValueError for numbers that are missing or not finite."""
    from modeling.idle_motion import idle_from

    try:
        made = idle_from(found.told["idle"])
        finite = bool(np.isfinite([made.blinks_per_min, made.blink_depth, *made.sway, *made.pole]).all())
    except (KeyError, TypeError) as error:
        raise ValueError(f"checkpoint {found.id}: has no idle motion ({error}); train it again") from error
    if not finite:
        raise ValueError(f"checkpoint {found.id}: its idle motion holds values that are not finite; train it again")
    return made


def refuse_not_live(found: Checkpoint) -> None:
    """Raises ValueError for a checkpoint that hears more of the future than a live session can wait for."""
    if found.told["recipe"].get("hearing") == "hubert":
        raise ValueError(
            f"checkpoint {found.id}: hears by HuBERT, 2 s ahead, so no live session can use it; headroom motion draws what "
            "it makes of a clip, and one that hears log-mel can be served"
        )


def made_motion(found: Checkpoint, sound: np.ndarray, seed: int = 0, hear: Hear | None = None) -> np.ndarray:
    """All nine parameters of a whole sound, float32 (T, 9): the network's mouth and head, swayed, and blinks. `hear` is what
    it hears by, where that is not log-mel."""
    from modeling.idle_motion import IdleMotion, loudness_db
    from modeling.training import predict

    net = network(found)
    net.hear = hear
    told = predict(net, sound)
    idle = IdleMotion(idle_of(found), seed).step(loudness_db(sound))
    return np.concatenate([told[:, :4], idle[:, :2], told[:, 4:] + idle[:, 2:]], axis=1)
