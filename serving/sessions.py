"""What one worker runs: its checkpoints, and the sessions that the gateway gave it, each on a pair of them.

When a checkpoint is promoted or rolled back, the sessions on one that no longer serves are moved, each at a chunk's end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import psutil

from serving.avatar import Avatar
from serving.checkpoints import Checkpoints, Split, own_pair
from serving.engine import Chunk, Pipeline
from serving.live import LiveSession, Past
from serving.vitals import Vitals

log = logging.getLogger("headroom.serving")

Result = TypeVar("Result")


class Sessions:
    """`capacity` is what the gateway is told. It gives two more for probes, and more than that when a worker has died."""

    def __init__(self, checkpoints: Checkpoints, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"worker: room for {capacity} sessions; must be at least 1")
        self.checkpoints, self.capacity = checkpoints, capacity
        self.avatars: dict[str, Avatar] = {}
        self.lives: dict[str, LiveSession] = {}
        self.ended: dict[str, Vitals] = {}
        """Of sessions that are over, or left a checkpoint: by checkpoint."""
        self.switches, self.switched_s, self.slowest_switch_s = 0, 0.0, 0.0
        self._threads = ThreadPoolExecutor(capacity + 2, thread_name_prefix="draw")
        self._process = psutil.Process()

    async def draw(self, work: Callable[..., Result], *given: Any) -> Result:
        """In one of the threads that draw."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    async def open(
        self, name: str, key: str, seed: int, checkpoint: str | None = None, past: Past | None = None
    ) -> LiveSession:
        """A session, new or gone on with from its past, on a checkpoint that is held or on the one that its id is routed to.
        Raises KeyError for an avatar that was not given, and for a checkpoint that is not held."""
        shown, told = self.avatars[key], self.checkpoints
        pipeline = told.route(name) if checkpoint is None else told.pipelines[own_pair(checkpoint, told.renderer)]
        side = shown.plate.picture.shape[:2]
        made = await self.draw(LiveSession, pipeline, shown, side, seed, past)
        self.lives[name] = made
        return made

    def close(self, name: str) -> None:
        live = self.lives.pop(name, None)
        if live is not None:
            self._count(live.checkpoint, live.vitals)

    def end(self) -> None:
        """Closes all of them and lets the threads go."""
        for name in list(self.lives):
            self.close(name)
        self._threads.shutdown(wait=True)

    async def follow(self, wanted: Split) -> None:
        """Loads what is wanted beside what serves, moves the sessions on what no longer serves, and lets go of that."""
        told, loop = self.checkpoints, asyncio.get_running_loop()
        wanted = told.own(wanted)
        if wanted != told.split:
            await loop.run_in_executor(None, told.follow, wanted)
        for name, live in list(self.lives.items()):
            if not told.stays(live.checkpoint):
                try:
                    await self._move(name, live, told.pipelines[told.serving])
                except Exception:
                    # Whatever a model raises: this session stays as it is, which `moving` tells, and the others go on.
                    log.exception("a session could not be moved from %s to %s", live.checkpoint, told.serving)
        told.drop({live.checkpoint for live in self.lives.values()})

    async def _move(self, name: str, live: LiveSession, pipeline: Pipeline[Chunk]) -> None:
        checkpoint = live.checkpoint
        spent_s, before = await asyncio.get_running_loop().run_in_executor(None, live.switch, pipeline)
        if name in self.lives:
            self._count(checkpoint, before)
        self.switches, self.switched_s = self.switches + 1, self.switched_s + spent_s
        self.slowest_switch_s = max(self.slowest_switch_s, spent_s)

    def vitals(self) -> dict[str, Vitals]:
        """By checkpoint, of all sessions that were and are; those that are held and had none are there too."""
        found = {name: Vitals() for name in self.checkpoints.pipelines}
        for name, told in [*self.ended.items(), *((t.checkpoint, t.vitals) for t in self.lives.values())]:
            made = found.setdefault(name, Vitals())
            made += told
        return found

    def state(self) -> dict[str, Any]:
        """What the gateway is told once a second."""
        told = self.checkpoints
        return {
            "split": asdict(told.split), "renderer": told.renderer, "serving": told.serving, "held": sorted(told.pipelines),
            "refused": told.refused,
            "on": {name: live.checkpoint for name, live in self.lives.items()},
            "moving": sum(not told.stays(live.checkpoint) for live in self.lives.values()),
            "vitals": {name: asdict(vitals) for name, vitals in self.vitals().items()},
            "switches": self.switches, "switched_s": self.switched_s, "slowest_switch_s": self.slowest_switch_s,
            "resident_bytes": self._process.memory_info().rss, "threads": self._process.num_threads(),
        }  # fmt: skip

    def _count(self, checkpoint: str, told: Vitals) -> None:
        made = self.ended.setdefault(checkpoint, Vitals())
        made += told
