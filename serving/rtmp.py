"""RTMP: a session's stream handed on to a media server by FFmpeg, which copies what was coded and codes nothing anew."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

log = logging.getLogger("headroom.serving")

MOST_WAITING = 50
"""Ticks that wait for the media server, 4 s: one that is slower is let go."""
STOP_S = 5.0


class Rtmp:
    """`url` is the operator's, never a viewer's. Each stream of the session is a process; one that fails is not begun again
    before the next stream."""

    def __init__(self, url: str, ffmpeg: str) -> None:
        self._url, self._ffmpeg = url, ffmpeg
        self._queue: asyncio.Queue[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, header: bytes) -> None:
        self.end()
        self._queue = asyncio.Queue(MOST_WAITING)
        self._task = asyncio.ensure_future(self._published(header, self._queue, self._task))

    def put(self, data: bytes) -> None:
        if self._queue is None or not data:
            return
        try:
            self._queue.put_nowait(data)
        except asyncio.QueueFull:
            log.warning("rtmp: the media server is too slow; the stream to it ends")
            self.end()

    def end(self) -> None:
        """What waits is still sent."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        if queue.full() and self._task is not None:
            self._task.cancel()
        else:
            queue.put_nowait(b"")

    async def ended(self) -> None:
        """Waits until it is."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _published(self, header: bytes, queue: asyncio.Queue[bytes], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        command = [self._ffmpeg, "-v", "error", "-f", "mp4", "-i", "pipe:0", "-c", "copy", "-f", "flv", self._url]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdin is not None
        try:
            data = header
            while data:
                process.stdin.write(data)
                await process.stdin.drain()
                data = await queue.get()
            process.stdin.close()
            await asyncio.wait_for(process.wait(), STOP_S)
        except (ConnectionError, TimeoutError):
            log.warning("rtmp: FFmpeg can't publish (exit status %s); what it said stands above", process.returncode)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
