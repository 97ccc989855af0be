"""Databases on a server, by URL: PostgreSQL through pg8000, whose licence (BSD) asks nothing of those who use it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

PLAIN = ("postgresql", "postgres")
"""A bare scheme would name psycopg 2, which nothing installs."""


def server_engine(url: str, what: str, **pool: Any) -> sa.Engine:
    """An engine for a URL; `what` names its purpose in errors. Raises ValueError for a driver that is not installed."""
    told = sa.make_url(url)
    if told.drivername in PLAIN:
        told = told.set(drivername="postgresql+pg8000")
    try:
        return sa.create_engine(told, **pool)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{what} {without_password(url)}: {error.name} is not installed; pip install -e '.[postgres]'"
        ) from error


def without_password(url: str) -> str:
    """A URL to show to people."""
    return sa.make_url(url).render_as_string(hide_password=True)


def message(error: sa.exc.DBAPIError) -> str:
    """What the database said, in one line."""
    told = _fields(error).get("M") or str(error.orig)
    return told.strip().splitlines()[0]


def lost_a_race(error: sa.exc.DBAPIError) -> bool:
    """Whether the server ended a transaction for another one's sake: deadlock, serialization failure."""
    return _fields(error).get("C") in ("40P01", "40001")


def breaks_a_rule(error: sa.exc.DBAPIError) -> bool:
    """Whether a constraint said no (SQLSTATE class 23): pg8000 tells only of broken keys by the class of its error."""
    return isinstance(error, sa.exc.IntegrityError) or _fields(error).get("C", "").startswith("23")


def is_gone(error: BaseException | None) -> bool:
    """Whether a server ended a connection, can't be reached or is only just starting: it may be there again soon."""
    if isinstance(error, sa.exc.DBAPIError):
        code = _fields(error).get("C", "")
        if code:
            return code.startswith("08") or code in ("57P01", "57P02", "57P03")
        return isinstance(error, sa.exc.InterfaceError | sa.exc.OperationalError) or error.connection_invalidated
    return isinstance(error, ConnectionError)


def _fields(error: sa.exc.DBAPIError) -> dict[str, str]:
    """A server's report by field, as pg8000 hands it on: C the SQLSTATE, M the message."""
    told = getattr(error.orig, "args", ())
    return told[0] if told and isinstance(told[0], dict) else {}
