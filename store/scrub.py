"""Ids and names taken out of what others write: databases row by row, on a server too, logs in place, while in use."""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from store.residue import Targets, places

PUT_IN_PLACE = b"forgotten"
PICTURES = MOTION_SAMPLES, RENDERER_SAMPLES, SIDE_BY_SIDE = ("motion-samples", "renderer-samples", "side-by-side")
"""Keys of Prefect artifacts that draw how people move, or show them. Their description names the clips; no search finds them
within."""


def scrub_sqlite(file: Path, targets: Targets) -> None:
    """Replaces what is told wherever a text of any table holds it, and rewrites the file so that no freed page does.

    Raises sqlite3.OperationalError when somebody else holds the database for a minute.
    """

    def scrubbed(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        data = text.encode()
        return without(data, targets).decode() if targets.in_bytes(data) else text

    with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as database:
        database.create_function("scrubbed", 1, scrubbed, deterministic=True)
        database.execute("BEGIN IMMEDIATE")
        # A table that only grows refuses changes by a trigger; erasure is the one that may, so triggers stand aside.
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (table,) in tables.fetchall():
            for column in [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]:
                told = f"""typeof("{column}") = 'text' AND scrubbed("{column}") <> "{column}\""""
                database.execute(f'UPDATE "{table}" SET "{column}" = scrubbed("{column}") WHERE {told}')
        for _, made in triggers:
            database.execute(made)
        database.execute("COMMIT")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def scrub_server(engine: sa.Engine, tables: Iterable[sa.Table], targets: Targets) -> None:
    """The same in tables of PostgreSQL, which are rewritten, so that no dead row holds what was replaced."""
    tables = list(tables)
    with engine.begin() as connection:
        for table in tables:
            texts = [c for c in table.c if isinstance(c.type, sa.String)]
            kept: list[tuple[Any, dict[str, str]]] = []
            for row in connection.execute(sa.select(table)).mappings():
                held = {c.name: row[c.name] for c in texts if row[c.name]}
                new = {
                    n: without(v.encode(), targets).decode() for n, v in held.items() if targets.in_bytes(v.encode())
                }
                if new:
                    kept.append((sa.and_(*(c == row[c.name] for c in table.primary_key)), new))
            if not kept:
                continue
            # A table that only grows refuses changes by a trigger, as in SQLite.
            connection.exec_driver_sql(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER')
            for where, new in kept:
                connection.execute(table.update().where(where).values(new))
            connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER')
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for table in tables:
            connection.exec_driver_sql(f'VACUUM FULL "{table.name}"')


def drop_pictures(file: Path) -> None:
    """Takes drawn motion and drawn people out of Prefect's database: of whom they are, only their description tells."""
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        for table in ("artifact", "artifact_collection"):
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone():
                database.executemany(f'DELETE FROM "{table}" WHERE key = ?', [(key,) for key in PICTURES])


def without(data: bytes, targets: Targets) -> bytes:
    """The bytes with every id and name replaced."""
    for told_id in sorted(targets.ids):
        data = data.replace(told_id.encode(), PUT_IN_PLACE)
    for told in sorted(targets.spelled, key=len, reverse=True):
        for at in reversed(list(places(data, told))):
            data = data[:at] + PUT_IN_PLACE + data[at + len(told) :]
    return data


def scrub_log(file: Path, targets: Targets) -> None:
    """Overwrites every id and name by crosses, in place: whoever appends to the file goes on."""
    if not file.stat().st_size:
        return
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as held:
        for told in sorted(targets.spelled, key=len, reverse=True):
            for at in list(places(held, told)):
                held[at : at + len(told)] = b"x" * len(told)
        for told in (i.encode() for i in targets.ids):
            while (at := held.find(told)) >= 0:
                held[at : at + len(told)] = b"x" * len(told)
