"""The loop that brings a workspace up to date: plan by query, run batches, commit, plan again, until nothing is stale.

Who runs the batches is the caller's business (`Submit`): this module knows no scheduler. Killed at any point, the
next run plans from what was committed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from store.claims import Claims
from store.ledger import Manifest
from store.tier_sql import Tier
from store.workspace import Workspace
from tasks import corpus, plan, promote, set_aside, stale
from tasks.compute import Tally
from tasks.deadline import limit_s
from tasks.jobs import Done, Job, Stage
from tasks.reclip import params_in_force

log = logging.getLogger("headroom")

Submit = Callable[[Stage, Manifest, list[list[Job]]], Iterator[Done]]
"""Runs batches of one stage, each by `tasks.jobs.run_batch(workspace, manifest, jobs, params_in_force(workspace))`, and
yields their results as they end, in any order."""


@dataclass(frozen=True)
class Progress:
    """Told after every commit: how much of the present stage is done, in seconds of media."""

    stage: Stage
    done_s: float
    total_s: float
    num_quarantined: int


@dataclass
class Outcome:
    """What one run did."""

    tally: Tally = field(default_factory=Tally)
    predicted: dict[str, int] = field(default_factory=dict)
    outdated: dict[str, int] = field(default_factory=dict)
    """Rows that another version had computed when the run began."""
    totals: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    """Rows not computed, since their clip is kept out of every tier asked for without them."""
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    num_identified: int = 0
    """Clips whose identity is new or another one than before."""
    num_compared: int = 0
    """Clips that were compared with all others for near-duplicates."""
    num_paired: int = 0
    """Clips whose person was searched for reference pairs."""
    cpu_s: float = 0.0
    out_of_budget: bool = False
    promoted: list[promote.Took] = field(default_factory=list)
    """Versions of signals that took over, since the last of their rows was computed."""
    waiting: list[promote.State] = field(default_factory=list)
    """Candidates of wanted signals that did not, and why."""

    @property
    def stopped(self) -> dict[str, int]:
        """Rows that lay downstream of a recomputed row and were spared, since its output did not change."""
        ran = {n: self.tally.computed.get(n, 0) + self.tally.failed.get(n, 0) for n in self.predicted}
        spared = {n: count - ran[n] - self.skipped.get(n, 0) for n, count in self.predicted.items()}
        return {} if self.out_of_budget else {n: count for n, count in spared.items() if count > 0}

    def followed_by(self, later: Outcome) -> Outcome:
        """Two passes of one run, as one."""
        self.tally.add(later.tally)

        def most(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
            return {n: max(first.get(n, 0), second.get(n, 0)) for n in {**first, **second}}

        return Outcome(
            tally=self.tally,
            predicted=most(self.predicted, later.predicted),
            outdated=most(self.outdated, later.outdated),
            totals={**self.totals, **later.totals},
            skipped=later.skipped,
            quarantined=[*self.quarantined, *later.quarantined],
            num_identified=self.num_identified + later.num_identified,
            num_compared=self.num_compared + later.num_compared,
            num_paired=self.num_paired + later.num_paired,
            cpu_s=self.cpu_s + later.cpu_s,
            out_of_budget=later.out_of_budget,
            promoted=[*self.promoted, *later.promoted],
            waiting=later.waiting,
        )


def bring_up_to_date(
    workspace: Workspace,
    submit: Submit,
    *,
    signals: Sequence[str] | None = None,
    tiers: Sequence[Tier] = (),
    budget_s: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Computes what is stale and wanted. Raises RuntimeError when a stage makes no progress, and
    ValueError for a HEADROOM_SIGNAL_LIMIT_S that is no limit.

    `signals` None means all, or what `tiers` read: then a clip that a cheap signal keeps out of every tier is spared
    the costly ones. A budget ends the run between commits; what was not reached waits for the next run. A new version
    of a clip signal is computed beside the one that readers see, and takes over with its last row.
    """
    began = time.monotonic()
    limit_s()  # a setting that is none is told before anything is begun
    if signals is None and tiers:
        signals = plan.computable(s for t in tiers for s in t.signals)
    wanted = plan.wanted_signals(signals)
    run = params_in_force(workspace).fingerprint
    outcome = Outcome()
    with workspace.views() as reader:
        outcome.predicted = plan.predicted(reader, wanted)
        outcome.outdated = stale.outdated(reader, wanted)
    before: list[Job] = []
    with Claims(workspace.ledger) as claims:
        while True:
            with workspace.views() as reader:
                if took := promote.take_over(workspace, reader, wanted):
                    outcome.promoted.extend(took)
                    continue
                sure = set(claims.held)
                todo = plan.next_jobs(reader, wanted, run, tiers, lambda jobs: _claimed(claims, jobs))
                if not todo.jobs and not todo.elsewhere and not outcome.out_of_budget:
                    made = corpus.bring_up_to_date(workspace, wanted)
                    outcome.num_identified += made.get("identities", 0)
                    outcome.num_compared += made.get("duplicates", 0)
                    outcome.num_paired += made.get("pairs", 0)
                if outcome.out_of_budget or not (todo.jobs or todo.elsewhere):
                    outcome.totals = stale.totals(reader, wanted)
                    left = stale.stale_clips(reader, wanted).group_by("name").len()
                    # Out of budget, what is left may still be wanted.
                    outcome.skipped = dict(left.iter_rows()) if tiers and not outcome.out_of_budget else {}
                    outcome.waiting = promote.states(workspace, reader, wanted)
                    return outcome
            if todo.elsewhere:
                log.info("what is stale is computed by another run; waiting for it")
                outcome.out_of_budget = not claims.wait_for(
                    todo.elsewhere, None if budget_s is None else began + budget_s
                )
                continue
            if {j.video_id for j in todo.jobs} - sure and workspace.ledger.manifest().id != reader.manifest.id:
                continue  # another run may have computed it between the plan and the claim
            if todo.jobs == before:
                raise RuntimeError(
                    f"{todo.stage}: {len(before)} jobs ran and are still stale, the first {before[0]}; report this"
                )
            before = todo.jobs
            assert todo.stage is not None
            groups = plan.batches(todo.jobs)
            total_s, done_s = sum(j.media_s for j in todo.jobs), 0.0
            if on_progress:
                on_progress(Progress(todo.stage, 0.0, total_s, len(outcome.quarantined)))
            for done in submit(todo.stage, reader.manifest, groups):
                if done.set_aside:
                    set_aside.note(workspace, done.set_aside)
                workspace.commit(done.batch, clipping_run=run if todo.stage == "clip" else None)
                outcome.tally.add(done.tally)
                outcome.quarantined.extend(done.quarantined)
                outcome.cpu_s += done.cpu_s
                done_s += done.media_s
                if on_progress:
                    on_progress(Progress(todo.stage, done_s, total_s, len(outcome.quarantined)))
                if budget_s is not None and time.monotonic() - began > budget_s:
                    outcome.out_of_budget = True
                    break
                claims.renew()
            claims.release()


def _claimed(claims: Claims, jobs: Sequence[Job]) -> list[Job]:
    """Those of the jobs whose video no other run computes."""
    held = claims.take({j.video_id for j in jobs}) if jobs else set()
    return [j for j in jobs if j.video_id in held]
