"""The Prefect flow `shard`: a task for each group of clips, then the index; progress as it goes, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import Task, flow, get_run_logger
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from tasks import shard as steps
from tasks.shard import OnShard
from tasks.shard_begin import Sharding

_work: ContextVar[tuple[Sharding, OnShard]] = ContextVar("work")


@contextmanager
def at_work(work: Sharding, on_shard: OnShard) -> Iterator[None]:
    """The flows inside write this set; it holds a lock and can't be a parameter."""
    token = _work.set((work, on_shard))
    try:
        yield
    finally:
        _work.reset(token)


def _run_name() -> str:
    """Such as "shard a2v_gold, snapshot 1c22f0a9"."""
    told = flow_run.parameters
    return f"shard {told.get('tier')}, snapshot {str(told.get('snapshot', ''))[:8]}"


@flow(name="shard", flow_run_name=_run_name, persist_result=False)
def shard(tier: str, snapshot: str, place: str) -> dict[str, Any]:
    """Cuts a snapshot's clips from their sources into shards, group by group."""
    work, on_shard = _work.get()
    total, done = sum(len(clips) for clips in work.groups.values()), 0
    logger = get_run_logger()
    logger.info("%d clips in %d groups into %s, %d left out", total, len(work.groups), place, len(work.lost))
    bar: Any = create_progress_artifact(0.0, key="progress-shard", description=f"0 of {total:,} clips")
    shards: list[dict[str, Any]] = []
    for group, clips in work.groups.items():
        shards += _group(work, group, on_shard)
        done += len(clips)
        update_progress_artifact(bar, round(100 * done / max(1, total), 1), description=f"{done:,} of {total:,} clips")
    told = steps.finish(work, shards)
    for clip, why in list(told["left_out"].items())[:20]:
        logger.warning("clip %s left out: %s", clip, why)
    create_table_artifact(_rows(told), key="shards", description=f"{told['tier']} {snapshot}: shards in {place}")
    return told


def _group(work: Sharding, group: str, on_shard: OnShard) -> list[dict[str, Any]]:
    """A Prefect task without parameters: it would walk through them and hash them."""
    task = Task(
        lambda: steps.write_group(work, group, on_shard),
        name="group",
        task_run_name=lambda: group,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    made: list[dict[str, Any]] = task()
    return made


def _rows(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"group": group, **of} for group, of in told["groups"].items()]
