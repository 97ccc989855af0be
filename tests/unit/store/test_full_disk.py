"""A disk that fills up, at each kind of write: nothing half is left, and with room again the same write goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headroom.command import _complain
from store import registry, shard_table
from store.annotation_database import Database
from store.record import Batch, table_of
from store.schema import CLIPS, VIDEOS
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tests.annotators import Crew
from tests.faults import can_mount, small_disk
from tests.tables import doubled

pytestmark = [
    pytest.mark.usefixtures("quick_sql"),
    pytest.mark.skipif(not can_mount(), reason="a small disk needs root and mount"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    with small_disk(place, 24):
        yield place


@pytest.fixture
def workspace(disk: Path) -> Workspace:
    made = open_workspace(disk / "workspace")
    commit(made, "a")
    commit(made, "again")  # in two pieces
    (disk / "workspace" / "tiers").mkdir()
    (disk / "workspace" / "tiers" / "long.sql").write_text("SELECT clip_id FROM clips WHERE duration_s > 1")
    return made


def commit(workspace: Workspace, name: str) -> None:
    batch = Batch()
    batch.add("videos", table_of([{"video_id": name, "name": name * 2000, "state": "done"}], VIDEOS))
    clip = {"clip_id": f"c{name}", "video_id": name, "start_frame": 0, "end_frame": 50, "start_s": 0.0, "end_s": 2.0}
    batch.add("clips", table_of([{**clip, "duration_s": 2.0, "active": False}], CLIPS))
    workspace.commit(batch)


def fill(disk: Path) -> Path:
    """A file that takes all that is left, to the last page."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"0" * 4096)
        except OSError:
            return filler


def checkpoint(workspace: Workspace) -> None:
    told = {"recipe": {"name": "tiny"}, "snapshot": {"id": "s1"}, "data": {"clips": ["ca"]}}
    registry.publish(workspace, b"weights" * 1000, told)


def media(workspace: Workspace) -> None:
    source = workspace.scratch.parent.parent.parent / "proxy.mp4"  # another disk, as a scratch may be
    source.write_bytes(b"frames" * 10_000)
    workspace.objects.put(source, "media/a/proxy.mp4")


def report(workspace: Workspace) -> None:
    from dashboards.report import write_report

    write_report(workspace)


def annotation(workspace: Workspace) -> None:
    database = Database(f"sqlite:///{workspace.settings.workspace / 'annotation.sqlite'}")
    try:
        Crew(database).person("one")
    finally:
        database.close()


def shard_rows(workspace: Workspace) -> None:
    row = {"clip_id": "ca", "mp4": b"0" * 100_000}
    uri = workspace.settings.workspace / "shards" / "s" / "group.lance"
    shard_table.put_shard(str(uri), shard_table.schema_of(()), 0, [row])
    assert shard_table.shards_in(str(uri)) == {0: ["ca"]}


def training(workspace: Workspace) -> None:
    """The state that a training goes on from, saved over the one before."""
    import torch

    from modeling.training import save_state, saved_state

    folder = workspace.settings.workspace / "runs" / "r"
    assert saved_state(folder)["step"] == 1, "as it was before, whole"
    save_state(folder, {"step": 2, "net": torch.zeros(200_000)})
    assert saved_state(folder)["net"].shape == (200_000,)


def night(workspace: Workspace) -> None:
    """What the nightly `reprocess` ends with."""
    workspace.record.compact(workspace.ledger, fragments=1, keep=timedelta(0))


WRITES: dict[str, Callable[[Workspace], Any]] = {
    "tables": lambda w: commit(w, "b"),
    "ledger": lambda w: w.ledger.set_setting("key", "value" * 5000),
    "media": media,
    "shard": lambda w: w.objects.put_bytes(b"0" * 100_000, "shards/s/000000.tar"),
    "snapshot": lambda w: freeze.build(w, "long"),
    "checkpoint": checkpoint,
    "report": report,
    "annotation": annotation,
    "compaction": night,
    "training": training,
    "shard table": shard_rows,
}


def objects_of(workspace: Workspace) -> list[str]:
    """What readers may meet: no table's files, which a manifest has to name first, and nothing half-written."""
    found = (key for key, _ in workspace.objects.under(""))
    beside = ("lance/", "cache/", "scratch/", "ledger", "annotation")
    whole = (k for k in found if ".lance/" not in k or "/_versions/" in k)
    return [k for k in whole if not k.startswith(beside) and not Path(k).name.startswith(".")]


@pytest.mark.parametrize("kind", WRITES)
def test_a_full_disk_at_each_kind_of_write(
    kind: str, workspace: Workspace, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, before = WRITES[kind], workspace.ledger.manifest()
    if kind == "training":
        from modeling.training import save_state

        (disk / "workspace" / "runs" / "r").mkdir(parents=True)
        save_state(disk / "workspace" / "runs" / "r", {"step": 1})
    known = objects_of(workspace)
    filler = fill(disk)
    with pytest.raises(Exception) as caught:
        write(workspace)
    _complain(caught.value, ["curate", "-w", str(workspace.settings.workspace)])
    said = capsys.readouterr().err
    assert said.startswith("headroom: the disk is full (")
    assert said.endswith("make room, then run the same command again: it goes on where it was\n")
    filler.unlink()
    assert workspace.ledger.manifest() == before
    if kind != "report":
        assert objects_of(workspace) == known
    write(workspace)
    again = open_workspace(workspace.settings.workspace)
    assert doubled(again) == []
    with again.views() as reader:
        held = reader.sql("SELECT video_id FROM videos ORDER BY 1")["video_id"].to_list()
    assert held == ["a", "again", *(["b"] if kind == "tables" else [])]
    if kind == "compaction":
        assert again.ledger.manifest() != before
        tables = (again.record.open(table) for table in before.versions)
        assert [len(t.get_fragments()) for t in tables if t is not None] == [1, 1]
