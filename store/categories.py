"""The category of each clip of a tier by SQL expressions that people wrote: what balancing and cards count."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pyarrow as pa

from store.guard import Query
from store.sql_rules import CLIP_RELATIONS, TIER_RELATIONS, parse_select
from store.tier_scope import COLUMNS, signal_of
from store.tier_sql import base_of


def categorised(query: Query, tier: str, expressions: Mapping[str, str]) -> pa.Table:
    """One row per clip of the tier, sorted by clip_id: the value of each expression as text, under its name.

    An expression may read all columns that a tier may. Raises ValueError for one that is not allowed in a tier (that
    changes from run to run, say), or that fails.
    """
    words = {w for text in expressions.values() for w in re.findall(r"\w+", text.lower())}
    # A column that clips have too is theirs; of another relation it is asked for by its full name.
    named = {r for r in CLIP_RELATIONS if r in words or words & (COLUMNS.get(r, frozenset()) - COLUMNS["clips"])}
    joins = dict.fromkeys([*CLIP_RELATIONS[:2], *sorted(named)], "left")
    base = base_of(joins, everything=True)
    for name, text in expressions.items():
        parse_select(f"SELECT ({text}) AS told FROM {base}", what=f"target {name}", relations=TIER_RELATIONS)
    told = "".join(f", CAST(({text}) AS VARCHAR) AS c{i}" for i, text in enumerate(expressions.values()))
    rows = query(f"SELECT clips.clip_id{told} FROM {base} WHERE clips.clip_id IN (SELECT clip_id FROM {tier})")
    return rows.rename_columns(["clip_id", *expressions]).sort_by("clip_id")


def signals_read(expressions: Collection[str], signals: Collection[str]) -> list[str]:
    """The signals whose columns the expressions name, sorted."""
    words = {w for text in expressions for w in re.findall(r"\w+", text.lower())}
    return sorted({s for w in words if (s := signal_of(w, signals))})
