"""What the report tells of tiers: members, funnels and verdicts. Their SQL runs in the guarded child only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from dashboards.distributions import shown
from store import funnel as funnels
from store import ledger as tables
from store.guard import Query
from store.tier_sql import Clause, Tier, base_of
from store.workspace import Reader, Workspace
from tasks import tier as tiers
from tasks.signal import Column
from tasks.signals import discover


@dataclass(frozen=True)
class TierFacts:
    """One tier now. `problem` says why it can't be told; then it has no members and no funnel."""

    name: str
    colour: str
    parsed: Tier | None
    clip_ids: frozenset[str] = frozenset()
    hours: float = 0.0
    funnel: funnels.Funnel | None = None
    snapshot: Mapping[str, Any] | None = None
    problem: str = ""

    def funnel_rows(self, told_elsewhere: Collection[str]) -> list[FunnelRow]:
        """The funnel, with the clauses of tiers in `told_elsewhere` put together."""
        counts = self.funnel.clauses if self.funnel else ()
        rows = []
        for name, group in groupby(counts, key=lambda c: c.clause.tier):
            found = list(group)
            if name != self.name and name in told_elsewhere:
                here = sum(c.removed_after for c in found)
                rows.append(FunnelRow(f"all of {name}", "", True, None, here, None, None, (), found[-1].cumulative))
            else:
                rows += [_row(c) for c in found]
        return rows


@dataclass(frozen=True)
class FunnelRow:
    """One line of a tier's funnel: a clause, or all the clauses that it takes over from another tier, which add up
    in what they remove here only."""

    text: str
    source: str
    taken_over: bool
    removed_alone: int | None
    removed_here: int
    removed_only: int | None
    unknown: int | None
    why_unknown: tuple[str, ...]
    left: int


@dataclass(frozen=True)
class Verdict:
    """One clause for one clip, in words. `tier` is the one whose file says it; `passed` is None for want of a value."""

    clause: str
    values: str
    passed: bool | None
    tier: str


def _row(count: funnels.ClauseCount) -> FunnelRow:
    clause = count.clause
    why = tuple(f"{n}: {reason}" for reason, n in count.why_unknown.items())
    removed = (count.removed_alone, count.removed_after, count.removed_only)
    return FunnelRow(clause.text, clause.source, False, *removed, count.unknown, why, count.cumulative)


def tier_facts(workspace: Workspace, reader: Reader, run: Query) -> list[TierFacts]:
    """All tiers, the widest first; one that is refused, fails or was never computed tells so."""
    names = sorted(tiers.sources(workspace))
    colours = {n: next((c for c in ("bronze", "silver", "gold") if c in n), f"t{i % 5}") for i, n in enumerate(names)}
    problems: dict[str, str] = {}
    parsed: dict[str, Tier] = {}
    present = set(reader.columns("signals"))
    for name in names:
        try:
            parsed[name] = tiers.parsed(workspace, name)
            problems |= {name: told} if (told := _never_computed(parsed[name], present)) else {}
        except ValueError as error:
            problems[name] = str(error)
    members = _members(run, [n for n in names if n not in problems], problems)
    counted: dict[str, funnels.Funnel] = {}
    costs = {n: s.spec.cost_cpu_s for n, s in discover().items()}
    for name in members:
        try:
            counted[name] = funnels.funnel(run, parsed[name], costs, thresholds=False)
        except ValueError as error:
            problems[name] = str(error)
    rows = workspace.ledger.rows(tables.snapshots.select().order_by(tables.snapshots.c.created_at))
    latest = {row["tier"]: row for row in rows}
    found = [
        TierFacts(name, colours[name], parsed.get(name), problem=problems[name])
        if name in problems
        else TierFacts(
            name,
            colours[name],
            parsed[name],
            members[name],
            counted[name].member_hours,
            counted[name],
            latest.get(name),
        )
        for name in names
    ]
    return sorted(found, key=lambda t: (-len(t.clip_ids), len(t.parsed.includes) if t.parsed else 0, t.name))


def _never_computed(tier: Tier, present: set[str]) -> str:
    read = [c.removeprefix("signals.") for c in tier.columns if c.startswith("signals.")]
    missing = [c for c in (*(f"{s}_status" for s in tier.signals), *read) if c not in present]
    return f"reads {missing[0].removesuffix('_status')}, which was never computed here" if missing else ""


def _members(run: Query, names: Sequence[str], problems: dict[str, str]) -> dict[str, frozenset[str]]:
    """Clips of each tier by one query; by one each when that fails, to tell whose fault it is."""
    if not names:
        return {}
    try:
        rows = run(" UNION ALL ".join(f"SELECT '{n}' AS tier, clip_id FROM {n}" for n in names)).to_pylist()
    except ValueError as error:
        if len(names) > 1:
            return {k: ids for n in names for k, ids in _members(run, [n], problems).items()}
        problems[names[0]] = str(error)
        return {}
    return {n: frozenset(r["clip_id"] for r in rows if r["tier"] == n) for n in names}


def verdicts_of(
    run: Query, found: Sequence[TierFacts], clip_ids: Sequence[str], known: Mapping[str, Column]
) -> dict[str, dict[str, tuple[Verdict, ...]]]:
    """By tier and clip: every clause, as store.funnel.explain tells it, by one query for all of them."""
    told = {t.name: t.parsed for t in found if t.parsed and not t.problem}
    if not told or not clip_ids:
        return {}
    clauses = {name: funnels.judged_clauses(tier) for name, tier in told.items()}
    # A join adds no row to a clip and none is lost, so one FROM serves the clauses of all tiers.
    base = base_of({r: "left" for tier in told.values() for r in tier.joins}, everything=True)
    asked = list(dict.fromkeys(f"({c.sql})" for group in clauses.values() for c in group))
    asked += dict.fromkeys(c for tier in told.values() for c in tier.columns)
    alias = {text: f"x{i}" for i, text in enumerate(asked)}
    ids = ", ".join(f"'{c}'" for c in clip_ids)
    select = ", ".join(["clips.clip_id", *(f"{text} AS {a}" for text, a in alias.items())])
    rows = run(f"SELECT {select} FROM {base} WHERE clips.clip_id IN ({ids})").to_pylist()
    made: dict[str, dict[str, tuple[Verdict, ...]]] = {}
    for name, tier in told.items():
        judged = [c for c in clauses[name] if c in tier.clauses]
        joined = [c for c in clauses[name] if c not in tier.clauses]
        made[name] = {}
        for row in rows:
            shown_ = [*judged, *(c for c in joined if not row[alias[f"({c.sql})"]])]
            verdicts = [
                _verdict(c, row[alias[f"({c.sql})"]], {n: row[alias[n]] for n in c.columns if n in alias}, known)
                for c in shown_
            ]
            made[name][row["clip_id"]] = tuple(verdicts)
    return made


def _verdict(clause: Clause, passed: bool | None, values: Mapping[str, Any], known: Mapping[str, Column]) -> Verdict:
    return Verdict(clause.text, _told(values, known), passed, clause.tier)


def _told(values: Mapping[str, Any], known: Mapping[str, Column]) -> str:
    """The value that was compared; with its name where there are several."""
    told = {c.rsplit(".", 1)[-1]: shown(c, value, known) for c, value in values.items()}
    return ", ".join(told.values() if len(told) == 1 else (f"{c} {value}" for c, value in told.items()))
