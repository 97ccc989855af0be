"""`shard` for whoever calls from Python or the command line; flows/shard_flow.py runs the same steps as a Prefect flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.workspace import open_workspace
from tasks import shard as steps
from tasks.shard_begin import Asked, begun


def run_shard(
    workspace_root: str | Path | None,
    name: str,
    out: str | None = None,
    asked: Asked = Asked(),
    on_shard: Callable[[dict[str, Any]], None] = lambda shard: None,
) -> dict[str, Any]:
    """Shards of a tier, frozen now, or of a snapshot; gives the index without its clips, with "did": "made", or "nothing"
    where all of them stand.

    Raises ValueError as tasks.shard_begin.begun does.
    """
    workspace = open_workspace(workspace_root)
    with begun(workspace, name, out, asked) as work:
        if (shards := steps.standing(work)) is not None:
            return steps.finish(work, shards)
        from flows.server import prefect_api

        with prefect_api(workspace.settings.workspace):
            from flows import shard_flow

            with shard_flow.at_work(work, on_shard):
                told: dict[str, Any] = shard_flow.shard(work.snapshot.tier, work.snapshot.id, work.place.objects.url)
        return told
