"""`headroom annotate`: the web app of a workspace on one port."""

from __future__ import annotations

import secrets
import sys
import threading
from typing import Any

from dashboards.annotation.app import first_invitation, make_app
from dashboards.annotation.visit import Site
from store.annotation_database import Database, database_url
from store.workspace import Workspace
from tasks.annotation.delivery import keep_delivering

KEEP_ALIVE_S = 75
SWITCH_S = 0.0005
"""A request waits for a database a dozen times, and after each for Python's lock: by default up to 5 ms."""


def serve(workspace: Workspace, host: str, port: int, address: str = "") -> None:
    """Serves until Ctrl-C, and brings decided labels into the record meanwhile. The first start prints a link that makes
    the first administrator."""
    import uvicorn

    database = Database(database_url(workspace.settings))
    site = Site(workspace, database, _secret(workspace), (address or f"http://{host}:{port}").rstrip("/"))
    if token := first_invitation(database):
        print(f"open {site.address}/join/{token} to become the first administrator (within a week)", flush=True)  # noqa: T201
    print(f"annotation of {workspace.settings.workspace} at {site.address}; Ctrl-C ends it", flush=True)  # noqa: T201
    sys.setswitchinterval(SWITCH_S)
    stop = threading.Event()
    courier = threading.Thread(target=keep_delivering, args=(workspace, database, stop), name="labels")
    courier.start()
    try:
        # The access log would hold the addresses of invitations and clips. People think longer than uvicorn's five seconds.
        told: dict[str, Any] = {"log_level": "warning", "access_log": False, "timeout_keep_alive": KEEP_ALIVE_S}
        uvicorn.run(make_app(site), host=host, port=port, **told)
    finally:
        stop.set()
        courier.join()
        database.close()


def _secret(workspace: Workspace) -> bytes:
    """Signs the addresses of clips; made once per workspace."""
    held = workspace.ledger.setting("annotation_secret", "")
    if not held:
        workspace.ledger.set_setting("annotation_secret", secrets.token_hex(32))
        held = workspace.ledger.setting("annotation_secret", "")
    return bytes.fromhex(held)
