"""Servers for tests: PostgreSQL of one's own, where its binaries are found, and the way to an S3 server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from store.server_database import server_engine


def postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    told = shutil.which("initdb")
    return Path(told).parent if told else found[-1].parent if found else None


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of the test's own, which may be stopped and begun again."""

    url: str
    control: list[Any]
    options: str

    def start(self) -> None:
        self._run("-o", self.options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("-m", mode, "stop")

    def _run(self, *words: str) -> None:
        subprocess.run([*self.control, *words], check=True, capture_output=True, cwd="/")


@contextmanager
def postgres_server(*, fsync: bool = False) -> Iterator[str]:
    """The URL of a fresh server that is gone afterwards. Tests need not wait for its disk; what is measured does (`fsync`)."""
    with own_postgres(fsync=fsync) as server:
        yield server.url


@contextmanager
def own_postgres(*, fsync: bool = False) -> Iterator[Server]:
    """A fresh server that listens on a socket in a folder of its own."""
    binaries = postgres_binaries()
    assert binaries is not None
    with tempfile.TemporaryDirectory(prefix="headroom-pg-") as folder:
        as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        data = f"{folder}/data"
        quiet: dict[str, Any] = {"check": True, "capture_output": True, "cwd": folder}
        subprocess.run([*as_user, binaries / "initdb", "-D", data, "-A", "trust", "-U", "headroom", "-N"], **quiet)
        told = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync={'on' if fsync else 'off'}"
        control = [*as_user, binaries / "pg_ctl", "-D", data, "-w", "-l", f"{folder}/log"]
        made = Server(f"postgresql://headroom@/postgres?unix_sock={folder}/.s.PGSQL.5432", control, told)
        made.start()
        try:
            yield made
        finally:
            made.stop()


def can_run_postgres() -> str:
    """Why not; empty when it can."""
    if postgres_binaries() is None:
        return "no PostgreSQL server on this machine: initdb was not found"
    if os.geteuid() == 0 and "postgres" not in {p.pw_name for p in pwd.getpwall()}:
        return "PostgreSQL refuses to run as root, and there is no user postgres"
    try:
        import pg8000  # noqa: F401
    except ModuleNotFoundError:
        return "pg8000 is not installed: pip install -e '.[postgres]'"
    return ""


def fresh_database(server_url: str, like: str | None = None) -> str:
    """The URL of a new database on a server: an empty one, or a copy of the one at the URL `like`."""
    name = f"t{uuid.uuid4().hex}"
    engine = server_engine(server_url, "test")
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name}" + (f" TEMPLATE {sa.make_url(like).database}" if like else "")
        )
    engine.dispose()
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


def empty(url: str, *, but: Collection[str] = ()) -> None:
    """Takes the rows out of all tables of a database, `but` these, and lets its numbers begin anew: 20 ms, where a new database
    takes a second. Fails rather than waits for a test that left a transaction open."""
    engine = server_engine(url, "test")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '20s'")
            if tables := [t for t in sa.inspect(connection).get_table_names() if t not in but]:
                connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
    except sa.exc.DBAPIError:  # one test fails for it, and not all that come after
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        raise
    finally:
        engine.dispose()


def s3_environment(address: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
