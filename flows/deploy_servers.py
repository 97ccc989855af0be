"""The running servers of a workspace, as a deployment meets them; and one of its own when there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flows.deploy_probe import state_of
from flows.server import Child, below, start_child
from store import deployments
from store.deployments import KIND, RENDERER, Server
from store.workspace import Workspace

START_S = 180.0
"""A server loads its libraries and makes its avatars ready."""
FOLLOW_S = 60.0
POLL_S = 0.25


def reached(workspace: Workspace, kind: str = KIND) -> tuple[list[Server], dict[str, str]]:
    """Those that answer and follow deployments of this kind, and the addresses of the others with what becomes of them."""
    there, away = list[Server](), dict[str, str]()
    for server in deployments.servers(workspace):
        state = state_of(server)
        if state is None:
            away[server.url] = "does not answer; catches up when it is back"
        elif kind == RENDERER and (own := state["own_renderer"]):
            away[server.url] = f"left as it is: {', '.join(own)} draw by a renderer of their own (--renderer)"
        else:
            there.append(server)
    return there, away


@contextmanager
def servers_of(
    workspace: Workspace, avatar: str | None, kind: str = KIND
) -> Iterator[tuple[list[Server], dict[str, str]]]:
    """As `reached`; when there is none, one of our own that ends with the block, showing `avatar` or people of the workspace.

    Raises ValueError when that can't start.
    """
    there, away = reached(workspace, kind)
    if there:
        yield there, away
        return
    root = workspace.settings.workspace
    arguments = ["run", "headroom", "serve", "--workspace", str(root), "--port", "0", "--sessions", "1"]
    child = start_child(root, "probe-server", [*arguments, *(["--avatar", avatar] if avatar else [])], {}, ())
    try:
        yield [_started(workspace, child)], away
    finally:
        child.stop()


def _started(workspace: Workspace, child: Child) -> Server:
    until = time.monotonic() + START_S
    while child.process.poll() is None and time.monotonic() < until:
        pids = {process.pid for process in below(child.process.pid)}
        for server in deployments.servers(workspace):
            if server.pid in pids and state_of(server) is not None:
                return server
        time.sleep(POLL_S)
    raise ValueError(
        f"no server runs, and one to probe it on did not start ({child.failure()}); run headroom serve, or give --avatar PICTURE"
    )


def followed(servers: Sequence[Server], revision: int, pair: str) -> list[dict[str, Any]]:
    """Waits until the servers have seen this revision and moved the sessions that are on what no longer serves: of each its
    url, whether it holds the pair of checkpoints, and why not."""
    return [_followed(server, revision, pair) for server in servers]


def _followed(server: Server, revision: int, pair: str) -> dict[str, Any]:
    until, state = time.monotonic() + FOLLOW_S, None
    while time.monotonic() < until:
        state = state_of(server)
        if state is not None and state["revision"] >= revision and not state["moving"]:
            holds = pair in state["held"]
            why = "" if holds else str(state["refused"].get(pair, "something else is deployed by now"))
            return {"url": server.url, "holds": holds, "why": why, "slowest_switch_ms": state["slowest_switch_ms"]}
        time.sleep(POLL_S)
    why = "it does not answer any more" if state is None else f"it has not changed over after {FOLLOW_S:.0f} s"
    return {"url": server.url, "holds": False, "why": why, "slowest_switch_ms": None}
