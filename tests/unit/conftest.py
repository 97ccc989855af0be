"""Fixtures for all unit tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from store import guard
from store.ledger import Ledger, Manifest
from store.objects import s3_client
from store.workspace import Reader, Workspace
from tasks import tier as tiers
from tests.databases import can_run_postgres, empty, fresh_database, postgres_server, s3_environment


@pytest.fixture
def quick_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tier SQL in this process: the same rows without a second's start of the guarded child for each query."""

    def guarded(
        workspace: Workspace, manifest: Manifest | None = None, candidates: Mapping[str, str] | None = None
    ) -> guard.Query:
        def query(sql: str) -> pa.Table:
            with workspace.views(manifest, candidates) as reader:
                return guard.in_process(reader.connection, tiers.texts(workspace))(sql)

        return query

    def of_a_reader(self: Reader, sql: str) -> pl.DataFrame:
        return pl.DataFrame(guard.in_process(self.connection)(sql))

    monkeypatch.setattr(tiers, "guarded", guarded)
    monkeypatch.setattr(Reader, "guarded", of_a_reader)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server that lasts as long as the tests of this process."""
    if why := can_run_postgres():
        pytest.skip(why)
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The URL of a database of the test's own."""
    return fresh_database(postgres)


@pytest.fixture(scope="session")
def served_annotation(postgres: str) -> str:
    """The URL of a database that the tests of this process have one after another."""
    return fresh_database(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def annotation_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The test runs twice: with an annotation database of its own in a file, and with an empty one on PostgreSQL."""
    return annotation_database(request.param, request, tmp_path)


def annotation_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty one."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'annotation.sqlite'}"
    url = str(request.getfixturevalue("served_annotation"))
    empty(url)
    return url


@pytest.fixture(scope="session")
def served_ledger(postgres: str) -> str:
    """The URL of a ledger that the tests of this process have one after another."""
    return Ledger(fresh_database(postgres)).url


@pytest.fixture(params=["sqlite", "postgresql"])
def either_ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs twice: with its ledger in the workspace's folder, and on PostgreSQL. Gives which."""
    if request.param == "postgresql":
        url = str(request.getfixturevalue("served_ledger"))
        empty(url, but=["leases"])  # its one row is made with the tables
        monkeypatch.setenv("HEADROOM_LEDGER_URL", url)
    return str(request.param)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server that lasts as long as the tests of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket, with the environment that reaches it."""
    for name, value in s3_environment(s3_server).items():
        monkeypatch.setenv(name, value)
    name = f"b{uuid.uuid4().hex}"
    s3_client().create_bucket(Bucket=name)
    return name
