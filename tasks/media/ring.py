"""Frames shared between the reader and its decoding child: slots in one memory that has no name.

The child writes a frame into a free slot; the reader gives out an array that looks at it, and the slot is free
again when the last such array is gone. So no frame is copied on the reader's side, and none changes under a user.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections import deque

import numpy as np

SPARE_SLOTS = 32
"""So many slots stay free for the child; frames that come while fewer are left are copied. It never waits for ever."""


def anonymous_memory(size: int) -> int:
    """A file descriptor of memory without a name: it is gone with the last process that has it, even by kill -9."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("headroom-frames")
        os.ftruncate(fd, size)
        return fd
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return os.dup(file.fileno())


def free_slots(memory_bytes: int, frame_bytes: int, busy: list[list[int]], most: int) -> list[int]:
    """The first `most` slots of `frame_bytes` that touch none of the busy [start, end) byte ranges, ascending."""
    taken: set[int] = set()
    for start, end in busy:
        taken.update(range(start // frame_bytes, -(-end // frame_bytes)))
    return [slot for slot in range(memory_bytes // frame_bytes) if slot not in taken][:most]


class SharedFrames:
    """The reader's side of one child's memory. It outlives the child as long as a frame of it is looked at."""

    def __init__(self, fd: int, size: int) -> None:
        self.memory = mmap.mmap(fd, size)
        self.held: dict[int, int] = {}
        self.freed: deque[int] = deque()
        self._shape = (0, 0)
        self._num_slots = 0
        self._out: set[int] = set()

    def busy(self) -> list[list[int]]:
        return [[start, start + size] for start, size in list(self.held.items())]

    def begin(self, width_px: int, height_px: int, busy: list[list[int]], most: int) -> None:
        """Slots get the size of I420 frames of the next video; `busy` and `most` as the child was told."""
        self._shape = (height_px * 3 // 2, width_px)
        self._num_slots = len(free_slots(len(self.memory), self._frame_bytes, busy, most))
        self._out = set()
        self.freed.clear()

    @property
    def _frame_bytes(self) -> int:
        return self._shape[0] * self._shape[1]

    def plane(self, slot: int) -> np.ndarray:
        """The frame in a slot: a view, or a copy when slots run short."""
        size = self._frame_bytes
        seen = np.frombuffer(self.memory, np.uint8, size, slot * size)
        if self._num_slots - len(self._out) < SPARE_SLOTS:
            self.freed.append(slot)
            return seen.reshape(self._shape).copy()
        self.held[slot * size] = size
        self._out.add(slot)
        weakref.finalize(seen, self._release, slot, size, self._out).atexit = False
        return seen.reshape(self._shape)

    def _release(self, slot: int, size: int, out: set[int]) -> None:
        del self.held[slot * size]
        out.discard(slot)
        if out is self._out:  # else the child was told that the slot is busy, and does not expect it back
            self.freed.append(slot)

    def take_freed(self) -> list[int]:
        return [self.freed.popleft() for _ in range(len(self.freed))]
