"""What each clause of a tier does: for one clip (`explain`), and for all of them (`funnel`), with its price.

A clip passes a clause when the clause is true for it. NULL is no pass, and is counted apart with the reason: the
status of the signals behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp

from store.guard import Query
from store.sql_rules import DIALECT
from store.tier_scope import KEYS
from store.tier_sql import Clause, Tier, base_of

_DECILES = [n / 10 for n in range(1, 10)]
_COMPARISONS = (exp.GT, exp.GTE, exp.LT, exp.LTE)


@dataclass(frozen=True)
class ClauseVerdict:
    """One clause for one clip. `passed` is None where a value it needs is NULL; `values` are by relation.column."""

    clause: Clause
    passed: bool | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Threshold:
    """What the tier would hold with another threshold in one clause: the deciles of what that clause decides on."""

    value: float
    clips: int
    hours: float
    tighter: bool


@dataclass(frozen=True)
class ClauseCount:
    """One clause over all clips. `alone`: clips that pass it; `cumulative`: that pass it and all before it;
    `removed_after`: that pass all before it and not it; `removed_only`: that nothing else keeps out;
    `unknown`: not passed for a NULL, by reason in `why_unknown`; `cpu_s`: of the signals no clause before it reads,
    on the clips left by then."""

    clause: Clause
    alone: int
    cumulative: int
    removed_alone: int
    removed_after: int
    removed_only: int
    unknown: int
    why_unknown: Mapping[str, int]
    hours_alone: float
    hours_cumulative: float
    hours_removed_after: float
    hours_removed_only: float
    cpu_s: float
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True)
class Funnel:
    """`clips` and `hours` of all, `members` and `member_hours` of the tier."""

    tier: str
    clips: int
    hours: float
    members: int
    member_hours: float
    clauses: tuple[ClauseCount, ...]


@dataclass
class _Group:
    """Clips with the same verdicts: bit i of `passed` and `unknown` is clause i."""

    passed: int
    unknown: int
    why: dict[str, str | None]
    clips: int
    seconds: float = field(default=0.0)


def explain(query: Query, tier: Tier, clip_id: str) -> list[ClauseVerdict]:
    """Every clause with the clip's values and its verdict. Raises ValueError for an unknown clip."""
    clauses = judged_clauses(tier)
    verdicts = [f"({c.sql}) AS c{i}" for i, c in enumerate(clauses)]
    values = [f"{column} AS v{i}" for i, column in enumerate(tier.columns)]
    told = exp.Literal.string(clip_id).sql(dialect=DIALECT)
    base = base_of(tier.joins, everything=True)
    rows = query(f"SELECT {', '.join(['clips.clip_id', *verdicts, *values])} FROM {base} WHERE clips.clip_id = {told}")
    if not rows.num_rows:
        raise ValueError(f"clip {clip_id!r} is none of the present clips; list them with: SELECT clip_id FROM clips")
    row = rows.to_pylist()[0]
    held = {column: row[f"v{i}"] for i, column in enumerate(tier.columns)}
    made = [ClauseVerdict(c, row[f"c{i}"], {n: held[n] for n in c.columns}) for i, c in enumerate(clauses)]
    return [v for v in made if v.clause in tier.clauses or not v.passed]


def funnel(query: Query, tier: Tier, costs: Mapping[str, float] | None = None, *, thresholds: bool = True) -> Funnel:
    """Counts of every clause over all present clips. `costs` gives CPU-seconds per second of clip by signal."""
    clauses = judged_clauses(tier)
    groups = _groups(query, tier, clauses)
    everything = (1 << len(clauses)) - 1
    moved = _thresholds(query, tier, clauses) if thresholds else {}
    counts, seen = [], set[str]()
    for i, clause in enumerate(clauses):
        before = (1 << i) - 1
        left = [g for g in groups if g.passed & before == before]
        new = set(clause.signals) - seen
        seen |= new
        cost = sum((costs or {}).get(s, 0.0) for s in new) * sum(g.seconds for g in left)
        counts.append(_count(clause, i, everything, groups, left, cost, moved.get(i, ())))
    inside = [g for g in groups if g.passed == everything]
    shown = tuple(c for c in counts if c.clause in tier.clauses or c.removed_alone)
    return Funnel(tier.name, _clips(groups), _hours(groups), _clips(inside), _hours(inside), shown)


def judged_clauses(tier: Tier) -> tuple[Clause, ...]:
    """The tier's clauses, and what its joins demand: a clip without a row in a joined relation is not in the tier."""
    needed = [r for r, kind in tier.joins.items() if kind == "inner" and r != "clips"]
    rows = [Clause(f"has a row in {r}", f"{r}.{KEYS[r]} IS NOT NULL", tier.name) for r in needed]
    return (*tier.clauses, *rows)


def _count(
    clause: Clause,
    i: int,
    everything: int,
    groups: list[_Group],
    left: list[_Group],
    cost: float,
    moved: tuple[Threshold, ...],
) -> ClauseCount:
    bit = 1 << i
    alone = [g for g in groups if g.passed & bit]
    kept = [g for g in left if g.passed & bit]
    gone = [g for g in left if not g.passed & bit]
    only = [g for g in groups if g.passed == everything & ~bit]
    unknown = [g for g in groups if g.unknown & bit]
    why: dict[str, int] = {}
    for g in unknown:
        reasons = [f"{s}: {g.why[s]}" for s in clause.signals if g.why.get(s)]
        told = ", ".join(reasons) or "no value"
        why[told] = why.get(told, 0) + g.clips
    return ClauseCount(
        clause=clause,
        alone=_clips(alone),
        cumulative=_clips(kept),
        removed_alone=_clips(groups) - _clips(alone),
        removed_after=_clips(gone),
        removed_only=_clips(only),
        unknown=_clips(unknown),
        why_unknown=dict(sorted(why.items(), key=lambda item: (-item[1], item[0]))),
        hours_alone=_hours(alone),
        hours_cumulative=_hours(kept),
        hours_removed_after=_hours(gone),
        hours_removed_only=_hours(only),
        cpu_s=cost,
        thresholds=moved,
    )


def _groups(query: Query, tier: Tier, clauses: tuple[Clause, ...]) -> list[_Group]:
    """One pass over the data: clips counted by which clauses they pass and which are NULL for them."""
    signals = sorted({c.split(".")[1] for c in tier.columns if c.startswith("signals.")})
    named = [s for s in tier.signals if any(column.startswith(f"{s}_") for column in signals)]
    verdicts = [f"({c.sql}) AS c{i}" for i, c in enumerate(clauses)]
    whys = [f"{_why(s)} AS w{i}" for i, s in enumerate(named)]
    inner = f"SELECT {', '.join([*verdicts, *whys])}, clips.duration_s AS s FROM {base_of(tier.joins, everything=True)}"
    passed = " + ".join(f"CASE WHEN c{i} THEN {1 << i} ELSE 0 END" for i in range(len(clauses))) or "0"
    unknown = " + ".join(f"CASE WHEN c{i} IS NULL THEN {1 << i} ELSE 0 END" for i in range(len(clauses))) or "0"
    keys = "".join(f", w{i}" for i in range(len(named)))
    rows = query(
        f"SELECT {passed} AS passed, {unknown} AS unknown{keys}, count(*) AS n, sum(s) AS s "
        f"FROM ({inner}) AS j GROUP BY ALL"
    )
    return [
        _Group(r["passed"], r["unknown"], {s: r[f"w{i}"] for i, s in enumerate(named)}, r["n"], r["s"] or 0.0)
        for r in rows.to_pylist()
    ]


def _why(signal: str) -> str:
    status, reason = f"signals.{signal}_status", f"signals.{signal}_reason"
    return (
        f"CASE WHEN {status} = 'ok' THEN NULL WHEN {status} = 'not_applicable' THEN coalesce({reason}, {status}) "
        f"ELSE coalesce({status}, 'not computed') END"
    )


def _thresholds(query: Query, tier: Tier, clauses: tuple[Clause, ...]) -> dict[int, tuple[Threshold, ...]]:
    """By number of the clause, where it compares a number: the tier at each decile of the clips only it decides on."""
    compared = {i: found for i, c in enumerate(clauses) if c.reads == "own" and (found := comparison(c.sql))}
    if not compared:
        return {}
    exprs = [f"CAST({value} AS DOUBLE) AS e{i}" for i, (value, _, _) in compared.items()]
    verdicts = [f"({c.sql}) AS c{i}" for i, c in enumerate(clauses)]
    inner = (
        f"SELECT {', '.join([*verdicts, *exprs])}, clips.duration_s AS s FROM {base_of(tier.joins, everything=True)}"
    )
    # Whether all clauses but this one hold, once per clause: said in every filter, a long tier would grow too long.
    others = [f"({' AND '.join(f'c{k}' for k in range(len(clauses)) if k != i) or 'TRUE'}) AS o{i}" for i in compared]
    judged = f"(SELECT {', '.join([*others, *(f'e{i}' for i in compared), 's'])} FROM ({inner}) AS j) AS k"
    asked = [f"quantile_disc(e{i}, {_DECILES}) FILTER (WHERE o{i}) AS q{i}" for i in compared]
    deciles = query(f"SELECT {', '.join(asked)} FROM {judged}").to_pylist()[0]
    tried = [(i, t) for i in compared for t in sorted(set(deciles[f"q{i}"] or []))]
    if not tried:
        return {}
    parts = []
    for n, (i, t) in enumerate(tried):
        where = f"FILTER (WHERE o{i} AND e{i} {compared[i][1]} {t!r})"
        parts += [f"count(*) {where} AS n{n}", f"sum(s) {where} AS s{n}"]
    row = query(f"SELECT {', '.join(parts)} FROM {judged}").to_pylist()[0]
    made: dict[int, tuple[Threshold, ...]] = {}
    for n, (i, t) in enumerate(tried):
        _, operator, present = compared[i]
        tighter = t > present if operator.startswith(">") else t < present
        made[i] = (*made.get(i, ()), Threshold(t, row[f"n{n}"], (row[f"s{n}"] or 0.0) / 3600, tighter))
    return made


def comparison(sql: str) -> tuple[str, str, float] | None:
    """(value, operator, threshold) of a clause such as `signals.x >= 0.5`, the value on the left."""
    tree = sqlglot.parse_one(sql, read=DIALECT).unnest()
    if not isinstance(tree, _COMPARISONS) or tree.find(exp.Query):
        return None
    operators = {exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
    mirrored = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
    left, right, operator = tree.this, tree.expression, operators[type(tree)]
    if _number(left) is not None:
        left, right, operator = right, left, mirrored[operator]
    threshold = _number(right)
    if threshold is None or _number(left) is not None:
        return None
    return left.sql(dialect=DIALECT), operator, threshold


def _number(node: exp.Expr) -> float | None:
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    if not isinstance(literal, exp.Literal) or literal.is_string:
        return None
    return -float(literal.this) if negative else float(literal.this)


def _clips(groups: list[_Group]) -> int:
    return sum(g.clips for g in groups)


def _hours(groups: list[_Group]) -> float:
    return sum(g.seconds for g in groups) / 3600
