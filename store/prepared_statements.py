"""PostgreSQL connections that prepare a statement once, and wait for several together: for what is asked hundreds of times a
second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

MAX_PREPARED = 200
BEGIN = "begin transaction"
SETTINGS = "SET plan_cache_mode = force_generic_plan; SET jit = off"
"""What is asked again and again is planned once: a tenth of the server's time."""
UNWAITED = f"{BEGIN}; SET LOCAL synchronous_commit = off"
SOON = {"soon": True}
"""Execution options of a statement whose answer is not waited for before it is read, or another one waited for, or the commit:
it goes to the server together with what comes next. In between its result knows nothing, the number of rows neither; what
the server has against it is raised there. Other databases answer at once."""
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
    and then a third of the time. Those that are SOON take no question of their own.
    """

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _soon(_c: Any, cursor: Any, _statement: str, _args: Any, context: Any, many: bool) -> None:
        cursor.soon = bool(context and context.execution_options.get("soon")) and not many

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
        raw.settle()
        raw.autocommit = False


def _bound(name: bytes, values: Sequence[str | None]) -> bytes:
    """Body of the protocol's Bind: the unnamed portal, the statement, and its values as text."""
    told = [v if v is None else v.encode() for v in values]
    parts = [(-1).to_bytes(4, "big", signed=True) if v is None else len(v).to_bytes(4, "big") + v for v in told]
    return b"".join([b"\0", name, b"\0\0", len(parts).to_bytes(2, "big"), *parts, b"\0\0"])


@cache
def _connection() -> Any:
    """The class of such connections; pg8000 is there once an engine for PostgreSQL was made."""
    import pg8000
    from pg8000.core import BIND, EXECUTE_MSG, SYNC_MSG, Context, make_params
    from pg8000.legacy import convert_paramstyle

    @contextmanager
    def lost_told() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise pg8000.InterfaceError(LOST) from error
        except pg8000.DatabaseError as error:
            told = error.args[0] if error.args else None
            if isinstance(told, dict) and told.get("C", "").startswith(SHUT_DOWN):
                raise pg8000.InterfaceError(LOST) from error
            raise

    class Cursor(pg8000.Cursor):  # type: ignore[misc]
        soon = False

        def execute(self, operation: str, args: Any = (), stream: Any = None) -> Any:
            if self._c is None or self._c._sock is None:
                raise pg8000.InterfaceError("connection is closed")
            with lost_told():
                prepared = self._prepared(operation, args) if args and stream is None else None
                if prepared is None:
                    return super().execute(operation, args, stream)
                return self._run(operation, args, *prepared)

        def _run(self, operation: str, args: Any, name: bytes, columns: Any, input_funcs: Any) -> Any:
            self._context = Context(operation, columns=columns, input_funcs=input_funcs)
            self._c.send(self._context, name, args)
            if not self.soon:
                self._c.settle()
            self._row_iter = self._c.rows_of(self._context)
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
            self.unread: list[Any] = []
            """Of what was sent and not answered yet, in order."""
            self.num_waits = 0
            self._begin = BEGIN
            super().__init__(*args, **told)
            self.execute_simple(SETTINGS)

        def cursor(self) -> Any:
            return Cursor(self)

        def send(self, context: Any, name: bytes, args: Any) -> None:
            """A prepared statement, with the transaction's begin before it where it is the first."""
            if not (self.unread or self._in_transaction or self.autocommit):
                self._send_query(self._begin)
            self._send_message(BIND, _bound(name, make_params(self.py_types, args)))
            self._sock.write(EXECUTE_MSG + SYNC_MSG)  # pg8000's own way has the server send each part by itself
            self.unread.append(context)

        def _send_query(self, statement: str) -> Any:
            self.send_QUERY(statement)
            self.unread.append(Context(statement))
            return self.unread[-1]

        def settle(self) -> None:
            """Waits for all that was sent; raises the first error that there was."""
            if not self.unread:
                return
            contexts, self.unread = self.unread, []
            self.num_waits += 1
            self._sock.flush()
            first = None
            for context in contexts:
                try:
                    self.handle_messages(context)
                except pg8000.Error as error:  # of a commit that was none too
                    first = first or error
            if first:
                raise first

        def rows_of(self, context: Any) -> Iterator[Any]:
            if context in self.unread:
                with lost_told():
                    self.settle()
            yield from context.rows or ()

        def execute_simple(self, statement: str) -> Any:
            context = self._send_query(self._begin if statement == BEGIN else statement)
            self.settle()
            return context

        def execute_unnamed(self, *args: Any, **told: Any) -> Any:
            self.settle()
            self.num_waits += 1
            return super().execute_unnamed(*args, **told)

        def prepare_statement(self, *args: Any, **told: Any) -> Any:
            self.settle()
            self.num_waits += 1
            return super().prepare_statement(*args, **told)

        def begin_unwaited(self) -> None:
            """The next transaction's commit does not wait for the server's disk."""
            self._begin = UNWAITED

        def commit(self) -> None:
            """Of a transaction that failed it is a rollback; the error was raised, or is now."""
            self._begin = BEGIN
            if self.unread or self._in_transaction:
                self.execute_simple("commit")

        def rollback(self) -> None:
            self._begin = BEGIN
            with suppress(pg8000.Error):  # of what is undone now
                self.settle()
            if self._in_transaction:
                self.execute_simple("rollback")

    return Connection
