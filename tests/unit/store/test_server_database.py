"""A ledger on a server: what a lost or unreachable one says, and what is written then."""

from __future__ import annotations

import gc
import multiprocessing
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from store.ledger import Ledger, LostTurn
from store.server_database import server_engine, without_password

OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_turn_whose_connection_is_gone_writes_nothing_and_frees_its_place(postgres_url: str) -> None:
    ledger = Ledger(postgres_url)
    killer = server_engine(postgres_url, "test")

    def cut_off() -> None:
        with ledger.turn() as turn:
            turn.publish({"videos": 1})
            with killer.connect() as connection:
                connection.exec_driver_sql(OTHERS)
            turn.check()

    with pytest.raises(LostTurn, match="the ledger is gone in the middle of a commit"):
        cut_off()
    killer.dispose()
    gc.collect()  # the driver leaves the socket of a connection that was cut to the collector
    assert ledger.manifest().id == 0
    with ledger.turn() as turn:
        turn.publish({"videos": 2})
    assert ledger.manifest().versions == {"videos": 2}


def _count_up(url: str) -> None:
    ledger = Ledger(url)
    for _ in range(10):
        with ledger.turn() as turn:
            turn.publish({"videos": turn.manifest.versions.get("videos", 0) + 1})


def test_turns_of_several_processes_on_a_new_database_come_one_after_another(postgres_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(postgres_url,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert Ledger(postgres_url).manifest().versions == {"videos": 30}


def test_one_that_does_not_answer_is_told_without_its_password() -> None:
    began = time.monotonic()
    with pytest.raises(
        ValueError, match=r"ledger postgresql://me:\*\*\*@127.0.0.1:9/none: .* on a server that answers"
    ):
        Ledger("postgresql://me:secret@127.0.0.1:9/none")
    assert time.monotonic() - began < 60


def test_a_driver_that_is_missing_names_the_extra() -> None:
    with pytest.raises(ValueError, match=r"ledger .*psycopg2 is not installed; pip install -e '.\[postgres\]'"):
        server_engine("postgresql+psycopg2://me@host/x", "ledger")


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(ValueError, match="file is not a database; it must be a Headroom ledger in a folder"):
        Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}")


def test_a_password_is_for_nobody() -> None:
    assert without_password("postgresql://me:secret@host/x") == "postgresql://me:***@host/x"
    assert sa.make_url("postgresql://me:secret@host/x").password == "secret"
