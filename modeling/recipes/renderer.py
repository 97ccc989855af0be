"""Renderer: the values of a training, and its variants by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

JUDGED_FROM = 0.3
"""Of a stranger's clip: the frames before are for the one picture that they are known by."""


@dataclass(frozen=True)
class Renderer:
    """What `headroom train renderer` trains: what the warp of one picture lacks in the lower face. All of it is published
    with the checkpoint."""

    name: str = "renderer"
    seed: int = 0

    # the network; it sees a square of 96 px and what it made of the frame before
    width: int = 24
    """Channels at 48 px; twice as many at 24 px, three times at 12 px."""
    num_blocks: int = 2
    """At 48 px on each side, and at 12 px; twice as many at 24 px."""
    identity_width: int = 24
    """Of what is encoded once of a person's picture."""
    state_width: int = 16
    """Of the features that are handed on to the next frame."""

    # what is held out
    held_people_share: float = 0.25
    held_people_least: int = 2
    """With fewer people than this the ends of clips are held out instead, and the evaluation says so."""
    held_time_share: float = 0.2
    held_time_least_s: float = 6.0

    # what is read of each clip; a frame of a clip takes 0.14 MB of memory
    frames_per_clip: int = 150
    """In stretches of 25 that are spread over the clip."""
    plates_per_clip: int = 3
    """The one that an avatar of the clip has, and others from frames drawn by lot, as from a portrait."""

    # the optimiser
    num_steps: int = 800
    batch_size: int = 8
    crop_frames: int = 3
    """So many frames after each other, each with the features of the one before."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    max_gradient_norm: float = 1.0
    save_every: int = 100
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's arithmetic while it trains, by autocast; weights, losses and the optimiser are float32."""
    compile: Literal["", "inductor", "aot_eager"] = ""
    """The backend of torch.compile for the network's blocks; none by default."""

    # the losses, each a mean over pixels, of values from 0 to 1
    charbonnier: float = 1.0
    """Absolute difference, rounded at nought."""
    pyramid: float = 1.0
    """Of each level of a Laplacian pyramid, so that edges count at every size."""
    ssim: float = 0.1
    temporal: float = 0.5
    """On the change from frame to frame, against the true change: no quivering, and no lag."""
    sharpness: float = 2.0
    """On how strong edges are, wherever they lie: less blur where the place of an edge can't be known."""
    mouth_weight: float = 4.0
    """Of pixels of the mouth beside those of the face."""
    around_weight: float = 0.1
    """Of pixels beyond the face."""

    # what is done to the pictures
    flip_share: float = 0.5
    gain: float = 0.2
    """Lighter or darker, and each colour, by at most this."""


VARIANTS = {
    "renderer": Renderer(),
    "renderer_personal": replace(
        Renderer(), name="renderer_personal", num_steps=100, learning_rate=5e-4, warmup_steps=10, save_every=50
    ),
    "renderer_tiny": replace(
        Renderer(),
        name="renderer_tiny",
        width=8,
        num_blocks=1,
        identity_width=4,
        state_width=4,
        frames_per_clip=50,
        plates_per_clip=1,
        num_steps=12,
        batch_size=2,
        crop_frames=2,
        save_every=4,
        warmup_steps=2,
    ),
}
"""The personal one goes on from a renderer of many people (`--start`) with one. The tiny one is for trying the way through:
it learns next to nothing."""
LEAST = {
    "width": 4, "num_blocks": 1, "identity_width": 1, "state_width": 1, "frames_per_clip": 25, "plates_per_clip": 1,
    "num_steps": 1, "batch_size": 1, "crop_frames": 2, "save_every": 1, "held_people_least": 2,
}  # fmt: skip
CHOICES = {"precision": ("float32", "bfloat16"), "compile": ("", "inductor", "aot_eager")}


def renderer(name: str = "renderer", **changed: object) -> Renderer:
    """A variant by name, with values changed. Raises ValueError for an unknown name or value, a wrong type, and a value that
    is too small to be meant."""
    if name not in VARIANTS:
        raise ValueError(f"recipe {name!r} is none of {', '.join(VARIANTS)}")
    base, told = VARIANTS[name], {}
    for key, value in changed.items():
        if key not in base.__dataclass_fields__ or key == "name":
            raise ValueError(f"recipe {name}: has no value {key!r}; it has {', '.join(base.__dataclass_fields__)}")
        before = getattr(base, key)
        try:
            told[key] = type(before)(value)
        except (TypeError, ValueError):
            raise ValueError(f"recipe {name}: {key}={value!r} is no {type(before).__name__}") from None
    made = replace(base, **told)
    for key, least in LEAST.items():
        if getattr(made, key) < least:
            raise ValueError(f"recipe {name}: {key}={getattr(made, key)} is below {least}")
    for key, allowed in CHOICES.items():
        if (value := getattr(made, key)) not in allowed:
            raise ValueError(f"recipe {name}: {key} {value!r} is none of {', '.join(a or 'nothing' for a in allowed)}")
    return made
