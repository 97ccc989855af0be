"""Shards are read back: every clip once, by several processes, in an order that follows from the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from modeling.shards import TableClips, TarClips, clips_of, decoded
from store.workspace import open_workspace
from tests.unit.tasks.sharded import fill_with_sources
from tests.unit.tasks.test_shard import members, shard


def as_they_are(clips: list[Any]) -> list[Any]:
    return clips


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("read")
    workspace = open_workspace(folder / "corpus")
    fill_with_sources(workspace, folder / "footage")
    shard(workspace, folder / "out", timelines=())
    return folder / "out"


def test_every_clip_comes_once_whatever_the_number_of_processes(place: Path) -> None:
    files = members(place)
    data = TarClips(str(place))
    plain = list(data)
    assert sorted(c["clip_id"] for c in plain) == ["a1", "a2", "b1"]
    for clip in plain:
        assert clip["mp4"] == files[f"{clip['clip_id']}.mp4"]
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=2, num_workers=2, collate_fn=as_they_are, multiprocessing_context="spawn"
    )
    assert sorted(c["clip_id"] for batch in loader for c in batch) == ["a1", "a2", "b1"]
    ranks = [[c["clip_id"] for c in TarClips(str(place), rank=r, world_size=2)] for r in range(2)]
    assert sorted(ranks[0] + ranks[1]) == ["a1", "a2", "b1"]


def test_the_order_of_shards_follows_from_seed_and_epoch(place: Path) -> None:
    def order(seed: int, epoch: int) -> list[str]:
        data = TarClips(str(place), seed=seed)
        data.set_epoch(epoch)
        return [c["group"] for c in data]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) > 1


def test_rows_by_number(place: Path) -> None:
    files = members(place)
    data = TableClips(str(place), files=("flac", "json"))
    assert len(data) == 3
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=3, num_workers=1, collate_fn=as_they_are, multiprocessing_context="spawn"
    )
    (batch,) = list(loader)
    assert [c["clip_id"] for c in batch] == ["a1", "a2", "b1"]
    assert batch[1]["flac"] == files["a2.flac"]
    assert "flac" not in batch[2]
    assert "mp4" not in batch[0]
    assert data[2]["group"] == "unknown/1080p/16x9/4-8s"
    data._pid = -1
    with pytest.raises(RuntimeError, match="forked"):
        data[0]


def test_frames_of_a_clip(place: Path) -> None:
    clip = next(c for c in TarClips(str(place)) if c["clip_id"] == "a1")
    frames = decoded(clip, 5, (64, 64))
    assert frames.shape == (5, 3, 64, 64)
    assert abs(float(frames[0, :, :, 40:].float().mean()) - 20) < 4


def test_what_can_not_be_read(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no whole shard set"):
        TarClips(str(tmp_path))
    with pytest.raises(ValueError, match="has no group x; it has unknown/1080p/16x9/2-4s"):
        TarClips(str(place), groups=["x"])
    index = (place / "index.json").read_text()
    for formats, kind in (('"lance"', TarClips), ('"webdataset"', TableClips)):
        (tmp_path / "index.json").write_text(f'{{"formats": [{formats}], "groups": {{}}, "shards": []}}')
        with pytest.raises(ValueError, match="alone; read it with"):
            kind(str(tmp_path))
    assert index == (place / "index.json").read_text()
    with (tmp_path / "no.tar").open("wb"):
        pass
    with (tmp_path / "no.tar").open("rb") as file, pytest.raises(Exception, match="empty"):
        list(clips_of(file, "g"))


def test_a_set_on_s3_is_read_by_several_processes(
    place: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the readers themselves, tars and tables, each clip once and with the bytes of the folder's."""
    from store.objects import Objects

    monkeypatch.setenv("HOME", str(tmp_path))  # where a reader without a cache of its own keeps what it fetched
    url, files = f"s3://{bucket}/set", members(place)
    there = Objects(url, tmp_path / "sent")
    for file in (f for f in place.rglob("*") if f.is_file()):
        there.put(file, str(file.relative_to(place)))
    told: dict[str, Any] = {"collate_fn": as_they_are, "multiprocessing_context": "spawn", "num_workers": 2}
    tars: DataLoader[Any] = DataLoader(TarClips(url, cache=tmp_path / "cache"), batch_size=2, **told)
    rows: DataLoader[Any] = DataLoader(TableClips(url, files=("mp4", "json")), batch_size=2, **told)
    for loader in (tars, rows):
        clips = [clip for batch in loader for clip in batch]
        assert sorted(c["clip_id"] for c in clips) == ["a1", "a2", "b1"]
        for clip in clips:
            assert clip["mp4"] == files[f"{clip['clip_id']}.mp4"]
