"""A worker as the gateway knows it: what it is asked, what it answers, and what it told last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from serving.checkpoints import Split
from serving.lines import Line, LostError, Message

LOST_S = 3.0
"""A worker that says nothing for so long is taken for dead; it says that it is there once a second."""


class RefusedError(Exception):
    """A worker does not have what it was asked for."""


class Worker:
    """A worker as the gateway knows it."""

    def __init__(self, line: Line, told: Mapping[str, Any]) -> None:
        self.name, self.capacity, self.state = str(told["hello"]), int(told["capacity"]), dict(told["state"])
        self.lost, self.opening = False, 0
        self._line, self._number = line, 0
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._sending = asyncio.Lock()

    async def ask(self, told: Mapping[str, Any], body: bytes = b"") -> Message:
        """Raises LostError when the worker dies before it has answered, and RefusedError when it says so."""
        if self.lost:
            raise LostError(f"worker {self.name} is gone")
        self._number += 1
        number = self._number
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send({"n": number, **told}, body)
            words, made = await answer
        finally:
            self._asked.pop(number, None)
            answer.cancel()
        if "refused" in words:
            raise RefusedError(f"worker {self.name}: {words['refused']}")
        return words, made

    async def open(
        self,
        name: str,
        avatar: str,
        seed: int,
        checkpoint: str | None,
        past: Mapping[str, Any] | None = None,
        sound: bytes = b"",
    ) -> Message:
        """A session on it: new, or gone on with from its past."""
        self.opening += 1
        try:
            told = {"do": "open", "id": name, "avatar": avatar, "seed": seed, "checkpoint": checkpoint, "past": past}
            return await self.ask(told, sound)
        finally:
            self.opening -= 1

    async def follow(self, wanted: Split) -> None:
        await self._send({"do": "follow", "split": asdict(wanted)})

    async def listen(self) -> str:
        """Takes in answers and states, until the worker is lost: why."""
        try:
            while True:
                words, body = await asyncio.wait_for(self._line.receive(), LOST_S)
                self.state = words.get("state", self.state)
                waiting = self._asked.get(words.get("n", 0))
                if waiting is not None and not waiting.done():
                    waiting.set_result((words, body))
        except (LostError, TimeoutError) as error:
            return str(error) or f"it said nothing for {LOST_S:.0f} s"
        finally:
            self.lost = True
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(LostError(f"worker {self.name} died"))

    async def _send(self, told: Mapping[str, Any], body: bytes = b"") -> None:
        async with self._sending:
            await self._line.send(told, body)
