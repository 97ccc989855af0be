"""Rows that have failed and stand so, by reason, and what is to be done about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from store.workspace import Reader
from tasks.job import ProcessLost
from tasks.signal_counts import Counts
from tasks.signals import discover

MAX_REASONS = 5
"""Of one signal, those of the most rows."""


@dataclass(frozen=True)
class Failed:
    """Rows of one signal that failed for one reason."""

    signal: str
    rows: int
    reason: str
    first: str
    """One of them: "clip 3f2a of interview.mp4", or a minute of a video."""
    next: str
    """What is to be done, or is done by itself."""


def failed(reader: Reader, counts: Mapping[str, Counts]) -> list[Failed]:
    """The signals with most failed rows first."""
    names = sorted((n for n, c in counts.items() if c.failed), key=lambda n: (-counts[n].failed, n))
    return [
        row for name in names for row in (_clips if discover()[name].spec.grain == "clip" else _windows)(reader, name)
    ]


def _clips(reader: Reader, name: str) -> list[Failed]:
    return _told(
        reader,
        name,
        f"""SELECT s.{name}_status, s.{name}_reason, count(*) AS n, min_by('clip ' || s.clip_id || ' of ' || v.name, s.clip_id)
        FROM signals s JOIN clips c USING (clip_id) JOIN videos v ON v.video_id = c.video_id
        WHERE s.{name}_status LIKE 'failed%' GROUP BY ALL ORDER BY n DESC, 2 LIMIT {MAX_REASONS}""",
    )


def _windows(reader: Reader, name: str) -> list[Failed]:
    return _told(
        reader,
        name,
        f"""SELECT t.status, t.reason, count(*) AS n, min(v.name || ', minute ' || (t.window_index + 1))
        FROM timelines t JOIN videos v USING (video_id) WHERE t.clip_id IS NULL AND t.name = '{name}'
          AND t.status LIKE 'failed%' GROUP BY ALL ORDER BY n DESC, 2 LIMIT {MAX_REASONS}""",
    )


def _told(reader: Reader, name: str, query: str) -> list[Failed]:
    found = []
    for status, reason, rows, first in reader.sql(query).iter_rows():
        found.append(Failed(name, int(rows), reason or "", first, _next(name, status, reason or "")))
    return found


def _next(name: str, status: str, reason: str) -> str:
    if status == "failed_transient":
        return "nothing, a coming run tries it again by itself"
    if ProcessLost.__name__ in reason:
        return "headroom curate --retry computes it again; else it waits for another version of the signal, or another clip"
    return f"no run tries it again as it is: mend {name} and raise its version, or mend the file"
