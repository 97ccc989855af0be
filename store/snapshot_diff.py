"""What changed between two snapshots of a tier: the clips that came and went, and the clause that decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import sqlglot
from sqlglot import exp

from store.guard import Query, in_process
from store.snapshot import SPAN_COLUMNS, Snapshot
from store.sql_rules import CLIP_RELATIONS, DIALECT
from store.tier_sql import Clause, base_of

_AFTER = " after"
_CLIPS_PER_QUERY = 1000


@dataclass(frozen=True)
class Move:
    """One clip that came or went. `clause` decided, judged by `values` (relation.column); `clause` is None where
    no clause can be named, and `reason` says why."""

    clip_id: str
    video_id: str
    clause: Clause | None
    values: Mapping[str, Any]
    reason: str

    @property
    def because(self) -> tuple[str, ...]:
        """For people: the clause, the values it was judged by, and the reason."""
        # Seven digits are all that a float32 holds: 0.7 is stored as 0.699999988.
        told = {c: float(f"{v:.7g}") if isinstance(v, float) else v for c, v in self.values.items()}
        values = ", ".join(f"{column.split('.', 1)[-1]} = {value}" for column, value in told.items())
        return tuple(part for part in (self.clause.text if self.clause else "", values, self.reason) if part)


@dataclass(frozen=True)
class SnapshotDiff:
    """From `before` to `after` (ids). `changed` says what else the two ids rest on that is not the same."""

    before: str
    after: str
    came: tuple[Move, ...]
    went: tuple[Move, ...]
    stayed: int
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Failed:
    clause: Clause
    values: Mapping[str, Any]


def diff(before: Snapshot, after: Snapshot, query: Query | None = None) -> SnapshotDiff:
    """Compares two snapshots. A clip is judged by the clauses of the snapshot that has not got it, on the values
    stored with the one that has; where these pass, on the present tables through `query`."""
    old, new = set(before.clip_ids), set(after.clip_ids)
    went, came = sorted(old - new), sorted(new - old)
    by_new_clauses = _judged_by_stored(after.clauses, before, went)
    by_old_clauses = _judged_by_stored(before.clauses, after, came)
    open_clips = [c for c in went if c not in by_new_clauses]
    now = _judged_by_tables(after, open_clips, query) if query else {}
    videos = {**_videos(after), **_videos(before)}
    return SnapshotDiff(
        before.id,
        after.id,
        tuple(_came(c, videos[c], by_old_clauses.get(c)) for c in came),
        tuple(_went(c, videos[c], by_new_clauses.get(c), now, query is not None) for c in went),
        len(old & new),
        tuple(_changed(before, after)),
    )


def _changed(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """In the order in which one follows from the other; the tables' versions only where nothing else explains it."""
    old, new = before.header, after.header
    told = []
    if old["inlined"] != new["inlined"]:
        told.append("the tier's SQL")
    recipes = [
        s
        for s in sorted({*old["fingerprints"], *new["fingerprints"]})
        if old["fingerprints"].get(s) != new["fingerprints"].get(s)
    ]
    told += [f"how {signal} is computed" for signal in recipes if old["inlined"] == new["inlined"]]
    if old.get("balance") != new.get("balance"):
        told.append("the weights")
    if moved := _moved_values(before, after):
        told.append(f"values or spans of clips that stayed: {moved}")
    if not told and before.clip_ids == after.clip_ids and old["manifest"] != new["manifest"]:
        told.append("the tables' versions alone: those of the older snapshot are gone or hold other clips, too")
    yield from told


def _moved_values(before: Snapshot, after: Snapshot) -> int:
    """Clips of both with another span or another value of a column that both hold."""
    columns = [
        c for c in before.clips.column_names if c in after.clips.column_names and c not in ("salt", "leaf", "weight")
    ]
    of = [s.clips.schema for s in (before, after)]
    alike = [
        c for c in columns if of[0].field(c).type == of[1].field(c).type and not pa.types.is_nested(of[0].field(c).type)
    ]
    old, new = (pl.DataFrame(s.clips.select(columns)).drop_nulls("clip_id") for s in (before, after))
    both = old.join(new, on="clip_id", suffix=_AFTER)
    moved = both.select(
        pl.any_horizontal(
            pl.lit(value=False), *(pl.col(c).ne_missing(pl.col(f"{c}{_AFTER}")) for c in alike if c != "clip_id")
        )
    ).to_series()
    for column in (c for c in columns if c not in alike):
        pairs = zip(both[column].to_list(), both[f"{column}{_AFTER}"].to_list(), strict=True)
        moved = moved | pl.Series([a != b for a, b in pairs], dtype=pl.Boolean)
    return int(moved.sum()) if len(both) else 0


def _came(clip: str, video: str, failed: _Failed | None) -> Move:
    if failed:
        return Move(clip, video, failed.clause, failed.values, "this clause of the older snapshot kept it out")
    return Move(clip, video, None, {}, "new, or its values changed: it passes every clause of the older snapshot too")


def _went(clip: str, video: str, failed: _Failed | None, now: Mapping[str, _Failed | None], asked: bool) -> Move:
    if failed:
        return Move(clip, video, failed.clause, failed.values, "this clause of the newer snapshot keeps it out")
    if not asked:
        return Move(clip, video, None, {}, "its values changed: those it had pass every clause of the newer snapshot")
    if clip not in now:
        return Move(clip, video, None, {}, "no longer among the clips: cut anew, retired or erased")
    changed = now[clip]
    if changed:
        return Move(clip, video, changed.clause, changed.values, "its values changed, and this clause keeps it out")
    return Move(
        clip, video, None, {}, "passes every clause by the present values: they changed after the newer snapshot"
    )


def _videos(snapshot: Snapshot) -> dict[str, str]:
    rows = zip(snapshot.clips["clip_id"].to_pylist(), snapshot.clips["video_id"].to_pylist(), strict=True)
    return {clip: video for clip, video in rows if clip is not None}


def _judged_by_stored(clauses: Sequence[Clause], held: Snapshot, clips: Sequence[str]) -> dict[str, _Failed]:
    """The first clause that each clip fails by the values stored in `held`; clips that fail none are left out."""
    stored = {*SPAN_COLUMNS, *(n for n in held.clips.column_names if "." in n)}
    decidable = [c for c in clauses if c.reads == "own" and {*c.columns} <= stored and not _has_subquery(c)]
    if not decidable or not clips:
        return {}
    wanted = held.clips.filter(pa.compute.is_in(held.clips["clip_id"], value_set=pa.array(clips, pa.string())))
    connection = duckdb.connect(":memory:")
    try:
        present = _register(connection, wanted)
        query = in_process(connection)
        base = "clips" + "".join(f" JOIN {r} ON {r}.clip_id = clips.clip_id" for r in present if r != "clips")
        rows = query(_verdicts(decidable, base)).to_pylist()
    finally:
        connection.close()
    return {row["clip_id"]: failed for row in rows if (failed := _first_failed(decidable, row))}


def _register(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[str]:
    """One relation per home of the stored columns, each with clip_id."""
    present = []
    for relation in CLIP_RELATIONS:
        columns = {n.split(".")[1]: rows[n] for n in rows.column_names if n.startswith(f"{relation}.")}
        if relation == "clips":
            columns |= {c.split(".")[1]: rows[c.split(".")[1]] for c in SPAN_COLUMNS}
        if columns:
            connection.register(relation, pa.table({"clip_id": rows["clip_id"], **columns}))
            present.append(relation)
    return present


def _judged_by_tables(judge: Snapshot, clips: Sequence[str], query: Query) -> dict[str, _Failed | None]:
    """The first clause that each clip fails in the present tables, or None; clips that are gone are left out."""
    base = base_of(judge.header["joins"], everything=True)
    made: dict[str, _Failed | None] = {}
    for start in range(0, len(clips), _CLIPS_PER_QUERY):
        told = ", ".join(exp.Literal.string(c).sql(dialect=DIALECT) for c in clips[start : start + _CLIPS_PER_QUERY])
        rows = query(f"{_verdicts(judge.clauses, base)} WHERE clips.clip_id IN ({told})").to_pylist()
        made |= {row["clip_id"]: _first_failed(judge.clauses, row) for row in rows}
    return made


def _verdicts(clauses: Sequence[Clause], base: str) -> str:
    columns = list(_columns(clauses))
    told = [f"({c.sql}) AS c{i}" for i, c in enumerate(clauses)] + [f"{n} AS v{i}" for i, n in enumerate(columns)]
    return f"SELECT {', '.join(['clips.clip_id', *told])} FROM {base}"


def _columns(clauses: Sequence[Clause]) -> Iterator[str]:
    yield from dict.fromkeys(n for c in clauses for n in c.columns)


def _first_failed(clauses: Sequence[Clause], row: Mapping[str, Any]) -> _Failed | None:
    held = {n: row[f"v{i}"] for i, n in enumerate(_columns(clauses))}
    for i, clause in enumerate(clauses):
        if not row[f"c{i}"]:
            return _Failed(clause, {n: held[n] for n in clause.columns})
    return None


def _has_subquery(clause: Clause) -> bool:
    return sqlglot.parse_one(clause.sql, read=DIALECT).find(exp.Query) is not None
