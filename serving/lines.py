"""The line between the gateway and a worker: messages of a few words and, behind them, bytes. What carries them is for others.

Words are JSON; the bytes are sound, coded video, or an avatar. Requests carry a number `n`, by which their answer is known.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from modeling.mesh_warp import Plate
from modeling.motion import Person
from serving.avatar import Avatar

KEY_HEADER = "x-headroom-probe"
"""Tells the server's key, which lies in the ledger: whoever deploys, or brings a worker, may read it."""
MOST_BYTES = 16 << 20
"""Of one message: an avatar of 1024 px is the largest."""
MOST_WAITING = 64
Message = tuple[dict[str, Any], bytes]


class LostError(Exception):
    """The other end is gone."""


class Line(Protocol):
    """Both raise LostError once the other end is gone; `send` waits while that one does not read."""

    async def send(self, told: Mapping[str, Any], body: bytes = b"") -> None: ...

    async def receive(self) -> Message: ...


def packed(told: Mapping[str, Any], body: bytes = b"") -> bytes:
    words = json.dumps(told).encode()
    return struct.pack(">I", len(words)) + words + body


def unpacked(data: bytes) -> Message:
    """Raises LostError for what is no message: whoever sends it is no end of a line."""
    try:
        size = 4 + struct.unpack(">I", data[:4])[0]
        told = json.loads(data[4:size])
    except (struct.error, ValueError) as error:
        raise LostError(f"a message of {len(data)} bytes can't be read ({error})") from error
    if not isinstance(told, dict):
        raise LostError(f"a message must be an object, it is {type(told).__name__}")
    return told, data[size:]


class LocalLine:
    """One end of a line within a process; `pair` makes both."""

    def __init__(self, inward: asyncio.Queue[bytes], outward: asyncio.Queue[bytes], cut: asyncio.Event) -> None:
        self._inward, self._outward, self._cut = inward, outward, cut

    async def send(self, told: Mapping[str, Any], body: bytes = b"") -> None:
        await self._unless_cut(self._outward.put(packed(told, body)))

    async def receive(self) -> Message:
        return unpacked(await self._unless_cut(self._inward.get()))

    def cut(self) -> None:
        self._cut.set()

    async def _unless_cut(self, work: Any) -> Any:
        doing, cut = asyncio.ensure_future(work), asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait({doing, cut}, return_when=asyncio.FIRST_COMPLETED)
            if self._cut.is_set():
                raise LostError("the line was cut")
            return doing.result()
        finally:
            doing.cancel()
            cut.cancel()


def pair() -> tuple[LocalLine, LocalLine]:
    one: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
    other: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
    cut = asyncio.Event()
    return LocalLine(one, other, cut), LocalLine(other, one, cut)


def avatar_bytes(shown: Avatar) -> bytes:
    """All that is drawn of an avatar; `avatar_from` reads it."""
    held = io.BytesIO()
    plate, person = shown.plate, shown.person
    np.savez(
        held, picture=plate.picture, points=plate.points, inside=plate.inside, rest=person.rest, scale=person.scale
    )
    return held.getvalue()


def avatar_from(key: str, name: str, data: bytes) -> Avatar:
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        plate = Plate(held["picture"], held["points"], held["inside"])
        return Avatar(key, name, plate, Person(held["rest"], held["scale"]))
