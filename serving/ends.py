"""This end of a viewer's WebSocket, for a line that takes nothing any more."""

from __future__ import annotations

import socket
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

GIVEN_UP_S = 10.0
"""A line that was closed and takes not even that is cut off after so long."""
UNSENT_BYTES = 16_384
"""Of all that was written to a line, the kernel holds so much that it could not send yet: 0.4 s of a stream. By itself it would
hold megabytes, minutes of it, and nobody would know how far behind a viewer is."""


class SocketEnd(WebSocketsSansIOProtocol):
    """uvicorn's own, but closing waits for no room: it would wait for as long as the viewer takes nothing."""

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.loop.call_later(GIVEN_UP_S, self.transport.abort)
        await super().send(message)


def little_unsent(listener: socket.socket) -> socket.socket:
    """Has the lines that this one will take hold little, where the system can do so."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listener
