"""What a kill leaves open in Prefect's books is ended, and told."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_runs_that_were_killed_and_their_tasks_are_ended_once(prefect: str) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from flows import cut_off
    from flows.cut_off import TOLD

    @flow(name="killed", persist_result=False)
    def killed() -> None:
        """Never called: only what the books have of it is looked at."""

    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run(killed, name=name, state=Running()) for name in ("first", "second")]
        by_id = {r.id: _open_task(prefect, str(r.id)) for r in runs}
        cut_off.tell(client)
        assert [client.read_flow_run(r.id).name for r in runs] == ["first", "second"], "they may be at work"
        cut_off.end_all(client)
        for _ in range(2):
            for run in (client.read_flow_run(r.id) for r in runs):
                assert run.state is not None
                assert run.state.type.value == "CRASHED"
                assert run.state.message == "the command that ran this ended while this ran"
                assert run.name in (f"first{TOLD}", f"second{TOLD}")
                task = client.read_task_run(by_id[run.id])
                assert task.state is not None
                assert (task.state.type.value, task.state.message) == ("CRASHED", "its run was cut off")
            cut_off.tell(client)


def _open_task(prefect: str, flow_run_id: str) -> str:
    import httpx

    body = {"flow_run_id": flow_run_id, "task_key": "signals", "dynamic_key": "0", "state": {"type": "RUNNING"}}
    return str(httpx.post(f"{prefect}/task_runs/", json=body).raise_for_status().json()["id"])
