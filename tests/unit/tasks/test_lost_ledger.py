"""A ledger's server that goes away in the middle of a run: the run waits for it and goes on, or ends with one line."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from store import ledger as ledgers
from store.ledger import Manifest, Turn
from store.workspace import Workspace, open_workspace
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.jobs import Done, Job, Stage
from tests.databases import Server, can_run_postgres, fresh_database, own_postgres
from tests.tables import contents, contents_differ, doubled
from tests.unit.tasks import stand_in

AWAY_S = 2.0
"""A sample of the minute that WAIT_S allows for twice."""
pytestmark = [pytest.mark.usefixtures("quick_sql"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if why := can_run_postgres():
        pytest.skip(why)
    with own_postgres() as made:
        yield made


@pytest.fixture
def remote(
    tmp_path: Path, footage: Path, server: Server, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """The same as `workspace`, with its ledger on the server."""
    monkeypatch.setenv("HEADROOM_LEDGER_URL", fresh_database(server.url))
    made = open_workspace(tmp_path / "remote")
    ingest(made, [str(footage)])
    return made


class Outage:
    """The server stops once, and is there again after a while."""

    def __init__(self, server: Server, away_s: float = AWAY_S) -> None:
        self.server, self.away_s = server, away_s
        self.thread: threading.Thread | None = None

    def begin(self) -> None:
        if self.thread is None:
            self.server.stop()
            self.thread = threading.Thread(target=self._end)
            self.thread.start()

    def _end(self) -> None:
        time.sleep(self.away_s)
        self.server.start()

    def wait(self) -> None:
        assert self.thread is not None, "nothing happened"
        self.thread.join()
        gc.collect()  # the driver leaves the socket of a connection that was cut to the collector


def before_a_commit(outage: Outage, patch: pytest.MonkeyPatch) -> None:
    def submit(self: Workspace, *told: Any, **more: Any) -> Manifest:
        outage.begin()
        return commit(self, *told, **more)

    commit = Workspace.commit
    patch.setattr(Workspace, "commit", submit)


def in_a_turn(outage: Outage, patch: pytest.MonkeyPatch) -> None:
    """Its tables are written, its manifest is not."""
    publish = Turn.publish

    def publishing(self: Turn, *told: Any, **more: Any) -> Manifest:
        outage.begin()
        return publish(self, *told, **more)

    patch.setattr(Turn, "publish", publishing)


def before_the_answer(outage: Outage, patch: pytest.MonkeyPatch) -> None:
    """The server has committed, and nobody hears of it."""
    commit = Connection.commit

    def committing(self: Connection) -> None:
        commit(self)
        if outage.thread is None:
            outage.begin()
            raise ConnectionResetError("Connection reset by peer")

    patch.setattr(Connection, "commit", committing)


def logged(workspace: Workspace) -> list[tuple[Any, ...]]:
    rows = workspace.record.read(workspace.ledger.manifest(), "log").to_pylist()
    return sorted((r["video_id"], r["clip_id"] or "", r["signal"], r["window_index"] or 0) for r in rows)


@pytest.mark.parametrize("moment", [before_a_commit, in_a_turn, before_the_answer])
def test_the_ledgers_server_goes_away_in_the_middle_of_a_run_and_the_run_goes_on(
    moment: Callable[[Outage, pytest.MonkeyPatch], None],
    remote: Workspace,
    workspace: Workspace,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert stand_in.run(workspace).tally.failed == {}
    outage, batches, serial = Outage(server), 0, stand_in.serial(remote)

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        nonlocal batches
        for done in serial(stage, manifest, [[job] for jobs in groups for job in jobs]):
            batches += 1
            if batches == 4:
                moment(outage, monkeypatch)
            yield done

    told = bring_up_to_date(remote, submit)
    outage.wait()
    assert told.tally.failed == {}
    assert "the ledger does not answer" in caplog.text
    assert contents_differ(contents(workspace), contents(remote)) == []
    assert logged(remote) == logged(workspace), "no commit is written twice"
    assert doubled(remote) == []


def test_a_server_that_stays_away_ends_the_run_with_one_line_and_the_next_one_goes_on(
    remote: Workspace, workspace: Workspace, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.run(workspace)
    monkeypatch.setattr(ledgers, "WAIT_S", 1.0)
    outage = Outage(server, away_s=4.0)
    before_a_commit(outage, monkeypatch)
    with pytest.raises(
        ValueError, match=r"ledger postgresql.*: has not answered for 1 s .* run the same command again"
    ):
        stand_in.run(remote)
    outage.wait()
    assert stand_in.run(remote).tally.failed == {}
    assert contents_differ(contents(workspace), contents(remote)) == []
    assert doubled(remote) == []
