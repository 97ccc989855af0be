"""What a write waits for, and how statements reach PostgreSQL."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from store import prepared_statements
from store.annotation import people, regions
from store.annotation_database import Database, Refused
from store.prepared_statements import SOON

OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
SAID = sa.select(sa.bindparam("said", type_=sa.Text))


@pytest.fixture
def served(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def prepared(c: sa.Connection) -> dict[tuple[str, tuple[int, ...]], object]:
    found: dict[tuple[str, tuple[int, ...]], object] = c.connection.dbapi_connection.prepared  # type: ignore[union-attr]
    return found


def test_only_what_must_last_waits_for_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'annotation.sqlite'}")
    told = [
        database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar(), lasting=lasting)
        for lasting in (True, False, True)
    ]
    database.close()
    assert told == [2, 1, 2], "FULL, NORMAL, FULL"


def test_on_postgresql_too(served: Database) -> None:
    shown = [
        served.write(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar(), lasting=lasting)
        for lasting in (True, False, True)
    ]
    assert shown == ["on", "off", "on"]


def test_a_statement_is_prepared_once_and_gives_what_it_gave(served: Database) -> None:
    def asked(c: sa.Connection) -> tuple[list[str | None], int]:
        before = len(prepared(c))
        told = [c.execute(SAID, {"said": said}).scalar() for said in ("it's", "100 %", None, ":a $1 ?")]
        return told, len(prepared(c)) - before

    told, num_new = zip(served.write(asked), served.write(asked), served.read(asked), strict=True)
    assert list(told) == [["it's", "100 %", None, ":a $1 ?"]] * 3
    assert num_new == (1, 0, 0)


def test_what_is_refused_or_fails_leaves_the_connection_of_use(served: Database) -> None:
    values = {"name": "eu", "currency": "EUR", "hourly_floor_minor": 0, "rate": 1.0, "media_host": ""}

    def adds(c: sa.Connection) -> None:
        c.execute(regions.insert(), values)

    served.write(adds)
    for _ in range(2):
        with pytest.raises(Refused, match="(?i)unique"):
            served.write(adds)
    with pytest.raises(Refused, match="(?i)check"):
        served.write(lambda c: c.execute(regions.insert(), {**values, "name": "us", "rate": 0.0}))
    with pytest.raises(sa.exc.DBAPIError, match="no_such_table"):
        served.write(lambda c: c.execute(sa.text("SELECT :a FROM no_such_table"), {"a": 1}))
    assert served.read(lambda c: c.execute(sa.select(regions.c.name)).scalars().all()) == ["eu"]


def test_long_statements_and_more_than_enough_are_not_kept(served: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(c: sa.Connection) -> tuple[int, int]:
        held = len(prepared(c))
        monkeypatch.setattr(prepared_statements, "MAX_PREPARED", held + 3)
        for i in range(9):
            assert c.execute(sa.text(f"SELECT {i} + :a"), {"a": 1}).scalar() == i + 1
        before = len(prepared(c)) - held
        monkeypatch.setattr(prepared_statements, "MAX_PREPARED", 100)
        padding = "x" * prepared_statements.MAX_LENGTH
        assert c.execute(sa.text(f"SELECT '{padding}' || :a"), {"a": "y"}).scalar() == f"{padding}y"
        return before, len(prepared(c)) - held

    assert served.write(asked) == (3, 3)


def waits(c: sa.Connection) -> int:
    return int(c.connection.dbapi_connection.num_waits)  # type: ignore[union-attr]


def test_statements_that_are_soon_wait_together_and_give_what_they_gave(served: Database) -> None:
    soon = SAID.execution_options(**SOON)

    def asked(c: sa.Connection) -> tuple[list[str | None], int, str]:
        before = waits(c)
        told = [c.execute(soon, {"said": said}) for said in ("one", None, "three")]
        last = c.execute(SAID, {"said": "last"}).scalar()
        waited = waits(c) - before
        return [one.scalar() for one in told], waited, str(last)

    served.write(asked)  # prepares
    for ask in (served.write, served.read):
        assert ask(asked) == (["one", None, "three"], 1, "last")


def test_what_the_server_has_against_a_statement_that_is_soon_is_raised_and_nothing_is_written(
    served: Database,
) -> None:
    values = {"name": "eu", "currency": "EUR", "hourly_floor_minor": 0, "rate": 1.0, "media_host": ""}
    adds = regions.insert().execution_options(**SOON)
    names = sa.select(regions.c.name).order_by(regions.c.name)

    def twice(c: sa.Connection, *, asks: bool) -> None:
        c.execute(adds, {**values, "name": "us"})
        c.execute(adds, values)
        c.execute(adds, values)
        if asks:
            c.execute(names.where(regions.c.rate > sa.bindparam("least")), {"least": 0.0}).all()

    for asks in (False, True, False):  # at the commit, and with what is waited for
        with pytest.raises(Refused, match="(?i)unique"):
            served.write(lambda c, asks=asks: twice(c, asks=asks))
        assert served.read(lambda c: c.execute(names).scalars().all()) == []
    served.write(lambda c: c.execute(adds, values))
    assert served.read(lambda c: c.execute(names).scalars().all()) == ["eu"]


def test_what_is_soon_and_never_read_is_undone_with_the_rest(served: Database) -> None:
    def fails(c: sa.Connection) -> None:
        c.execute(people.delete().where(people.c.id == sa.bindparam("who")).execution_options(**SOON), {"who": 1})
        raise ValueError("of its own")

    for _ in range(2):
        with pytest.raises(ValueError, match="of its own"):
            served.write(fails)
    shown = served.write(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar(), lasting=True)
    assert shown == "on"


def test_nothing_of_an_unwaited_transaction_is_left_to_the_next(served: Database) -> None:
    served.write(lambda c: None, lasting=False)  # asks nothing, so it never began
    assert served.write(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar()) == "on"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_connections_that_the_server_ended_are_replaced(served: Database) -> None:
    def cut_off() -> None:
        other = sa.create_engine(served.engine.url)
        with other.connect() as connection:
            connection.exec_driver_sql(OTHERS)
        other.dispose()

    read = lambda c: c.execute(SAID, {"said": "here"}).scalar()  # noqa: E731
    assert served.read(read) == "here"
    cut_off()
    assert served.read(read) == "here"
    cut_off()
    assert served.write(lambda c: c.execute(sa.select(people.c.id).where(people.c.id == 1)).all()) == []
    gc.collect()  # the driver leaves the socket of a connection that was cut to the collector
