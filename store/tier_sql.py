"""Tiers: a SELECT that yields clip_id, taken apart into clauses and put together with the tiers it builds on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from store import label_views
from store.schema import MADE_FROM
from store.sql_rules import CLIP_RELATIONS, MAX_NODES, SQL_RELATIONS, TIER_RELATIONS, conjuncts, generate, parse_select
from store.tier_scope import KEYS, Scope, driver, qualified, read_from, signal_of

MAX_CLAUSES = 60
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COMMENT = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--([^\n]*)|/\*(.*?)\*/", re.DOTALL)
_PLAIN_PARTS = {"expressions", "from_", "joins", "where", "order", "distinct", "kind", "hint", "with_"}


@dataclass(frozen=True)
class Clause:
    """One top-level AND conjunct.

    `text` is as its author wrote it, `sql` the same with every column naming its relation, to be evaluated over
    `Tier.base`. `source` is the comment behind it. `columns` are the values it reads of the clip itself.
    `reads` says what decides it: the clip's own row; other clips' rows too (a subquery over signals or tiers); or
    which clips passed the other clauses (QUALIFY, GROUP BY, LIMIT: "selection").
    """

    text: str
    sql: str
    tier: str
    source: str = ""
    columns: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    reads: Literal["own", "others", "selection"] = "own"


@dataclass(frozen=True)
class Tier:
    """A parsed tier. `clauses` hold those of the tiers it builds on first; `joins` maps each relation of `base` to
    "inner" or "left"; `includes` names the tiers put in, in order; `signals` is what must be computed to decide it."""

    name: str
    sql: str
    clauses: tuple[Clause, ...]
    joins: Mapping[str, str]
    includes: tuple[str, ...]
    signals: tuple[str, ...]

    @property
    def base(self) -> str:
        """The FROM in which every clause can be evaluated."""
        return base_of(self.joins)

    @property
    def inlined(self) -> str:
        """One flat SELECT: the tier with all it builds on, its text the same whatever its layout and comments."""
        where = " AND ".join(c.sql for c in self.clauses)
        return f"SELECT {driver(self.joins)}.clip_id FROM {self.base}" + (f" WHERE {where}" if where else "")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for clause in self.clauses for c in clause.columns))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.inlined.encode()).hexdigest()


@dataclass
class _Book:
    """What one call to parse_tier knows: the tiers' texts, the signals' names, what is parsed already."""

    texts: Mapping[str, str]
    signals: tuple[str, ...]
    done: dict[str, Tier] = field(default_factory=dict)


def parse_tier(name: str, sql: str, known_tiers: Mapping[str, str], signals: Collection[str] = ()) -> Tier:
    """A tier from its text. `known_tiers` maps names to texts; `signals` names the clip signals there are: with it
    unknown columns are refused and Tier.signals is filled.

    Raises ValueError for whatever a tier may not say: see docs/tiers.md.
    """
    return _parsed(name, _Book({**known_tiers, name: sql}, tuple(sorted(signals))), ())


def guard_select(
    sql: str, known_tiers: Mapping[str, str] | None = None, *, relations: Collection[str] = SQL_RELATIONS
) -> str:
    """A query for looking around, checked and written anew: any columns, ORDER BY and LIMIT as one likes.

    Tiers may be read by name. Raises ValueError for everything but one SELECT over the views.
    """
    tiers = known_tiers or {}
    tree = parse_select(sql, what="sql", relations={*relations, *tiers}, free=True)
    book = _Book(tiers, ())
    _put_tiers_in(tree, {t: _parsed(t, book, ()) for t in _named(tree, tiers)}, "sql")
    return generate(tree, quoted=True)


def base_of(joins: Mapping[str, str], *, everything: bool = False) -> str:
    """FROM text; `everything` keeps each clip, whether the other relations have a row for it or not."""
    first = "clips" if everything else driver(joins)
    text = first
    for relation in CLIP_RELATIONS:
        if relation in joins and relation != first:
            kind = "LEFT JOIN" if everything or joins[relation] == "left" else "JOIN"
            key = KEYS[relation]
            text += f" {kind} {relation} ON {relation}.{key} = {first}.{key}"
    return text


def _parsed(name: str, book: _Book, path: tuple[str, ...]) -> Tier:
    if name in path:
        circle = " -> ".join((*path[path.index(name) :], name))
        raise ValueError(f"tier {name}: tiers build on each other in a circle: {circle}; take one step out")
    if not _NAME.fullmatch(name) or name in SQL_RELATIONS:
        raise ValueError(
            f"tier {name!r}: a name has lower-case letters, digits and _, and is none of {', '.join(SQL_RELATIONS)}"
        )
    if name not in book.done:
        book.done[name] = _parse(name, book, (*path, name))
    return book.done[name]


def _parse(name: str, book: _Book, path: tuple[str, ...]) -> Tier:
    what, sql = f"tier {name}", book.texts[name]
    select = parse_select(sql, what=what, relations={*TIER_RELATIONS, *book.texts})
    if not isinstance(select, exp.Select):
        raise ValueError(
            f"{what}: {type(select).__name__.upper()} at the top is not one SELECT; write OR, or a tier for each side"
        )
    _put_ctes_in(select, what)
    outputs = select.expressions
    if len(outputs) != 1 or outputs[0].alias_or_name.lower() != "clip_id" or not isinstance(outputs[0], exp.Column):
        told = ", ".join(generate(e) for e in outputs)[:80]
        raise ValueError(f"{what}: yields {told}; a tier yields clip_id and nothing else: SELECT clip_id FROM ...")
    inner = {t: _parsed(t, book, path) for t in _named(select, book.texts)}
    scope = read_from(select, what, inner.keys(), book.signals)
    return _assembled(name, sql, select, scope, inner)


def _assembled(name: str, sql: str, select: exp.Select, scope: Scope, inner: Mapping[str, Tier]) -> Tier:
    where = select.args.get("where")
    written = [*scope.conditions, *(conjuncts(where.this) if where else [])]
    sources = _sources(sql, written)
    members = {id(c): t for c in written if (t := _membership(c, scope, inner))}
    includes = list(dict.fromkeys([*scope.tiers, *members.values()]))
    joins = _merged([scope.joins, *(inner[t].joins for t in includes)])
    scope.first = driver(joins)
    clauses = [c for t in scope.tiers for c in inner[t].clauses]
    left_over = []
    for conjunct in written:
        if id(conjunct) in members:
            clauses += inner[members[id(conjunct)]].clauses
        elif clause := _clause(name, conjunct, sources.get(id(conjunct), ""), scope, inner):
            clauses.append(clause)
        else:
            left_over.append(_text(conjunct))
    left_over += _parts_beside_where(select)
    if left_over or not scope.plain:
        clauses.append(_selection(name, select, left_over, scope, inner))
    told: dict[str, Clause] = {}
    for clause in clauses:
        told.setdefault(clause.sql, clause)
    clauses = list(told.values())
    if len(clauses) > MAX_CLAUSES:
        raise ValueError(f"tier {name}: {len(clauses)} clauses, at most {MAX_CLAUSES}; join some by OR, or drop some")
    deep = dict.fromkeys(i for t in includes for i in (*inner[t].includes, t))
    read = tuple(sorted({s for c in clauses for s in c.signals}))
    return Tier(name, sql, tuple(clauses), joins, tuple(deep), read)


def _merged(all_joins: list[Mapping[str, str]]) -> dict[str, str]:
    """Inner where any of the tiers joins so: they must all hold."""
    kinds = {r: {j[r] for j in all_joins if r in j} for r in CLIP_RELATIONS}
    return {r: "inner" if "inner" in k else "left" for r, k in kinds.items() if k} or {"clips": "inner"}


def _clause(name: str, conjunct: exp.Expr, source: str, scope: Scope, inner: Mapping[str, Tier]) -> Clause | None:
    opened = _put_tiers_in(exp.Paren(this=conjunct.copy()), inner, scope.what).this
    found = qualified(opened, scope)
    if found is None:
        return None
    made, columns = found
    shown = f"({generate(made)})" if isinstance(made, exp.Or) else generate(made)
    inside = {t.name.lower() for t in conjunct.find_all(exp.Table)}
    corpus = {c.split(".")[0] for c in columns} & MADE_FROM.keys()
    others = bool(corpus or inside & {"signals", *MADE_FROM, *inner}) and not _of_own_tier(conjunct, scope, inner)
    read = tuple(sorted({*_signals_in(conjunct, scope.signals, inner), *_behind(corpus, scope.signals)}))
    return Clause(_text(conjunct), shown, name, source, columns, read, "others" if others else "own")


def _selection(name: str, select: exp.Select, left_over: list[str], scope: Scope, inner: Mapping[str, Tier]) -> Clause:
    """What can't be told from one clip's row: the whole SELECT as a clause of its own."""
    read = _signals_in(select, scope.signals, inner)
    whole = _put_tiers_in(select.copy(), inner, scope.what)
    order, limited = whole.args.get("order"), whole.args.get("limit") or whole.args.get("offset")
    if order and not limited:
        whole.set("order", None)
    elif order:
        order.append("expressions", exp.Ordered(this=exp.Literal.number(1)))  # clip_id decides between equals
    text = " ".join(left_over) or " ".join(generate(p) for p in [select.args["from_"], *select.args.get("joins", [])])
    return Clause(text, f"{scope.first}.clip_id IN ({generate(whole)})", name, "", (), read, "selection")


def _parts_beside_where(select: exp.Select) -> list[str]:
    """GROUP BY, HAVING, QUALIFY, LIMIT and what else decides by more than the clip's own row, as text."""
    limited = select.args.get("limit") or select.args.get("offset")
    parts = []
    for key, value in select.args.items():
        if value and (key not in _PLAIN_PARTS or (key == "order" and limited)):
            parts += [
                generate(v).strip() for v in (value if isinstance(value, list) else [value]) if isinstance(v, exp.Expr)
            ]
    return parts


def _membership(conjunct: exp.Expr, scope: Scope, inner: Mapping[str, Tier]) -> str | None:
    """The tier that `clip_id IN (SELECT clip_id FROM tier)` demands, or None for any other clause."""
    while isinstance(conjunct, exp.Paren):
        conjunct = conjunct.this
    if not (isinstance(conjunct, exp.In) and isinstance(conjunct.this, exp.Column) and conjunct.args.get("query")):
        return None
    query = conjunct.args["query"].unnest()
    if not isinstance(query, exp.Select) or {k for k, v in query.args.items() if v} != {"expressions", "from_"}:
        return None
    source, outputs = query.args["from_"].this, query.expressions
    is_tier = isinstance(source, exp.Table) and source.name.lower() in inner
    both = [conjunct.this, *outputs]
    names = [c.name.lower() for c in both if isinstance(c, exp.Column)]
    of_the_clip = conjunct.this.table.lower() in ("", *scope.aliases)
    return source.name.lower() if is_tier and of_the_clip and names == ["clip_id", "clip_id"] else None


def _of_own_tier(conjunct: exp.Expr, scope: Scope, inner: Mapping[str, Tier]) -> bool:
    """Whether it says `clip_id NOT IN (SELECT clip_id FROM tier)` of a tier that decides by the clip's own row."""
    tier = _membership(conjunct.this, scope, inner) if isinstance(conjunct, exp.Not) else None
    return tier is not None and all(c.reads == "own" for c in inner[tier].clauses)


def _named(tree: exp.Expr, texts: Collection[str]) -> list[str]:
    found = (t.name.lower() for t in tree.find_all(exp.Table))
    return list(dict.fromkeys(n for n in found if n in texts))


def _put_tiers_in(tree: exp.Expr, inner: Mapping[str, Tier], what: str) -> exp.Expr:
    """Replaces each tier's name by its SELECT, in place."""
    bodies = {t: parse_select(tier.inlined, what=what, relations=TIER_RELATIONS) for t, tier in inner.items()}
    return _replaced(tree, bodies, {}, what)


def _put_ctes_in(select: exp.Select, what: str) -> None:
    """Replaces each name of a WITH by its query, in place, so that every clause stands for itself."""
    bodies: dict[str, exp.Expr] = {}
    columns: dict[str, list[exp.Identifier]] = {}
    for found in list(select.find_all(exp.With)):
        found.pop()
        for cte in found.expressions:
            body = exp.Paren(this=cte.this)
            bodies[cte.alias.lower()] = _replaced(body, bodies, columns, what).this
            columns[cte.alias.lower()] = cte.args["alias"].args.get("columns") or []
    _replaced(select, bodies, columns, what)
    if lost := [t.name for t in select.find_all(exp.Table) if t.name.lower() in bodies]:
        raise ValueError(f"{what}: WITH {lost[0]} is read before it is written; move it up")


def _replaced(
    tree: exp.Expr,
    bodies: Mapping[str, exp.Expr],
    columns: Mapping[str, list[exp.Identifier]],
    what: str,
) -> exp.Expr:
    for table in [t for t in tree.find_all(exp.Table) if t.name.lower() in bodies]:
        name = table.name.lower()
        given = [c.copy() for c in columns.get(name, [])]
        alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name), columns=given)
        table.replace(exp.Subquery(this=bodies[name].copy(), alias=alias))
    if sum(1 for _ in tree.walk()) > MAX_NODES:
        raise ValueError(f"{what}: grows beyond {MAX_NODES} nodes when tiers and WITH are put in; use fewer of them")
    return tree


def _signals_in(tree: exp.Expr, signals: tuple[str, ...], inner: Mapping[str, Tier]) -> tuple[str, ...]:
    names = {c.name.lower() for c in tree.find_all(exp.Column)} - label_views.COLUMNS  # motion_smoothness: no `motion`
    own = {s for name in names if (s := signal_of(name, signals))}
    own |= _behind({t.name.lower() for t in tree.find_all(exp.Table)}, signals)
    return tuple(sorted(own.union(*(inner[t].signals for t in _named(tree, inner)))))


def _behind(relations: Collection[str], signals: Collection[str]) -> set[str]:
    """The signals that relations over all clips are made from, of those there are."""
    return {s for r in relations for s in MADE_FROM.get(r, ()) if s in signals}


def _text(node: exp.Expr) -> str:
    return re.sub(r"\bNOT ([\w.\"]+) (IS NULL\b|IN \()", _not_inside, generate(node))


def _not_inside(found: re.Match[str]) -> str:
    column, rest = found.groups()
    return f"{column} IS NOT NULL" if rest == "IS NULL" else f"{column} NOT IN ("


def _sources(sql: str, written: list[exp.Expr]) -> dict[int, str]:
    """By id of a conjunct: what the comments `-- source: ...` behind it say."""
    starts = sorted((min(found), id(c)) for c in written if (found := list(_positions(c))))
    told: dict[int, list[str]] = {}
    for position, text in _source_comments(sql):
        before = [key for start, key in starts if start < position]
        if before:
            told.setdefault(before[-1], []).append(text)
    return {key: "; ".join(texts) for key, texts in told.items()}


def _positions(node: exp.Expr) -> Iterator[int]:
    for identifier in node.find_all(exp.Identifier):
        if "start" in identifier.meta:
            yield identifier.meta["start"]


def _source_comments(sql: str) -> Iterator[tuple[int, str]]:
    """(position, text) of the comments that begin with "source:", with the comment lines that follow right on."""
    open_at: tuple[int, str] | None = None
    end = 0
    for found in _COMMENT.finditer(sql):
        text = (found.group(1) or found.group(2) or "").strip()
        if found.group(1) is None and found.group(2) is None:
            continue
        if text.lower().startswith("source:"):
            if open_at:
                yield open_at
            open_at = (found.start(), text[len("source:") :].strip())
        elif open_at and not sql[end : found.start()].strip():
            open_at = (open_at[0], f"{open_at[1]} {text}")
        end = found.end()
    if open_at:
        yield open_at
