"""Scores of clips that no signal file made, as rows of the wide table: those of a lab's table, and those of an evaluation.

Each is a signal with a fingerprint of its own. The ledger lists it as adopted, so tiers, funnel and explain read it at once,
and nothing ever computes it here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from store import ledger as tables
from store.ledger import Manifest
from store.record import Batch, table_of
from store.schema import columns_of, signal_fields
from store.workspace import Reader, Workspace

Columns = Mapping[str, pa.DataType]
Row = Mapping[str, Any]


def put_scores(workspace: Workspace, name: str, fingerprint: str, columns: Columns, rows: Mapping[str, Row]) -> int:
    """Writes the scores of clips by id, and lists the signal; gives the number of rows that it wrote or emptied.

    What stood there by the same fingerprint stays, beside it; by any other it is emptied. Rows that say the same are not
    written again, and clips that are no longer here are left out, so the same call may be made twice, or after a kill.
    """
    written = 0

    def make(manifest: Manifest) -> Batch:
        nonlocal written
        batch = Batch()
        with workspace.views(manifest) as reader:
            here = dict(reader.sql("SELECT clip_id, video_id FROM _clips WHERE active").iter_rows())
            had = rows_before(reader, name)
            told = [(c, here[c], dict(row)) for c, row in rows.items() if c in here]
            new = [(c, v, r) for c, v, r in told if had.get(c, {}).get("stamp") != (fingerprint, digest_of(r))]
            gone = [row for c, row in had.items() if c not in rows and row["stamp"][0] != fingerprint]
            written = len(new) + len(gone)
            if written:
                batch.add("signals", wide_rows(reader, name, fingerprint, columns, new, gone))
        return batch

    workspace.commit_next(make)
    list_signal(workspace, name, fingerprint)
    return written


def rows_before(reader: Reader, name: str) -> dict[str, dict[str, Any]]:
    """By clip, what the wide table says of it now: video_id, active, and "stamp", its fingerprint and digest."""
    if f"{name}_status" not in reader.columns("_signals"):
        return {}
    query = f"""SELECT clip_id, video_id, active, {name}_fingerprint, {name}_output_digest FROM _signals
        WHERE {name}_status IS NOT NULL"""
    return {
        c: {"clip_id": c, "video_id": video, "active": active, "stamp": (fingerprint, digest)}
        for c, video, active, fingerprint, digest in reader.sql(query).iter_rows()
    }


def wide_rows(
    reader: Reader,
    name: str,
    fingerprint: str,
    columns: Columns,
    rows: Sequence[tuple[str, str, dict[str, Any]]],
    gone: Sequence[Mapping[str, Any]] = (),
) -> pa.Table:
    """Rows of the wide table of (clip, video, values), and emptied ones of those that are `gone`. Columns that the signal had
    before and that `columns` lacks are emptied too."""
    fields = [pa.field("clip_id", pa.string()), pa.field("video_id", pa.string()), pa.field("active", pa.bool_())]
    schema = pa.schema(fields + signal_fields(name, list(columns.items())))
    now, told = time.time(), []
    for clip_id, video_id, row in rows:
        empty = all(v is None for v in row.values())
        state = {"status": "not_applicable", "reason": "the table has no value"} if empty else {"status": "ok"}
        stamp = {"fingerprint": fingerprint, "input_digest": 0, "output_digest": digest_of(row), "attempts": 1}
        wide = {f"{name}_{k}": v for k, v in {**row, **state, **stamp, "computed_at": now}.items()}
        told.append({"clip_id": clip_id, "video_id": video_id, "active": True, **wide})
    told += [{k: r[k] for k in ("clip_id", "video_id", "active")} for r in gone]
    table = table_of(told, schema)
    for column in (c for c in columns_of(name, reader.columns("_signals")) if c not in schema.names):
        kind = reader.arrow(f"SELECT {column} FROM _signals LIMIT 0").schema.field(0).type
        table = table.append_column(column, pa.nulls(table.num_rows, kind))
    return table


def list_signal(workspace: Workspace, name: str, fingerprint: str) -> None:
    row = {"name": name, "grain": "adopted", "version": 1, "fingerprint": fingerprint, "seen_at": time.time()}
    workspace.ledger.put(tables.signals, [row])


def digest_of(row: Row) -> int:
    return int(hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16], 16)
