"""Fixtures for all unit tests."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa
import pytest

from store import guard
from store.ledger import Manifest
from store.workspace import Reader, Workspace
from tasks import tier as tiers


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
