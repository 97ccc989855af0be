"""Queries over all clips that found nothing, remembered for as long as the tables hold the files that they held.

A file of a Lance table is never written again, so the same query over the same files finds the same, whatever became of
other tables. Only that nothing was found is kept: no row, so nothing that an erasure would have to look for. Whoever
drops the folder of these notes costs the next query its time, and no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import lance
import polars as pl

from store.record import Record
from store.views import VIEWS
from store.workspace import Reader

FORGOTTEN_S = 14 * 24 * 3600.0
"""A note that nobody asked for in two weeks is of tables that nobody has any more."""


def rows_of(
    reader: Reader,
    query: str,
    tables: Collection[str],
    ask: Callable[[], pl.DataFrame],
    changes_at: Callable[[], float | None],
) -> pl.DataFrame | None:
    """What `ask` gives, or None when it gave nothing before and still would.

    `query` tells all that the answer depends on besides the rows of the `tables`; `changes_at` the time, in Unix seconds,
    at which it may be another one although nobody wrote a row (None: never).
    """
    note = reader.scratch / "nothing" / _key(reader, query, tables)
    if _holds(note):
        return None
    rows = ask()
    if rows.is_empty():
        _write(note, changes_at())
    return rows


def _key(reader: Reader, query: str, tables: Collection[str]) -> str:
    record, told = Record(reader.root), [query]
    for table, version in sorted(reader.manifest.versions.items()):
        if table in tables:
            dataset = record.open(table, version)
            assert dataset is not None, table
            told += [table, VIEWS.get(table, ""), *_files(dataset)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _files(dataset: lance.LanceDataset) -> list[str]:
    """Columns, and by fragment its files: their names are drawn, a version's number may be given out twice after a loss."""
    told = [str(dataset.schema.names)]
    for fragment in dataset.get_fragments():
        held = fragment.metadata
        told.append(f"{[f.path for f in held.files]} {held.deletion_file} {held.overlays}")
    return told


def _holds(note: Path) -> bool:
    try:
        until = json.loads(note.read_text())["until"]
    except (FileNotFoundError, ValueError, KeyError):  # never written, or cut off by a power loss
        return False
    if until is not None and until <= time.time():
        return False
    with suppress(FileNotFoundError):  # another process drops it
        os.utime(note)
    return True


def _write(note: Path, until: float | None) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    for old in note.parent.iterdir():
        with suppress(FileNotFoundError):  # another process drops it, too
            if time.time() - old.stat().st_mtime > FORGOTTEN_S:
                old.unlink()
    part = note.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"until": until}))
    part.replace(note)
