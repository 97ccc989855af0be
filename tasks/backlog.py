"""How much is left to compute, and how long that takes at the rate that the log tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.workspace import Reader, Workspace
from tasks import plan
from tasks.signals import discover
from tasks.stale import stale_clips
from tasks.wanted import by_operator, by_tiers, readable_tiers, wanted

RECENT_S = 6 * 3600.0
"""The rate is that of the latest hours in which anything was computed."""
PAUSE_S = 120.0
"""A longer time without a row is between two runs."""
MIN_WORKED_S = 5.0
"""Over a shorter time there is no rate."""


def backlog(workspace: Workspace, reader: Reader, stale: Mapping[str, int]) -> dict[str, Any]:
    """{"rows", "cpu_s", "hours", "signals": [{"signal", "rows", "cpu_s", "hours"}]}: rows that are stale and wanted, what
    they cost, and the hours until there is none. `stale`: by signal all rows that are, of whoever wants them.

    A row costs what the log tells of rows of its signal, else what the signal declares for ten seconds of footage.
    Hours are None while nothing is late or the log tells of no rate. What each row makes stale in its turn is not known.
    """
    late = _late(workspace, reader, stale)
    told = dict(reader.sql("SELECT signal, avg(cpu_s) FROM log GROUP BY signal").iter_rows()) if late else {}
    rate = _rate(reader) if late else None

    def costs(cpu_s: float) -> dict[str, float | None]:
        return {"cpu_s": round(cpu_s, 1), "hours": round(cpu_s / rate / 3600, 3) if rate else None}

    cpu_s = {name: n * told.get(name, 10.0 * discover()[name].spec.cost_cpu_s) for name, n in late.items()}
    signals = [{"signal": name, "rows": n, **costs(cpu_s[name])} for name, n in late.items()]
    return {"rows": sum(late.values()), **costs(sum(cpu_s.values())), "signals": signals}


def _late(workspace: Workspace, reader: Reader, stale: Mapping[str, int]) -> dict[str, int]:
    """Of the stale rows those that a nightly run would compute: nobody may have asked for a signal here, and one that
    only tiers ask for is spared on clips which they keep out."""
    if not any(stale.values()):
        return {}
    asked = wanted(workspace)
    tiers = readable_tiers(workspace, asked)
    operator, needed = by_operator(asked), by_tiers(tiers)
    found = {name: stale[name] for name in operator if stale.get(name)}
    more = [name for name in needed if name not in operator and stale.get(name)]
    found |= {name: stale[name] for name in more if discover()[name].spec.grain == "video"}
    if set(more) - set(found):
        rows = plan.demanded(reader, tiers, stale_clips(reader, needed)).group_by("name").len()
        found |= {name: count for name, count in rows.iter_rows() if name in more}
    return {name: found[name] for name in discover() if name in found}


def _rate(reader: Reader) -> float | None:
    """CPU-seconds of signals per second of work: decoding, committing and the number of workers are in it."""
    cpu_s, worked_s = reader.sql(
        f"""WITH recent AS (SELECT computed_at, cpu_s FROM log
                WHERE computed_at > (SELECT max(computed_at) FROM log) - {RECENT_S}),
            steps AS (SELECT cpu_s, computed_at - lag(computed_at) OVER (ORDER BY computed_at) AS step FROM recent)
        SELECT coalesce(sum(cpu_s), 0), coalesce(sum(step) FILTER (WHERE step < {PAUSE_S}), 0) FROM steps"""
    ).row(0)
    return float(cpu_s) / float(worked_s) if worked_s >= MIN_WORKED_S and cpu_s > 0 else None
