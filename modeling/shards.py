"""What training reads of a shard set: its clips' files, by several loader processes, in an order that can be repeated.

`TarClips` streams whole tars, `TableClips` takes rows of the Lance tables by number. Either gives a clip as a dict of
"clip_id", "group", and the bytes of its files by extension: "mp4", "flac", "json", "NAME.arrow".
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from store import shard_table
from store.media import fit
from store.objects import Objects

Clip = dict[str, Any]
INDEX = "index.json"


def read_index(place: str, cache: Path | None = None) -> tuple[Objects, dict[str, Any]]:
    """The storage and the index of a shard set in a folder or at an s3:// address; `cache` is where objects of S3 come to.

    Raises ValueError when there is no whole set.
    """
    objects = Objects(
        place if "://" in place else str(Path(place).absolute()), cache or Path.home() / ".cache" / "headroom"
    )
    if not objects.exists(INDEX):
        raise ValueError(f"{place}: holds no whole shard set; run headroom shard, again if it was killed")
    told: dict[str, Any] = json.loads(objects.local(INDEX, fresh=True).read_bytes())
    return objects, told


class TarClips(IterableDataset[Clip]):
    """Clips of the tars, shard by shard. An epoch's order of shards follows from `seed` and `set_epoch` alone; ranks and the
    processes of a loader take turns at them, so every clip comes once.

    Raises ValueError for a set without tars, and for groups that it hasn't.
    """

    def __init__(
        self,
        place: str,
        *,
        groups: Sequence[str] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: Path | None = None,
    ) -> None:
        self.objects, index = read_index(place, cache)
        if "webdataset" not in index["formats"]:
            raise ValueError(f"{place}: holds Lance tables alone; read it with TableClips")
        self.shards = [s for s in index["shards"] if s["group"] in _chosen(place, index, groups)]
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self.rank, self.world_size = rank, world_size

    def set_epoch(self, epoch: int) -> None:
        """Before a loader begins it: its processes get a copy."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Clip]:
        count = len(self.shards)
        drawn = np.random.default_rng([self.seed, self.epoch]).permutation(count).tolist()
        order: list[int] = drawn if self.shuffle else list(range(count))
        info = get_worker_info()
        number, processes = (info.id, info.num_workers) if info else (0, 1)
        for i in order[self.rank :: self.world_size][number::processes]:
            shard = self.shards[i]
            with self.objects.local(shard["tar"]["path"]).open("rb") as file:
                yield from clips_of(file, shard["group"])


def clips_of(file: io.BufferedIOBase | io.BufferedReader, group: str) -> Iterator[Clip]:
    """The clips of one tar, read once from its beginning to its end."""
    clip: Clip = {}
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            name, _, extension = member.name.partition(".")
            data = tar.extractfile(member)
            assert data is not None, member.name
            if clip and clip["clip_id"] != name:
                yield clip
                clip = {}
            clip |= {"clip_id": name, "group": group, extension: data.read()}
    if clip:
        yield clip


class TableClips(Dataset[Clip]):
    """Clips of the Lance tables by number, group by group; of each only the files that are asked for are read.

    It may be sent to processes that are spawned. In a forked one it raises RuntimeError: Lance's threads do not survive a
    fork.
    """

    def __init__(
        self, place: str, files: Sequence[str] = ("mp4", "json"), *, groups: Sequence[str] | None = None
    ) -> None:
        self.objects, index = read_index(place)
        if "lance" not in index["formats"]:
            raise ValueError(f"{place}: holds tars alone; read it with TarClips")
        self.columns = {_column(name): name for name in files}
        self.groups = sorted(_chosen(place, index, groups))
        self._ends = np.cumsum([index["groups"][g]["num_clips"] for g in self.groups])
        self._tables: dict[str, Any] = {}
        self._pid = os.getpid()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> Clip:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Clip]:
        """Of a batch: one read for each group."""
        if os.getpid() != self._pid:
            raise RuntimeError("this process was forked; use multiprocessing_context='spawn'")
        made: dict[int, Clip] = {}
        places = np.searchsorted(self._ends, numbers, side="right")
        for at in sorted(set(places.tolist())):
            mine = [n for n, place in zip(numbers, places, strict=True) if place == at]
            first = int(self._ends[at - 1]) if at else 0
            rows = self._table(self.groups[at]).take([n - first for n in mine], columns=["clip_id", *self.columns])
            for number, row in zip(mine, rows.to_pylist(), strict=True):
                files = {self.columns[k]: v for k, v in row.items() if k in self.columns and v is not None}
                made[number] = {"clip_id": row["clip_id"], "group": self.groups[at], **files}
        return [made[n] for n in numbers]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pid = os.getpid()

    def _table(self, group: str) -> Any:
        if group not in self._tables:
            self._tables[group] = shard_table.opened(self.objects.uri(f"{group}/clips.lance"))
        return self._tables[group]


def decoded(clip: Mapping[str, Any], num_frames: int, size: tuple[int, int]) -> torch.Tensor:
    """The first frames of a clip's video, uint8 (T, 3, H, W), filling `size` around their centre; fewer if it is shorter."""
    import av

    found = []
    with av.open(io.BytesIO(clip["mp4"]), "r") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        how = fit(stream.width, stream.height, size, cut=True)
        top, left = how.corner
        for frame in container.decode(stream):
            whole = frame.to_ndarray(format="rgb24", width=how.scaled[1], height=how.scaled[0], interpolation="AREA")
            found.append(whole[top : top + size[0], left : left + size[1]])
            if len(found) == num_frames:
                break
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy())


def _chosen(place: str, index: Mapping[str, Any], groups: Sequence[str] | None) -> set[str]:
    if other := set(groups or ()) - set(index["groups"]):
        raise ValueError(f"{place}: has no group {', '.join(sorted(other))}; it has {', '.join(index['groups'])}")
    return set(index["groups"] if groups is None else groups)


def _column(file: str) -> str:
    return f"timeline_{file.removesuffix('.arrow')}" if file.endswith(".arrow") else file
