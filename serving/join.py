"""`headroom worker`: loads what is deployed, joins a gateway, and draws its sessions until that ends."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from serving.checkpoints import WARP_ALONE, Checkpoints, own_pair
from serving.engine import Chunk, Module, Pipeline
from serving.lines import KEY_HEADER, MOST_BYTES, LostError, Message, packed, unpacked
from serving.worker import work
from store import deployments, registry
from store.deployments import pair_of, parts_of
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
    """The checkpoint named, else what is deployed; a workspace that has deployed none begins with the latest one. It is drawn
    by the renderer named, whatever is deployed, else by what is deployed, else by the plain warp."""
    load = _Loader(workspace)
    pinned: str | None = None
    if renderer is not None:
        pinned = "" if renderer == WARP_ALONE else str(registry.checkpoint_row(workspace, renderer)["id"])
    told = deployments.wanted(workspace)
    if checkpoint is not None:
        named = load.motion(checkpoint).checkpoint
        first = pair_of(named, deployments.serving(workspace, deployments.RENDERER).stable)
    elif not (first := told.stable or told.canary):
        latest = load.motion(None)
        deployments.first(workspace, latest.checkpoint)
        first = deployments.wanted(workspace).stable
    return Checkpoints(load(own_pair(first, pinned)), load, renderer=pinned)


class _Loader:
    """From pairs to pipelines. Pairs that share a checkpoint share its module, as long as one of them is held."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._held: WeakValueDictionary[str, Module[Any]] = WeakValueDictionary()

    def __call__(self, pair: str) -> Pipeline[Chunk]:
        from serving.talking import talking

        motion, renderer = parts_of(pair)
        return talking(self.motion(motion), self.renderer(renderer) if renderer else None)

    def motion(self, name: str | None) -> Module[Any]:
        """None: the latest one of the recipe."""
        from serving.talking import motion_module

        found = self._held.get(name) if name else None
        if found is None:
            found = motion_module(self._workspace, name)
            self._held[found.checkpoint] = found
        return found

    def renderer(self, name: str) -> Module[Any]:
        from serving.refined_face import renderer_module

        found = self._held.get(name)
        if found is None:
            found = renderer_module(self._workspace, name)
            assert found is not None, "it has a name"
            self._held[found.checkpoint] = found
        return found


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
