"""One way to frames and sound of a proxy, whatever the length: a decoding child, shared memory, bounded blocks."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import numpy as np

from tasks.media.errors import MediaError
from tasks.media.limits import Limits, python_child
from tasks.media.media import Media
from tasks.media.ring import SPARE_SLOTS, SharedFrames, anonymous_memory, free_slots

GRID_FPS = 25
AUDIO_HZ = 16_000
SAMPLES_PER_FRAME = AUDIO_HZ // GRID_FPS
RING_BYTES = 256 << 20
"""Address space of the frames shared with the child: two blocks of 250 at 640x480. Pages count once touched."""

REQUESTS_PER_CHILD = 500
READER_LIMITS = Limits(memory_bytes=3 << 29, base_s=60.0, per_s=5.0, stall_s=60.0)

Sampler = Literal["pyav", "decord"]


class Reader:
    """Decodes proxies in one child process, which is started when first needed and again whenever it is gone.

    Not for several threads at once: a worker has one of its own. Use it in a `with` block. Raises MediaError (stage
    "decode") within its limits when the child hangs, dies or meets a damaged file; the next call works again.

    PyAV is the sampler by default: at 5 fps it costs 0.6 and at 1 fps half of decord's processor time, and it
    gives the I420 planes as they are. decord (RGB only, so about one level off) is the second opinion that a test
    compares it with.
    """

    def __init__(self, limits: Limits = READER_LIMITS, sampler: Sampler = "pyav") -> None:
        self.limits = limits
        self.sampler = sampler
        self._child: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._shared: SharedFrames | None = None
        self._unread = bytearray()
        self._num_requests = 0
        self._streaming = False
        self._sizes: dict[tuple[str, int], tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def blocks(
        self,
        proxy: Path,
        audio: Path | None,
        num_frames: int,
        start: int,
        end: int,
        *,
        block_frames: int = 250,
        context_frames: int = 0,
        fps: float | None = 25.0,
        source_width_px: int = 0,
    ) -> Iterator[Media]:
        """The span [start, end) as consecutive blocks, each frame decoded once.

        A block's `frames` are the sampled ones of the block and of `context_frames` on both sides, where the video
        has them. `fps` None gives sound only. Planes belong to the Media alone, so it stays valid.
        """
        end = min(end, num_frames)
        size = self._size(proxy)
        first, last = max(0, start - context_frames), min(num_frames, end + context_frames)
        stream = None
        if fps is not None and start < end:
            # The caller may still hold one block while the next is made.
            most_held = 2 * (block_frames + 2 * context_frames) // _step(fps)
            stream = self._frames(proxy, size, first, last, _step(fps), [], most_held)
        held: deque[tuple[int, np.ndarray]] = deque()
        try:
            for block_start in range(start, end, block_frames):
                block_end = min(end, block_start + block_frames)
                low, high = max(0, block_start - context_frames), min(num_frames, block_end + context_frames)
                while held and held[0][0] < low:
                    held.popleft()
                while stream is not None and (not held or held[-1][0] < high):
                    following = next(stream, None)
                    if following is None:
                        break
                    held.append(following)
                shown = [(f, p) for f, p in held if low <= f < high]
                yield Media(
                    start_frame=block_start,
                    end_frame=block_end,
                    width_px=size[0],
                    height_px=size[1],
                    frames=[f for f, _ in shown],
                    planes=[p for _, p in shown],
                    audio=None if audio is None else self.read_audio(audio, block_start, block_end),
                    source_width_px=source_width_px or size[0],
                    video_has_audio=audio is not None,
                )
        finally:
            if stream is not None:
                stream.close()

    def sampled(
        self, proxy: Path, audio: Path | None, start: int, end: int, fps: float | None, *, source_width_px: int = 0
    ) -> Media:
        """A clip with its frames sampled at `fps`, at least its middle one; `fps` None is sound only."""
        size = self._size(proxy)
        frames: list[tuple[int, np.ndarray]] = []
        if fps is not None:
            step = _step(fps)
            also = [] if -(-start // step) * step < end else [(start + end) // 2]
            frames = list(self._frames(proxy, size, start, end, step, also, (end - start) // step))
        return Media(
            start_frame=start,
            end_frame=end,
            width_px=size[0],
            height_px=size[1],
            frames=[f for f, _ in frames],
            planes=[p for _, p in frames],
            audio=None if audio is None else self.read_audio(audio, start, end),
            source_width_px=source_width_px or size[0],
            video_has_audio=audio is not None,
        )

    def read_audio(self, audio: Path, start_frame: int, end_frame: int) -> np.ndarray:
        """16 kHz mono float32 in [-1, 1] of the span, exactly 640 samples a frame; silence beyond the file's end."""
        import soundfile

        wanted = np.zeros((end_frame - start_frame) * SAMPLES_PER_FRAME, np.float32)
        try:
            with soundfile.SoundFile(audio) as sound:
                if start_frame * SAMPLES_PER_FRAME < sound.frames:
                    sound.seek(start_frame * SAMPLES_PER_FRAME)
                    read = sound.read(len(wanted), dtype="float32", always_2d=False)
                    wanted[: len(read)] = read
        except (soundfile.LibsndfileError, OSError) as error:
            raise MediaError("decode", f"{audio.name} can't be read ({error}); normalise the video again") from error
        return wanted

    def close(self) -> None:
        """End the child and give back the shared memory, which has no name and so can't be left behind."""
        child, self._child = self._child, None
        self._streaming = False
        self._unread.clear()
        if child is not None:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not flushed to a dead child is of no use
        if self._complaints is not None:
            self._complaints.close()
            self._complaints = None
        self._shared = None  # unmapped when the last frame that looks into it is gone

    def _size(self, proxy: Path) -> tuple[int, int]:
        try:
            key = (os.fspath(proxy), proxy.stat().st_mtime_ns)
        except OSError as error:
            raise MediaError(
                "decode", f"the proxy is not there ({error.strerror}); normalise the video again"
            ) from error
        if key not in self._sizes:
            self._ask({"op": "size", "path": os.fspath(proxy.absolute())})
            told = self._next_message(time.monotonic() + self.limits.base_s)
            self._sizes[key] = (told["size"][0], told["size"][1])
        return self._sizes[key]

    def _frames(
        self, proxy: Path, size: tuple[int, int], first: int, last: int, step: int, also: list[int], most_held: int
    ) -> Generator[tuple[int, np.ndarray], None, None]:
        """Wanted frames in order. Only waiting for the child counts as its time.

        The child decodes ahead as far as it has slots; `most_held` is for how many frames the caller needs some.
        """
        self._refuse_in_the_middle()
        busy = self._shared.busy() if self._shared is not None else []
        most = most_held + 2 * SPARE_SLOTS
        if len(free_slots(RING_BYTES, size[0] * size[1] * 3 // 2, busy, most)) < 2 * SPARE_SLOTS:
            self.close()  # a fresh memory; the frames still looked at keep the old one
            busy = []
        request = {"op": "frames", "path": os.fspath(proxy.absolute()), "first": first, "last": last, "busy": busy}
        request["most_slots"] = most
        self._ask({**request, "step": step, "also": also, "sampler": self.sampler})
        left_s = self.limits.wall_s((last - first) / GRID_FPS)
        self._streaming = True
        try:
            told = self._next_message(time.monotonic() + left_s)
            shared = self._shared
            assert shared is not None
            shared.begin(told["size"][0], told["size"][1], busy, most)
            while True:
                waiting = time.monotonic()
                told = self._next_message(waiting + left_s)
                left_s -= time.monotonic() - waiting
                if "done" in told:
                    self._streaming = False
                    return
                for frame, slot in zip(told["frames"], told["slots"], strict=True):
                    yield frame, shared.plane(slot)
                if shared.freed:
                    self._send({"free": shared.take_freed()})
        finally:
            if self._streaming:  # left in the middle: what the child still sends belongs to nobody
                self.close()

    def _ask(self, request: dict[str, Any]) -> None:
        self._refuse_in_the_middle()
        if self._child is None or self._child.poll() is not None or self._num_requests >= REQUESTS_PER_CHILD:
            self._start()
        self._num_requests += 1
        self._send(request)

    def _refuse_in_the_middle(self) -> None:
        if self._streaming:
            raise RuntimeError("this reader is in the middle of blocks(); finish or close them, or use another reader")

    def _start(self) -> None:
        self.close()
        memory_fd = anonymous_memory(RING_BYTES)
        self._shared = SharedFrames(memory_fd, RING_BYTES)
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        command, environment = python_child("tasks.media.decoder")
        self._child = subprocess.Popen(
            [*command, str(memory_fd), str(self.limits.memory_bytes), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            pass_fds=(memory_fd,),
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
        os.close(memory_fd)
        self._num_requests = 0

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            self._gone()

    def _next_message(self, deadline: float) -> dict[str, Any]:
        assert self._child is not None
        assert self._child.stdout is not None
        output = self._child.stdout.fileno()
        stalled = time.monotonic() + self.limits.stall_s
        while (cut := self._unread.find(b"\n")) < 0:
            wait_s = min(deadline, stalled) - time.monotonic()
            ready = select.select([output], [], [], max(0.0, wait_s))[0] if wait_s > 0 else []
            if not ready:
                self.close()
                raise MediaError("decode", f"no frame for {self.limits.stall_s:g} s; the file makes its decoder hang")
            data = os.read(output, 1 << 16)
            if not data:
                self._gone()
            self._unread += data
        line = bytes(self._unread[:cut])
        del self._unread[: cut + 1]
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            self._streaming = False
            raise MediaError("decode", f"{told['error']}; normalise the video again")
        return told

    def _gone(self) -> None:
        """Raises MediaError with what the dead child left behind."""
        assert self._child is not None
        assert self._complaints is not None
        status = self._child.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        last = lines[-1][:200] if lines else "no message"
        self.close()
        raise MediaError("decode", f"the decoder died with status {status} ({last}); it starts anew", transient=True)


def _step(fps: float) -> int:
    return max(1, round(GRID_FPS / fps))
