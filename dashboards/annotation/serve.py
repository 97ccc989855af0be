"""`headroom annotate`: the web app of a workspace on one port."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dashboards.annotation.app import first_invitation, make_app
from dashboards.annotation.visit import Site
from infra.proxies import checked_proxies
from store.annotation_database import Database, database_url
from store.workspace import Workspace, open_workspace
from tasks.annotation.delivery import keep_delivering
from tasks.annotation.sign_in import workspace_secret

COURIER_NICE = 10
KEEP_ALIVE_S = 75
SWITCH_S = 0.0005
"""A request waits for a database a dozen times, and after each for Python's lock: by default up to 5 ms."""


def serve(
    workspace: Workspace, host: str, port: int, address: str = "", proxies: Sequence[str] = ("127.0.0.1",)
) -> None:
    """Serves until Ctrl-C, and brings decided labels into the record meanwhile. The first start prints a link that makes
    the first administrator. Raises ValueError for an address or a proxy that is none."""
    import uvicorn

    reached, trusted = checked_address(address or f"http://{host}:{port}"), checked_proxies(proxies)
    database = Database(database_url(workspace.settings))
    site = Site(workspace, database, workspace_secret(workspace), reached, trusted)
    if token := first_invitation(database):
        print(f"open {site.address}/join/{token} to become the first administrator (within a week)", flush=True)  # noqa: T201
    print(f"annotation of {workspace.settings.workspace} at {site.address}; Ctrl-C ends it", flush=True)  # noqa: T201
    sys.setswitchinterval(SWITCH_S)
    spawn = multiprocessing.get_context("spawn")
    theirs, ours = spawn.Pipe(duplex=False)
    courier = spawn.Process(target=delivers, args=(workspace.settings.workspace, theirs), name="labels")
    courier.start()
    theirs.close()
    try:
        # The access log would hold the addresses of invitations and clips. People think longer than uvicorn's five seconds.
        told: dict[str, Any] = {"log_level": "warning", "access_log": False, "timeout_keep_alive": KEEP_ALIVE_S}
        told["proxy_headers"] = False  # the app itself knows whom to believe
        uvicorn.run(make_app(site), host=host, port=port, **told)
    finally:
        ours.close()
        courier.join()
        database.close()


def checked_address(address: str) -> str:
    told = urlsplit(address)
    if told.scheme not in ("http", "https") or not told.hostname or told.path.strip("/") or told.query or told.fragment:
        raise ValueError(f"--address {address!r}: give scheme, host and port alone, as https://label.example.org")
    return address.rstrip("/")


def delivers(folder: Path, ours_ends: Connection) -> None:
    """Brings decided labels into the record until the other end of the pipe is closed, also by the app's death.

    In a process of its own: within the app, a delivery would make requests wait for half a second.
    """
    os.nice(COURIER_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the app closes its end when it is done
    workspace = open_workspace(folder)
    database = Database(database_url(workspace.settings))
    stop = threading.Event()
    threading.Thread(target=_waits, args=(ours_ends, stop), daemon=True).start()
    try:
        keep_delivering(workspace, database, stop)
    finally:
        database.close()


def _waits(ours_ends: Connection, stop: threading.Event) -> None:
    with suppress(EOFError):
        ours_ends.recv()
    stop.set()
