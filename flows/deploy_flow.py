"""The Prefect flow `deploy`: gates, canary, comparison, promotion or roll-back, each a task with a page that says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from prefect import Task, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import deploy as steps
from store.workspace import open_workspace

Result = TypeVar("Result")
Say = Callable[[str], None]

_watcher: ContextVar[Say | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(say: Say | None) -> Iterator[None]:
    """Calls `say` before each step of the deployments inside."""
    token = _watcher.set(say)
    try:
        yield
    finally:
        _watcher.reset(token)


def _run_name() -> str:
    """Such as "deploy 1c22f0a9, canary 10%"."""
    told = flow_run.parameters
    return f"deploy {str(told.get('checkpoint', ''))[:8]}, canary {float(told.get('share', 0)):.0%}"


@flow(name="deploy", flow_run_name=_run_name, persist_result=False)
def deploy(
    workspace: str, checkpoint: str, share: float = steps.SHARE, avatar: str | None = None, soak_s: float = 0.0
) -> dict[str, Any]:
    """Brings a checkpoint into service by gates and a canary; whether it came so far, and why, is the result."""
    place = open_workspace(workspace)
    told = steps.begun(place, checkpoint)
    made = steps.deploy(place, told, share, avatar, _Shown(_watcher.get()), soak_s)
    get_run_logger().info("checkpoint %s is %s: %s", checkpoint, made["state"], made["reason"])
    return made


class _Shown:
    """Steps as Prefect tasks without parameters, pages as artifacts."""

    def __init__(self, say: Say | None) -> None:
        self._say = say

    def step(self, name: str, told: str, run: Callable[[], Result]) -> Result:
        if self._say:
            self._say(f"{name}: {told}")
        made: Result = Task(run, name=name, task_run_name=lambda: told, cache_policy=NO_CACHE, persist_result=False)()
        return made

    def show(self, key: str, description: str, markdown: str) -> None:
        create_markdown_artifact(markdown=markdown, key=key, description=description)
