"""A workspace: the record, the ledger and the object storage that belong together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from infra import settings as infra_settings
from store import guard, views
from store.candidates import drop_torn
from store.ledger import NO_MANIFEST, Ledger, Manifest
from store.objects import Objects
from store.record import Batch, Record

ABANDONED_S = 24 * 3600.0
"""Files of queries that are as old as this belong to a process that was killed."""


@dataclass(frozen=True)
class Workspace:
    """One folder (or one bucket prefix and one database URL). Cheap to make; opens what is used."""

    settings: infra_settings.Settings

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger_url, self.has_tables)

    def has_tables(self) -> bool:
        """Whether anybody ever wrote a row, whatever the ledger says."""
        if "://" in self.record.root:
            return bool(self.objects.under("lance"))
        return bool(self.record.tables(NO_MANIFEST))

    @cached_property
    def record(self) -> Record:
        return Record(f"{self.settings.objects_url}/lance")

    @cached_property
    def objects(self) -> Objects:
        return Objects(self.settings.objects_url, self.settings.workspace / "cache")

    @property
    def scratch(self) -> Path:
        """For files under way; what a killed process left there may be deleted."""
        folder = self.settings.workspace / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(self, batch: Batch, clipping_run: str | None = None, expected: Manifest | None = None) -> Manifest:
        """Writes a batch; of videos that were erased while it was computed nothing is written, and no media stay."""
        manifest = self.ledger.outlasted(lambda: self.record.commit(self.ledger, batch, clipping_run, expected))
        for video_id in self.ledger.erased(batch.video_ids()):
            self.objects.delete(uri for uri, _ in self.objects.under(f"media/{video_id}"))
        return manifest

    def commit_next(self, make: Callable[[Manifest], Batch]) -> Manifest:
        """Writes what `make` gives of the newest manifest, inside the commit turn; made of a store without media."""
        return self.ledger.outlasted(lambda: self.record.commit(self.ledger, make))

    @contextmanager
    def views(self, manifest: Manifest | None = None, candidates: Mapping[str, str] | None = None) -> Iterator[Reader]:
        """Trusted queries of our own over one manifest (None: the newest); `candidates` as in store.views.connect."""
        pinned = manifest or self.ledger.manifest()
        connection = views.connect(self.record.root, pinned.versions, candidates)
        try:
            yield Reader(connection, pinned, self.record.root, self.settings.workspace / "scratch")
        finally:
            connection.close()


@dataclass(frozen=True)
class Reader:
    """A pinned, consistent view of all tables."""

    connection: Any
    manifest: Manifest
    root: str
    scratch: Path
    _columns: dict[str, list[str]] = field(default_factory=dict, compare=False)

    def guarded(self, sql: str) -> pl.DataFrame:
        """SQL that people wrote, in a child process with limits; rows of every clip may come back."""
        limits = guard.Limits(cpu_s=600.0, wall_s=3600.0, max_rows=50_000_000, max_result_mib=1024)
        return pl.DataFrame(guard.in_child(self.root, self.manifest.versions, limits)(sql))

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        return pl.DataFrame(self.arrow(query, parameters))

    def arrow(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        result = self.connection.sql(query, params=list(parameters)).to_arrow_table()
        assert isinstance(result, pa.Table)
        return result

    @contextmanager
    def in_pieces(self, memory_mib: int) -> Iterator[None]:
        """Queries over all clips: what their joins hold beyond `memory_mib` goes to the scratch folder, piece by piece.

        A join looks up its left side in its right side, as it is written: the number of rows of a Lance table is not
        known to DuckDB, which may otherwise choose to hold the wide table.
        """
        spill = str(self.scratch / "sql")  # made and removed by DuckDB; several processes may use it
        _drop_abandoned(Path(spill))
        if self.arrow("SELECT current_setting('temp_directory') AS now")["now"][0].as_py() != spill:
            self.scratch.mkdir(parents=True, exist_ok=True)
            self.connection.execute("SET temp_directory = ?", [spill])
        self.connection.execute(f"SET memory_limit = '{memory_mib}MiB'")
        self.connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        try:
            yield
        finally:
            self.connection.execute("RESET disabled_optimizers")
            self.connection.execute("RESET memory_limit")

    def with_table(self, name: str, table: pa.Table) -> None:
        """Makes a table of ours joinable under `name`."""
        self.connection.register(name, table)
        self._columns.clear()

    def columns(self, view: str) -> list[str]:
        if view not in self._columns:
            found = self.connection.execute(f"DESCRIBE {view}").fetchall()
            self._columns[view] = [str(row[0]) for row in found]
        return self._columns[view]


def _drop_abandoned(spill: Path) -> None:
    """What a process that was killed left on disk. No query runs for a day, so nobody else holds what is that old."""
    for file in spill.glob("*"):
        with suppress(FileNotFoundError):  # another process drops it, too
            if time.time() - file.stat().st_mtime > ABANDONED_S:
                file.unlink()


def is_workspace(told: infra_settings.Settings) -> bool:
    """Whether there is something to open, or tables whose ledger is lost; any other folder is left as it is.

    A server is not asked.
    """
    ledger = told.ledger_url.removeprefix("sqlite:///")
    there, made = told.workspace.is_dir(), Workspace(told)
    return there and ("://" in ledger or Path(ledger).is_file() or (made.objects.is_local and made.has_tables()))


def open_workspace(root: str | Path | None = None) -> Workspace:
    """The workspace at `root` (else HEADROOM_WORKSPACE, else ./workspace); made on first use."""
    loaded = infra_settings.load(root)
    if loaded.workspace.exists() and not loaded.workspace.is_dir():
        raise ValueError(f"workspace {loaded.workspace} is a file; give a folder with --workspace")
    try:
        loaded.workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"workspace {loaded.workspace} can't be made: {error.strerror}; give another folder"
        ) from error
    made = Workspace(loaded)
    # A local disk may have lost its newest pages with the power; object stores write whole objects or none.
    if "://" in made.record.root:
        return made
    log = logging.getLogger("headroom")
    if not made.record.readable(made.ledger.manifest()):
        restored = made.record.restore(made.ledger)
        log.warning(
            "tables in %s were torn, most likely by a power loss: they are set aside, the workspace is as of manifest %d, "
            "and what came later is computed again by the next curate",
            made.record.root,
            restored.id,
        )
    if gone := drop_torn(made.record, made.ledger):
        log.warning(
            "tables beside those that readers see were torn, most likely by a power loss, and are gone: %s; a new version's rows "
            "are computed again by the next curate, to a version before there is no way back",
            ", ".join(gone),
        )
    return made
