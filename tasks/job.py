"""What a job is, and what comes of a batch of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from store.record import Batch
from tasks.compute import Tally

Stage = Literal["normalise", "timelines", "clip", "signals"]


@dataclass(frozen=True)
class Job:
    """Work on one video. `items` are windows (timelines) or clip ids (signals); `signals` is what is wanted."""

    stage: Stage
    video_id: str
    name: str
    media_s: float
    items: tuple[Any, ...] = ()
    signals: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    """Clip signals of which readers see another version than the one at work: its rows go beside theirs."""
    set_aside: str = ""
    """Why its items are not computed any more: they ended the processes that did. Their rows say so and fail."""


class ProcessLost(Exception):  # noqa: N818 - what happened
    """Why a row fails that was set aside: computing it ended the process, time and again."""


@dataclass
class Done:
    """What came of a batch of jobs."""

    batch: Batch = field(default_factory=Batch)
    tally: Tally = field(default_factory=Tally)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    """(file name, reason)"""
    set_aside: set[str] = field(default_factory=set)
    """Signals of the rows that say that something was set aside."""
    cpu_s: float = 0.0
    media_s: float = 0.0
