"""Audio to motion: the values of a training, and its variants by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class AudioToMotion:
    """What `headroom train` trains. All of it is published with the checkpoint."""

    name: str = "audio_to_motion"
    seed: int = 0

    # the model; it steps at 25 Hz and never looks beyond the log-mel windows of its own frame: 55 ms
    kind: Literal["gru", "transformer"] = "gru"
    hearing: Literal["log_mel", "hubert"] = "log_mel"
    """By HuBERT it hears 2 s ahead: for motion of whole recordings, not for live sessions."""
    hubert: str = ""
    """A folder or a name on the hub, with settings after `?` as docs/backends.md lists them; none: that page's checkpoint."""
    num_features: int = 1024
    """Of HuBERT's rows: 1024 of a large checkpoint, 768 of a base one."""
    num_mels: int = 40
    width: int = 48
    num_layers: int = 1
    num_heads: int = 4
    """Of the transformer."""
    window_frames: int = 50
    """How far the transformer looks back."""
    dropout: float = 0.4

    # what is held out
    held_people_share: float = 0.25
    held_people_least: int = 2
    """With fewer people than this the ends of clips are held out instead, and the evaluation says so."""
    held_time_share: float = 0.2
    """The end of each training clip, of those of at least `held_time_least_s`."""
    held_time_least_s: float = 6.0

    # the optimiser
    num_steps: int = 400
    """With so few people it is more steps that cost strangers; the rate of learning has fallen to a tenth by then."""
    batch_size: int = 16
    crop_frames: int = 75
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 30
    max_gradient_norm: float = 1.0
    average: float = 0.99
    """Of the mean of the weights over the steps, which is published, so much is kept at each step; less of it early on."""
    save_every: int = 100
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's arithmetic while it trains, by autocast; weights, losses and the optimiser are float32."""
    compile: Literal["", "inductor", "aot_eager"] = ""
    """The backend of torch.compile for the transformer's blocks; none by default. A GRU is one kernel already."""

    # the losses, each a mean over frames in normalised units; of the mouth the root mean square over its parameters
    position: float = 1.0
    velocity: float = 3.0
    acceleration: float = 0.0
    smoothness: float = 0.0
    """On the acceleration of what is predicted, not of its error: less quivering."""
    rest: float = 1.0
    """On the mouth while the sound is silence that was put in."""
    head: float = 0.3
    """Of the head's parameters beside the mouth's."""

    # what is done to the sound
    gain_db: float = 10.0
    """Louder or softer by at most this."""
    noise_db: float = -55.0
    """Least level below the sound at which noise is mixed in is 15 dB; this is the level of what is put in as silence."""
    silence_share: float = 0.3
    """Of the crops: how many have a stretch of silence put in."""
    settle_frames: int = 8
    """After the voice ends the mouth has so long to close."""


VARIANTS = {
    "audio_to_motion": AudioToMotion(),
    "audio_to_motion_transformer": replace(
        AudioToMotion(), name="audio_to_motion_transformer", kind="transformer", num_layers=2, learning_rate=1e-3
    ),
    "audio_to_motion_tiny": replace(
        AudioToMotion(),
        name="audio_to_motion_tiny",
        width=16,
        num_steps=40,
        batch_size=4,
        crop_frames=25,
        save_every=10,
    ),
}
"""The tiny one is for trying the way through: it learns next to nothing."""

STAGE_VALUES = (
    "batch_size", "crop_frames", "learning_rate", "weight_decay", "warmup_steps", "max_gradient_norm",
    "position", "velocity", "acceleration", "smoothness", "rest", "head",
    "gain_db", "noise_db", "silence_share", "settle_frames",
)  # fmt: skip
"""What a stage of a curriculum may set for itself; the network and what is held out are the same in all of them."""

CHOICES = {
    "kind": ("gru", "transformer"),
    "hearing": ("log_mel", "hubert"),
    "precision": ("float32", "bfloat16"),
    "compile": ("", "inductor", "aot_eager"),
}


def recipe(name: str, **changed: object) -> AudioToMotion:
    """A variant by name, with values changed. Raises ValueError for an unknown name or value, and for a wrong type."""
    if name not in VARIANTS:
        raise ValueError(f"recipe {name!r} is none of {', '.join(VARIANTS)}")
    base = VARIANTS[name]
    told: dict[str, object] = {}
    for key, value in changed.items():
        if key not in base.__dataclass_fields__ or key == "name":
            raise ValueError(f"recipe {name}: has no value {key!r}; it has {', '.join(base.__dataclass_fields__)}")
        before = getattr(base, key)
        try:
            told[key] = type(before)(value)
        except ValueError:
            raise ValueError(f"recipe {name}: {key}={value!r} is no {type(before).__name__}") from None
    made = replace(base, **told)  # type: ignore[arg-type]
    for key, allowed in CHOICES.items():
        if (value := getattr(made, key)) not in allowed:
            raise ValueError(f"recipe {name}: {key} {value!r} is none of {', '.join(a or 'nothing' for a in allowed)}")
    if made.compile and made.kind == "gru":
        raise ValueError(f"recipe {name}: compile={made.compile!r} is for kind=transformer; leave it out of a gru")
    return made
