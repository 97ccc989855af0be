"""Rows of every signal by state, for `headroom status`, the report and a run's summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.workspace import Reader
from tasks.signals import discover
from tasks.stale import stale_clips, stale_windows, totals


@dataclass(frozen=True)
class Counts:
    """Rows of one signal by state."""

    total: int = 0
    stale: int = 0
    fresh: int = 0
    ok: int = 0
    not_applicable: int = 0
    failed: int = 0


def counts(reader: Reader) -> dict[str, Counts]:
    """Rows of every signal by state, for `headroom status`; none of those on request that nobody asked for."""
    found: dict[str, Counts] = {}
    names = list(discover())
    video = [n for n in names if discover()[n].spec.grain == "video"]
    stale = stale_windows(reader, video).group_by("name").len()
    stale_by_name = dict(zip(stale["name"], stale["len"], strict=True))
    clip_stale = stale_clips(reader, names).group_by("name").len()
    stale_by_name |= dict(zip(clip_stale["name"], clip_stale["len"], strict=True))
    all_rows = totals(reader, names)
    by_status = reader.sql("SELECT name, status, count(*) FROM timelines WHERE clip_id IS NULL GROUP BY ALL")
    statuses: dict[str, dict[str, int]] = {}
    for name, status, count in by_status.iter_rows():
        statuses.setdefault(name, {})[status] = count
    statuses |= _clip_statuses(reader, [n for n in names if discover()[n].spec.grain == "clip"])
    for name in names:
        total = all_rows[name]
        have = statuses.get(name, {})
        if discover()[name].spec.on_request and not have:
            found[name] = Counts()  # nobody asked: nothing is late
            continue
        late = int(stale_by_name.get(name, 0))
        found[name] = Counts(
            total=total,
            stale=late,
            fresh=total - late,
            ok=have.get("ok", 0),
            not_applicable=have.get("not_applicable", 0),
            failed=have.get("failed_permanent", 0) + have.get("failed_transient", 0),
        )
    return found


def _clip_statuses(reader: Reader, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Rows of each clip signal by status: one scan of the wide table, whatever the number of signals."""
    columns = set(reader.columns("signals"))
    told = [f"histogram({n}_status) AS {n}" for n in names if f"{n}_status" in columns]
    if not told:
        return {}
    found = reader.arrow(f"SELECT {', '.join(told)} FROM signals")
    return {name: dict(found[name][0].as_py() or ()) for name in found.column_names}
