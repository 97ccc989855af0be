"""A browser's side of the annotation app, cheap enough not to be what is measured: one kept connection a person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def told(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class Line:
    """HTTP/1.1 to one server; the connection is opened when it is needed, and anew after it broke."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str]) -> None:
        self._to = (host, port)
        self._head = "".join(f"{name}: {value}\r\n" for name, value in {"host": f"{host}:{port}", **headers}.items())
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        sent = json.dumps(body).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(sent)}\r\n"
        return await self._asked("POST", path, head, sent)

    async def get(self, path: str, headers: Mapping[str, str]) -> Reply:
        return await self._asked("GET", path, "".join(f"{k}: {v}\r\n" for k, v in headers.items()), b"")

    async def _asked(self, method: str, path: str, head: str, body: bytes) -> Reply:
        """Raises OSError or EOFError when the server went away before it answered."""
        if self._open and self._open[0].at_eof():
            await self.close()  # an idle connection that the server ended, as it may
        try:
            if self._open is None:
                self._open = await asyncio.open_connection(*self._to)
            reader, writer = self._open
            writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{head}\r\n".encode() + body)
            await writer.drain()
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
            content = await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            await self.close()  # whatever is left of a reply would be taken for the next one
            raise
        if headers.get("connection", "") == "close":
            await self.close()
        return Reply(int(first.split()[1]), headers, content)

    async def close(self) -> None:
        held, self._open = self._open, None
        if held:
            held[1].close()
            with suppress(OSError):  # the other side may be dead
                await held[1].wait_closed()
