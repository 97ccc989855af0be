"""The SQL ledger: sources, manifests, the commit turn, snapshots, settings. SQLite in WAL mode, or PostgreSQL by URL."""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from store import ledger_file
from store.server_database import is_gone, message, server_engine, without_password

log = logging.getLogger("headroom")
T = TypeVar("T")
WAIT_S = 120.0
"""How long a ledger is waited for that was there: for SQLite's lock, and for a server that is begun anew."""
ASK_S = 0.5

metadata = sa.MetaData()

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("uri", sa.String, primary_key=True),
    sa.Column("video_id", sa.String, nullable=False, index=True),
    sa.Column("num_bytes", sa.BigInteger, nullable=False),
    sa.Column(
        "hint", sa.String, nullable=False
    ),  # size, mtime and inode, or an ETag: unchanged hint = unchanged content
    sa.Column("rights_sha256", sa.String, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)
listed = sa.Table(
    "listed",
    metadata,
    sa.Column("list", sa.String, primary_key=True),  # the file that names sources
    sa.Column("uri", sa.String, primary_key=True),
    sa.Column("rights", sa.String, nullable=False),  # a JSON object; empty where the list says none
)
manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("versions", sa.Text, nullable=False),
    sa.Column("clipping_run", sa.String, nullable=False),
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("taken_at", sa.Float, nullable=False),
)
claims = sa.Table(
    "claims",
    metadata,
    sa.Column("name", sa.String, primary_key=True),  # HMAC of a video's id
    sa.Column("holder", sa.String, nullable=False, index=True),  # the run that computes it; store/claims.py
)
snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("tier", sa.String, nullable=False, index=True),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("uri", sa.String, nullable=False),
    sa.Column("num_clips", sa.Integer, nullable=False),
    sa.Column("manifest_id", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
SNAPSHOTS_BY_AGE = (snapshots.c.manifest_id, snapshots.c.created_at)
"""Manifests only grow, also where a machine's clock was set back."""
checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("recipe", sa.String, nullable=False, index=True),
    sa.Column("snapshot", sa.String, nullable=False, index=True),
    sa.Column("uri", sa.String, nullable=False),
    sa.Column("sha256", sa.String, nullable=False),  # of checkpoint.json as it is now: erasure takes names out of it
    sa.Column("created_at", sa.Float, nullable=False),
)
stages = sa.Table(
    "stages",
    metadata,
    sa.Column("checkpoint", sa.String, primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True),  # of the curriculum that it walked through, from 0 on
    sa.Column("snapshot", sa.String, nullable=False, index=True),
)
serving = sa.Table(
    "serving",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),  # of checkpoint
    sa.Column("stable", sa.String, nullable=False),
    sa.Column("canary", sa.String, nullable=False),  # "" when there is none
    sa.Column("share", sa.Float, nullable=False),  # of new sessions that the canary gets
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)
deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("checkpoint", sa.String, nullable=False),
    sa.Column("before", sa.String, nullable=False),  # what was stable when it began
    sa.Column("state", sa.String, nullable=False),  # store/deployments.py says which
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float, nullable=False),  # 0 while it is under way
)
soaks = sa.Table(
    "soaks",
    metadata,
    sa.Column("deployment", sa.String, primary_key=True),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column(
        "sums", sa.Text, nullable=False
    ),  # JSON: by checkpoint, what viewers' sessions added since (serving/vitals.py)
)
servers = sa.Table(
    "servers",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("url", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),  # opens probes on it
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)
signals = sa.Table(
    "signals",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("grain", sa.String, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)
rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("signal", sa.String, primary_key=True),
    sa.Column("fingerprint", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),  # what the fingerprint stood for, to tell people
    sa.Column("backend", sa.String, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),  # does not take over by itself
    sa.Column("left_at", sa.Float, nullable=False),  # when it ceased to serve readers; 0 if it never did, or does now
)
wanted = sa.Table(
    "wanted",
    metadata,
    sa.Column("signal", sa.String, primary_key=True),
    sa.Column("asked_by", sa.String, primary_key=True),  # operator, or tier:NAME
    sa.Column("since", sa.Float, nullable=False),
)
exports = sa.Table(
    "exports",
    metadata,
    sa.Column("path", sa.String, primary_key=True),
    sa.Column("snapshot", sa.String, nullable=False, index=True),
    sa.Column("begun_at", sa.Float, nullable=False),
)
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),  # store/erasure.py says which
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("journal", sa.Text, nullable=False),  # names what goes while it is under way, and nothing after
)
erased = sa.Table(
    "erased",
    metadata,
    sa.Column("hmac", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),  # video: of its id; address: of an address with its hint
    sa.Column("erasure", sa.String, nullable=False, index=True),
)
settings = sa.Table(
    "settings",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)


UNFINISHED = ("begun", "removed")
"""States of an erasure that the next start completes; store/erasure.py says what they mean."""


@dataclass(frozen=True)
class Manifest:
    """The Lance versions of all tables that belong together, and the clipping run that is active in them."""

    id: int
    versions: dict[str, int]
    clipping_run: str


NO_MANIFEST = Manifest(0, {}, "")


class LostTurn(Exception):  # noqa: N818 - somebody else holds the turn: the write must not happen
    """The commit turn is no longer ours; what was about to be written is not."""


def _lost(error: sa.exc.DBAPIError | OSError) -> LostTurn:
    told = message(error) if isinstance(error, sa.exc.DBAPIError) else str(error)
    return LostTurn(f"the ledger is gone in the middle of a commit ({told}); run the command again")


class Turn:
    """The right to commit, held while the ledger's transaction is open. `check` before every write to a table."""

    def __init__(self, connection: Connection, token: int, manifest: Manifest) -> None:
        self._connection = connection
        self.token = token
        self.manifest = manifest
        self.written: dict[str, int] = {}
        """Versions of tables that this turn made: none of them is anybody's yet."""
        self.is_published = False

    def check(self) -> None:
        """Raises LostTurn when the ledger connection is gone or another holder has taken a newer token."""
        try:
            row = self._connection.execute(sa.select(leases.c.token).where(leases.c.name == "commit")).one()
        except (sa.exc.DBAPIError, OSError) as error:  # a connection that was reset comes as the system's own error
            raise _lost(error) from error
        if row.token != self.token:
            raise LostTurn(f"commit token {self.token} was overtaken by {row.token}; run the command again")

    def erased(self, names: Collection[str]) -> set[str]:
        """Those that were erased: nothing may be written of them any more."""
        return _erased(self._connection, names)

    def erase(self, erasure: Mapping[str, Any], videos: Collection[str], addresses: Collection[str]) -> None:
        """Writes the journal of an erasure, and the HMACs that are all that stays of what it takes away."""
        self._connection.execute(erasures.insert().values(**erasure))
        key = _secret(self._connection)
        for kind, names in (("video", videos), ("address", addresses)):
            for name in sorted(set(names)):
                row = {"hmac": hmac_of(key, name), "kind": kind, "erasure": erasure["id"]}
                self._connection.execute(_insert(self._connection, erased).values(**row).on_conflict_do_nothing())

    def publish(
        self, versions: dict[str, int], clipping_run: str | None = None, without: Collection[str] = ()
    ) -> Manifest:
        """Writes the next manifest, `without` these tables; it is seen by readers once the turn ends."""
        run = self.manifest.clipping_run if clipping_run is None else clipping_run
        merged = {t: v for t, v in {**self.manifest.versions, **versions}.items() if t not in without}
        if (merged, run) == (self.manifest.versions, self.manifest.clipping_run):
            return self.manifest
        return self._write(merged, run)

    def go_back(self, versions: dict[str, int], earlier: Manifest) -> Manifest:
        """Publishes these of an earlier manifest's versions again, as the newest."""
        return self._write(versions, earlier.clipping_run)

    def put(self, table: sa.Table, values: Iterable[dict[str, Any]]) -> None:
        """Inserts or replaces rows of the ledger by primary key; they are seen together with the manifest."""
        _put(self._connection, table, values)

    def _write(self, merged: dict[str, int], run: str) -> Manifest:
        told = {"token": self.token, "versions": json.dumps(merged, sort_keys=True), "clipping_run": run}
        try:
            made = self._connection.execute(manifests.insert().values(created_at=time.time(), **told))
        except (sa.exc.DBAPIError, ConnectionError) as error:
            if self._connection.dialect.name == "sqlite" or not is_gone(error):
                raise
            raise _lost(error) from error
        key = made.inserted_primary_key
        assert key is not None
        self.manifest = Manifest(int(key[0]), merged, run)
        self.is_published = True
        return self.manifest


class Ledger:
    """One database of a workspace. A server that goes away once it was there is waited for, WAIT_S long.

    `has_tables` tells whether there is a record already: where its ledger is missing, none is begun in its place.
    """

    def __init__(self, url: str, has_tables: Callable[[], bool] = lambda: False) -> None:
        self.url = url
        self._has_tables = has_tables
        file = ledger_file.file_of(url)
        # Asked twice: another process may make both meanwhile, the ledger first.
        if file and not file.exists() and has_tables() and not file.exists():
            raise ledger_file.missing(url)
        self.engine = _engine(url)
        self._turn: Turn | None = None
        self._is_on_server = not url.startswith("sqlite")
        try:
            self._make_tables()
        except sa.exc.DBAPIError as error:
            must = "in a folder that you may write to" if url.startswith("sqlite") else "on a server that answers"
            raise ValueError(
                f"ledger {without_password(url)}: {message(error)}; it must be a Headroom ledger {must}"
            ) from error

    def _make_tables(self) -> None:
        with self.engine.connect() as connection:
            if set(sa.inspect(connection).get_table_names()) >= set(metadata.tables):
                return  # a reader waits for nobody who writes
        with self.engine.connect() as connection, _write_transaction(connection):
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            if not sa.inspect(connection).has_table(manifests.name) and self._has_tables():
                raise ledger_file.missing(self.url)
            metadata.create_all(connection)
            first = {"name": "commit", "holder": "", "token": 0, "taken_at": 0.0}
            connection.execute(_insert(connection, leases).values(**first).on_conflict_do_nothing())

    def before(self, manifest: Manifest) -> Iterator[Manifest]:
        """Earlier manifests, the newest first."""
        query = sa.select(manifests).where(manifests.c.id < manifest.id).order_by(manifests.c.id.desc())
        for row in self.rows(query):
            yield Manifest(row["id"], json.loads(row["versions"]), row["clipping_run"])

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """The commit turn: one holder at a time over all processes and machines, freed by the death of its holder.

        SQLite: the database's write lock; PostgreSQL: a row lock. The token only grows and is checked before each
        write, so a holder that was cut off from the ledger can't write after its successor.
        """
        holder = f"{socket.gethostname()}:{os.getpid()}"
        with self.waited_for(self.engine.connect) as connection, _write_transaction(connection):
            query = sa.select(leases.c.token).where(leases.c.name == "commit").with_for_update()
            token = int(connection.execute(query).scalar_one()) + 1
            mine = {"holder": holder, "token": token, "taken_at": time.time()}
            connection.execute(leases.update().where(leases.c.name == "commit").values(**mine))
            self._turn = Turn(connection, token, _latest_manifest(connection))
            yield self._turn

    def outlasted(self, commit: Callable[[], Manifest]) -> Manifest:
        """Runs a commit, and again when the server went away under it; not where it was published all the same.

        Of a commit that was sent and not acknowledged, the manifest tells: no other turn writes these versions.
        """
        if not self._is_on_server:
            return commit()

        def once() -> Manifest:
            if self._turn is not None and self._turn.is_published and self._holds(self._turn):
                return self._turn.manifest
            self._turn = None
            try:
                return commit()
            except LostTurn as error:
                raise ConnectionError(str(error)) from error

        self._turn = None
        return self.waited_for(once)

    def waited_for(self, work: Callable[[], T]) -> T:
        """What `work` gives, begun again while the server doesn't answer. Raises ValueError when it stays away."""
        until, error = time.monotonic() + WAIT_S, None
        while True:
            try:
                return work()
            except (sa.exc.DBAPIError, ConnectionError) as met:
                if not (self._is_on_server and is_gone(met)):
                    raise
                told = message(met) if isinstance(met, sa.exc.DBAPIError) else str(met)
                if time.monotonic() > until:
                    raise ValueError(
                        f"ledger {without_password(self.url)}: has not answered for {WAIT_S:g} s ({told}); what was committed "
                        "stands, run the same command again: it goes on where it was"
                    ) from met
                if error is None:
                    log.warning("the ledger does not answer (%s); waiting for it, %g s at most", told, WAIT_S)
                error = met
                time.sleep(ASK_S)

    def _holds(self, turn: Turn) -> bool:
        """Whether the manifest of a turn is there."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(manifests).where(manifests.c.id == turn.manifest.id)).one_or_none()
        return row is not None and (row.token, json.loads(row.versions)) == (turn.token, turn.manifest.versions)

    def manifest(self) -> Manifest:
        def latest() -> Manifest:
            with self.engine.connect() as connection:
                return _latest_manifest(connection)

        return self.waited_for(latest)

    def rows(self, query: sa.Executable) -> list[dict[str, Any]]:
        def read() -> list[dict[str, Any]]:
            with self.engine.connect() as connection:
                return [dict(r) for r in connection.execute(query).mappings()]

        return self.waited_for(read)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside."""
        with self.engine.connect() as connection, _write_transaction(connection):
            yield connection

    def put_in(self, connection: Connection, table: sa.Table, values: list[dict[str, Any]]) -> None:
        """Inserts or replaces rows by primary key."""
        _put(connection, table, values)

    def put_new(self, connection: Connection, table: sa.Table, values: list[dict[str, Any]]) -> None:
        """Inserts rows; those whose primary key is there stay as they are."""
        if values:
            connection.execute(_insert(connection, table).on_conflict_do_nothing(), values)

    def put(self, table: sa.Table, values: list[dict[str, Any]]) -> None:
        """Inserts or replaces rows by primary key, all or none."""
        if not values:
            return

        def write() -> None:
            with self.engine.connect() as connection, _write_transaction(connection):
                _put(connection, table, values)

        self.waited_for(write)

    def drop_sources(self, uris: Iterable[str]) -> None:
        with self.engine.connect() as connection, _write_transaction(connection):
            for uri in uris:
                connection.execute(sources.delete().where(sources.c.uri == uri))

    def drop(self, query: sa.Delete) -> None:
        with self.engine.connect() as connection, _write_transaction(connection):
            connection.execute(query)

    def erased(self, names: Collection[str]) -> set[str]:
        """Those of the videos' ids, or addresses with their hints, that were erased from this workspace."""

        def read() -> set[str]:
            with self.engine.connect() as connection:
                return _erased(connection, names)

        return self.waited_for(read)

    def is_erasing(self) -> bool:
        """Whether an erasure was begun that is to be completed before anything else."""
        return bool(self.rows(sa.select(erasures.c.id).where(erasures.c.state.in_(UNFINISHED)).limit(1)))

    def erased_by(self, name: str) -> str | None:
        """The id of the erasure that took a video, or None."""
        query = sa.select(erased.c.erasure).where(erased.c.hmac == hmac_of(self.secret(), name))
        return next((str(row["erasure"]) for row in self.rows(query)), None)

    def readmit(self, video_id: str) -> None:
        """Takes a video off the list of what was erased, with all addresses that were erased together with it: those
        of others are met by their content again."""
        by = self.erased_by(video_id)
        if by is not None:
            self.drop(erased.delete().where(erased.c.hmac == hmac_of(self.secret(), video_id)))
            self.drop(erased.delete().where(erased.c.erasure == by, erased.c.kind == "address"))

    def secret(self) -> bytes:
        """The workspace's own key, of which come the salts of snapshots and the HMACs of erasures; made once."""
        with self.engine.connect() as connection, _write_transaction(connection):
            return _secret(connection)

    def scrub(self) -> None:
        """Rewrites the database, so that no freed page or dead row holds what was deleted."""
        with self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("VACUUM")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                return
        with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for table in metadata.sorted_tables:
                connection.exec_driver_sql(f"VACUUM FULL {table.name}")

    def setting(self, key: str, default: str) -> str:
        found = self.rows(sa.select(settings.c.value).where(settings.c.key == key))
        return str(found[0]["value"]) if found else default

    def set_setting(self, key: str, value: str) -> None:
        self.put(settings, [{"key": key, "value": value}])


_SCHEMA_LOCK = 0x68656164
"""Any constant: processes that open a new database at once take turns at making its tables."""


def _insert(connection: Connection, table: sa.Table) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def _put(connection: Connection, table: sa.Table, values: Iterable[dict[str, Any]]) -> None:
    keys = [c.name for c in table.primary_key]
    for value in values:
        rest = {k: v for k, v in value.items() if k not in keys}
        connection.execute(
            _insert(connection, table).values(**value).on_conflict_do_update(index_elements=keys, set_=rest)
        )


def _latest_manifest(connection: Connection) -> Manifest:
    row = connection.execute(sa.select(manifests).order_by(manifests.c.id.desc()).limit(1)).one_or_none()
    return Manifest(row.id, json.loads(row.versions), row.clipping_run) if row else NO_MANIFEST


def hmac_of(secret: bytes, name: str) -> str:
    return hmac.digest(secret, f"erased {name}".encode(), "sha256").hex()


def _erased(connection: Connection, names: Collection[str]) -> set[str]:
    if not names or connection.execute(sa.select(erased.c.hmac).limit(1)).one_or_none() is None:
        return set()
    key = _secret(connection)
    by_hmac = {hmac_of(key, name): name for name in names}
    wanted, found = sorted(by_hmac), set[str]()
    for start in range(0, len(wanted), 500):
        part = sa.select(erased.c.hmac).where(erased.c.hmac.in_(wanted[start : start + 500]))
        found |= {by_hmac[row.hmac] for row in connection.execute(part)}
    return found


def _secret(connection: Connection) -> bytes:
    query = sa.select(settings.c.value).where(settings.c.key == "secret")
    told = connection.execute(query).scalar_one_or_none()
    if told is None:
        first = {"key": "secret", "value": secrets.token_hex(32)}
        connection.execute(_insert(connection, settings).values(**first).on_conflict_do_nothing())
        told = connection.execute(query).scalar_one()
    return bytes.fromhex(told)


@contextmanager
def _write_transaction(connection: Connection) -> Iterator[None]:
    with ledger_file.staying(ledger_file.file_of(str(connection.engine.url))):
        if connection.dialect.name == "sqlite":
            # A deferred transaction would fail on its first write when another one wrote since its first read.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sa.exc.DBAPIError, OSError):  # what went wrong may be the connection: nothing to take back
                connection.rollback()
            raise
        connection.commit()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return server_engine(url, "ledger", poolclass=sa.NullPool)
    return ledger_file.file_engine(url, WAIT_S)
