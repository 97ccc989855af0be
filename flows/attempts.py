"""How often work is tried, and how what ended its process is cut down until it is known what did.

A batch that is lost by an error is cut into its jobs. One that ended its process is cut into single clips (or windows),
and such a clip into its signals, one after another: what ends its process then, alone and twice, is set aside by a row that
says so, and whatever shared its batch is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks import set_aside
from tasks.jobs import Job
from tasks.signals import discover

MAX_ATTEMPTS = 3
"""A job that is lost this often (its batch counted) is given up, or set aside."""


@dataclass(frozen=True)
class Attempt:
    jobs: list[Job]
    number: int = 1
    then: tuple[str, ...] = ()
    """Signals of the same item that are computed after this one, each by itself, from the rows before them."""


def single(jobs: list[Job]) -> list[Job]:
    """Jobs of one clip or window each."""
    return [
        replace(job, items=(item,), media_s=job.media_s / len(job.items)) if item is not None else job
        for job in jobs
        for item in job.items or (None,)
    ]


def after(attempt: Attempt) -> list[Attempt]:
    """What follows an attempt that ended well, or was set aside."""
    if not attempt.then:
        return []
    job = replace(attempt.jobs[0], signals=attempt.then[:1], set_aside="", media_s=0.0)
    return [Attempt([job], MAX_ATTEMPTS - 1, attempt.then[1:])]


def again(attempt: Attempt, *, died: bool) -> list[Attempt]:
    """What is tried after a loss; nothing: it is given up. `died`: the process that computed it ended."""
    if not died:
        if attempt.number >= MAX_ATTEMPTS:
            return []
        if attempt.then:
            return [replace(attempt, number=attempt.number + 1)]
        return [Attempt([job], attempt.number + 1) for job in attempt.jobs]
    job, second = attempt.jobs[0], MAX_ATTEMPTS - 1
    if len(attempt.jobs) > 1 or len(job.items) > 1:
        return [Attempt([one], second) for one in single(attempt.jobs)]
    signals = _signals(job)
    if len(signals) > 1:
        return [Attempt([replace(job, signals=signals[:1])], second, signals[1:])]
    if attempt.number < MAX_ATTEMPTS:
        return [replace(attempt, number=attempt.number + 1)]
    if job.stage == "clip" or job.set_aside:
        return []  # a choice of clips has no row of its own to say it
    return [replace(attempt, jobs=[replace(job, set_aside=set_aside.reason(blamed(job), job))])]


def blamed(job: Job) -> str:
    """The signal of a job of one signal, or the stage."""
    return job.signals[0] if job.items and job.signals else job.stage


def _signals(job: Job) -> tuple[str, ...]:
    """Those of a job's signals that its stage computes."""
    grain = {"timelines": "video", "signals": "clip"}.get(job.stage)
    known = discover()
    told = tuple(s for s in job.signals if s not in known or known[s].spec.grain == grain)
    return told or job.signals[:1]
