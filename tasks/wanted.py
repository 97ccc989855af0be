"""Which signals are wanted, and by whom: work to do is what is stale and wanted.

A run of `curate` asks for its signals in the operator's name, or in a tier's name with --tier; what was asked stays
asked, and is what the nightly `reprocess` keeps fresh.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from store import ledger as tables
from store.tier_sql import Tier
from store.workspace import Workspace
from tasks import plan, promote, tier
from tasks.signals import discover

OPERATOR = "operator"


@dataclass(frozen=True)
class Pass:
    """One pass of a run: `signals` over every clip (None: all of them); with `tiers`, only as far as they need."""

    signals: tuple[str, ...] | None = None
    tiers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted(Pass):
    """All that is asked for: signals by the operator, tiers in their own name."""

    def passes(self, order: Sequence[str] = ()) -> list[Pass]:
        """What a nightly run does, most useful first: what the tiers need before what none does.

        `order` names tiers that only set the order, when the operator wants every signal anyway.
        """
        first = tuple(dict.fromkeys([*self.tiers, *(order if self.signals is None else ())]))
        found = [Pass(tiers=first)] if first else []
        return [*found, Pass(self.signals)] if self.signals is None or self.signals else found


def ask(workspace: Workspace, *, tiers: Sequence[str] = (), signals: Sequence[str] | None = None) -> None:
    """Writes down what a run asks for, and the signals as they are now. Raises ValueError for an unknown name."""
    now = time.time()
    asked = set() if tiers else {(s, OPERATOR) for s in plan.wanted_signals(signals)}
    for name in tiers:
        needed = plan.wanted_signals(tier.signals_of(workspace, name))
        asked |= {(s, f"tier:{name}") for s in needed}
    known = {(r["signal"], r["asked_by"]) for r in workspace.ledger.rows(tables.wanted.select())}
    rows = [{"signal": s, "asked_by": by, "since": now} for s, by in sorted(asked - known)]
    workspace.ledger.put(tables.wanted, rows)
    before = workspace.ledger.rows(tables.signals.select())
    present = {r["name"]: r["fingerprint"] for r in before}
    promote.note_before(workspace, [r for r in before if r["name"] in discover()])
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
    by_operator = {r["signal"] for r in rows if r["asked_by"] == OPERATOR and r["signal"] in discover()}
    everything = not rows or by_operator == set(plan.wanted_signals(None))
    return Wanted(None if everything else tuple(sorted(by_operator)), tuple(sorted(t for t in tiers if t in known)))


def asked_for(workspace: Workspace) -> set[str]:
    """The signals that the nightly run looks after: those of the operator and of tiers, with all they need."""
    asked = wanted(workspace)
    return {*by_operator(asked), *by_tiers(readable_tiers(workspace, asked))}


def by_operator(asked: Wanted) -> tuple[str, ...]:
    return plan.wanted_signals(asked.signals) if asked.signals is None or asked.signals else ()


def by_tiers(tiers: Sequence[Tier]) -> tuple[str, ...]:
    return plan.wanted_signals(plan.computable(s for t in tiers for s in t.signals)) if tiers else ()


def readable_tiers(workspace: Workspace, asked: Wanted) -> list[Tier]:
    """Those that ask in their own name; without one that can't be read, which a run refuses and `status` tells apart."""
    found = []
    for name in asked.tiers:
        with suppress(ValueError):
            found.append(tier.parsed(workspace, name))
    return found
