"""A ledger that somebody holds, and a clock that was set back: a commit waits, nothing is lost, nothing comes twice."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import Workspace, open_workspace
from tests.tables import doubled


def commit(workspace: Workspace, *names: str) -> int:
    batch = Batch()
    batch.add("videos", table_of([{"video_id": n, "name": n} for n in names], VIDEOS))
    return workspace.commit(batch).id


def names(workspace: Workspace) -> list[str]:
    with workspace.views() as reader:
        return [str(n) for n in reader.sql("SELECT name FROM videos ORDER BY 1")["name"]]


def test_a_locked_ledger_is_waited_for_and_read_meanwhile(tmp_path: Path) -> None:
    """A sample of the minute that `make prove PROVE=faults` holds it for."""
    workspace = open_workspace(tmp_path / "workspace")
    commit(workspace, "a")
    holder = sqlite3.connect(tmp_path / "workspace" / "ledger.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    ended: list[float] = []

    def late() -> None:
        commit(workspace, "b")
        ended.append(time.monotonic())

    thread = threading.Thread(target=late)
    thread.start()
    time.sleep(2)
    assert names(open_workspace(tmp_path / "workspace")) == ["a"], "readers wait for nobody"
    freed = time.monotonic()
    assert not ended
    holder.execute("ROLLBACK")
    holder.close()
    thread.join()
    assert ended[0] > freed
    assert names(workspace) == ["a", "b"]
    assert doubled(workspace) == []


def test_a_clock_set_back_an_hour_orders_nothing_anew(
    tmp_path: Path, either_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    first = commit(workspace, "a")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    second = commit(workspace, "a", "b")
    assert (second, workspace.ledger.manifest().id) == (first + 1, second)
    assert [m.id for m in workspace.ledger.before(workspace.ledger.manifest())] == [first]
    workspace.record.compact(workspace.ledger, fragments=0)
    assert names(workspace) == ["a", "b"]
    monkeypatch.setattr(time, "time", real)
    commit(workspace, "c")
    assert names(open_workspace(tmp_path / "workspace")) == ["a", "b", "c"]
    assert doubled(workspace) == []
