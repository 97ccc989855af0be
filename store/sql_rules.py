"""What SQL may say: the rules for tier files and for `headroom sql`, checked on the parse tree before anything runs.

Everything is refused that is not listed here: node types, functions and relations. What passes is generated anew
from the tree that was checked, so DuckDB never sees text that was not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of statements that are refused here anyway

DIALECT = "duckdb"
CLIP_RELATIONS = ("clips", "signals", "videos", "rights", "identities", "duplicates", "labels")
"""One row per clip, or per video of a clip: joined by their key they never multiply clips."""
TIER_RELATIONS = (*CLIP_RELATIONS, "pairs", "label_values")
SQL_RELATIONS = (*TIER_RELATIONS, "timelines", "clipping", "log")

MAX_CHARACTERS = 50_000
MAX_TOKENS = 5_000
MAX_DEPTH = 40
MAX_NODES = 50_000

_STRUCTURE: tuple[type[exp.Expr], ...] = (
    exp.Alias, exp.Any, exp.Between, exp.Boolean, exp.Bracket, exp.CTE, exp.Column, exp.DataType, exp.DataTypeParam,
    exp.Distinct, exp.Escape, exp.Except, exp.Exists, exp.Filter, exp.From, exp.Group, exp.Having, exp.Identifier,
    exp.In, exp.Intersect, exp.Interval, exp.Is, exp.Join, exp.Limit, exp.Literal, exp.Null, exp.Offset, exp.Order,
    exp.Ordered, exp.Paren, exp.Qualify, exp.Select, exp.Slice, exp.Star, exp.Subquery, exp.Table, exp.TableAlias,
    exp.Tuple, exp.Union, exp.Var, exp.Where, exp.Window, exp.WindowSpec, exp.With,
)  # fmt: skip
_OPERATORS: tuple[type[exp.Expr], ...] = (
    exp.Add, exp.And, exp.DPipe, exp.Div, exp.EQ, exp.GT, exp.GTE, exp.Glob, exp.ILike, exp.IntDiv, exp.LT, exp.LTE,
    exp.Like, exp.Mod, exp.Mul, exp.NEQ, exp.Neg, exp.Not, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Or, exp.SimilarTo,
    exp.Sub,
)  # fmt: skip
FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.Abs: "abs", exp.ArrayContains: "list_contains", exp.ArraySize: "array_length", exp.Avg: "avg",
    exp.Case: "case", exp.Cast: "cast", exp.Cbrt: "cbrt", exp.Ceil: "ceil", exp.Coalesce: "coalesce",
    exp.Concat: "concat", exp.Contains: "contains", exp.Corr: "corr", exp.Count: "count", exp.CountIf: "count_if",
    exp.CumeDist: "cume_dist", exp.DenseRank: "dense_rank", exp.EndsWith: "ends_with", exp.Exp: "exp",
    exp.FirstValue: "first_value", exp.Floor: "floor", exp.Greatest: "greatest", exp.If: "if", exp.IsNan: "isnan",
    exp.Lag: "lag", exp.LastValue: "last_value", exp.Lead: "lead", exp.Least: "least", exp.Left: "left",
    exp.Length: "length",
    exp.Ln: "ln", exp.Log: "log", exp.LogicalAnd: "bool_and", exp.LogicalOr: "bool_or", exp.Lower: "lower",
    exp.MD5: "md5", exp.Max: "max", exp.Median: "median", exp.Min: "min", exp.Ntile: "ntile", exp.Nullif: "nullif",
    exp.PercentRank: "percent_rank", exp.PercentileCont: "quantile_cont", exp.PercentileDisc: "quantile_disc",
    exp.Pow: "power", exp.Rank: "rank", exp.RegexpLike: "regexp_matches", exp.Replace: "replace", exp.Right: "right",
    exp.Round: "round", exp.RowNumber: "row_number", exp.Sign: "sign", exp.SplitPart: "split_part",
    exp.Sqrt: "sqrt", exp.StartsWith: "starts_with", exp.Stddev: "stddev", exp.StddevPop: "stddev_pop",
    exp.StddevSamp: "stddev_samp", exp.StrPosition: "strpos", exp.Substring: "substring", exp.Sum: "sum",
    exp.Trim: "trim", exp.TryCast: "try_cast", exp.Upper: "upper", exp.Variance: "variance",
    exp.VariancePop: "var_pop",
}  # fmt: skip
_FREE_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.AnyValue: "any_value", exp.ArgMax: "arg_max", exp.ArgMin: "arg_min", exp.ArrayAgg: "list",
    exp.ApproxDistinct: "approx_count_distinct", exp.GroupConcat: "string_agg", exp.Mode: "mode",
}  # fmt: skip
"""Depend on the order of rows: for looking around, not for tiers."""
_ANONYMOUS = {"prefix", "suffix", "hash"}
_ORDERED_WINDOWS = (exp.RowNumber, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue)
_TYPES = {
    exp.DataType.Type[name]
    for name in (
        "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "UTINYINT", "USMALLINT", "UINT", "UBIGINT", "FLOAT",
        "DOUBLE", "DECIMAL", "VARCHAR", "TEXT", "DATE", "TIME", "TIMESTAMP", "INTERVAL",
    )
}  # fmt: skip
_VALUE_NAMES = {
    "current_catalog", "current_database", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "localtime", "localtimestamp", "rowid", "session_user", "user",
}  # fmt: skip
"""DuckDB reads such a column as a function of the moment or the session when no relation has it, quoted or not."""
_CHANGING = {
    "now", "random", "rand", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "today", "get_current_timestamp",
    "transaction_timestamp", "setseed", "nextval", "currval", "currentdate", "currenttimestamp", "currenttime",
}  # fmt: skip


def parse_select(sql: str, *, what: str, relations: Collection[str], free: bool = False) -> exp.Query:
    """The checked tree of one SELECT over `relations`. `what` names it in errors ("tier a2v_gold").

    `free` is for looking around: any output columns, and LIMIT without ORDER BY. Without it only what gives the
    same rows every time is allowed. Raises ValueError for everything else, naming the construct.
    """
    tree = _parse(sql, what)
    try:
        _check(tree, what, {r.lower() for r in relations}, free)
    except RecursionError:
        raise ValueError(f"{what}: the query is nested too deeply; split it into tiers") from None
    return tree


def generate(tree: exp.Expr, *, quoted: bool = False) -> str:
    """SQL text of a tree, on one line, without comments; `quoted` quotes every name, so that none is a keyword."""
    return tree.sql(dialect=DIALECT, comments=False, identify=quoted)


def _parse(sql: str, what: str) -> exp.Query:
    if "\x00" in sql:
        raise ValueError(
            f"{what}: can't be read as SQL: it holds a NUL character; write one SELECT in DuckDB's dialect"
        )
    if len(sql) > MAX_CHARACTERS:
        raise ValueError(
            f"{what}: {len(sql)} characters of SQL, at most {MAX_CHARACTERS} are read; split it into tiers"
        )
    try:
        tokens = sqlglot.tokenize(sql, read=DIALECT)
        depth = _depth(tokens)
        if len(tokens) > MAX_TOKENS or depth > MAX_DEPTH:
            raise ValueError(
                f"{what}: {len(tokens)} words nested {depth} deep, at most {MAX_TOKENS} and {MAX_DEPTH} are read; "
                "split it into tiers"
            )
        statements = [s for s in sqlglot.parse(sql, read=DIALECT) if s is not None and not isinstance(s, exp.Semicolon)]
    except (SqlglotError, RecursionError) as error:
        told = _UNFINISHED.sub(lambda m: f"{_words(m[1])} is not finished", str(error).split("\n")[0])
        told = _TOKEN.sub(lambda m: "the end" if m[1] == "SENTINEL" else m[1], told).rstrip(". ") or "nested too deeply"
        raise ValueError(f"{what}: can't be read as SQL: {told}; write one SELECT in DuckDB's dialect") from None
    if len(statements) != 1:
        raise ValueError(f"{what}: {len(statements)} statements; write exactly one SELECT")
    tree = statements[0]
    if not isinstance(tree, exp.Query) or any(not s.expressions for s in tree.find_all(exp.Select)):
        word = sql.split(None, 1)[0].upper()[:20] if sql.split() else "nothing"
        raise ValueError(f"{what}: {word} is not allowed, only SELECT is; views can be read and nothing can be changed")
    return tree


def _depth(tokens: list[sqlglot.Token]) -> int:
    """How deep brackets and prefix operators nest."""
    opening = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
    closing = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
    prefix = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
    depth = deepest = run = 0
    for token in tokens:
        run = run + 1 if token.token_type in prefix else 0
        depth += (token.token_type in opening) - (token.token_type in closing)
        deepest = max(deepest, depth + run)
    return deepest


def _check(tree: exp.Query, what: str, relations: set[str], free: bool) -> None:
    _check_ctes(tree, what, relations)
    functions = {**FUNCTIONS, **(_FREE_FUNCTIONS if free else {})}
    for count, node in enumerate(tree.walk()):
        if count > MAX_NODES:
            raise ValueError(f"{what}: more than {MAX_NODES} nodes; split it into tiers")
        _check_node(node, what, functions)
        if isinstance(node, exp.Table):
            _check_relation(node, what, relations)
        elif isinstance(node, exp.Column):
            _check_column(node, what)
        elif isinstance(node, exp.DataType) and (node.this not in _TYPES or node.args.get("nested")):
            allowed = "numbers, VARCHAR, BOOLEAN, DATE, TIME, TIMESTAMP and INTERVAL"
            raise ValueError(f"{what}: type {generate(node)} is not allowed; cast to {allowed}")
        elif isinstance(node, exp.Var) and not isinstance(node.parent, exp.Interval) and not _order_by_all(node, free):
            raise ValueError(f"{what}: the word {node.name} is not allowed here; quote it if it is a column")
        elif isinstance(node, exp.Window) and not free:
            _check_window(node, what)
    if not free:
        for node in tree.walk():
            _check_same_rows(node, what)


def _check_node(node: exp.Expr, what: str, functions: dict[type[exp.Expr], str]) -> None:
    kind = type(node)
    if isinstance(node, exp.Anonymous) and node.name.lower() in _ANONYMOUS:
        return
    if kind in functions or kind in _STRUCTURE or kind in _OPERATORS:
        return
    if isinstance(node, exp.IgnoreNulls):
        return  # how the parser wraps any_value(x), which is looked at itself
    if kind in (exp.Array, exp.Lambda) or not isinstance(node, exp.Func):
        if kind is exp.Array and exp.AnyValue in functions:
            return
        raise ValueError(
            f"{what}: {_construct(node)} is not allowed; write a plain SELECT with joins, clauses and aggregates"
        )
    name = _function_name(node)
    listed = ", ".join(sorted({*functions.values(), *_ANONYMOUS}))
    if name in _CHANGING or name.startswith(("current", "local")):
        raise ValueError(
            f"{what}: {name} changes from run to run, so it is not allowed; compare with a literal such as "
            "DATE '2026-01-31'"
        )
    if kind in _FREE_FUNCTIONS:
        raise ValueError(f"{what}: {name} depends on the order of rows, so tiers can't use it; allowed: {listed}")
    raise ValueError(f"{what}: function {name} is not allowed; allowed: {listed}")


def _function_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    return generate(node).split("(")[0].strip().lower()[:40] or type(node).__name__.lower()


def _construct(node: exp.Expr) -> str:
    words: dict[type[exp.Expr], str] = {
        exp.TableSample: "TABLESAMPLE", exp.Lambda: "a lambda", exp.Comprehension: "a list comprehension",
        exp.Placeholder: "a placeholder (? or $1)", exp.Parameter: "a parameter", exp.Values: "VALUES",
        exp.Lateral: "LATERAL", exp.Pivot: "PIVOT", exp.Into: "SELECT INTO", exp.Fetch: "FETCH", exp.Lock: "FOR UPDATE",
        exp.Array: "a list", exp.PropertyEQ: "a named argument (:=)", exp.Dot: "a name of several parts",
    }  # fmt: skip
    return words.get(type(node), _words(type(node).__name__))


_TOKEN = re.compile(r"<Token token_type: [^>]*?text: (.*?), line: [^>]*>")
_UNFINISHED = re.compile(r"Required keyword: '\w+' missing for <class '[\w.]*?(\w+)'>")


def _words(kind: str) -> str:
    """SQL's words for the parser's kind of node: AtTimeZone is AT TIME ZONE."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).upper()


def _check_ctes(tree: exp.Query, what: str, relations: set[str]) -> None:
    names: set[str] = set()
    for found in tree.find_all(exp.With):
        if found.args.get("recursive"):
            raise ValueError(f"{what}: WITH RECURSIVE is not allowed; write the steps as tiers of their own")
        for cte in found.expressions:
            name = cte.alias.lower()
            if name in relations or name in names:
                raise ValueError(f"{what}: WITH {name} takes the name of another relation; choose another name")
            names.add(name)


def _ctes_in_sight(table: exp.Table) -> set[str]:
    """Names that a WITH gives where the table stands: not those of a WITH elsewhere, nor of its own or a later CTE.

    There the name would reach a relation of the database, which nobody has allowed.
    """
    names: set[str] = set()
    node: exp.Expr = table
    while node.parent is not None:
        node, below = node.parent, node
        if isinstance(node, exp.With):
            names |= {
                c.alias.lower()
                for c in node.expressions[: next(i for i, c in enumerate(node.expressions) if c is below)]
            }
        elif (found := node.args.get("with_") or node.args.get("with")) is not None and found is not below:
            names |= {c.alias.lower() for c in found.expressions}
    return names


def _check_relation(table: exp.Table, what: str, relations: set[str]) -> None:
    listed = ", ".join(sorted(relations))
    if not isinstance(table.this, exp.Identifier):
        raise ValueError(f"{what}: table function {generate(table.this)[:40]} is not allowed; read one of {listed}")
    if table.args.get("db") or table.args.get("catalog"):
        raise ValueError(f"{what}: relation {generate(table)[:60]} names a schema or file; read one of {listed}")
    if table.name.lower() in relations | _ctes_in_sight(table):
        return
    if any(c.alias.lower() == table.name.lower() for c in table.root().find_all(exp.CTE)):
        raise ValueError(f"{what}: WITH {table.name} is read before it is written, or outside of its query")
    raise ValueError(
        f"{what}: unknown relation {table.name[:60]!r}; read one of {listed}, or add a tier as WORKSPACE/tiers/NAME.sql"
    )


def _order_by_all(word: exp.Var, free: bool) -> bool:
    return free and word.name.upper() == "ALL" and isinstance(word.parent, exp.Ordered)


def _check_column(column: exp.Column, what: str) -> None:
    if column.args.get("db") or column.args.get("catalog"):
        raise ValueError(f"{what}: column {generate(column)[:60]} has more than two parts; write relation.column")
    if column.name.lower() in _VALUE_NAMES:
        raise ValueError(
            f"{what}: {column.name} changes from run to run or session to session, so it is not allowed; "
            "compare with a literal"
        )


def _check_window(window: exp.Window, what: str) -> None:
    """Which row comes first among equals is chance, unless the order ends in the clip's id."""
    spec = window.args.get("spec")
    by_rows = spec is not None and str(spec.args.get("kind")).upper() == "ROWS"
    if not (isinstance(window.this, _ORDERED_WINDOWS) or by_rows):
        return
    order = window.args.get("order")
    names = [o.this.name.lower() for o in order.expressions if isinstance(o.this, exp.Column)] if order else []
    if "clip_id" not in names:
        raise ValueError(
            f"{what}: {generate(window)[:80]} leaves the order of equal rows to chance; end its ORDER BY in clip_id"
        )


def _check_same_rows(node: exp.Expr, what: str) -> None:
    if isinstance(node, exp.Query) and (node.args.get("limit") or node.args.get("offset")):
        limits = [node.args[part].expression for part in ("limit", "offset") if node.args.get(part)]
        if not node.args.get("order"):
            raise ValueError(f"{what}: LIMIT without ORDER BY takes rows by chance; add ORDER BY")
        if isinstance(node, exp.Subquery) or not all(isinstance(n, exp.Literal) and n.is_int for n in limits):
            raise ValueError(f"{what}: LIMIT must be a whole number behind the ORDER BY of its own SELECT")
    if isinstance(node, exp.Distinct) and node.args.get("on"):
        raise ValueError(f"{what}: DISTINCT ON takes rows by chance; write QUALIFY row_number() OVER (... clip_id) = 1")
    if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count) and not _in_exists(node):
        raise ValueError(f"{what}: * is not allowed; name the columns")


def _in_exists(star: exp.Star) -> bool:
    select = star.parent
    return (
        isinstance(select, exp.Select)
        and isinstance(select.parent, (exp.Exists, exp.Subquery))
        and any(isinstance(p, exp.Exists) for p in (select.parent, select.parent.parent))
    )


def conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    """The top-level AND conjuncts, left to right, brackets around an AND opened."""
    inner = node
    while isinstance(inner, exp.Paren):
        inner = inner.this
    if isinstance(inner, exp.And):
        for side in inner.flatten():
            yield from conjuncts(side)
    else:
        yield node
