"""Which signals are wanted, and by whom: work to do is what is stale and wanted.

A run of `curate` asks for its signals in the operator's name, or in a tier's name with --tier; what was asked stays
asked, and is what the nightly `reprocess` keeps fresh.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from store import ledger as tables
from store.workspace import Workspace
from tasks import plan, tier
from tasks.signals import discover

OPERATOR = "operator"


@dataclass(frozen=True)
class Wanted:
    """`signals`: asked for over every clip (None: all of them); `tiers`: asked for only as far as these tiers need."""

    signals: tuple[str, ...] | None
    tiers: tuple[str, ...]


def ask(workspace: Workspace, *, tiers: Sequence[str] = (), signals: Sequence[str] | None = None) -> None:
    """Writes down what a run asks for, and the signals as they are now. Raises ValueError for an unknown name."""
    now = time.time()
    asked = {(s, OPERATOR) for s in plan.wanted_signals(signals)} if not tiers else set()
    for name in tiers:
        needed = plan.wanted_signals(tier.signals_of(workspace, name))
        asked |= {(s, f"tier:{name}") for s in needed}
    known = {(r["signal"], r["asked_by"]) for r in workspace.ledger.rows(tables.wanted.select())}
    rows = [{"signal": s, "asked_by": by, "since": now} for s, by in sorted(asked - known)]
    workspace.ledger.put(tables.wanted, rows)
    present = {r["name"]: r["fingerprint"] for r in workspace.ledger.rows(tables.signals.select())}
    workspace.ledger.put(
        tables.signals,
        [
            {
                "name": n,
                "grain": s.spec.grain,
                "version": s.spec.version,
                "fingerprint": s.fingerprint,
                "seen_at": now,
            }
            for n, s in discover().items()
            if present.get(n) != s.fingerprint
        ],
    )


def wanted(workspace: Workspace) -> Wanted:
    """All that was ever asked for and still exists; everything in a workspace where nobody has asked yet."""
    rows = workspace.ledger.rows(tables.wanted.select())
    tiers = {r["asked_by"].removeprefix("tier:") for r in rows if r["asked_by"].startswith("tier:")}
    known = tier.sources(workspace)
    by_operator = tuple(sorted({r["signal"] for r in rows if r["asked_by"] == OPERATOR and r["signal"] in discover()}))
    return Wanted(by_operator if rows else None, tuple(sorted(t for t in tiers if t in known)))
