"""`curate`, `reprocess` and `build_tiers` for whoever calls from Python or the command line.

What there is to do is found by plain functions first. Only if something must be computed is prefect imported and a
flow run: a second run on unchanged input costs a query.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.summary import ended_videos, summary
from store.tier_sql import Tier
from store.workspace import Workspace, open_workspace
from tasks import corpus, plan, promote, set_aside, tier
from tasks.annotation.delivery import deliver_existing
from tasks.curate import Outcome, Progress, Submit, bring_up_to_date
from tasks.forget import resume
from tasks.ingest import Ingested, ingest
from tasks.reclip import params_in_force
from tasks.wanted import Pass, ask, wanted


@dataclass
class Begun:
    """What was done before the flow: a flow run that a worker starts has none of it."""

    seen: Ingested = field(default_factory=Ingested)
    before: set[str] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)
    cpu_since: float = field(default_factory=lambda: sum(os.times()[:4]))
    on_progress: Callable[[Progress], None] | None = None

    def cpu_s(self, elsewhere_s: float = 0.0) -> float:
        """CPU-seconds of this process and its ended children so far, and those of other machines."""
        return sum(os.times()[:4]) - self.cpu_since + elsewhere_s


begun: ContextVar[Begun | None] = ContextVar("begun", default=None)


def run_curate(
    workspace_root: str | Path | None,
    *,
    paths: Sequence[str] = (),
    signals: Sequence[str] | None = None,
    tiers: Sequence[str] = (),
    runner: str = "threads",
    budget_s: float | None = None,
    verify: bool = False,
    readmit: bool = False,
    retry: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Ingests what is new under the paths and brings everything up to date; the fields are those of `Summary`.

    `signals` None means all, or with `tiers` what they need, clip by clip; what is asked for here stays wanted, and is
    what `reprocess` keeps fresh. `retry` computes again what was set aside. `runner` is threads, dask or the address of
    a Dask scheduler. Raises ValueError for a path that isn't there, RuntimeError (`BatchLost`) when a job was lost.
    """
    check_runner(runner)
    workspace = open_workspace(workspace_root)
    ask(workspace, tiers=tiers, signals=signals)
    start = begin(workspace, on_progress)
    if retry:
        set_aside.retry(workspace)
    if paths:
        start.seen = ingest(workspace, paths, verify=verify, readmit=readmit)
    told: dict[str, Any] = {"paths": [str(p) for p in paths], "tiers": list(tiers), "runner": runner}
    told |= {"signals": list(signals) if signals is not None else None, "budget_s": budget_s}
    chosen = Pass(None if signals is None else tuple(signals), tuple(tiers))
    return _run("curate", workspace, start, [chosen], told)


def run_reprocess(
    workspace_root: str | Path | None,
    *,
    runner: str = "threads",
    budget_s: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Recomputes what is stale and wanted, what the tiers need first, within a budget; no ingest."""
    check_runner(runner)
    workspace = open_workspace(workspace_root)
    start = begin(workspace, on_progress)
    return _run("reprocess", workspace, start, nightly_passes(workspace), {"runner": runner, "budget_s": budget_s})


def nightly_passes(workspace: Workspace) -> list[Pass]:
    return wanted(workspace).passes([t["tier"] for t in tier.listed(workspace) if "error" not in t])


def run_build_tiers(workspace_root: str | Path | None) -> list[dict[str, Any]]:
    """Freezes a snapshot of every tier, as a flow run."""
    workspace = open_workspace(workspace_root)
    from flows.server import prefect_api

    with prefect_api(workspace.settings.workspace):
        from flows.pipeline import build_tiers

        built: list[dict[str, Any]] = build_tiers(str(workspace.settings.workspace))
        return built


def begin(workspace: Workspace, on_progress: Callable[[Progress], None] | None = None) -> Begun:
    resume(workspace)  # an erasure that was cut off comes before any computing
    deliver_existing(workspace)
    with workspace.views() as reader:
        return Begun(before=ended_videos(reader), on_progress=on_progress)


def check_runner(name: str) -> None:
    """Raises ValueError for a runner that can't be, before anything is begun."""
    if name in ("threads", "dask"):
        return
    if "://" not in name:
        raise ValueError(f"runner {name!r}: say threads, dask, or a Dask scheduler's address as tcp://10.0.0.5:8786")
    address = urlsplit(name)
    try:
        if address.hostname and address.port:
            socket.create_connection((address.hostname, address.port), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ValueError(f"runner {name}: no Dask scheduler answers there ({error})") from error


def has_work(workspace: Workspace, passes: Sequence[Pass]) -> bool:
    run = params_in_force(workspace).fingerprint
    with workspace.views() as reader:
        demands = [demand(workspace, one, run) for one in passes]
        everything = plan.wanted_signals({n for wanted, _, _ in demands for n in wanted})
        # What is stale may be spared by every tier; where nothing is, no pass need be asked.
        if plan.next_jobs(reader, everything, run).jobs and any(plan.next_jobs(reader, *d).jobs for d in demands):
            return True
        return any(not s.why for s in promote.states(workspace, reader, everything)) or any(
            corpus.stale(reader, wanted) for wanted, _, _ in demands
        )


def bring_up_to_date_in(
    workspace: Workspace,
    passes: Sequence[Pass],
    submit: Submit,
    *,
    budget_s: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Pass after pass, as one outcome; the budget is that of all of them together."""
    began = time.monotonic()
    outcome = _outlook(workspace, passes) if len(passes) > 1 else Outcome()
    for one in passes:
        left_s = None if budget_s is None else max(0.0, budget_s - (time.monotonic() - began))
        tiers = [tier.parsed(workspace, name) for name in one.tiers]
        later = bring_up_to_date(
            workspace, submit, signals=one.signals, tiers=tiers, budget_s=left_s, on_progress=on_progress
        )
        outcome = outcome.followed_by(later)
        if outcome.out_of_budget:
            break
    return outcome


def _outlook(workspace: Workspace, passes: Sequence[Pass]) -> Outcome:
    """What all passes together may recompute: what the first one brings up to date is downstream of nothing stale later."""
    outcome = Outcome()
    with workspace.views() as reader:
        for one in passes:
            wanted, _, _ = demand(workspace, one, params_in_force(workspace).fingerprint)
            outcome.predicted |= plan.predicted(reader, wanted)
    return outcome


def demand(workspace: Workspace, one: Pass, run: str) -> tuple[tuple[str, ...], str, list[Tier]]:
    tiers = [tier.parsed(workspace, name) for name in one.tiers]
    return (
        plan.wanted_signals(plan.computable(s for t in tiers for s in t.signals) if tiers else one.signals),
        run,
        tiers,
    )


def _run(
    name: str, workspace: Workspace, start: Begun, passes: Sequence[Pass], parameters: dict[str, Any]
) -> dict[str, Any]:
    if not has_work(workspace, passes):
        made = summary(workspace, start.before, start.seen, Outcome(), time.monotonic() - start.since, start.cpu_s())
        return made.to_dict()
    root = workspace.settings.workspace
    from flows.server import prefect_api

    with prefect_api(root), _beginning(start):
        from flows import pipeline

        told: dict[str, Any] = getattr(pipeline, name)(str(root), **parameters)
    return told


@contextmanager
def _beginning(start: Begun) -> Iterator[None]:
    token = begun.set(start)
    try:
        yield
    finally:
        begun.reset(token)
