"""The checkpoints that a server holds, and which of them a new session gets.

A pipeline is known by the pair of checkpoints that it runs, "MOTION" or "MOTION+RENDERER" (store/deployments.py). A new one
is loaded beside those that serve, and serves only once it is whole. One that can't be used is refused with its reason, and
everybody stays where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from serving.engine import Chunk, Pipeline
from store.deployments import pair_of, parts_of

RECIPE = "audio_to_motion"
WARP_ALONE = "none"
"""In place of a renderer's name: the plain warp draws, whatever is deployed."""
NONE_YET = (
    "no checkpoint is published yet that makes motion of sound ({error}); headroom train audio_to_motion --tier a2v_bronze "
    "trains one"
)
Load = Callable[[str], Pipeline[Chunk]]
"""From a pair to its pipeline. Raises ValueError for one that can't be used."""


@dataclass(frozen=True)
class Split:
    """Which pair is to serve, and which beside it gets a share of the new sessions ("" and 0: none)."""

    stable: str
    canary: str = ""
    share: float = 0.0
    revision: int = 0
    """Rises with each change: what was refused is tried again."""


class Checkpoints:
    """What is held (`pipelines`), what is wanted (`split`), and what was refused and why. Reading needs no lock: a split and
    the dictionaries are replaced whole."""

    def __init__(
        self, first: Pipeline[Chunk], load: Load, split: Split | None = None, renderer: str | None = None
    ) -> None:
        """`renderer` draws whatever is wanted: an id, or "" for the plain warp; None: what is wanted draws."""
        self._load, self.renderer = load, renderer
        own = checkpoint_of(first)
        self.pipelines: dict[str, Pipeline[Chunk]] = {own: first}
        self.refused: dict[str, str] = {}
        self.split = split or Split(own)
        self.serving = own
        """What sessions get that are not the canary's: the stable one, or the one before it as long as that can't be used."""

    def own(self, wanted: Split) -> Split:
        """With the renderer of its own, if it has one: a canary that is none here gets no sessions."""
        stable, canary = (own_pair(pair, self.renderer) for pair in (wanted.stable, wanted.canary))
        return (
            replace(wanted, stable=stable, canary=canary)
            if canary != stable
            else Split(stable, revision=wanted.revision)
        )

    def follow(self, wanted: Split) -> None:
        """Loads what is wanted, as `own` gives it, and not held. Takes as long as loading does: not for the thread that answers
        viewers."""
        refused: dict[str, str] = {}
        for name in sorted(_names(wanted) - set(self.pipelines)):
            try:
                self.pipelines = {**self.pipelines, name: self._load(name)}
            except ValueError as error:
                refused[name] = str(error)
        self.refused = refused
        if wanted.stable in self.pipelines:
            self.serving = wanted.stable
        self.split = wanted

    def drop(self, used: set[str]) -> None:
        """Lets go of what is neither wanted nor used by a session."""
        kept = used | _names(self.split) | {self.serving}
        self.pipelines = {k: v for k, v in self.pipelines.items() if k in kept}

    def route(self, session_id: str) -> Pipeline[Chunk]:
        """Of a new session: the canary's share of them, told by the session's id alone, goes to the canary."""
        told, held = self.split, self.pipelines
        if told.canary in held and share_of(session_id) < told.share:
            return held[told.canary]
        return held[self.serving]

    def stays(self, checkpoint: str) -> bool:
        """Whether sessions may go on with this one: what serves, and the canary."""
        return checkpoint in (self.serving, self.split.canary)


def share_of(session_id: str) -> float:
    """The same number in [0, 1) for the same id, evenly spread over ids."""
    return int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:8]) / 2**64


def checkpoint_of(pipeline: Pipeline[Chunk]) -> str:
    motion, *drawn = (module.checkpoint for module in pipeline.modules)
    return pair_of(motion, drawn[0] if drawn else "")


def own_pair(pair: str, renderer: str | None) -> str:
    """What a worker makes of a pair that draws by this renderer, whatever is wanted; None: the same."""
    return pair if renderer is None else pair_of(parts_of(pair)[0], renderer)


def _names(split: Split) -> set[str]:
    return {split.stable, split.canary} - {""}
