"""This end of a viewer's WebSocket, for a line that takes nothing any more; and the server's own end."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.routing import Gateway

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


class EndingServer(uvicorn.Server):
    """uvicorn's own, which closes all lines before it tells its app that it ends: the gateway must know it first."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.ending = True
        await super().shutdown(sockets)


def little_unsent(listener: socket.socket) -> socket.socket:
    """Has the lines that this one will take hold little, where the system can do so."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listener
