"""`headroom up`: a Prefect server, a worker, the schedules and a watch for new footage, on this machine.

Its parts are processes below this one, or threads of it, and all of them end with it. Nothing is lost by that: a run
that is cut off is planned again from what was committed.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from flows.server import (
    Child,
    announce,
    database,
    environ,
    environment,
    home,
    lost_database,
    running,
    start_child,
    start_server,
    wait_for,
)
from flows.watch import watch as watch_paths
from store.workspace import open_workspace

log = logging.getLogger("headroom.flows")

POOL = "headroom"
NIGHTLY = "reprocess/nightly"
INGEST_WATCH = "curate/ingest-watch"
BUDGET_S = 6 * 3600.0
"""From two at night until eight in the morning; what is not reached waits for the next night."""

MAX_RUNS_AT_ONCE = 2
"""The nightly run, and what is new meanwhile."""


def up(
    workspace_root: str | Path | None = None,
    watch: Sequence[str] = (),
    cron: str = "0 2 * * *",
    port: int = 4200,
    budget_s: float = BUDGET_S,
) -> None:
    """Runs until Ctrl-C or SIGTERM. `port` 0 takes a free one; `cron` is in this machine's time zone.

    Raises ValueError for a schedule that is none, a path that isn't there, a port that is taken, or when another one
    runs for this workspace; RuntimeError when the server or the worker ends by itself.
    """
    root = open_workspace(workspace_root).settings.workspace
    paths = [_absolute(path) for path in watch]
    found = running(root)
    if found:
        raise ValueError(f"headroom up runs for this workspace already, as process {found.pid}: {found.url}")
    with _stoppable(), ExitStack() as stack:
        try:
            _run(stack, root, paths, cron, port, budget_s)
        except KeyboardInterrupt:
            _say("stopping")
    _say("stopped")


def _run(stack: ExitStack, root: Path, paths: list[str], cron: str, port: int, budget_s: float) -> None:
    stack.enter_context(environ(environment(root)))
    schedule = checked_cron(cron)
    server, url = start_server(root, port, lasting=True)
    stack.callback(server.stop)
    stack.enter_context(environ({"PREFECT_API_URL": f"{url}/api"}))
    from prefect.settings import PREFECT_API_URL, temporary_settings

    stack.enter_context(temporary_settings(updates={PREFECT_API_URL: f"{url}/api"}))
    wait_for(server, url)
    put_in_order()  # before anybody can find the server and begin a run by it
    announce(root, url, os.getpid())
    stack.callback((home(root) / "server.json").unlink, missing_ok=True)
    register(root, paths, schedule, budget_s)
    worker = _start_worker(root)
    stack.callback(worker.stop)
    if paths:
        stack.enter_context(_watching(paths))
    _say(f"Prefect UI: {url}")
    _say(f"every night ({cron}, {schedule.timezone}): reprocess what is stale, for {budget_s / 3600:g} h at most")
    _say(f"watching for new footage: {', '.join(paths) or 'nothing (give folders to watch)'}")
    _say("Ctrl-C stops all of it")
    _until_one_ends(root, (server, worker))


def checked_cron(cron: str) -> Any:
    """A cron schedule in the time zone of this machine. Raises ValueError for text that is none."""
    from prefect.client.schemas.schedules import CronSchedule

    try:
        return CronSchedule(cron=cron, timezone=time_zone())
    except ValueError as error:
        raise ValueError(
            f"cron {cron!r} is no schedule; write it as '0 2 * * *' (minute hour day month weekday)"
        ) from error


def time_zone() -> str:
    """The machine's, by its IANA name: TZ, else where /etc/localtime leads, else UTC."""
    told = os.environ.get("TZ", "").lstrip(":")
    return told or str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2] or "UTC"


def register(root: Path, paths: list[str], schedule: Any, budget_s: float) -> None:
    """The work pool and the deployments; those of an earlier `headroom up` are brought up to date."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    from flows import deploy_flow, pipeline, train_flow

    with get_client(sync_client=True) as client:
        pool = WorkPoolCreate(name=POOL, type="process", description="Processes on the machine that runs headroom up.")
        client.create_work_pool(pool, overwrite=True)
    shared: dict[str, Any] = {"work_pool_name": POOL, "entrypoint_type": EntrypointType.MODULE_PATH}
    workspace = str(root)
    deployments: list[RunnerDeployment] = [
        pipeline.reprocess.to_deployment(  # type: ignore[list-item]
            NIGHTLY.partition("/")[2],
            schedules=[schedule],
            parameters={"workspace": workspace, "budget_s": budget_s},
            description="Every night: recompute what is stale, most useful first, within a budget of hours.",
            **shared,
        ),
        pipeline.curate.to_deployment(  # type: ignore[list-item]
            INGEST_WATCH.partition("/")[2],
            parameters={"workspace": workspace, "paths": paths},
            description="Started when new footage lies still in a watched folder.",
            **shared,
        ),
        pipeline.build_tiers.to_deployment(  # type: ignore[list-item]
            "on-demand",
            parameters={"workspace": workspace},
            description="Freezes a snapshot of every tier when started by hand.",
            **shared,
        ),
        train_flow.train.to_deployment(  # type: ignore[list-item]
            "on-demand",
            parameters={"workspace": workspace, "recipe_name": "audio_to_motion"},
            description="Trains a recipe on a snapshot (its id) and publishes the checkpoint.",
            **shared,
        ),
        deploy_flow.deploy.to_deployment(  # type: ignore[list-item]
            "on-demand",
            parameters={"workspace": workspace},
            description="Brings a checkpoint (its id) into service: gates, a canary, then promoted or rolled back.",
            **shared,
        ),
    ]
    for deployment in deployments:
        deployment.apply()


def put_in_order() -> None:
    from prefect.client.orchestration import get_client

    from flows.cut_off import end_all

    with get_client(sync_client=True) as client:
        end_all(client)


def start_run(deployment: str) -> bool:
    """Asks for a run of a deployment, unless one is waiting to begin: that one will see what is new.

    False when the server did not answer.
    """
    import httpx

    try:
        _start_run(deployment)
    except httpx.HTTPError as error:
        log.warning("%s was not started: %s", deployment, error)
        return False
    return True


def _start_run(deployment: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        waiting = {
            "deployment_id": {"any_": [found.id]},
            "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}},
            "expected_start_time": {"before_": datetime.now(UTC)},
        }
        if not client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(waiting)):
            client.create_flow_run_from_deployment(found.id, name=f"{deployment}, waiting")


def _start_worker(root: Path) -> Child:
    # Its log file is where a run's own output goes, so it says more than a terminal should.
    env = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO", "PREFECT_WORKER_QUERY_SECONDS": "3"}
    return start_child(root, "worker", ["worker", POOL, socket.gethostname(), str(MAX_RUNS_AT_ONCE)], env, ())


@contextmanager
def _watching(paths: list[str]) -> Iterator[None]:
    stop = threading.Event()
    context = contextvars.copy_context()  # prefect's settings are in it

    def look() -> None:
        context.run(watch_paths, paths, lambda: start_run(INGEST_WATCH), stop)

    thread = threading.Thread(target=look, name="ingest-watch")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _until_one_ends(root: Path, children: Sequence[Child]) -> None:
    pause, held = threading.Event(), database(root)
    while True:
        pause.wait(1.0)
        if database(root) != held:
            raise RuntimeError(f"{lost_database(root)}; start headroom up again, the workspace is as it was")
        for child in children:
            if child.process.poll() is not None:
                raise RuntimeError(f"the {child.name} ended by itself: {child.failure()}; all of it is in {child.log}")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block once, and leave what tidies up behind it undisturbed."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _absolute(path: str) -> str:
    if "://" in path:
        return path
    found = Path(path).absolute()
    if not found.exists():
        raise ValueError(f"{path}: no such file or folder to watch")
    return str(found)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command that runs in a terminal
