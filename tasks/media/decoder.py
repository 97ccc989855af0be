"""The child of `tasks.media.reader`: decodes proxies and puts I420 frames into shared memory, as it is told.

Told by lines of JSON on standard input, it answers by lines on standard output:

    {"op": "size", "path": p}                                   -> {"size": [w, h]}
    {"op": "frames", "path": p, "first": f, "last": f, ...}     -> {"size": ..}, {"frames": [..], "slots": [..]}..., {"done": n}
    {"free": [..]}       slots of the ring that nobody looks at any more and may be written again

and {"error": reason} when a file can't be decoded. Frames come in order; a full ring makes it wait.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

import av
import numpy as np

from tasks.media.limits import enter
from tasks.media.probe import OPEN_OPTIONS
from tasks.media.ring import SPARE_SLOTS, free_slots

GRID_FPS = 25
KEYFRAME_STEP = 25
BATCH = 24


class Ring:
    """Slots of one frame each in the shared memory; a slot is written again only when the parent has freed it."""

    def __init__(self, memory: np.ndarray, frame_bytes: int, free: list[int], told: IO[str], asked: IO[str]) -> None:
        self.memory, self.frame_bytes, self.told, self.asked = memory, frame_bytes, told, asked
        # The slot freed last is taken first: its pages are in memory, and in the cache.
        self.free = free[::-1]
        self.frames: list[int] = []
        self.slots: list[int] = []

    def put(self, frame: int, pieces: list[np.ndarray]) -> None:
        while not self.free:
            self.flush()
            self.free += json.loads(self.asked.readline() or _parent_gone())["free"]
        slot = self.free.pop()
        at = slot * self.frame_bytes
        for piece in pieces:
            self.memory[at : at + piece.size].reshape(piece.shape)[:] = piece
            at += piece.size
        self.frames.append(frame)
        self.slots.append(slot)
        if len(self.frames) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if self.frames:
            _tell(self.told, {"frames": self.frames, "slots": self.slots})
            self.frames, self.slots = [], []


def _parent_gone() -> str:
    sys.exit("the parent closed the pipe")


def send_frames(request: dict[str, Any], container: Any, memory: np.ndarray, told: IO[str], asked: IO[str]) -> None:
    first, last, step = request["first"], request["last"], request["step"]
    wanted = set(range(-(-first // step) * step, last, step)) | set(request["also"])
    video = container.streams.video[0]
    width, height = video.width, video.height
    size = width * height * 3 // 2
    free = free_slots(len(memory), size, request["busy"], request["most_slots"])
    if len(free) < SPARE_SLOTS:
        _tell(told, {"error": f"frames of {width}x{height} px don't fit the ring; read the proxy, not the source"})
        return
    _tell(told, {"size": [width, height]})
    ring = Ring(memory, size, free, told, asked)
    decode = _by_decord if request["sampler"] == "decord" else _by_pyav
    num_sent = 0
    for frame, pieces in decode(request["path"], container, video, sorted(wanted)):
        ring.put(frame, pieces)
        num_sent += 1
    ring.flush()
    if num_sent < len(wanted):
        raise ValueError(f"the proxy holds {num_sent} of the {len(wanted)} frames asked for up to {max(wanted)}")
    _tell(told, {"done": num_sent})


def _by_pyav(path: str, container: Any, video: Any, wanted: list[int]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The wanted frames, as planes. Only keyframes are decoded when only keyframes are wanted."""
    if not wanted:
        return
    video.thread_count = 1
    video.codec_context.skip_frame = "NONKEY" if all(f % KEYFRAME_STEP == 0 for f in wanted) else "DEFAULT"
    if wanted[0] >= KEYFRAME_STEP:
        container.seek(round(wanted[0] / GRID_FPS / video.time_base), stream=video, backward=True)
    left = set(wanted)
    # Whole numbers: a Fraction for each frame costs a twentieth of the decoding.
    per_tick = video.time_base * GRID_FPS
    twice, ticks = 2 * per_tick.numerator, per_tick.denominator
    for picture in container.decode(video):
        frame = (picture.pts * twice + ticks) // (2 * ticks)
        if frame in left:
            left.discard(frame)
            yield frame, _planes(picture)
        if frame >= wanted[-1]:
            return


def _planes(picture: Any) -> list[np.ndarray]:
    if picture.format.name not in ("yuv420p", "yuvj420p"):
        raise ValueError(f"the proxy holds {picture.format.name}, expected yuv420p; normalise it again")
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in picture.planes
    ]


def _by_decord(path: str, container: Any, video: Any, wanted: list[int]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The same frames by decord, one at a time. It gives RGB only, so a level is lost on the way back to I420."""
    import cv2
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    for frame in wanted:
        if frame < len(reader):
            yield frame, [np.asarray(cv2.cvtColor(reader[frame].asnumpy(), cv2.COLOR_RGB2YUV_I420), np.uint8)]


def _tell(told: IO[str], message: dict[str, Any]) -> None:
    told.write(json.dumps(message) + "\n")
    told.flush()


def main() -> None:
    memory_fd, memory_bytes, parent = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    enter(memory_bytes, 0, parent)
    av.logging.set_level(av.logging.PANIC)
    # Whatever a library prints must not mix with the answers.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    memory = np.frombuffer(mmap.mmap(memory_fd, 0), np.uint8)
    # A proxy whose size was asked for is mostly the next to be decoded, and is not opened twice.
    opened: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "op" not in request:
            continue  # a slot freed after the last frame of the request before
        try:
            path, is_size = request["path"], request["op"] == "size"
            held = None if is_size else opened.pop(path, None)
            while opened:
                opened.popitem()[1].close()
            container = held or av.open(f"file:{path}", options=dict(OPEN_OPTIONS))
            if is_size:
                opened[path] = container
                video = container.streams.video[0]
                _tell(told, {"size": [video.width, video.height]})
            else:
                with container:
                    send_frames(request, container, memory, told, sys.stdin)
        except (av.error.FFmpegError, ValueError, IndexError, MemoryError) as error:
            _tell(told, {"error": f"{type(error).__name__}: {str(error)[:300]}"})


if __name__ == "__main__":
    main()
