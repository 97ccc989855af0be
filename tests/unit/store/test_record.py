"""The record: upserts by key, columns added in place, torn manifests, and several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from store import record as record_module
from store.ledger import LostTurn, Turn
from store.record import Batch, Record, table_of
from store.schema import CLIPS, VIDEOS
from store.workspace import Workspace, open_workspace


@pytest.fixture(params=["sqlite", "postgresql"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    if request.param == "postgresql":
        monkeypatch.setenv("HEADROOM_LEDGER_URL", request.getfixturevalue("postgres_url"))
    return open_workspace(tmp_path / "workspace")


def wide(ids: list[str], **columns: list[object]) -> pa.Table:
    base = {"clip_id": ids, "video_id": ["v"] * len(ids), "active": [True] * len(ids)}
    return pa.table({**base, **columns})


def commit(workspace: Workspace, table: str, rows: pa.Table) -> None:
    batch = Batch()
    batch.add(table, rows)
    workspace.commit(batch)


def signals(workspace: Workspace) -> list[dict[str, object]]:
    with workspace.views() as reader:
        return reader.sql("SELECT * FROM signals ORDER BY clip_id").to_dicts()


def test_an_upsert_keeps_the_columns_it_does_not_name(workspace: Workspace) -> None:
    commit(workspace, "signals", wide(["a", "b"], motion_speed=[1.0, 2.0]))
    commit(workspace, "signals", wide(["b", "c"], speech_words=["x", "y"]))
    assert [(r["clip_id"], r["motion_speed"], r["speech_words"]) for r in signals(workspace)] == [
        ("a", 1.0, None),
        ("b", 2.0, "x"),
        ("c", None, "y"),
    ]


def test_the_last_row_of_a_key_wins_within_a_batch(workspace: Workspace) -> None:
    batch = Batch()
    batch.add("signals", wide(["a", "b"], motion_speed=[1.0, 2.0]))
    batch.add("signals", wide(["a"], motion_speed=[3.0]))
    workspace.commit(batch)
    assert [(r["clip_id"], r["motion_speed"]) for r in signals(workspace)] == [("a", 3.0), ("b", 2.0)]


def test_parts_of_one_batch_that_name_different_columns_are_merged(workspace: Workspace) -> None:
    batch = Batch()
    batch.add("signals", wide(["a"], motion_speed=[1.0]))
    batch.add("signals", wide(["a"], speech_words=["x"]))
    workspace.commit(batch)
    (row,) = signals(workspace)
    assert (row["motion_speed"], row["speech_words"]) == (1.0, "x")


def test_a_column_that_changes_its_type_starts_empty(workspace: Workspace) -> None:
    commit(workspace, "signals", wide(["a", "b"], motion_speed=[1.0, 2.0]))
    commit(workspace, "signals", wide(["a"], motion_speed=["fast"]))
    assert [(r["clip_id"], r["motion_speed"]) for r in signals(workspace)] == [("a", "fast"), ("b", None)]


@pytest.mark.parametrize("where", ["clip_id = 'a' AND payload IS NOT NULL", "vector IS NULL"])
def test_a_filter_that_reads_what_all_rows_carry_is_refused(workspace: Workspace, where: str) -> None:
    commit(workspace, "signals", wide(["a", "payload"], motion_speed=[1.0, 2.0]))
    manifest = workspace.ledger.manifest()
    with pytest.raises(ValueError, match="reads payloads or vectors of all rows"):
        workspace.record.read(manifest, "signals", ["clip_id"], where)
    assert workspace.record.read(manifest, "signals", ["clip_id"], "clip_id = 'payload'").num_rows == 1


def test_values_that_are_not_finite_are_refused(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="motion_speed.*not finite"):
        commit(workspace, "signals", wide(["a"], motion_speed=[float("nan")]))
    assert workspace.ledger.manifest().id == 0


def test_a_reader_stays_at_its_manifest(workspace: Workspace) -> None:
    commit(workspace, "signals", wide(["a"], motion_speed=[1.0]))
    pinned = workspace.ledger.manifest()
    commit(workspace, "signals", wide(["a"], motion_speed=[2.0]))
    with workspace.views(pinned) as reader:
        assert reader.sql("SELECT motion_speed FROM signals").item() == 1.0
    assert signals(workspace)[0]["motion_speed"] == 2.0


def test_a_torn_newest_manifest_is_set_aside(workspace: Workspace) -> None:
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    commit(workspace, "videos", table_of([{"video_id": "b"}], VIDEOS))
    folder = Path(workspace.record.uri("videos"))
    newest = min((folder / "_versions").glob("*.manifest"))
    newest.write_bytes(newest.read_bytes()[:20])
    found = Record(workspace.record.root).open("videos")
    assert found is not None
    assert found.to_table()["video_id"].to_pylist() == ["a"]
    assert len(list((folder / "_torn").rglob("*.manifest"))) == 1
    commit(workspace, "videos", table_of([{"video_id": "b"}], VIDEOS))
    with workspace.views() as reader:
        assert reader.sql("SELECT video_id FROM videos ORDER BY 1")["video_id"].to_list() == ["a", "b"]


def test_a_torn_workspace_opens_as_of_its_last_whole_manifest(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    commit(workspace, "signals", wide(["c"], motion_speed=[1.0]))
    commit(workspace, "videos", table_of([{"video_id": "b"}], VIDEOS))
    newest = min((Path(workspace.record.uri("videos")) / "_versions").glob("*.manifest"))
    newest.write_bytes(b"")
    again = open_workspace(workspace.settings.workspace)
    assert "were torn" in caplog.text
    with again.views() as reader:
        assert reader.sql("SELECT video_id FROM videos")["video_id"].to_list() == ["a"]
        assert reader.sql("SELECT count(*) FROM signals").item() == 1
    commit(again, "videos", table_of([{"video_id": "b"}], VIDEOS))
    with open_workspace(workspace.settings.workspace).views() as reader:
        assert reader.sql("SELECT video_id FROM videos ORDER BY 1")["video_id"].to_list() == ["a", "b"]


def tear(file: Path, how: str) -> None:
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if how == "empty" else file.read_bytes()[: file.stat().st_size // 2])


def newest_file(workspace: Workspace, table: str, folder: str = "data") -> Path:
    return max((Path(workspace.record.uri(table)) / folder).iterdir(), key=lambda f: f.stat().st_mtime_ns)


@pytest.mark.parametrize("how", ["empty", "half", "gone"])
def test_a_torn_file_of_a_whole_manifest_sends_the_workspace_back(
    how: str, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two tables at once, and of a third that was not written since."""
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    commit(workspace, "clips", table_of([{"clip_id": "c", "video_id": "a"}], CLIPS))
    both = Batch()
    both.add("videos", table_of([{"video_id": "b"}], VIDEOS))
    both.add("signals", wide(["c"], motion_speed=[1.0]))
    workspace.commit(both)
    for table in ("videos", "signals"):
        tear(newest_file(workspace, table), how)
    again = open_workspace(workspace.settings.workspace)
    assert "were torn" in caplog.text
    with again.views() as reader:
        assert reader.sql("SELECT video_id FROM videos")["video_id"].to_list() == ["a"]
        assert reader.sql("SELECT count(*) FROM _clips").item() == 1
    again.commit(both)
    caplog.clear()
    healed = open_workspace(workspace.settings.workspace)
    assert not caplog.text, "once is enough"
    assert [r["motion_speed"] for r in signals(healed)] == [1.0]
    with healed.views() as reader:
        assert reader.sql("SELECT video_id FROM videos ORDER BY 1")["video_id"].to_list() == ["a", "b"]


def test_a_torn_deletion_sends_the_workspace_back(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    commit(workspace, "videos", table_of([{"video_id": v} for v in "abc"], VIDEOS))
    workspace.record.delete(workspace.ledger, "videos", "video_id = 'b'")
    tear(newest_file(workspace, "videos", "_deletions"), "half")
    with open_workspace(workspace.settings.workspace).views() as reader:
        assert reader.sql("SELECT video_id FROM videos ORDER BY 1")["video_id"].to_list() == ["a", "b", "c"]
    assert "were torn" in caplog.text


def test_a_torn_file_that_every_manifest_names_is_told_with_its_table(workspace: Workspace) -> None:
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    commit(workspace, "signals", wide(["c"], motion_speed=[1.0]))
    tear(newest_file(workspace, "videos"), "half")
    with pytest.raises(ValueError, match=r"no manifest can be read whole; restore .* \(torn: videos\)"):
        open_workspace(workspace.settings.workspace)


def test_a_workspace_that_lost_a_table_says_so(workspace: Workspace) -> None:
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    shutil.rmtree(workspace.record.uri("videos"))
    with pytest.raises(ValueError, match="no manifest can be read whole; restore"):
        open_workspace(workspace.settings.workspace)


def test_a_table_without_any_readable_manifest_says_so(workspace: Workspace) -> None:
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    for manifest in (Path(workspace.record.uri("videos")) / "_versions").glob("*.manifest"):
        manifest.write_bytes(b"")
    with pytest.raises(ValueError, match="videos: no version can be read"):
        Record(workspace.record.root).open("videos")


def test_a_pinned_version_that_is_gone_says_so(workspace: Workspace) -> None:
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    with pytest.raises(ValueError, match="videos: version 99 can't be read"):
        workspace.record.open("videos", 99)


def test_a_turn_that_was_overtaken_may_not_write(workspace: Workspace) -> None:
    with workspace.ledger.turn() as turn:
        turn.check()
        stale = Turn(turn._connection, turn.token - 1, turn.manifest)
        with pytest.raises(LostTurn, match="overtaken"):
            stale.check()


def test_compaction_keeps_rows_and_joins_pieces(workspace: Workspace) -> None:
    for i in range(8):
        commit(workspace, "signals", wide([f"c{i}"], motion_speed=[float(i)]))
    before = signals(workspace)
    workspace.record.compact(workspace.ledger, fragments=4)
    found = workspace.record.open("signals")
    assert found is not None
    assert len(found.get_fragments()) == 1
    assert signals(workspace) == before
    pinned = workspace.ledger.manifest()
    assert workspace.record.compact(workspace.ledger) == pinned, "nothing to join, so no new manifest"


def test_rows_that_were_replaced_leave_the_disk(workspace: Workspace) -> None:
    def num_bytes() -> int:
        folder = Path(workspace.record.uri("signals"))
        return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())

    ids = [f"c{i:05d}" for i in range(3000)]
    sizes = []
    for night in range(30):
        values = np.random.default_rng(night).random(3000).tolist()
        commit(workspace, "signals", wide(ids, motion_speed=values))
        workspace.record.compact(workspace.ledger, keep=timedelta(0))
        sizes.append(num_bytes())
    assert sizes[-1] < 2 * sizes[0], sizes
    assert [row["motion_speed"] for row in signals(workspace)] == values
    assert workspace.record.readable(workspace.ledger.manifest())


def _write_many(root: str, worker: int) -> None:
    workspace = open_workspace(root)  # at once with the others, on a ledger that has no tables yet
    for round_ in range(6):
        ids = [f"clip{i:03d}" for i in range(round_ * 10, round_ * 10 + 60)]
        commit(workspace, "signals", wide(ids, **{f"s{worker}_value": [float(worker)] * len(ids)}))


def test_processes_with_overlapping_keys_never_double_a_row(workspace: Workspace) -> None:
    context = multiprocessing.get_context("spawn")
    root = str(workspace.settings.workspace)
    writers = [context.Process(target=_write_many, args=(root, worker)) for worker in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0, 0]
    rows = signals(workspace)
    assert [r["clip_id"] for r in rows] == [f"clip{i:03d}" for i in range(110)]
    assert all(r[f"s{worker}_value"] == worker for r in rows for worker in range(3))


def test_a_killed_committer_frees_its_turn(workspace: Workspace) -> None:
    context = multiprocessing.get_context("spawn")
    holder = context.Process(target=_hold_turn, args=(str(workspace.settings.workspace),))
    holder.start()
    marker = workspace.settings.workspace / "held"
    while not marker.exists():
        time.sleep(0.01)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    commit(workspace, "videos", table_of([{"video_id": "a"}], VIDEOS))
    assert workspace.ledger.manifest().id == 1


def _hold_turn(root: str) -> None:
    workspace = open_workspace(root)
    with workspace.ledger.turn():
        (workspace.settings.workspace / "held").touch()
        time.sleep(60)


def test_put_replaces_rows_by_key(workspace: Workspace) -> None:
    ledger = workspace.ledger
    ledger.set_setting("a", "1")
    ledger.set_setting("a", "2")
    assert ledger.setting("a", "") == "2"
    assert ledger.setting("b", "none") == "none"


def test_what_was_erased_is_known_by_its_hmac_alone(workspace: Workspace) -> None:
    ledger = workspace.ledger
    row = {"id": "e1", "state": "begun", "begun_at": 1.0, "journal": "{}"}
    with ledger.turn() as turn:
        turn.erase(row, ["v1"], ["/a.mp4"])
    assert ledger.is_erasing()
    assert ledger.erased(["v1", "v2"]) == {"v1"}
    assert ledger.erased_by("v1") == "e1"
    ledger.readmit("v1")
    assert ledger.erased(["v1"]) == set()
    ledger.scrub()
    assert ledger.secret() == ledger.secret()


def test_lancedb_opens_the_same_tables(workspace: Workspace) -> None:
    import lancedb

    commit(workspace, "signals", wide(["a", "b"], motion_speed=[1.0, 2.0]))
    table = lancedb.connect(workspace.record.root).open_table("signals")
    assert table.count_rows("motion_speed > 1.5") == 1


def test_many_small_commits_do_not_leave_as_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece would cost every later commit and read; what an earlier manifest names stays readable."""
    monkeypatch.setattr(record_module, "MAX_PIECES", 8 * len(VIDEOS))
    workspace = open_workspace(tmp_path / "workspace")
    manifests = []
    for number in range(30):
        batch = Batch()
        batch.add("videos", table_of([{"video_id": f"v{number % 20}", "name": str(number)}], VIDEOS))
        manifests.append(workspace.commit(batch))
        dataset = workspace.record.open("videos")
        assert dataset is not None
        assert len(dataset.get_fragments()) <= 8
        assert dataset.version == manifests[-1].versions["videos"]
    held = workspace.record.read(manifests[-1], "videos", ["video_id", "name"]).to_pylist()
    assert {r["video_id"]: int(r["name"]) for r in held} == {f"v{n % 20}": n for n in range(10, 30)}
    assert len(held) == 20
    assert workspace.record.read(manifests[10], "videos").num_rows == 11
