"""Keeps the gateway's own workers up: processes of this machine, each replaced when it dies or is cut off."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from serving.join import KEY_VARIABLE
from serving.routing import Gateway
from store.workspace import Workspace

log = logging.getLogger("headroom.serving")

LONG_S = 60.0
"""A worker that lived for so long is replaced at once; one that dies sooner, after a wait that doubles."""
MOST_PAUSE_S = 30.0
STOP_S = 5.0
LOOK_S = 0.5


async def keep(
    gateway: Gateway, workspace: Workspace, url: str, checkpoint: str | None, shares: Sequence[int],
    renderer: str | None = None,
) -> None:  # fmt: skip
    """One process for each share of the sessions, until it is cancelled; then they are ended.

    Raises ValueError when one ends before any worker ever was ready: what it said stands above."""
    kept = []
    for number, share in enumerate(shares, 1):
        command = [sys.executable, "-m", "headroom", "worker", url, "--name", f"worker-{number}"]
        command += ["--sessions", str(share), "--workspace", str(workspace.settings.workspace)]
        command += ["--checkpoint", checkpoint] if checkpoint else []
        command += ["--renderer", renderer] if renderer else []
        kept.append(_kept(gateway, f"worker-{number}", command))
    await together(*kept)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Until all are done; the first that fails, or being cancelled, ends all."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION) if tasks else ((), ())
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept(gateway: Gateway, name: str, command: Sequence[str]) -> None:
    pause_s = 0.5
    while True:
        began = time.monotonic()
        status = await _lived(gateway, name, command)
        if not gateway.came.is_set():
            raise ValueError(f"serve: {name} could not start (exit status {status}); what it said stands above")
        pause_s = 0.5 if time.monotonic() - began > LONG_S else min(2 * pause_s, MOST_PAUSE_S)
        if gateway.ending:
            return
        log.warning("%s ended (exit status %s); another one starts in %.0f s", name, status, pause_s)
        await asyncio.sleep(pause_s)


async def _lived(gateway: Gateway, name: str, command: Sequence[str]) -> int:
    """Runs one to its end, and gives its exit status. One that the gateway has lost is ended: it may hang."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    told = {**os.environ, KEY_VARIABLE: gateway.probe_key, "PYTHONPATH": path}
    process = await asyncio.create_subprocess_exec(
        *command, env=told, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )  # Ctrl-C reaches the gateway alone, which ends them
    was_here = False
    try:
        while process.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LOOK_S)
            is_here = name in gateway.workers
            if was_here and not is_here and process.returncode is None:
                process.kill()
            was_here = was_here or is_here
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
    return process.returncode
