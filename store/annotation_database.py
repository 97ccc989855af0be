"""One door to the annotation database: SQLite with one writer thread and group commit, or PostgreSQL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from infra.settings import Settings
from store.annotation import LATER_INDEXES, RULES, items, metadata, outbox, region_terms
from store.annotation_outbox import note_all
from store.annotation_people import keep_terms
from store.prepared_statements import no_transaction, prepare_once
from store.server_database import breaks_a_rule, lost_a_race, message, server_engine

T = TypeVar("T")
Work = Callable[[Connection], T]

MAX_GROUP = 64
"""Writes joined in one commit: as many as wait, so an idle database commits each at once."""
_SCHEMA_LOCK = 0x616E6E6F
_RETRIES = 5


@dataclass(frozen=True)
class _Job:
    work: Work[Any]
    done: Future[Any]
    lasting: bool


class Refused(ValueError):  # noqa: N818 - the answer is no; nothing went wrong
    """The database's own rules refused a write: a place that is taken, a budget that is spent, a row that never changes."""


class Database:
    """Runs plain functions of a connection, each whole or not at all. What `write` returned is on the disk, except for what
    need not last: that outlives the death of the process, but maybe not that of the machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._lite = self.engine.dialect.name == "sqlite"
        self._make_tables()
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()

    def read(self, work: Work[T]) -> T:
        for left in (True, False):
            try:
                with self.engine.connect() as connection, nullcontext() if self._lite else no_transaction(connection):
                    return work(connection)
            except sa.exc.DBAPIError as error:
                if not (left and error.connection_invalidated):
                    raise
        raise AssertionError("the last try returns or raises")

    def write(self, work: Work[T], *, lasting: bool = True) -> T:
        """Raises Refused where a constraint or trigger says no, and whatever `work` raises; then nothing is written.

        Without `lasting` the disk is not waited for: a lease that a power cut takes costs nobody an answer that was
        acknowledged, and waiting for the disk is most of what a claim takes.
        """
        return self._queued(work, lasting) if self._lite else self._own(work, lasting)

    def close(self) -> None:
        with self._lock:
            writer, self._writer = self._writer, None
        if writer:
            self._waiting.put(None)
            writer.join()
        self.engine.dispose()

    def _queued(self, work: Work[T], lasting: bool) -> T:
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name="annotation-writer", daemon=True)
                self._writer.start()
        done: Future[T] = Future()
        self._waiting.put(_Job(work, done, lasting))
        return done.result()

    def _run(self) -> None:
        with self.engine.connect() as connection:
            while (first := self._waiting.get()) is not None:
                group = [first]
                while len(group) < MAX_GROUP and not self._waiting.empty():
                    job = self._waiting.get()
                    if job is None:
                        self._waiting.put(None)
                        break
                    group.append(job)
                _commit_group(connection, group)

    def _own(self, work: Work[T], lasting: bool) -> T:
        """PostgreSQL: a transaction of its own; one that lost a deadlock, a race or its connection is run again."""
        for left in reversed(range(_RETRIES)):
            try:
                with self.engine.begin() as connection:
                    if not lasting:
                        raw: Any = connection.connection.dbapi_connection
                        raw.begin_unwaited()
                    return work(connection)
            except sa.exc.DBAPIError as error:
                if _refusal(error):
                    raise Refused(message(error)) from error
                if not left or not (lost_a_race(error) or error.connection_invalidated):
                    raise
        raise AssertionError("the last try returns or raises")

    def _make_tables(self) -> None:
        """Makes what is missing, a table's rules with it; a database of before the outbox, or the terms of regions, gets them, filled."""
        with self.engine.connect() as connection:
            if set(sa.inspect(connection).get_table_names()) >= set(metadata.tables):
                return
        with self.engine.connect() as connection:
            if self._lite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            found = set(sa.inspect(connection).get_table_names()) & set(metadata.tables)
            metadata.create_all(connection)
            for index in LATER_INDEXES:
                index.create(connection, checkfirst=True)
            for table, rule in RULES[self.engine.dialect.name]():
                if table not in found:
                    connection.execute(sa.text(rule.replace(":", "\\:")))
            if outbox.name not in found:
                note_all(connection)
            if region_terms.name not in found:
                keep_terms(connection)
            connection.commit()


def database_url(settings: Settings) -> str:
    """Beside a ledger that is a file of SQLite: a file of its own; else where the ledger is."""
    if not settings.ledger_url.startswith("sqlite"):
        return settings.ledger_url
    return f"sqlite:///{settings.workspace / 'annotation.sqlite'}"


def existing(settings: Settings) -> Database | None:
    """The workspace's annotation database, to be closed after use; None where nobody was ever asked anything."""
    url = database_url(settings)
    if url.startswith("sqlite"):
        return Database(url) if Path(url.removeprefix("sqlite:///")).is_file() else None
    engine = _engine(url)
    try:
        has_tables = sa.inspect(engine).has_table(items.name)
    finally:
        engine.dispose()
    return Database(url) if has_tables else None


def _commit_group(connection: Connection, group: list[_Job]) -> None:
    """One transaction for all; each job in a savepoint, so that one that fails takes nothing of the others with it."""
    done: list[tuple[Future[Any], Any, BaseException | None]] = []
    try:
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if any(job.lasting for job in group) else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        for job in group:
            result, failed = _in_savepoint(connection, job.work)
            done.append((job.done, result, failed))
        connection.commit()
    except BaseException as error:  # noqa: BLE001 - each waiting thread gets it; none of them was written
        connection.rollback()
        done = [(job.done, None, error) for job in group]
    for future, result, failed in done:
        if failed is None:
            future.set_result(result)
        else:
            future.set_exception(failed)


def _in_savepoint(connection: Connection, work: Work[Any]) -> tuple[Any, BaseException | None]:
    connection.exec_driver_sql("SAVEPOINT job")
    failed: BaseException | None = None
    result = None
    try:
        result = work(connection)
    except sa.exc.DBAPIError as error:
        failed = Refused(message(error)) if _refusal(error) else error
        failed.__cause__ = error
    except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
        failed = error
    if failed:
        connection.exec_driver_sql("ROLLBACK TO job")
    connection.exec_driver_sql("RELEASE job")
    return result, failed


def _refusal(error: sa.exc.DBAPIError) -> bool:
    said = message(error)
    return breaks_a_rule(error) or "append-only" in said or "never changes" in said


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        served = server_engine(url, "annotation", pool_size=16, max_overflow=16)
        prepare_once(served)
        return served
    Path(sa.make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url, connect_args={"timeout": 120, "check_same_thread": False}, pool_size=16, max_overflow=32
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by us
        for pragma in ("busy_timeout=120000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
