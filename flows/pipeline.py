"""The Prefect flows: `curate`, `reprocess`, `build_tiers`. They wrap plain functions and hold nothing of their own.

Killed anywhere, a run is begun again and plans from what was committed. Deployments name these functions by
`flows.pipeline.NAME`; people and the command line call flows/curate.py, which decides whether a flow is needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect import Task, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows import cut_off
from flows.curate import Begun, begin, begun, bring_up_to_date_in, nightly_passes
from flows.runners import runner_for
from flows.submit import prefect_submit
from flows.summary import Summary, markdown, outcome_told, recomputed, summary
from store.workspace import Workspace, open_workspace
from tasks import freeze, promote, tier
from tasks.curate import Outcome, Progress
from tasks.ingest import Ingested
from tasks.ingest import ingest as ingest_sources
from tasks.reclip import params_in_force
from tasks.wanted import Pass

ARTIFACT_INTERVAL_S = 2.0

STAGE_TITLES = {
    "normalise": "Normalised copies and prefilter",
    "timelines": "Signals of whole videos",
    "clip": "Choosing clips",
    "signals": "Signals of clips",
}


def _run_name() -> str:
    """Such as "curate demo: interviews (2 paths), 14 Mar 09:41"."""
    told = flow_run.parameters
    paths = told.get("paths") or []
    what = f": {paths[0].rstrip('/').rsplit('/', 1)[-1]}" if paths else ""
    more = f" (+{len(paths) - 1} more)" if len(paths) > 1 else ""
    place = str(told.get("workspace", "")).rstrip("/").rsplit("/", 1)[-1]
    return f"{flow_run.flow_name} {place}{what}{more}, {datetime.now().strftime('%d %b %H:%M')}"


@flow(name="curate", flow_run_name=_run_name, persist_result=False)
def curate(
    workspace: str,
    paths: list[str] | None = None,
    signals: list[str] | None = None,
    tiers: list[str] | None = None,
    runner: str = "threads",
    budget_s: float | None = None,
) -> dict[str, Any]:
    """Takes in new videos, normalises them, computes timelines, chooses clips and computes the signals of each clip.

    Started by a worker without signals and tiers, it computes what was ever asked for here.
    """
    place = open_workspace(workspace)
    start = begun.get()
    passes = [Pass(None if signals is None else tuple(signals), tuple(tiers or ()))]
    if start is None:
        start = begin(place)
        if paths:
            start.seen = _ingest(place, paths)
        if signals is None and not tiers:
            passes = nightly_passes(place)
    return _up_to_date(place, start, passes, runner, budget_s)


@flow(name="reprocess", flow_run_name=_run_name, persist_result=False)
def reprocess(workspace: str, runner: str = "threads", budget_s: float | None = None) -> dict[str, Any]:
    """Recomputes what is stale and wanted: what the tiers need first; what failed in passing is tried again."""
    place = open_workspace(workspace)
    told = _up_to_date(place, begun.get() or begin(place), nightly_passes(place), runner, budget_s)
    _maintain(place)
    return told


def _maintain(place: Workspace) -> None:
    """Each night rewrites rows; what they were before would fill the disk."""

    def tidy() -> None:
        place.record.compact(place.ledger)
        promote.retire(place)

    told = "maintain: join the tables' pieces, drop versions older than a day and rows kept for a roll-back for a week"
    Task(tidy, name="maintain", task_run_name=lambda: told, cache_policy=NO_CACHE)()


@flow(name="build_tiers", flow_run_name=_run_name, persist_result=False)
def build_tiers(workspace: str) -> list[dict[str, Any]]:
    """Freezes a snapshot of every tier; a tier that can't be frozen yet says why and the others go on."""
    place = open_workspace(workspace)
    built, refused = [], []
    for name in sorted(tier.sources(place)):
        state = _frozen(place, name)
        if state.is_completed():
            built.append(state.result())
        else:
            refused.append((name, state.message or ""))
    rows = [f"| {b['tier']} | {b['clips']:,} | {b['snapshot']} |" for b in built]
    rows += [f"| {name} | not frozen | {' '.join(why.split())} |" for name, why in refused]
    table = "\n".join(["| tier | clips | snapshot |", "|---|---|---|", *rows])
    create_markdown_artifact(table, key="tiers", description="Snapshots of all tiers")
    if refused:
        raise ValueError("; ".join(f"tier {name} is not frozen: {why}" for name, why in refused))
    return built


def _frozen(place: Workspace, name: str) -> State[dict[str, Any]]:
    def frozen() -> dict[str, Any]:
        return freeze.build(place, name)

    return Task(frozen, name="freeze", task_run_name=lambda: f"freeze tier {name}", cache_policy=NO_CACHE)(
        return_state=True
    )


def _ingest(place: Workspace, paths: list[str]) -> Ingested:
    def look() -> Ingested:
        return ingest_sources(place, paths)

    more = f" (+{len(paths) - 1} more)" if len(paths) > 1 else ""
    told = f"ingest: {paths[0]}{more}"
    return Task(look, name="ingest", task_run_name=lambda: told, cache_policy=NO_CACHE)()


def _up_to_date(
    place: Workspace, start: Begun, passes: Sequence[Pass], runner: str, budget_s: float | None
) -> dict[str, Any]:
    artifacts = _ProgressArtifacts()
    with get_client(sync_client=True) as client:
        cut_off.tell(client)

    def on_progress(step: Progress) -> None:
        artifacts.told(step)
        if start.on_progress:
            start.on_progress(step)

    with runner_for(runner, place) as made:
        if made.lost_before:
            get_run_logger().warning("a run before was killed in the middle of %d items", len(made.lost_before))
        submit = prefect_submit(made, params_in_force(place), place.ledger.manifest)
        left_s = None if budget_s is None else max(0.0, budget_s - (time.monotonic() - start.since))
        outcome = bring_up_to_date_in(place, passes, submit, budget_s=left_s, on_progress=on_progress)
    artifacts.flush()
    remote_s = outcome.cpu_s if "://" in runner else 0.0
    wall_s = time.monotonic() - start.since
    result = summary(place, start.before, start.seen, outcome, wall_s, start.cpu_s(remote_s))
    result.lost_before = len(made.lost_before)
    _publish(place, outcome, result, budget_s)
    _name_by_outcome(result)
    return result.to_dict()


def _publish(place: Workspace, outcome: Outcome, result: Summary, budget_s: float | None) -> None:
    log = get_run_logger()
    for line in recomputed(result):
        log.info(line)
    for failure in outcome.tally.failures:
        log.warning("failed: %s on %s: %s", failure.signal, failure.what, failure.reason)
    for name, reason in outcome.quarantined:
        log.warning("put aside: %s: %s", name, reason)
    headline, _, told = markdown(place, result, budget_s).partition("\n\n")
    create_markdown_artifact(told, key="summary", description=headline)


def _name_by_outcome(result: Summary) -> None:
    """After a week of nights their list tells them apart only by what came of them."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=f"{flow_run.name}: {outcome_told(result)}")


class _ProgressArtifacts:
    """One progress bar a stage, written no more often than people can look."""

    def __init__(self) -> None:
        self._ids: dict[str, Any] = {}
        self._last: Progress | None = None
        self._written_at = 0.0

    def told(self, step: Progress) -> None:
        changed = self._last is not None and self._last.stage != step.stage
        if changed:
            self.flush()
        self._last = step
        if step.stage not in self._ids or time.monotonic() - self._written_at > ARTIFACT_INTERVAL_S:
            self._write(step)

    def flush(self) -> None:
        if self._last:
            self._write(self._last)

    def _write(self, step: Progress) -> None:
        percent = min(100.0, round(100 * step.done_s / step.total_s, 1)) if step.total_s else 100.0
        self._written_at = time.monotonic()
        seconds = (
            f": {step.done_s:,.0f} of {step.total_s:,.0f} s of footage"
            if step.stage in ("timelines", "signals")
            else ""
        )
        told = STAGE_TITLES[step.stage] + seconds
        if step.stage in self._ids:
            update_progress_artifact(self._ids[step.stage], percent, description=told)
        else:
            key = f"progress-{step.stage}"
            self._ids[step.stage] = create_progress_artifact(percent, key=key, description=told)
