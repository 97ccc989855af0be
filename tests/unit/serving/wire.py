"""A line to a server that can be cut and mended, as between a browser and a server elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Wire:
    """Passes what comes on a port of its own to another one. `cut` says how it goes: what is open breaks off and nothing new
    gets through ("broken"), or nothing passes any more and nobody is told ("silent"). `mend` lets new ones through."""

    def __init__(self, port: int) -> None:
        self.port, self._to = 0, port
        self._how = ""
        self._open: set[asyncio.StreamWriter] = set()
        self._never = asyncio.Event()
        """Held here: a task that waits for what nobody else holds is collected with it."""
        self.loop = asyncio.new_event_loop()

    def cut(self, how: str) -> None:
        def broken() -> None:
            self._how = how
            for writer in self._open if how == "broken" else ():
                writer.transport.abort()

        self.loop.call_soon_threadsafe(broken)

    def mend(self) -> None:
        def mended() -> None:
            self._how = ""
            self._open.clear()

        self.loop.call_soon_threadsafe(mended)

    async def run(self, ready: threading.Event, ended: asyncio.Event) -> None:
        server = await asyncio.start_server(self._passed, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()
        parts = asyncio.all_tasks() - {asyncio.current_task()}
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)

    async def _passed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._how == "broken":
            writer.transport.abort()
            return
        there, other = await asyncio.open_connection("127.0.0.1", self._to)
        both = {writer, other}
        self._open |= both
        try:
            with suppress(asyncio.CancelledError):  # of the end of it all
                await asyncio.gather(self._pump(reader, other), self._pump(there, writer))
        finally:
            self._open -= both
            for end in both:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self._how or writer not in self._open:
                    await self._never.wait()  # nothing passes on this one ever again
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        writer.close()


@contextmanager
def wired(port: int) -> Iterator[Wire]:
    made, ready, ended = Wire(port), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=made.loop.run_until_complete, args=(made.run(ready, ended),))
    thread.start()
    try:
        assert ready.wait(20)
        yield made
    finally:
        made.loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        made.loop.close()
