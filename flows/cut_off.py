"""Runs that were killed, in Prefect's books: a process that is gone can't end its tasks there, nor say what came of it.

What they committed stands, and the next run plans the rest; this is only for people who look.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Crashed

TOLD = ": cut off, the next run goes on"
MAX_RUNS = 100
"""Newest first, in which those that are not told yet are looked for."""


def end_all(client: SyncPrefectClient) -> None:
    """Ends all runs that the books have as running, and all but the last of those that were missed.

    For a server that was just started: whoever used its database before is gone, or it could not have been opened.
    """
    begun = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(begun)):
        what = "headroom up" if run.deployment_id else "the command that ran this"
        client.set_flow_run_state(run.id, Crashed(message=f"{what} ended while this ran"), force=True)
    due: dict[str, Any] = {
        "deployment_id": {"is_null_": False},
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": datetime.now(UTC)},
    }
    missed = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(due))
    newest = {run.deployment_id: run.id for run in sorted(missed, key=lambda r: str(r.expected_start_time))}
    for run in missed:
        if run.id not in newest.values():
            client.set_flow_run_state(run.id, Cancelled(message="headroom up was not running then"), force=True)
    tell(client)


def tell(client: SyncPrefectClient) -> None:
    """Ends the tasks of runs that crashed, and has the runs' names say so."""
    crashed = FlowRunFilter.model_validate({"state": {"type": {"any_": ["CRASHED"]}}})
    open_tasks = TaskRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}})
    newest = client.read_flow_runs(flow_run_filter=crashed, sort=FlowRunSort.START_TIME_DESC, limit=MAX_RUNS)
    for run in (r for r in newest if not r.name.endswith(TOLD)):
        this = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
        for task in client.read_task_runs(flow_run_filter=this, task_run_filter=open_tasks):
            client.set_task_run_state(task.id, Crashed(message="its run was cut off"), force=True)
        client.update_flow_run(run.id, name=f"{run.name}{TOLD}")
