"""PostgreSQL connections that prepare a statement once: for what is asked hundreds of times a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

MAX_PREPARED = 200
BEGIN = "begin transaction"
LOST = "network error"
"""By these words SQLAlchemy knows that a connection is gone, and gives it up with the others of its pool."""
SHUT_DOWN = "57P"
"""SQLSTATEs of a server that ends its connections."""
MAX_LENGTH = 4000
"""Characters of a statement. Longer ones are of many rows at once, and hardly ever the same again."""


def prepare_once(engine: sa.Engine) -> None:
    """Makes the engine's connections keep what they prepared.

    pg8000 reads a statement letter by letter, and asks the server three times, each time that it is executed: to parse it, to
    bind its values, to run it; a transaction's begin is one more. Here each is one question. A claim takes ten statements,
    and then a third of the time.
    """

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, args: Any, told: Any) -> Any:
        return _connection()(*args, **told)


@contextmanager
def no_transaction(connection: sa.Connection) -> Iterator[None]:
    """For reads: each statement sees the newest commit, as it does in a transaction at the server's default, and neither a
    begin nor a rollback is waited for."""
    raw: Any = connection.connection.dbapi_connection
    raw.autocommit = True
    try:
        yield
    finally:
        raw.autocommit = False


@cache
def _connection() -> Any:
    """The class of such connections; pg8000 is there once an engine for PostgreSQL was made."""
    import pg8000
    from pg8000.core import SYNC_MSG, Context, make_params
    from pg8000.legacy import convert_paramstyle

    class Cursor(pg8000.Cursor):  # type: ignore[misc]
        def execute(self, operation: str, args: Any = (), stream: Any = None) -> Any:
            if self._c is None or self._c._sock is None:
                raise pg8000.InterfaceError("connection is closed")
            try:
                prepared = self._prepared(operation, args) if args and stream is None else None
                if prepared is None:
                    return super().execute(operation, args, stream)
                return self._run(operation, args, *prepared)
            except OSError as error:
                raise pg8000.InterfaceError(LOST) from error
            except pg8000.DatabaseError as error:
                told = error.args[0] if error.args else None
                if isinstance(told, dict) and told.get("C", "").startswith(SHUT_DOWN):
                    raise pg8000.InterfaceError(LOST) from error
                raise

        def _run(self, operation: str, args: Any, name: bytes, columns: Any, input_funcs: Any) -> Any:
            connection = self._c
            begins = not connection._in_transaction and not connection.autocommit
            if begins:  # on its way together with the statement
                connection.send_QUERY(BEGIN)
            connection.send_BIND(name, make_params(connection.py_types, args))
            connection.send_EXECUTE()
            connection._sock.write(SYNC_MSG)
            connection._sock.flush()
            if begins:
                connection.handle_messages(Context(BEGIN))
            self._context = Context(operation, columns=columns, input_funcs=input_funcs)
            connection.handle_messages(self._context)
            self._row_iter = iter(self._context.rows or ())
            self._input_oids = ()
            return self

        def _prepared(self, operation: str, args: Any) -> Any:
            """(name, columns, how they are read) at the server; None for what is not worth it."""
            held = self._c.prepared
            key: tuple[str, tuple[int, ...]] = (operation, tuple(self._input_oids))
            if key not in held:
                if len(held) >= MAX_PREPARED or len(operation) > MAX_LENGTH:
                    return None
                statement, _ = convert_paramstyle(self.paramstyle, operation, args)
                held[key] = self._c.prepare_statement(statement, self._input_oids)
            return held[key]

    class Connection(pg8000.Connection):  # type: ignore[misc]
        def __init__(self, *args: Any, **told: Any) -> None:
            self.prepared: dict[tuple[str, tuple[int, ...]], Any] = {}
            super().__init__(*args, **told)

        def cursor(self) -> Any:
            return Cursor(self)

        def begin_unwaited(self) -> None:
            """A transaction whose commit does not wait for the server's disk."""
            self.execute_simple(f"{BEGIN}; SET LOCAL synchronous_commit = off")

        def commit(self) -> None:
            self.execute_simple("commit")

        def rollback(self) -> None:
            if self._in_transaction:
                self.execute_simple("rollback")

    return Connection
