"""Lance tables of shard sets: a row per clip with its files, appended shard by shard, one table for each group."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import lance
import pyarrow as pa

from store.record import quoted

ROWS_AT_ONCE = 16
"""A row holds a clip's video."""
IDS_AT_ONCE = 500


def schema_of(timelines: Sequence[str]) -> pa.Schema:
    """A clip's columns: what is told of it as JSON, its files, and each timeline as an Arrow IPC stream."""
    files = [("mp4", pa.large_binary()), ("flac", pa.large_binary())]
    lines = [(f"timeline_{name}", pa.large_binary()) for name in timelines]
    told = [("clip_id", pa.string()), ("shard", pa.int32()), ("weight", pa.float64()), ("json", pa.string())]
    return pa.schema([*told, *files, *lines])


def shards_in(uri: str) -> dict[int, list[str]]:
    """By number of shard its clips, in order; empty where there is no table yet."""
    table = opened(uri)
    found: dict[int, list[str]] = {}
    for batch in table.to_batches(columns=["clip_id", "shard"]) if table is not None else ():
        for clip, shard in zip(batch["clip_id"].to_pylist(), batch["shard"].to_pylist(), strict=True):
            found.setdefault(shard, []).append(clip)
    return found


def put_shard(uri: str, schema: pa.Schema, number: int, rows: Iterable[dict[str, Any]]) -> None:
    """Writes a shard's rows, in one commit; what the table held of it before goes."""
    drop_shards(uri, [number])

    def batches() -> Iterator[pa.RecordBatch]:
        held: list[dict[str, Any]] = []
        for row in rows:
            held.append({**row, "shard": number})
            if len(held) == ROWS_AT_ONCE:
                yield pa.RecordBatch.from_pylist(held, schema=schema)
                held = []
        if held:
            yield pa.RecordBatch.from_pylist(held, schema=schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    lance.write_dataset(reader, uri, mode="create" if opened(uri) is None else "append")


def drop_shards(uri: str, numbers: Collection[int]) -> None:
    table = opened(uri)
    if table is not None and set(numbers) & set(shards_in(uri)):
        table.delete(f"shard IN ({', '.join(str(n) for n in sorted(numbers))})")


def erase(uri: str, clip_ids: Collection[str]) -> None:
    """Takes clips out of the table, all its pieces and all its versions."""
    table, ids = opened(uri), sorted(clip_ids)
    if table is None:
        return
    for start in range(0, len(ids), IDS_AT_ONCE):
        table.delete(f"clip_id IN ({quoted(ids[start : start + IDS_AT_ONCE])})")
    table.optimize.compact_files(
        materialize_deletions=True, materialize_deletions_threshold=0.0, batch_size=ROWS_AT_ONCE
    )
    # A version keeps the text of the deletion that made it, ids and all: one that changes no row follows.
    table.update_config({"headroom.rewritten": str(table.version)})
    settle(uri)


def settle(uri: str) -> None:
    """Drops all versions but the newest, and what killed writers left."""
    table = opened(uri)
    if table is not None:
        table.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)


def opened(uri: str) -> lance.LanceDataset | None:
    """None where there is no table. Raises OSError for storage that can't be read."""
    try:
        return lance.dataset(uri)
    except ValueError as error:
        if "not found" not in str(error).lower():
            raise
        return None


def texts(uri: str) -> Iterator[str]:
    """All that the table says in words, at every version."""
    newest = opened(uri)
    for version in sorted(v["version"] for v in newest.versions()) if newest is not None else ():
        for batch in lance.dataset(uri, version=version).to_batches(columns=["clip_id", "json"]):
            yield from (value for name in batch.schema.names for value in batch[name].to_pylist() if value)
