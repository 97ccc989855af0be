"""How much is left to compute, and how long that takes at the rate that the log tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.workspace import Reader
from tasks.signals import discover

RECENT_S = 6 * 3600.0
"""The rate is that of the latest hours in which anything was computed."""
PAUSE_S = 120.0
"""A longer time without a row is between two runs."""
MIN_WORKED_S = 5.0
"""Over a shorter time there is no rate."""


def backlog(reader: Reader, stale: Mapping[str, int]) -> dict[str, Any]:
    """{"rows", "cpu_s", "hours"}: rows that are stale, what they cost, and the hours until there is none.

    A row costs what the log tells of rows of its signal, else what the signal declares for ten seconds of footage.
    Hours are None while nothing is late or the log tells of no rate. What each row makes stale in its turn is not known.
    """
    late = {name: count for name, count in stale.items() if count}
    told = dict(reader.sql("SELECT signal, avg(cpu_s) FROM log GROUP BY signal").iter_rows()) if late else {}
    cpu_s = sum(n * told.get(name, 10.0 * discover()[name].spec.cost_cpu_s) for name, n in late.items())
    rate = _rate(reader) if late else None
    hours = None if not rate else round(cpu_s / rate / 3600, 3)
    return {"rows": sum(late.values()), "cpu_s": round(cpu_s, 1), "hours": hours}


def _rate(reader: Reader) -> float | None:
    """CPU-seconds of signals per second of work: decoding, committing and the number of workers are in it."""
    cpu_s, worked_s = reader.sql(
        f"""WITH recent AS (SELECT computed_at, cpu_s FROM log
                WHERE computed_at > (SELECT max(computed_at) FROM log) - {RECENT_S}),
            steps AS (SELECT cpu_s, computed_at - lag(computed_at) OVER (ORDER BY computed_at) AS step FROM recent)
        SELECT coalesce(sum(cpu_s), 0), coalesce(sum(step) FILTER (WHERE step < {PAUSE_S}), 0) FROM steps"""
    ).row(0)
    return float(cpu_s) / float(worked_s) if worked_s >= MIN_WORKED_S and cpu_s > 0 else None
