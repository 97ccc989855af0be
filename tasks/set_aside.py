"""Clips and windows that ended the processes which computed them: their rows say so, and nothing computes them again
until somebody asks for it.

Such a row fails for good, as one that a signal failed on, so a new version of the signal or another input tries it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from store.record import Batch, table_of
from store.schema import TIMELINES, VIDEOS
from store.workspace import Reader, Workspace
from tasks.job import Job, ProcessLost

SETTING = "set_aside"
"""Names of the signals that have such rows: without them nobody need look for any."""
NORMALISE = "normalise"
DUE = 1.0
"""A time long ago: a row that is to be tried again after it is stale (tasks/compute.py)."""
_REASON = f"'%{ProcessLost.__name__}: %'"


@dataclass(frozen=True)
class SetAside:
    """One row: of which signal (or `normalise`), on what, and why."""

    signal: str
    what: str
    reason: str


def reason(signal: str, job: Job) -> str:
    """What the row of a job's one item tells."""
    return (
        f"{what(job)}: {signal} ended the process that computed it and nothing else, twice; it is set aside until the "
        "signal or its input changes, or `headroom curate --retry`"
    )


def what(job: Job) -> str:
    """A job's items, for people."""
    if job.stage == "signals":
        return f"clip {', '.join(str(i) for i in job.items)} of {job.name}"
    if job.stage == "timelines":
        return f"{job.name}, minute {', '.join(str(i + 1) for i in job.items)}"
    return job.name


def note(workspace: Workspace, signals: set[str]) -> None:
    """Remembers which signals have such rows; before these are committed, so that none is overlooked."""
    known = _noted(workspace)
    if not signals <= known:
        workspace.ledger.set_setting(SETTING, ",".join(sorted(known | signals)))


def listed(workspace: Workspace, reader: Reader) -> list[SetAside]:
    """Every row that is set aside now, as readers see it."""
    names = _noted(workspace)
    found = [SetAside(NORMALISE, r["name"], r["reason"]) for r in _videos(reader)] if NORMALISE in names else []
    for name in sorted(names):
        found += [SetAside(name, f"clip {r['clip_id']}", r["reason"]) for r in _clips(reader, name)]
    windows = _windows(reader, names)
    return found + [SetAside(r["name"], f"minute {r['window_index'] + 1}", r["reason"]) for r in windows]


def told(workspace: Workspace, reader: Reader) -> list[dict[str, Any]]:
    return [asdict(row) for row in listed(workspace, reader)]


def retry(workspace: Workspace) -> int:
    """Makes all of them stale, so that the next run computes them again; gives how many there were."""
    names = _noted(workspace)
    batch, count = Batch(), 0
    with workspace.views() as reader:
        for table, rows in _due(reader, names):
            batch.add(table, rows)
            count += rows.num_rows
    if not batch.empty:
        workspace.commit(batch)
    workspace.ledger.set_setting(SETTING, "")
    return count


def _due(reader: Reader, names: set[str]) -> Iterator[tuple[str, pa.Table]]:
    """Tables to upsert: each row with the one column that makes it stale."""
    if NORMALISE in names and (videos := _videos(reader)):
        told = [{"video_id": r["video_id"], "normalise_fingerprint": ""} for r in videos]
        yield "videos", table_of(told, pa.schema([VIDEOS.field("video_id"), VIDEOS.field("normalise_fingerprint")]))
    for name in sorted(names):
        if clips := _clips(reader, name):
            rows = {k: [r[k] for r in clips] for k in ("clip_id", "video_id")}
            yield "signals", pa.table({**rows, f"{name}_not_before": [DUE] * len(clips)})
    if windows := _windows(reader, names):
        told = [{"key": r["key"], "video_id": r["video_id"], "not_before": DUE} for r in windows]
        yield "timelines", table_of(told, pa.schema([TIMELINES.field(n) for n in ("key", "video_id", "not_before")]))


def _noted(workspace: Workspace) -> set[str]:
    return {n for n in workspace.ledger.setting(SETTING, "").split(",") if n}


def _videos(reader: Reader) -> list[dict[str, Any]]:
    query = f"SELECT video_id, name, reason FROM videos WHERE state = 'quarantined' AND reason LIKE {_REASON}"
    return reader.sql(f"{query} ORDER BY name, video_id").to_dicts()


def _clips(reader: Reader, signal: str) -> list[dict[str, Any]]:
    if f"{signal}_reason" not in reader.columns("signals"):
        return []
    columns = f"clip_id, clips.video_id, {signal}_reason AS reason"
    query = f"SELECT {columns} FROM signals JOIN clips USING (clip_id) WHERE {signal}_reason LIKE {_REASON}"
    # Of what another signal's failure keeps from being computed, the reason quotes that one's.
    return reader.sql(f"{query} AND {signal}_status LIKE 'failed%' ORDER BY clip_id").to_dicts()


def _windows(reader: Reader, names: set[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    told = ", ".join(f"'{n}'" for n in sorted(names))
    query = (
        f"SELECT key, video_id, name, window_index, reason FROM timelines WHERE name IN ({told}) AND clip_id IS NULL"
    )
    return reader.sql(f"{query} AND status LIKE 'failed%' AND reason LIKE {_REASON} ORDER BY key").to_dicts()
