"""Rows taken out of the record for good: no version, no piece and no text of a deletion holds them any more."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import lance

from store.ledger import Ledger, Manifest, Turn
from store.record import VIDEO_COLUMNS, Record, quoted

ROWS_AT_ONCE = 1024
"""Of a table that is rewritten: a row of timelines may hold 100 KB."""
IDS_AT_ONCE = 500
NAMES_A_CLIP = ("clip_a", "clip_b", "best", "cluster", "other_clip_id")
"""Columns by which a row that is about another clip, or about two, names a clip: it is made again without it, or, as
what raters said of a pair, says nothing any more."""
NAMES_CLIPS = "others"
"""Column of such rows that names several."""


def erase_rows(record: Record, ledger: Ledger, video_ids: Sequence[str], clip_ids: Sequence[str] = ()) -> Manifest:
    """Deletes every row of these videos, and every one that names their clips, from every table; also what a killed
    commit never published."""
    with ledger.turn() as turn:
        versions = {}
        for table in record.tables(turn.manifest):
            dataset = _settled(record, turn, table)
            told = {**dict.fromkeys(VIDEO_COLUMNS, video_ids), **dict.fromkeys(NAMES_A_CLIP, clip_ids)}
            held = {column: ids for column, ids in told.items() if column in dataset.schema.names}
            names_clips = NAMES_CLIPS in dataset.schema.names
            if not held and not names_clips:
                continue
            turn.check()
            for column, ids in held.items():
                for start in range(0, len(ids), IDS_AT_ONCE):
                    dataset.delete(f"{column} IN ({quoted(ids[start : start + IDS_AT_ONCE])})")
            for start in range(0, len(clip_ids) if names_clips else 0, IDS_AT_ONCE):
                some = quoted(clip_ids[start : start + IDS_AT_ONCE])
                dataset.delete(f"array_has_any({NAMES_CLIPS}, make_array({some}))")
            if table in turn.manifest.versions:
                versions[table] = int(dataset.version)
        return turn.publish(versions)


def sweep(record: Record, ledger: Ledger) -> Manifest:
    """Rewrites every piece that holds a deleted row, then drops all versions but the newest.

    A reader that holds on to an earlier manifest loses it. Versions go in a turn of their own, once the manifest that
    names the new ones is published: killed in between, the workspace still opens.
    """
    while True:
        manifest = _rewrite(record, ledger)
        with ledger.turn() as turn:
            opened = {table: _opened(record, table) for table in record.tables(turn.manifest)}
            newest = {table: int(d.version) for table, d in opened.items() if table in turn.manifest.versions}
            if newest != turn.manifest.versions:
                continue  # a commit was killed half way since
            for table, dataset in opened.items():
                turn.check()
                dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
                if "://" not in record.root:
                    shutil.rmtree(Path(record.uri(table)) / "_torn", ignore_errors=True)
            return manifest


def _rewrite(record: Record, ledger: Ledger) -> Manifest:
    with ledger.turn() as turn:
        versions = {}
        for table in record.tables(turn.manifest):
            dataset = _settled(record, turn, table)
            turn.check()
            dataset.optimize.compact_files(
                materialize_deletions=True, materialize_deletions_threshold=0.0, batch_size=ROWS_AT_ONCE
            )
            # A version keeps the text of the deletion that made it, ids and all: one that changes no row follows.
            dataset.update_config({"headroom.swept_at": repr(time.time())})
            if table in turn.manifest.versions:
                versions[table] = int(_opened(record, table).version)
        return turn.publish(versions)


def _settled(record: Record, turn: Turn, table: str) -> lance.LanceDataset:
    dataset = record.settled(turn, table)
    assert dataset is not None, table
    return dataset


def _opened(record: Record, table: str) -> lance.LanceDataset:
    dataset = record.open(table)
    assert dataset is not None, table
    return dataset
