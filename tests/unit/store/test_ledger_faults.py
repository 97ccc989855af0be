"""A ledger that somebody holds or that is lost, and a clock that was set back: nothing is lost, nothing comes twice."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from headroom.corpus import existing
from store.ledger import Manifest, Turn
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import Workspace, open_workspace
from tests.databases import fresh_database
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


def backup(workspace: Workspace) -> Path:
    """A copy of the ledger, whole in one file."""
    place = workspace.settings.workspace.parent / "backup.sqlite"
    with sqlite3.connect(workspace.settings.workspace / "ledger.sqlite") as ledger, sqlite3.connect(place) as copy:
        ledger.backup(copy)
    ledger.close()
    copy.close()
    return place


def delete_ledger(workspace: Workspace) -> None:
    for file in workspace.settings.workspace.glob("ledger.sqlite*"):
        file.unlink()


def test_a_ledger_that_was_deleted_is_told_and_no_other_begun_in_its_place(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    commit(workspace, "a")
    kept = backup(workspace)
    delete_ledger(workspace)
    for opening in (open_workspace, existing):  # as who writes, and as who reads
        with pytest.raises(ValueError, match=r"ledger sqlite:.*ledger.sqlite: is missing or empty, .* restore it"):
            opening(tmp_path / "workspace").ledger.manifest()
    assert not list((tmp_path / "workspace").glob("ledger*"))
    (tmp_path / "workspace" / "ledger.sqlite").touch()
    with pytest.raises(ValueError, match="is missing or empty"):
        open_workspace(tmp_path / "workspace")
    shutil.copy(kept, tmp_path / "workspace" / "ledger.sqlite")
    again = open_workspace(tmp_path / "workspace")
    commit(again, "b")
    assert names(again) == ["a", "b"]


def test_a_ledgers_database_that_is_empty_is_told_and_left_so(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    commit(workspace, "a")
    pinned = workspace.ledger.manifest()
    monkeypatch.setenv("HEADROOM_LEDGER_URL", fresh_database(postgres))
    for _ in range(2):
        with pytest.raises(ValueError, match="ledger postgresql.*: is missing or empty"):
            open_workspace(tmp_path / "workspace")
    with workspace.views(pinned) as reader:
        assert reader.sql("SELECT name FROM videos")["name"].to_list() == ["a"], "the record is as it was"


@pytest.mark.parametrize("moment", ["before a commit", "in its turn", "in its turn, another in its place"])
def test_a_ledger_that_is_deleted_under_a_command_takes_no_commit_silently(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    commit(workspace, "a")
    kept = backup(workspace)
    publish = Turn.publish

    def publishing(self: Turn, *told: Any, **more: Any) -> Manifest:
        delete_ledger(workspace)
        if "another" in moment:
            shutil.copy(kept, tmp_path / "workspace" / "ledger.sqlite")
        return publish(self, *told, **more)

    if moment == "before a commit":
        delete_ledger(workspace)
        for write in (lambda: commit(workspace, "b"), lambda: workspace.ledger.set_setting("key", "value")):
            with pytest.raises(ValueError, match=r"ledger .*ledger.sqlite: was deleted while .* restore it"):
                write()
    else:
        with monkeypatch.context() as patch:
            patch.setattr(Turn, "publish", publishing)
            with pytest.raises(ValueError, match=r"ledger .*ledger.sqlite: was deleted or replaced .* restore it"):
                commit(workspace, "b")
    shutil.copy(kept, tmp_path / "workspace" / "ledger.sqlite")
    commit(workspace, "b")
    again = open_workspace(tmp_path / "workspace")
    assert names(again) == ["a", "b"]
    assert doubled(again) == []
