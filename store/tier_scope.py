"""What a tier's FROM stands for, and which relation each of its columns belongs to.

Tiers are put together by putting their clauses side by side, so every column must name its relation by itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from store import label_views
from store.schema import CLIPS, RIGHTS, VIDEOS
from store.sql_rules import CLIP_RELATIONS, conjuncts, generate

COLUMNS: dict[str, frozenset[str]] = {
    "clips": frozenset(CLIPS.names) - {"active"},
    "videos": frozenset(VIDEOS.names) - {"rejected"} | {"prefilter_reason"},
    "rights": frozenset(RIGHTS.names),
    "identities": frozenset({"clip_id", "identity"}),
    "duplicates": frozenset({"clip_id", "cluster", "kept", "best", "reason"}),
    "labels": label_views.COLUMNS,
}
KEYS = {r: "video_id" if r in ("videos", "rights") else "clip_id" for r in CLIP_RELATIONS}


@dataclass
class Scope:
    """A tier's FROM. `aliases` gives the relation behind a name; `joins` whether a clip without a row of it stays
    ("left") or goes ("inner"); `conditions` are clauses written in JOIN ... ON; `plain` says that nothing in it
    multiplies clips or needs more than one row of a clip to decide; `first` is the relation that gives clip_id once
    all tiers are put together."""

    what: str
    signals: tuple[str, ...]
    aliases: dict[str, str] = field(default_factory=dict)
    joins: dict[str, str] = field(default_factory=dict)
    tiers: list[str] = field(default_factory=list)
    conditions: list[exp.Expr] = field(default_factory=list)
    plain: bool = True
    first: str = "clips"


def driver(joins: Mapping[str, str]) -> str:
    """The relation that gives the clips: `signals` alone when nothing asks for `clips`, which spares a join."""
    return "signals" if joins.get("signals") == "inner" and "clips" not in joins else "clips"


def read_from(select: exp.Select, what: str, tiers: Collection[str], signals: tuple[str, ...]) -> Scope:
    """Raises ValueError for joins that have no meaning for a tier."""
    scope = Scope(what, signals)
    source = select.args.get("from_")
    if source is None:
        raise ValueError(f"{what}: no FROM; begin with FROM clips JOIN signals USING (clip_id)")
    _add(scope, source.this, tiers)
    for join in select.args.get("joins") or []:
        _add_join(scope, join, tiers)
    if scope.plain and not scope.tiers and not {"clips", "signals"} & scope.joins.keys():
        raise ValueError(f"{what}: FROM names no relation of clips; add clips, signals or a tier")
    return scope


def _add(scope: Scope, source: exp.Expr, tiers: Collection[str], side: str = "inner") -> str | None:
    """Enters one relation; gives its canonical name, or None when it makes the scope other than plain."""
    alias = source.alias_or_name.lower()
    name = source.name.lower() if isinstance(source, exp.Table) else ""
    if name in tiers:
        if name not in scope.tiers:
            scope.tiers.append(name)
        scope.aliases[alias] = "tier"
        return "tier"
    if name in CLIP_RELATIONS and name not in scope.joins:
        scope.joins[name] = side
        scope.aliases[alias] = name
        return name
    scope.plain = False
    return None


def _add_join(scope: Scope, join: exp.Join, tiers: Collection[str]) -> None:
    side, kind, method = join.side.upper(), join.kind.upper(), join.method.upper()
    shown = generate(join)[:80]
    if method or kind not in ("", "INNER", "OUTER") or side not in ("", "LEFT"):
        raise ValueError(
            f"{scope.what}: {shown!r} is not allowed; tiers join by JOIN or LEFT JOIN; write clip_id [NOT] IN "
            "(SELECT clip_id FROM ...) to keep or drop what another relation has"
        )
    on, using = join.args.get("on"), join.args.get("using")
    if on is None and using is None:
        raise ValueError(f"{scope.what}: {shown!r} joins without a condition; write JOIN ... USING (clip_id)")
    alias = join.this.alias_or_name.lower()
    before = set(scope.aliases)
    relation = _add(scope, join.this, tiers, "left" if side == "LEFT" else "inner")
    if relation is None:
        return
    if relation == "tier" and side == "LEFT":
        raise ValueError(f"{scope.what}: {shown!r}: a tier can't be joined by LEFT JOIN; write clip_id NOT IN (...)")
    key = KEYS.get(relation, "clip_id")
    if on is None:
        scope.plain &= [u.name.lower() for u in using or []] == [key]
        return
    rest = [c for c in conjuncts(on) if not _is_key(c, key, alias, before)]
    if len(rest) == len(list(conjuncts(on))):
        scope.plain = False
    elif rest and side == "LEFT":
        raise ValueError(f"{scope.what}: {shown!r}: LEFT JOIN takes only its key in ON; move the rest to WHERE")
    else:
        scope.conditions += rest


def _is_key(node: exp.Expr, key: str, alias: str, others: set[str]) -> bool:
    if not (isinstance(node, exp.EQ) and isinstance(node.this, exp.Column) and isinstance(node.expression, exp.Column)):
        return False
    sides = (node.this, node.expression)
    tables = [c.table.lower() for c in sides]
    return all(c.name.lower() == key for c in sides) and tables.count(alias) == 1 and bool(set(tables) & others)


def qualified(clause: exp.Expr, scope: Scope) -> tuple[exp.Expr, tuple[str, ...]] | None:
    """A copy of a clause whose columns name their relation, and these columns ("signals.motion_camera_speed").

    None when it reads something that is not one row per clip. Raises ValueError for columns that no relation has,
    or that two have.
    """
    made = exp.Paren(this=clause.copy())
    columns: dict[str, None] = {}
    for column in list(made.find_all(exp.Column)):
        inner = _inner_aliases(column, made)
        table = column.table.lower()
        if inner is None:
            relation = _relation_of(column, scope)
            if relation is None:
                return None
            columns[f"{relation}.{column.name.lower()}"] = None
        elif table in inner or table not in scope.aliases:
            continue  # a column of the subquery itself
        else:
            relation = scope.aliases[table] if scope.aliases[table] != "tier" else scope.first
            if relation in inner:
                raise ValueError(
                    f"{scope.what}: {generate(column)} means a row outside the subquery, which reads {relation} "
                    "itself; write clip_id IN (SELECT clip_id FROM ...)"
                )
        column.replace(exp.column(column.name.lower(), table=relation))
    return made.this, tuple(columns)


def _relation_of(column: exp.Column, scope: Scope) -> str | None:
    name, table = column.name.lower(), column.table.lower()
    if table:
        relation = scope.aliases.get(table)
        if relation is None:
            if scope.plain:
                raise ValueError(f"{scope.what}: {generate(column)}: no relation is called {table} in its FROM")
            return None
        relation = scope.first if relation == "tier" else relation
    elif name in ("clip_id", "video_id"):
        relation = scope.first
    else:
        has = [r for r in scope.joins if name in COLUMNS.get(r, ())]
        if len(has) > 1:
            raise ValueError(f"{scope.what}: column {name} is in {' and '.join(has)}; write {has[0]}.{name}")
        if not has and ("signals" not in scope.joins or (not scope.plain and signal_of(name, scope.signals) is None)):
            if scope.plain:
                raise ValueError(_unknown(name, scope))
            return None
        relation = has[0] if has else "signals"
    _check_known(relation, name, scope)
    return relation


def _check_known(relation: str, name: str, scope: Scope) -> None:
    if relation == "signals":
        known = not scope.signals or name in ("clip_id", "video_id") or signal_of(name, scope.signals) is not None
    else:
        known = name in COLUMNS[relation]
    if not known:
        raise ValueError(_unknown(name, scope))


def _unknown(name: str, scope: Scope) -> str:
    known = sorted({c for r in scope.joins for c in COLUMNS.get(r, ())} | {f"{s}_status" for s in scope.signals})
    close = difflib.get_close_matches(name, known, 1)
    near = f"; did you mean {close[0]}?" if close else ""
    home = [r for r, columns in COLUMNS.items() if name in columns and r not in scope.joins]
    if signal_of(name, scope.signals):
        home = ["signals"]
    join = f"; add JOIN {home[0]} USING ({KEYS[home[0]]})" if home else ""
    return f"{scope.what}: column {name} is in none of {', '.join(scope.joins) or 'its tiers'}{join or near}"


def _inner_aliases(column: exp.Column, top: exp.Expr) -> set[str] | None:
    """The names that subqueries around a column bring in; None when it stands in no subquery."""
    names: set[str] | None = None
    for node in _ancestors(column, top):
        if isinstance(node, exp.Query) and not isinstance(node, exp.Subquery):
            names = names or set()
            sources = [node.args.get("from_"), *(node.args.get("joins") or [])]
            names |= {s.this.alias_or_name.lower() for s in sources if s is not None}
    return names


def _ancestors(node: exp.Expr, top: exp.Expr) -> Iterator[exp.Expr]:
    while node is not top and node.parent is not None:
        node = node.parent
        yield node


def signal_of(column: str, signals: Collection[str]) -> str | None:
    """The signal that a wide column belongs to: the longest name it begins with."""
    return max((s for s in signals if column.lower().startswith(f"{s}_")), key=len, default=None)
