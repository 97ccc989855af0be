"""A Prefect server or worker, or another program, that ends when whoever started it does, however that ends: `python -m flows.child`.

Standard input is a pipe that the parent holds open. When it closes, the parent is gone (a kill -9 too), and this
process ends what it started and itself.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time


def main(arguments: list[str]) -> None:
    """`server FD lasting|ephemeral`, `worker POOL NAME LIMIT`, or `run MODULE ...` for any other of our programs."""
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    if arguments[0] == "server":
        serve(int(arguments[1]), ephemeral=arguments[2] == "ephemeral")
    elif arguments[0] == "run":
        sys.exit(subprocess.run([sys.executable, "-m", *arguments[1:]], check=False).returncode)
    else:
        work(arguments[1], arguments[2], int(arguments[3]))


def serve(fd: int, *, ephemeral: bool) -> None:
    """The Prefect API, and its UI if it is lasting, on a listening socket."""
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    if ephemeral:
        os.environ["PREFECT__SERVER_EPHEMERAL"] = "1"
    # Half of the start is imports: a third of that is the collector walking through what is never garbage.
    gc.disable()
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.freeze()
            gc.enable()

    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=2,
    )
    Server(config).run(sockets=[socket.socket(fileno=fd)])


def work(pool: str, name: str, limit: int) -> None:
    """A worker that starts a process for each scheduled run of its pool."""
    from prefect.workers.process import ProcessWorker

    async def until_told() -> None:
        worker = asyncio.ensure_future(ProcessWorker(work_pool_name=pool, name=name, limit=limit).start())
        loop = asyncio.get_running_loop()
        for told in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(told, worker.cancel)
        try:
            await worker
        except asyncio.CancelledError:
            return

    asyncio.run(until_told())


def _end_with_parent() -> None:
    while os.read(0, 1 << 16):
        pass
    from flows.server import STOP_TIMEOUT_S, below, end

    end(below(os.getpid()))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT_S)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
