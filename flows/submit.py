"""Batches as Prefect tasks: what runs on what, for people to read, and a lost batch run again.

Results come back in memory and are committed by whoever iterates. Prefect keeps none of them.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows.attempts import MAX_ATTEMPTS, Attempt, after, again, blamed, single
from flows.runners import Runner, has_died
from flows.under_way import Item, items
from store.ledger import Manifest
from tasks.clipping import ClipParams
from tasks.curate import Submit
from tasks.jobs import Done, Job, Stage

log = logging.getLogger("headroom.flows")

TASK_NAMES: dict[Stage, str] = {"clip": "choose clips"}
ITEMS = {"timelines": "windows", "signals": "clips"}


class BatchLost(RuntimeError):  # noqa: N818 - what happened
    """Jobs that never gave a result, after all others of their stage were committed."""


def prefect_submit(runner: Runner, params: ClipParams, newest: Callable[[], Manifest]) -> Submit:
    """Runs batches as tasks of the Prefect flow run that this is called in, `runner.num_workers` at a time.

    What is cut down to single signals reads the `newest` manifest: the rows of the signals before it are committed.
    """

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        calm, suspects = _parted(groups, runner.lost_before)
        waiting = deque(Attempt(jobs) for jobs in spread(calm, runner.num_workers))
        waiting.extend(Attempt([job], 2) for job in suspects)
        running: dict[concurrent.futures.Future[Any], tuple[Any, Attempt]] = {}
        lost: list[tuple[Job, Exception]] = []
        pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=runner.num_workers)
        with pool:
            while waiting or running:
                # No more than can run: a result that waits for its commit holds memory.
                while waiting and len(running) < runner.num_workers:
                    attempt = waiting.popleft()
                    pinned = newest() if attempt.number > 1 and len(attempt.jobs[0].signals) == 1 else manifest
                    future = pool.submit(_task(runner, stage, pinned, attempt, params), parameters={})
                    running[future.wrapped_future] = (future, attempt)
                ended, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for wrapped in ended:
                    future, attempt = running.pop(wrapped)
                    try:
                        done = future.result()
                    except Exception as error:  # noqa: BLE001 - whatever a batch died of, it is run again, then named
                        more = again(attempt, died=has_died(error))
                        waiting.extend(more)
                        lost.extend([] if more else [(job, error) for job in attempt.jobs])
                        log.warning("%s was lost (%s)", label(stage, attempt), _told(error))
                        continue
                    if attempt.jobs[0].set_aside:
                        done.set_aside.add(blamed(attempt.jobs[0]))
                    yield done
                    waiting.extend(after(attempt))  # the rows are committed by now
        if lost:
            raise BatchLost(_names(stage, lost))

    return submit


def _parted(groups: list[list[Job]], lost_before: frozenset[Item]) -> tuple[list[list[Job]], list[Job]]:
    """The batches without what was lost with the process of a run before, and that, one by one."""
    if not lost_before:
        return groups, []
    calm, suspects = [], []
    for group in groups:
        if items(group).isdisjoint(lost_before):
            calm.append(group)
            continue
        parts = single(group)
        suspects += [job for job in parts if not items([job]).isdisjoint(lost_before)]
        rest = [job for job in parts if items([job]).isdisjoint(lost_before)]
        calm += [rest] if rest else []
    return calm, suspects


def spread(groups: list[list[Job]], num_workers: int) -> list[list[Job]]:
    """Batches cut in two, the longest first, until there is one for each worker: little work is shared too."""
    made = list(groups)
    while len(made) < num_workers:
        longest = max((g for g in made if len(g) > 1), key=lambda g: sum(job.media_s for job in g), default=None)
        if longest is None:
            break
        made.remove(longest)
        made += [longest[: len(longest) // 2], longest[len(longest) // 2 :]]
    return made


def label(stage: Stage, attempt: Attempt) -> str:
    """Such as "signals: 12 clips of interview.mp4 (+3 more videos)"; a batch for one signal bears its name."""
    names = list(dict.fromkeys(job.name for job in attempt.jobs))
    items = sum(len(job.items) for job in attempt.jobs)
    what = f"{items} {ITEMS[stage] if items != 1 else ITEMS[stage][:-1]} of " if stage in ITEMS else ""
    more = f" (+{len(names) - 1} more video{'s' if len(names) > 2 else ''})" if len(names) > 1 else ""
    again = f", attempt {attempt.number}" if attempt.number > 1 else ""
    return f"{task_name(stage, attempt)}: {what}{names[0]}{more}{again}"


def task_name(stage: Stage, attempt: Attempt) -> str:
    asked = {job.signals for job in attempt.jobs}
    if stage == "signals" and len(asked) == 1 and len(attempt.jobs[0].signals) == 1:
        return attempt.jobs[0].signals[0]
    return TASK_NAMES.get(stage, stage)


def _task(runner: Runner, stage: Stage, manifest: Manifest, attempt: Attempt, params: ClipParams) -> Task[[], Done]:
    """A task without parameters: prefect would walk through them, hash them and hold them."""

    def run() -> Done:
        return runner.run(manifest, attempt.jobs, params)

    told = label(stage, attempt)
    return Task(
        run,
        name=task_name(stage, attempt),
        task_run_name=lambda: told,  # a string would be taken for a format, and file names hold braces
        description="One batch of jobs: it reads the tables at one manifest and gives back what a commit writes.",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )


def _names(stage: Stage, lost: list[tuple[Job, Exception]]) -> str:
    jobs = Counter(job.name for job, _ in lost)
    names = ", ".join(list(jobs)[:5]) + (f" and {len(jobs) - 5} more" if len(jobs) > 5 else "")
    return (
        f"{stage}: {names}: lost {MAX_ATTEMPTS} times, the last time by {_told(lost[-1][1])}; "
        "everything else of this stage is committed, run the same command to try again"
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
