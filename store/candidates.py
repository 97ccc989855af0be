"""Two versions of a clip signal change places: the rows that readers see, and those of a narrow table beside them.

A candidate's rows lie in `NAME@FINGERPRINT`, its timelines in `timelines@NAME@FINGERPRINT`, its vectors in
`embeddings_NAME_VECTOR@FINGERPRINT`. A promotion writes what it replaces into the tables of the version before, then
the candidate's rows into those that readers see; a roll-back is the same, the other way. All of it is one manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lance
import pyarrow as pa

from store.ledger import Ledger, Manifest, Turn
from store.record import Record, quoted, rows_by_key
from store.schema import columns_of, embeddings_table, is_narrow, narrow

if TYPE_CHECKING:
    from store.workspace import Workspace

ROWS_AT_ONCE = 20_000
PAYLOADS_AT_ONCE = 1_000
"""A clip's timeline or vector may hold some KB: so many are held in memory."""


@dataclass(frozen=True)
class Swap:
    """Rows of `to` take the place of those of `serving`, both fingerprints of the signal.

    `clear`: a row of `serving` that has none in `to` is taken from readers too, as a roll-back must.
    """

    signal: str
    serving: str
    to: str
    vectors: tuple[str, ...] = ()
    timeline: bool = False
    clear: bool = False


def swap(record: Record, turn: Turn, change: Swap) -> dict[str, int]:
    """Writes both sides inside a commit turn; gives the versions to publish. Nothing is seen until they are."""
    versions = _swap_rows(record, turn, change)
    tables = {embeddings_table(change.signal, vector): "clip_id" for vector in change.vectors}
    if change.timeline:
        tables["timelines"] = "key"
    for table, key in tables.items():
        versions |= _swap_parts(record, turn, change, table, key)
    return versions


def tables_of(change: Swap, fingerprint: str) -> list[str]:
    """The narrow tables of one side."""
    parts = [embeddings_table(change.signal, v) for v in change.vectors] + ["timelines"] * change.timeline
    return [beside(t, change.signal, fingerprint) for t in ("signals", *parts)]


def beside(table: str, signal: str, fingerprint: str) -> str:
    """The narrow table of one version of a signal for what readers see in `table`."""
    return narrow({"signals": signal, "timelines": f"timelines@{signal}"}.get(table, table), fingerprint)


def discard(workspace: Workspace) -> list[str]:
    """Deletes the files of narrow tables that no manifest names any more; what a killed commit began goes as well."""
    with workspace.ledger.turn() as turn:
        gone = sorted(t for t in _on_disk(workspace) if is_narrow(t) and t not in turn.manifest.versions)
        for table in gone:
            turn.check()
            uri = workspace.record.uri(table)
            if "://" in uri:
                workspace.objects.delete(u for u, _ in workspace.objects.under(f"lance/{table}.lance"))
            else:
                shutil.rmtree(Path(uri))
        return gone


def drop_torn(record: Record, ledger: Ledger) -> list[str]:
    """Takes versions of signals out of the newest manifest of which a narrow table can't be read whole, on a local disk, and
    deletes their tables; gives the names.

    A version's tables go together: rows without their timelines or vectors would be taken for whole. A candidate is
    computed again; to a version before nobody can go back any more.
    """

    def torn(manifest: Manifest) -> list[str]:
        held = [t for t in manifest.versions if is_narrow(t)]
        lost = {t.rpartition("@")[2] for t in held if not record.is_whole(t, manifest.versions[t])}
        return sorted(t for t in held if t.rpartition("@")[2] in lost)

    if not torn(ledger.manifest()):
        return []
    with ledger.turn() as turn:
        gone = torn(turn.manifest)
        turn.publish({}, without=gone)
    for table in gone:
        shutil.rmtree(record.uri(table), ignore_errors=True)  # what stays of it the next nightly clean-up takes
    return gone


def _on_disk(workspace: Workspace) -> set[str]:
    root = workspace.record.root
    if "://" not in root:
        return {f.name.removesuffix(".lance") for f in Path(root).glob("*@*.lance")}
    found = (key.removeprefix("lance/") for key, _ in workspace.objects.under("lance"))
    return {name.partition(".lance/")[0] for name in found if ".lance/" in name}


def _swap_rows(record: Record, turn: Turn, change: Swap) -> dict[str, int]:
    wide = _pinned(record, turn.manifest, "signals")
    target = _pinned(record, turn.manifest, narrow(change.signal, change.to))
    assert wide is not None
    assert target is not None, change
    own = columns_of(change.signal, wide.schema.names)
    before, versions = narrow(change.signal, change.serving), dict[str, int]()

    def put(rows: pa.Table, replaced: pa.Table) -> None:
        versions[before] = record.upsert(turn, before, replaced)
        for name in (c for c in own if c not in rows.column_names):  # a column that only one version has
            rows = rows.append_column(name, pa.nulls(rows.num_rows, wide.schema.field(name).type))
        versions["signals"] = record.upsert(turn, "signals", rows)

    asked = ["clip_id", "video_id", *own]
    for rows in _batches(target, ROWS_AT_ONCE):
        put(rows, rows_by_key(wide, rows["clip_id"], "clip_id", asked))
    if change.clear:
        told = f"{change.signal}_fingerprint = '{change.serving}'"
        for rows in _batches(wide, ROWS_AT_ONCE, asked, told):
            if (left := _without(rows, target, "clip_id")).num_rows:
                put(left.select(["clip_id", "video_id"]), left)
    return versions


def _swap_parts(record: Record, turn: Turn, change: Swap, table: str, key: str) -> dict[str, int]:
    """The signal's rows in a table beside the wide one: vectors, or timelines of clips."""
    live = _pinned(record, turn.manifest, table)
    target = _pinned(record, turn.manifest, beside(table, change.signal, change.to))
    before, versions = beside(table, change.signal, change.serving), dict[str, int]()
    mine = f"name = '{change.signal}' AND clip_id IS NOT NULL" if table == "timelines" else None
    asked = None if live is None else live.schema.names
    for rows in _batches(live, PAYLOADS_AT_ONCE, asked, mine):
        versions[before] = record.upsert(turn, before, rows)
        stays = target is not None and not change.clear
        left = rows if target is None else _without(rows, target, key)
        if left.num_rows and not stays:
            dataset = record.settled(turn, table)
            assert dataset is not None
            turn.check()
            dataset.delete(f"{key} IN ({quoted(left[key].to_pylist())})")
            versions[table] = turn.written[table] = int(dataset.version)
    for rows in _batches(target, PAYLOADS_AT_ONCE):
        versions[table] = record.upsert(turn, table, rows)
    return versions


def _pinned(record: Record, manifest: Manifest, table: str) -> lance.LanceDataset | None:
    return record.open(table, manifest.versions[table]) if table in manifest.versions else None


def _batches(
    dataset: lance.LanceDataset | None, size: int, columns: list[str] | None = None, where: str | None = None
) -> Iterator[pa.Table]:
    if dataset is None:
        return
    for batch in dataset.to_batches(columns=columns, filter=where, batch_size=size):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def _without(rows: pa.Table, target: lance.LanceDataset, key: str) -> pa.Table:
    """Those whose key the other version has no row of."""
    there = set(rows_by_key(target, rows[key], key, [key])[key].to_pylist())
    return rows.filter(pa.array([k not in there for k in rows[key].to_pylist()]))
