"""A server follows the ledger, and its workers follow it: which checkpoints they serve, and that it is there. One that was
away catches up at its start."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from serving.checkpoints import Split
from serving.routing import Gateway
from store import deployments
from store.deployments import Server, Serving
from store.workspace import Workspace

log = logging.getLogger("headroom.serving")

POLL_S = 1.0
SEEN_S = 15.0
"""Writing waits for whoever commits to the workspace, so it is done apart from reading, which waits for nobody."""


def split_of(told: Serving) -> Split:
    return Split(told.stable, told.canary, told.share, told.revision)


async def follow(gateway: Gateway, workspace: Workspace, server: Server) -> None:
    """Until it is cancelled."""
    seen, told_refused = asyncio.create_task(_seen(workspace, server)), dict[str, str]()
    try:
        while True:
            try:
                told = await asyncio.to_thread(deployments.wanted, workspace)
                await gateway.follow(split_of(told))
            except ConnectionError as error:
                log.warning("what serves is left as it is: %s", error)
            refused = {name: why for w in gateway.workers.values() for name, why in w.state["refused"].items()}
            if refused != told_refused:
                told_refused = refused
                for why in told_refused.values():
                    log.warning("refused: %s", why)
            await asyncio.sleep(POLL_S)
    finally:
        seen.cancel()
        with suppress(asyncio.CancelledError):
            await seen
        deployments.withdraw(workspace, server)


async def _seen(workspace: Workspace, server: Server) -> None:
    while True:
        try:
            await asyncio.to_thread(deployments.announce, workspace, server)
        except ConnectionError as error:
            log.warning("nobody is told that this server is here: %s", error)
        await asyncio.sleep(SEEN_S)
