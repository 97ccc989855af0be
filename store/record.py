"""The record: Lance tables under one root, read at pinned versions, written only inside a commit turn."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from store.objects import refused
from store.schema import BASE_SCHEMAS, embedding_schema, is_narrow, key_of
from store.whole import torn_files

if TYPE_CHECKING:  # the child that runs people's SQL reads tables and must not wait for SQLAlchemy
    from store.ledger import Ledger, Manifest, Turn

VIDEO_COLUMNS = ("video_id", "other_video_id")
"""Columns that name a video; a row goes with any of its videos."""
MAX_ROWS_PER_UPSERT = 50_000
"""An upsert holds the rows it replaces in memory; more rows go in several upserts of one turn."""
MAX_PIECES = 25_000
"""Fragments times columns. A small commit leaves a fragment of its own, and with the 400 columns of the wide table each costs
every later commit 10 ms; timelines have few columns and large rows, which are not to be written again every day."""
ROWS_PER_PIECE = 65_536
ROWS_PER_COMPACTION_BATCH = 1024
"""Of a table that is rewritten: a row of timelines may hold 100 KB."""
_HEAVY = re.compile(r"\b(payload|vector)\b")


@dataclass
class Batch:
    """What one commit writes: tables to upsert by key, and rows to append to the log."""

    upserts: dict[str, list[pa.Table]] = field(default_factory=dict)
    log: list[pa.Table] = field(default_factory=list)

    def add(self, table: str, rows: pa.Table) -> None:
        if rows.num_rows:
            self.upserts.setdefault(table, []).append(rows)

    def extend(self, other: Batch) -> None:
        for table, parts in other.upserts.items():
            self.upserts.setdefault(table, []).extend(parts)
        self.log.extend(other.log)

    def video_ids(self) -> set[str]:
        """Of every row that is of a video."""
        tables = [t for parts in (*self.upserts.values(), self.log) for t in parts]
        columns = [t[c] for t in tables for c in VIDEO_COLUMNS if c in t.column_names]
        return {v for column in columns for v in column.unique().to_pylist() if v is not None}

    def without(self, video_ids: Collection[str]) -> Batch:
        """The batch without the rows of these videos."""

        def rest(table: pa.Table) -> pa.Table:
            for column in (c for c in VIDEO_COLUMNS if c in table.column_names):
                gone = pc.is_in(table[column], value_set=pa.array(sorted(video_ids), pa.string()))
                table = table.filter(pc.invert(gone))
            return table

        made = Batch(log=[t for part in self.log if (t := rest(part)).num_rows])
        for table, parts in self.upserts.items():
            for part in parts:
                made.add(table, rest(part))
        return made

    @property
    def empty(self) -> bool:
        return not self.upserts and not self.log


class Record:
    """The Lance tables of a workspace. `root` is a folder or an s3:// prefix."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def uri(self, table: str) -> str:
        return f"{self.root}/{table}.lance"

    def open(self, table: str, version: int | None = None) -> lance.LanceDataset | None:
        """The table at a version (None: the newest), or None when it does not exist yet.

        Raises ValueError for a version that can't be read, and where storage refuses.
        """
        with self._asking(table):
            there = self._exists(table)
        if not there and version is not None:
            raise ValueError(
                f"table {table}: there is none at {self.uri(table)}, and the ledger names its version {version}; restore it, "
                "or give the place where it is (HEADROOM_OBJECTS_URL, else the workspace)"
            )
        if not there:
            return None
        try:
            return lance.dataset(self.uri(table), version=version)
        except (ValueError, OSError) as error:
            if version is not None:
                raise ValueError(
                    f"table {table}: version {version} can't be read; restore {self.uri(table)} from a backup"
                ) from error
            self._set_aside_torn_manifests(table)
            return lance.dataset(self.uri(table))

    def readable(self, manifest: Manifest) -> bool:
        """Whether every table that readers see can be opened at the version that the manifest names, and on a local disk has
        its files whole."""
        return all(
            self.is_whole(table, version) for table, version in manifest.versions.items() if not is_narrow(table)
        )

    def restore(self, ledger: Ledger) -> Manifest:
        """After a power loss tore the newest tables: goes back to the newest manifest that can be read whole.

        What was committed after it is stale, and computed again. Raises ValueError when there is no such manifest.
        """
        with ledger.turn() as turn:
            if self.readable(turn.manifest):
                return turn.manifest
            for earlier in ledger.before(turn.manifest):
                if self.readable(earlier):
                    for table in turn.manifest.versions:
                        self.open(table)  # sets aside what is torn
                    # A candidate's rows, or those before it, may have ended since: nobody reads them but by name.
                    return turn.go_back({t: v for t, v in earlier.versions.items() if self.is_whole(t, v)}, earlier)
            torn = [t for t, v in turn.manifest.versions.items() if not is_narrow(t) and not self.is_whole(t, v)]
            raise ValueError(
                f"record {self.root}: no manifest can be read whole; restore the folder from a backup (torn: {', '.join(torn)})"
            )

    def read(
        self, manifest: Manifest, table: str, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Rows of a table as the manifest saw it; an empty table of the base schema when it did not exist. A column of the base
        schema that came later than the table is NULL.

        Raises ValueError where the filter asks for what a row carries, timeline or vector: that reads it of all rows, half a
        gigabyte for a video of two hours.
        """
        if where and _HEAVY.search(re.sub("'[^']*'", "''", where)):
            raise ValueError(
                f"table {table}: {where!r} reads payloads or vectors of all rows; drop those without one afterwards"
            )
        if table not in manifest.versions:
            schema = BASE_SCHEMAS.get(table, pa.schema([]))
            return schema.empty_table() if columns is None else schema.empty_table().select(list(columns))
        dataset = self.open(table, manifest.versions[table])
        assert dataset is not None
        there, base = dataset.schema.names, BASE_SCHEMAS.get(table, pa.schema([]))
        wanted = [*there, *(n for n in base.names if n not in there)] if columns is None else list(columns)
        later = [n for n in wanted if n not in there and n in base.names]
        rows = dataset.to_table(columns=[n for n in wanted if n not in later], filter=where)
        for name in later:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, base.field(name).type))
        return rows.select(wanted) if later else rows

    def pieces(self, manifest: Manifest, table: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The same, piece by piece, of columns that the table has had from the beginning."""
        if table in manifest.versions:
            dataset = self.open(table, manifest.versions[table])
            assert dataset is not None
            yield from dataset.to_batches(columns=list(columns), batch_size=ROWS_PER_PIECE)

    def commit(
        self,
        ledger: Ledger,
        batch: Batch | Callable[[Manifest], Batch],
        clipping_run: str | None = None,
        expected: Manifest | None = None,
    ) -> Manifest:
        """Writes a batch and publishes the next manifest. Killed at any point, it can be run again with the same result.

        A function is asked for the batch once the turn is ours, with the manifest that it follows: nothing is written
        between what it reads and what it gives; nothing to write makes no manifest. Raises ValueError, and writes
        nothing, when `expected` is given and no longer the newest.
        """
        with ledger.turn() as turn, self._asking():
            if expected is not None and turn.manifest.id != expected.id:
                raise ValueError("the workspace changed since this was proposed; nothing was written, run it again")
            if callable(batch):
                batch = batch(turn.manifest)
                if batch.empty:
                    return turn.manifest
            if gone := turn.erased(batch.video_ids()):  # erased while this was being computed
                batch = batch.without(gone)
            versions: dict[str, int] = {}
            for table, parts in batch.upserts.items():
                for rows in _by_columns(parts):
                    versions[table] = self.upsert(turn, table, rows)
            if batch.log:
                versions["log"] = self._append(turn, "log", pa.concat_tables(batch.log))
            return turn.publish(versions, clipping_run)

    def delete(self, ledger: Ledger, table: str, where: str) -> Manifest:
        with ledger.turn() as turn:
            dataset = self.settled(turn, table)
            if dataset is None:
                return turn.manifest
            turn.check()
            dataset.delete(where)
            return turn.publish({table: dataset.version})

    def compact(self, ledger: Ledger, *, fragments: int = 32, keep: timedelta = timedelta(days=1)) -> Manifest:
        """Rewrites tables that lie in more than `fragments` pieces, and drops what only versions older than `keep` hold.

        A reader may hold on to its manifest for as long. Without a table in pieces the manifest stays.
        """
        with ledger.turn() as turn:
            versions = {}
            for table in turn.manifest.versions:
                dataset = self.settled(turn, table)
                assert dataset is not None, table
                turn.check()
                if len(dataset.get_fragments()) > fragments:
                    dataset.optimize.compact_files()
                    versions[table] = dataset.version
                dataset.cleanup_old_versions(older_than=keep)
            return turn.publish(versions) if versions else turn.manifest

    def tables(self, manifest: Manifest) -> list[str]:
        """All tables that are there; on a local disk those too that a killed commit made and never published."""
        if "://" in self.root:
            return sorted(manifest.versions)
        return sorted({f.name.removesuffix(".lance") for f in Path(self.root).glob("*.lance") if self._exists(f.stem)})

    def settled(self, turn: Turn, table: str) -> lance.LanceDataset | None:
        """The newest version of a table, to write on: without what a killed commit wrote and never published.

        Half of a promotion must not come to light with the next row that somebody else writes.
        """
        dataset = self.open(table)
        published = turn.written.get(table, turn.manifest.versions.get(table))
        if dataset is None and published is not None:
            return self.open(table, published)  # tells that it is lost, rather than begin it anew
        if dataset is not None and published is None and dataset.count_rows():
            turn.check()
            dataset.delete("true")  # what was discarded, or never published: in the log it would stand twice
        if dataset is not None and published is not None and dataset.version > published:
            turn.check()
            dataset = lance.dataset(self.uri(table), version=published)
            dataset.restore()  # type: ignore[no-untyped-call]
            dataset = lance.dataset(self.uri(table))
            turn.written[table] = int(dataset.version)
        return dataset

    def upsert(self, turn: Turn, table: str, rows: pa.Table) -> int:
        """Writes rows by key inside a commit turn; gives the version to publish."""
        key = key_of(table)
        _refuse_not_finite(table, rows)
        rows = _last_by_key(rows, key)
        dataset = self._with_fields(turn, table, rows.schema)
        for start in range(0, rows.num_rows, MAX_ROWS_PER_UPSERT):
            part = rows.slice(start, MAX_ROWS_PER_UPSERT)
            full = _overlaid(dataset, part, key)
            turn.check()
            dataset.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(full)
        if len(dataset.get_fragments()) * len(dataset.schema) > MAX_PIECES:
            turn.check()
            # Large pieces stay as they are until the night: only what small commits left is joined.
            dataset.optimize.compact_files(
                target_rows_per_fragment=MAX_ROWS_PER_UPSERT, batch_size=ROWS_PER_COMPACTION_BATCH
            )
        turn.written[table] = int(dataset.version)
        return turn.written[table]

    def _append(self, turn: Turn, table: str, rows: pa.Table) -> int:
        schema = self._with_fields(turn, table, rows.schema).schema
        turn.check()
        for lacking in [f for f in schema if f.name not in rows.column_names]:
            rows = rows.append_column(lacking, pa.nulls(rows.num_rows, lacking.type))
        dataset = lance.write_dataset(rows.select(schema.names).cast(schema), self.uri(table), mode="append")
        turn.written[table] = int(dataset.version)
        return turn.written[table]

    def _with_fields(self, turn: Turn, table: str, schema: pa.Schema) -> lance.LanceDataset:
        """The newest version of the table, created or widened by NULL columns so that it holds every field asked for."""
        dataset = self.settled(turn, table)
        if dataset is None:
            turn.check()
            base = BASE_SCHEMAS.get(table.partition("@")[0], pa.schema([]))
            fields = list(base) + [f for f in schema if f.name not in base.names]
            dataset = lance.write_dataset(pa.schema(fields).empty_table(), self.uri(table))
        present = dataset.schema
        # A signal may change a column's type with its version: every row of it is stale then, so the old values go.
        retyped = [f.name for f in schema if f.name in present.names and present.field(f.name).type != f.type]
        if retyped:
            turn.check()
            dataset.drop_columns(retyped)
        missing = [f for f in schema if f.name not in present.names or f.name in retyped]
        if missing:
            turn.check()
            dataset.add_columns(pa.schema([pa.field(f.name, f.type) for f in missing]))
        turn.written[table] = int(dataset.version)
        return dataset

    @contextmanager
    def _asking(self, table: str = "") -> Iterator[None]:
        """What an S3 server refused, told as of other objects."""
        try:
            yield
        except OSError as error:
            if "://" not in self.root:
                raise
            raise refused(self.uri(table) if table else self.root, "can't be read or written", error) from error

    def is_whole(self, table: str, version: int) -> bool:
        """Whether a version can be opened, and on a local disk has its files whole."""
        try:
            dataset = self.open(table, version)
        except ValueError:
            return False
        return dataset is not None and ("://" in self.root or not torn_files(dataset, Path(self.uri(table))))

    def _exists(self, table: str) -> bool:
        if "://" in self.root:
            try:
                lance.dataset(self.uri(table))
            except ValueError:
                return False
            return True
        # A full disk may leave the folder of a table that was to be made.
        return any((Path(self.uri(table)) / "_versions").glob("*.manifest"))

    def _set_aside_torn_manifests(self, table: str) -> None:
        """Power loss may leave a newest manifest of zero or half its bytes: move it away, the one before it stands."""
        folder = Path(self.uri(table))
        aside = folder / "_torn" / str(int(time.time()))
        for manifest in sorted((folder / "_versions").glob("*.manifest"), key=manifest_version, reverse=True):
            try:
                lance.dataset(str(folder), version=manifest_version(manifest))
                return
            except (ValueError, OSError):
                aside.mkdir(parents=True, exist_ok=True)
                manifest.rename(aside / manifest.name)
        raise ValueError(f"table {table}: no version can be read in {folder}; restore it from a backup")


def manifest_version(manifest: Path) -> int:
    """Lance names a manifest by its version, or by 2^64 - 1 - version so that the newest sorts first."""
    number = int(manifest.stem)
    return (2**64 - 1) - number if len(manifest.stem) == 20 else number


def _by_columns(parts: Sequence[pa.Table]) -> list[pa.Table]:
    """Parts that name the same columns, joined: an upsert must not take a column that a part lacks for NULL."""
    groups: dict[tuple[str, ...], list[pa.Table]] = {}
    for part in parts:
        groups.setdefault(tuple(part.column_names), []).append(part)
    return [pa.concat_tables(group, promote_options="permissive") for group in groups.values()]


def _refuse_not_finite(table: str, rows: pa.Table) -> None:
    for name in rows.column_names:
        column = rows[name]
        if pa.types.is_floating(column.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
            raise ValueError(f"table {table}, column {name}: holds a value that is not finite; nothing was written")


def _last_by_key(rows: pa.Table, key: str) -> pa.Table:
    """Within one batch the last row of a key wins; merge_insert would refuse or double repeated keys."""
    keys = rows[key].to_pylist()
    last = {k: i for i, k in enumerate(keys)}
    return rows if len(last) == len(keys) else rows.take(sorted(last.values()))


def _overlaid(dataset: lance.LanceDataset, part: pa.Table, key: str) -> pa.Table:
    """`part` with the columns it lacks filled from the rows now in the table: an upsert replaces whole rows."""
    schema = dataset.schema
    lacking = [name for name in schema.names if name not in part.column_names]
    if lacking:
        present = rows_by_key(dataset, part[key], key, [key, *lacking])
        position = {k: i for i, k in enumerate(present[key].to_pylist())}
        places = pa.array([position.get(k) for k in part[key].to_pylist()], pa.int64())
        for name in lacking:
            part = part.append_column(schema.field(name), pc.take(present[name].combine_chunks(), places))
    return part.select(schema.names).cast(schema)


def rows_by_key(dataset: lance.LanceDataset, keys: pa.ChunkedArray, key: str, columns: list[str]) -> pa.Table:
    wanted = keys.unique()
    if len(wanted) > 2000:
        return dataset.to_table(columns=columns, filter=pc.field(key).isin(wanted))
    return dataset.to_table(columns=columns, filter=f"{key} IN ({quoted(wanted.to_pylist())})")


def quoted(values: Sequence[object]) -> str:
    return ", ".join("'" + str(v).replace("'", "''") + "'" for v in values)


def embedding_rows(
    clip_ids: Sequence[str],
    video_ids: Sequence[str],
    vectors: Sequence[Any | None],
    dim: int,
    fingerprint: str,
    digests: Sequence[int],
) -> pa.Table:
    """Rows of an embeddings table; a vector is float32 (dim,), or None where the signal is not ok: NULL, as its columns."""
    column = pa.array([None if v is None else v.tolist() for v in vectors], pa.list_(pa.float32(), dim))
    columns = {
        "clip_id": pa.array(clip_ids, pa.string()),
        "video_id": pa.array(video_ids, pa.string()),
        "vector": column,
        "fingerprint": pa.array([fingerprint] * len(clip_ids), pa.string()),
        "output_digest": pa.array(digests, pa.uint64()),
    }
    return pa.table(columns, schema=embedding_schema(dim))


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of just this schema; a missing key is NULL."""
    return pa.Table.from_pylist([{n: r.get(n) for n in schema.names} for r in rows], schema=schema)


def dumps(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
