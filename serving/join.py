"""`headroom worker`: loads what is deployed, joins a gateway, and draws its sessions until that ends."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

from serving.checkpoints import Checkpoints
from serving.lines import KEY_HEADER, MOST_BYTES, LostError, Message, packed, unpacked
from serving.worker import work
from store import deployments
from store.workspace import Workspace

KEY_VARIABLE = "HEADROOM_GATEWAY_KEY"
"""Of a gateway that is not in the ledger: one that serves a single checkpoint and follows nothing."""
OPEN_S = 10.0


def join(
    workspace: Workspace, url: str | None, capacity: int | None = None, name: str | None = None,
    checkpoint: str | None = None, renderer: str | None = None,
) -> None:  # fmt: skip
    """`url` is a gateway's; by default the one that the ledger knows. Returns when the gateway ends.

    Raises ValueError without a checkpoint, for a gateway that is not known or does not answer, and when several are known.
    """
    import cv2
    import torch

    from serving.sessions import Sessions

    torch.set_num_threads(1)  # sessions share the cores, one each
    cv2.setNumThreads(1)
    url, key = gateway_of(workspace, url)
    sessions = Sessions(held_by(workspace, checkpoint, renderer), capacity or os.cpu_count() or 1)
    asyncio.run(joined(sessions, url, key, name or f"{socket.gethostname()}-{os.getpid()}"))


async def joined(sessions: Any, url: str, key: str, name: str) -> None:
    """Raises ValueError for a gateway that does not answer, or does not let this worker in."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    address = f"{url.replace('http', 'ws', 1)}/api/workers"
    try:
        socket_of = await connect(
            address, additional_headers={KEY_HEADER: key}, max_size=MOST_BYTES, compression=None, open_timeout=OPEN_S
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        sessions.end()
        raise ValueError(f"worker: no gateway at {url} lets it in ({error}); start headroom serve there") from error
    async with socket_of as line:
        await work(sessions, ClientLine(line), name)


def gateway_of(workspace: Workspace, url: str | None) -> tuple[str, str]:
    """A gateway's address and key. Raises ValueError for one that is not known, and when it is not clear which is meant."""
    if url and (key := os.environ.get(KEY_VARIABLE)):
        return url, key
    known = {server.url: server.key for server in deployments.servers(workspace)}
    if url is None and len(known) == 1:
        return next(iter(known.items()))
    if url is None or url not in known:
        there = ", ".join(known) or "none"
        raise ValueError(
            f"worker: gateway {url or 'not named'}, the ledger knows {there}; give one of them, or start headroom serve"
        )
    return url, known[url]


def held_by(workspace: Workspace, checkpoint: str | None = None, renderer: str | None = None) -> Checkpoints:
    """The checkpoint named, else what is deployed; a workspace that has deployed none begins with the latest one. All are
    drawn by the renderer named, else by the one that is deployed now, else by the plain warp."""
    from serving.refined_face import renderer_module
    from serving.talking import motion_module, talking

    drawing = renderer_module(workspace, renderer)

    def load(name: str) -> Any:
        return talking(motion_module(workspace, name), drawing)

    if checkpoint is not None:
        return Checkpoints(load(checkpoint), load)
    told = deployments.serving(workspace)
    if name := told.stable or told.canary:
        return Checkpoints(load(name), load)
    module = motion_module(workspace)
    told = deployments.first(workspace, module.checkpoint)
    first = talking(module, drawing) if told.stable == module.checkpoint else load(told.stable)
    return Checkpoints(first, load)


class ClientLine:
    """The line, as a worker's end has it."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, told: Mapping[str, Any], body: bytes = b"") -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(packed(told, body))
        except ConnectionClosed as error:
            raise LostError(f"the gateway is gone ({error})") from error

    async def receive(self) -> Message:
        from websockets.exceptions import ConnectionClosed

        try:
            return unpacked(await self._socket.recv())
        except ConnectionClosed as error:
            raise LostError(f"the gateway is gone ({error})") from error
