"""What signals say, for people: distributions with the tiers' thresholds, single values with their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import sqlglot
from markupsafe import Markup
from sqlglot import exp

from dashboards.charts import Mark, draw, histogram, number, quantile
from store.sql_rules import DIALECT
from store.tier_sql import Clause
from store.workspace import Reader
from tasks.signal import Column
from tasks.signals import discover

UNITS = {
    "px": " px", "ms": " ms", "s": " s", "db": " dB", "dbfs": " dBFS", "hz": " Hz", "fps": " fps", "frames": " frames",
    "deg": "°", "percent_height_per_s": " %/s",
}  # fmt: skip
"""How a value's unit is written behind it; scores, ratios, counts and grades stand alone."""

UNIT_WORDS = {"percent_height_per_s": "% height/s", "gray_levels": "gray levels", "per_s": "per s", "db": "dB"}
CLIP_COLUMNS = (
    Column("duration_s", pa.float64(), "s", "length of the clip"),
    Column("source_height_px", pa.int32(), "px", "height of the source"),
    Column("source_fps", pa.float64(), "fps", "frame rate of the source"),
)
MAX_CHOICES, MAX_CHOICE_CHARS = 12, 24
_OPERATORS = {exp.GT: ">", exp.GTE: "≥", exp.LT: "<", exp.LTE: "≤", exp.EQ: "="}
_MIRRORED = {">": "<", "≥": "≤", "<": ">", "≤": "≥", "=": "="}


@dataclass(frozen=True)
class Distribution:
    """One column over all clips: a drawing for numbers, counts for words."""

    column: str
    unit: str
    meaning: str
    count: int
    nulls: int
    drawing: Markup | None = None
    least: str = ""
    median: str = ""
    most: str = ""
    marks: tuple[Mark, ...] = ()
    choices: tuple[tuple[str, int], ...] = ()


def distributions(
    reader: Reader, columns: Sequence[Column], prefix: str, table: str, marks: dict[str, list[Mark]]
) -> Iterator[Distribution]:
    """The columns of one signal (`prefix` is its name and _) or of the clips, as far as they hold a value."""
    present = set(reader.columns(table))
    held = [column for column in columns if prefix + column.name in present]
    if not held:
        return
    told = ", ".join(f'"{prefix}{column.name}"' for column in held)
    rows = reader.sql(f"SELECT {told} FROM {table}")
    for column in held:
        full = prefix + column.name
        values = rows[full]
        kept, nulls = values.drop_nulls(), values.null_count()
        if kept.is_empty():
            continue
        if pa.types.is_string(column.dtype) or pa.types.is_boolean(column.dtype):
            pairs = _choices(kept.cast(pl.String))
            if pairs:
                yield Distribution(full, "", column.meaning, len(kept), nulls, choices=pairs)
            continue
        if not kept.dtype.is_numeric():
            continue
        found = tuple(marks.get(full, ()))
        ordered = sorted(float(v) for v in kept)
        unit = "" if full.endswith(f"_{column.unit}") else UNIT_WORDS.get(column.unit, column.unit)
        if ordered[0] == ordered[-1] and not found:
            pairs = ((number(ordered[0]), len(ordered)),)
            yield Distribution(full, unit, column.meaning, len(kept), nulls, choices=pairs)
            continue
        made = histogram(ordered, whole=kept.dtype.is_integer(), include=[m.value for m in found])
        yield Distribution(
            full,
            unit,
            column.meaning, len(kept), nulls,
            drawing=draw(made, found, label=full, unit=unit or column.unit), marks=found,
            least=number(ordered[0], 3), median=number(quantile(ordered, 0.5), 3), most=number(ordered[-1], 3),
        )  # fmt: skip


def _choices(values: pl.Series) -> tuple[tuple[str, int], ...]:
    """Words with their counts, most first; nothing for free text, nor for what no two clips share."""
    counted = values.value_counts().sort(["count", values.name], descending=[True, False])
    pairs = tuple((str(v) or "(empty)", int(n)) for v, n in counted.iter_rows())
    if len(pairs) > MAX_CHOICES or max(len(v) for v, _ in pairs) > MAX_CHOICE_CHARS:
        return ()
    return pairs if len(pairs) == 1 or any(n > 1 for _, n in pairs) else ()


def comparisons(clause: Clause) -> Iterator[tuple[str, str, float]]:
    """(column, operator, number) of each comparison of a clip's own column; abs(x) <= 3 is told as both its ends.

    Of alternatives only the first counts: the others say for which clips it is not asked.
    """
    tree = sqlglot.parse_one(clause.sql, read=DIALECT)
    for node in tree.find_all(*_OPERATORS, exp.Between):
        if node.find_ancestor(exp.Select, exp.Not) or _is_an_exemption(node):
            continue
        for side, operator, bound in _sides(node):
            value, inner = _number(bound), side.unnest()
            if value is None:
                continue
            if isinstance(inner, exp.Column):
                yield inner.name, operator, value
            elif isinstance(inner, exp.Abs) and isinstance(inner.this, exp.Column):
                yield inner.this.name, operator, value
                yield inner.this.name, _MIRRORED[operator], -value


def _is_an_exemption(node: exp.Expr) -> bool:
    while node.parent:
        if isinstance(node.parent, exp.Or) and node.arg_key == "expression":
            return True
        node = node.parent
    return False


def _sides(node: exp.Expr) -> tuple[tuple[exp.Expr, str, exp.Expr], ...]:
    """(what is compared, operator, with what), the number on the right."""
    if isinstance(node, exp.Between):
        return (node.this, "≥", node.args["low"]), (node.this, "≤", node.args["high"])
    operator = next(o for kind, o in _OPERATORS.items() if isinstance(node, kind))
    if _number(node.this) is not None:
        return ((node.args["expression"], _MIRRORED[operator], node.this),)
    return ((node.this, operator, node.args["expression"]),)


def _number(node: exp.Expr) -> float | None:
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    if not isinstance(literal, exp.Literal) or literal.is_string:
        return None
    return -float(literal.this) if negative else float(literal.this)


def declared() -> dict[str, Column]:
    """The declaration of every column of a clip, by its name in SQL."""
    found = {c.name: c for c in CLIP_COLUMNS}
    for name, signal in discover().items():
        if signal.spec.grain == "clip":
            found |= {f"{name}_{c.name}": c for c in signal.spec.columns}
    return found


def short(column: str) -> str:
    """A column without its signal's name, where room is scarce."""
    signals = sorted((s for s in discover() if column.startswith(f"{s}_")), key=len)
    return column.removeprefix(f"{signals[-1]}_") if signals else column


def shown(column: str, value: Any, known: Mapping[str, Column]) -> str:
    """A value with its unit, for people."""
    if value is None:
        return "NULL"
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = str(value)
        return text if len(text) <= 60 else text[:59] + "…"
    declared_ = known.get(column.rsplit(".", 1)[-1])
    return number(float(value)) + (UNITS.get(declared_.unit, "") if declared_ else "")
