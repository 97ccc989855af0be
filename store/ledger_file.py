"""A ledger that is a file, SQLite in WAL mode: one that was deleted or replaced is told, and never begun anew by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from store.server_database import without_password

RESTORE = "restore it from a backup, then run the same command again"


def file_of(url: str) -> Path | None:
    """Of a ledger that is a file."""
    database = sa.make_url(url).database if url.startswith("sqlite") else None
    return Path(database) if database else None


def missing(url: str) -> ValueError:
    """A new one would take all rows of the record for nobody's: the first commit deletes such rows."""
    return ValueError(
        f"ledger {without_password(url)}: is missing or empty, but tables that it published are there; nothing was changed. "
        f"Give the place where it is (HEADROOM_LEDGER_URL, else the workspace), or {RESTORE}"
    )


@contextmanager
def staying(file: Path | None) -> Iterator[None]:
    """Around a transaction: one that went into a file which is no longer there is not acknowledged.

    Raises ValueError then; SQLite itself commits to a deleted file without a word.
    """
    before = _inode(file)
    yield
    if file and (before is None or _inode(file) != before):
        raise ValueError(
            f"ledger {file}: was deleted or replaced while it was written, so this is not in it; {RESTORE}"
        )


def file_engine(url: str, wait_s: float) -> sa.Engine:
    """Its first connection makes the file; a later one that finds none raises ValueError."""
    file = file_of(url)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": wait_s}, poolclass=sa.NullPool)
    was_there = False

    @sa.event.listens_for(engine, "do_connect")
    def _open(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
        nonlocal was_there
        if file and was_there:
            if not file.exists():
                raise ValueError(f"ledger {file}: was deleted while this command ran; {RESTORE}")
            arguments[0] = f"{file.absolute().as_uri()}?mode=rw"  # deleted only just now, it is not made anew either
            options["uri"] = True
        was_there = True

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by us
        connection.execute(f"PRAGMA busy_timeout={1000 * wait_s:.0f}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _inode(file: Path | None) -> tuple[int, int] | None:
    try:
        told = file.stat() if file else None
    except FileNotFoundError:
        return None
    return (told.st_dev, told.st_ino) if told else None
