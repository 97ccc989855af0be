"""What found nothing is not asked again, until a row that it read is another one or a row's time has come."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lance
import pytest

from benchmarks.store import filled, upsert
from store import remembered
from store.workspace import Reader, Workspace, open_workspace
from tasks.plan import next_jobs, wanted_signals

TABLES = ("videos", "clips", "timelines", "signals")


class Asked:
    """Counts the queries over all clips."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace, self.queries = workspace, 0
        as_it_is = Reader.in_pieces

        @contextmanager
        def counted(reader: Reader, memory_mib: int) -> Iterator[None]:
            self.queries += 1
            with as_it_is(reader, memory_mib):
                yield

        monkeypatch.setattr(Reader, "in_pieces", counted)

    def jobs(self) -> tuple[int, int]:
        """(jobs of the plan of a night, queries over all clips that it took)."""
        before = self.queries
        with self.workspace.views() as reader:
            found = next_jobs(reader, wanted_signals(None), "generated")
        return len(found.jobs), self.queries - before

    def update(self, table: str, values: dict[str, str]) -> None:
        dataset = self.workspace.record.open(table)
        assert dataset is not None
        dataset.update(values, where="video_id = '0000000000000001'")
        self.publish(table, int(dataset.version))

    def publish(self, table: str, version: int) -> None:
        with self.workspace.ledger.turn() as turn:
            turn.publish({**turn.manifest.versions, table: version}, "generated")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    filled(folder, 8, True)
    return folder


@pytest.fixture
def asked(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    shutil.copytree(generated, tmp_path / "workspace")
    return Asked(open_workspace(tmp_path / "workspace"), monkeypatch)


def notes(asked: Asked) -> list[Path]:
    return list((asked.workspace.scratch / "nothing").iterdir())


def test_a_night_without_change_looks_at_no_row_again(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked.jobs() == (0, 2), "windows of videos, and clips"
    assert asked.jobs() == (0, 0)
    for note in notes(asked):
        note.write_text("")  # cut off by a power loss
    assert asked.jobs() == (0, 2)
    upsert(asked.workspace, 0, 2, seed=1)
    assert asked.jobs() == (0, 1), "the wide table has other files, timelines have the same"
    before = asked.workspace.ledger.manifest().versions["signals"]
    asked.update("signals", {"motion_input_digest": "7"})
    assert asked.jobs() == (1, 1)
    assert asked.jobs() == (1, 1), "only what finds nothing is remembered"
    asked.publish("signals", before)
    assert asked.jobs() == (0, 0), "as things were before"
    with monkeypatch.context() as later:
        later.setattr(remembered, "FORGOTTEN_S", -1.0)
        asked.update("timelines", {"not_before": "0"})
        asked.jobs()
        assert len(notes(asked)) == 1, "old notes are dropped"


def test_a_note_on_the_same_version_of_other_files_does_not_hold(asked: Asked) -> None:
    """A version that was torn is set aside, and its number given out again."""
    assert asked.jobs() == (0, 2)
    record = asked.workspace.record
    versions = asked.workspace.ledger.manifest().versions
    with asked.workspace.views() as reader:
        before = remembered._key(reader, "query", TABLES)
        assert remembered._key(reader, "query", ("videos",)) != before
    dataset = record.open("signals", versions["signals"])
    assert dataset is not None
    rows = dataset.to_table()
    shutil.rmtree(record.uri("signals"))
    assert lance.write_dataset(rows, record.uri("signals")).version == versions["signals"]
    with asked.workspace.views() as reader:
        assert remembered._key(reader, "query", TABLES) != before
    assert asked.jobs() == (0, 1)


def test_a_row_whose_time_comes_is_computed_though_nobody_wrote_one(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    asked.update("signals", {"motion_not_before": repr(now + 60), "gaze_not_before": repr(now + 90)})
    asked.update("timelines", {"not_before": repr(now + 3600)})
    assert asked.jobs() == (0, 2)
    assert asked.jobs() == (0, 0)
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert asked.jobs() == (1, 1), "clips; no window is due"
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    jobs, queries = asked.jobs()
    assert jobs > 0
    assert queries == 1, "windows; they come before clips"
