"""The sessions of one server: by id, at most so many, each on the checkpoint that it was given.

When a checkpoint is promoted or rolled back, the sessions on one that no longer serves are moved, each at a chunk's end.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from serving.avatar import Avatar
from serving.checkpoints import Checkpoints, Split
from serving.engine import Chunk, Pipeline
from serving.live import LiveSession
from serving.vitals import Vitals

KEPT_S = 30.0
"""A session that nobody watches is held so long, for whoever comes back."""
LONGEST_S = 3600.0


@dataclass
class Talk:
    """A session as the gateway holds it."""

    id: str
    token: str
    live: LiveSession
    made_at: float
    seen_at: float
    probe: bool = False
    viewer: asyncio.Event | None = None
    """Of whoever watches now; set when another one comes."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Gateway:
    """Sessions by id, at most `capacity` of them, and one more for a probe; and what they share."""

    def __init__(self, checkpoints: Checkpoints, avatars: Sequence[Avatar], capacity: int, probe_key: str = "") -> None:
        """Whoever tells `probe_key` may open a probe: one at a time, beside the others, on a checkpoint of its choice."""
        if not avatars or capacity < 1:
            raise ValueError(f"serve: {len(avatars)} avatars and room for {capacity} sessions; both must be at least 1")
        self.checkpoints = checkpoints
        self.avatars, self.capacity = {a.key: a for a in avatars}, capacity
        self.probe_key = probe_key
        self.talks: dict[str, Talk] = {}
        self.ended: dict[str, Vitals] = {}
        """Of sessions that are over, or left a checkpoint: by checkpoint."""
        self.switches, self.switched_s, self.slowest_switch_s = 0, 0.0, 0.0
        self._opening = self._probing = 0
        self.threads = ThreadPoolExecutor(capacity + 1, thread_name_prefix="draw")

    @property
    def free(self) -> int:
        taken = sum(not talk.probe for talk in self.talks.values()) + self._opening
        return max(0, self.capacity - taken)

    async def open(self, key: str, checkpoint: str | None = None, *, probe: bool = False) -> Talk | None:
        """A new session, on a checkpoint that is held or on the one that its id is routed to; None when there is no room.
        Raises KeyError for an avatar that is not offered, and for a checkpoint that is not held."""
        shown = self.avatars[key]
        self.sweep()
        if (self._probing or any(t.probe for t in self.talks.values())) if probe else not self.free:
            return None
        name = secrets.token_urlsafe(9)
        held = self.checkpoints.pipelines
        pipeline = held[checkpoint] if checkpoint is not None else self.checkpoints.route(name)
        side, seed = shown.plate.picture.shape[:2], secrets.randbelow(2**31)
        self._opening, self._probing = self._opening + (not probe), self._probing + probe
        try:
            loop = asyncio.get_running_loop()
            live = await loop.run_in_executor(self.threads, LiveSession, pipeline, shown, side, seed)
        finally:
            self._opening, self._probing = self._opening - (not probe), self._probing - probe
        now = time.monotonic()
        made = Talk(name, secrets.token_urlsafe(24), live, now, now, probe)
        self.talks[made.id] = made
        return made

    def sweep(self) -> None:
        """Lets go of sessions that nobody has watched for a while, and of those that went on for too long."""
        now = time.monotonic()
        for talk in list(self.talks.values()):
            unwatched = talk.viewer is None and now - talk.seen_at > KEPT_S
            if unwatched or now - talk.made_at > LONGEST_S:
                self.close(talk)

    def close(self, talk: Talk) -> None:
        if self.talks.pop(talk.id, None) is not None:
            self._count(talk.live.checkpoint, talk.live.vitals)

    async def follow(self, wanted: Split) -> None:
        """Loads what is wanted beside what serves, moves the sessions on what no longer serves, and lets go of that."""
        told, loop = self.checkpoints, asyncio.get_running_loop()
        if wanted != told.split:
            await loop.run_in_executor(None, told.follow, wanted)
        for talk in list(self.talks.values()):
            if not told.stays(talk.live.checkpoint):
                await self._move(talk, told.pipelines[told.serving])
        told.drop({talk.live.checkpoint for talk in self.talks.values()})

    async def _move(self, talk: Talk, pipeline: Pipeline[Chunk]) -> None:
        checkpoint = talk.live.checkpoint
        loop = asyncio.get_running_loop()
        spent_s, before = await loop.run_in_executor(None, talk.live.switch, pipeline)
        if talk.id in self.talks:
            self._count(checkpoint, before)
        self.switches, self.switched_s = self.switches + 1, self.switched_s + spent_s
        self.slowest_switch_s = max(self.slowest_switch_s, spent_s)

    def vitals(self) -> dict[str, Vitals]:
        """By checkpoint, of all sessions that were and are; those that are held and had none are there too."""
        found = {name: Vitals() for name in self.checkpoints.pipelines}
        for name, told in [*self.ended.items(), *((t.live.checkpoint, t.live.vitals) for t in self.talks.values())]:
            made = found.setdefault(name, Vitals())
            made += told
        return found

    def _count(self, checkpoint: str, told: Vitals) -> None:
        made = self.ended.setdefault(checkpoint, Vitals())
        made += told
