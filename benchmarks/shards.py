"""How fast a shard set is read back by a torch DataLoader, against bare reading of its bytes and against its sources.

    python -m benchmarks.shards TIER [--workspace DIR] [--out PLACE] [--workers 2] [--seconds 8]

The set is written first, if it is not there. All ways are taken in turn, several times, and the median is told, so that a
slow moment of the machine meets all of them. Files come from the page cache: what is measured is the reading, not the disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from benchmarks.machine import machine
from flows.shard import run_shard
from modeling.shards import TableClips, TarClips, decoded
from store.media import fit
from store.objects import local_path
from store.workspace import open_workspace
from tasks.shard_begin import Asked

FRAMES, SIZE = 16, (256, 256)
ROUNDS = 3
CHUNK = 1 << 20


class Repeated(IterableDataset[Any]):
    """Epoch after epoch of a set in one loader, until it is told to stop: starting processes is not what is measured."""

    def __init__(self, data: TarClips, epochs: int, decode: bool) -> None:
        self.data, self.epochs, self.decode = data, epochs, decode

    def __iter__(self) -> Iterator[Any]:
        for epoch in range(self.epochs):
            self.data.set_epoch(epoch)
            for clip in self.data:
                yield decoded(clip, FRAMES, SIZE) if self.decode else _bytes(clip)


class Rows(Dataset[int]):
    """Rows of the Lance tables, over and over."""

    def __init__(self, data: TableClips, epochs: int) -> None:
        self.data, self.epochs = data, epochs

    def __len__(self) -> int:
        return len(self.data) * self.epochs

    def __getitems__(self, numbers: list[int]) -> list[int]:
        return [_bytes(clip) for clip in self.data.__getitems__([n % len(self.data) for n in numbers])]


class Sources(IterableDataset[Any]):
    """The first frames of the same clips, decoded from their sources: sought, read up to the span, cropped."""

    def __init__(self, spans: list[tuple[str, float]], epochs: int) -> None:
        self.spans, self.epochs = spans, epochs

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        number, count = (info.id, info.num_workers) if info else (0, 1)
        for _ in range(self.epochs):
            for path, start_s in self.spans[number::count]:
                yield _from_source(path, start_s)


def _from_source(path: str, start_s: float) -> torch.Tensor:
    import av

    found = []
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        container.seek(max(0, int(start_s / float(stream.time_base or 1))), stream=stream)
        how = fit(stream.width, stream.height, SIZE, cut=True)
        top, left = how.corner
        for frame in container.decode(stream):
            if frame.time is None or frame.time < start_s - 1e-3:
                continue
            whole = frame.to_ndarray(format="rgb24", width=how.scaled[1], height=how.scaled[0], interpolation="AREA")
            found.append(whole[top : top + SIZE[0], left : left + SIZE[1]])
            if len(found) == FRAMES:
                break
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy())


def _bytes(clip: dict[str, Any]) -> int:
    return sum(len(v) for v in clip.values() if isinstance(v, bytes))


def as_they_are(items: list[Any]) -> list[Any]:
    return items


def rate(data: Any, workers: int, seconds: float) -> tuple[float, float]:
    """(clips, bytes or frames) a second of a loader, counted from its first batch on."""
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=4, num_workers=workers, collate_fn=as_they_are, multiprocessing_context="spawn"
    )
    clips, told, began = 0, 0.0, 0.0
    for batch in loader:
        if not began:  # the processes are there
            began = time.perf_counter()
            continue
        clips += len(batch)
        told += sum(len(item) if isinstance(item, torch.Tensor) else item for item in batch)
        if time.perf_counter() - began > seconds:
            break
    passed = time.perf_counter() - began
    return clips / passed, told / passed


def bare(files: list[Path], seconds: float) -> float:
    """Bytes a second of one process that reads the same tars and does nothing else."""
    read, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for file in files:
            with file.open("rb", buffering=0) as source:
                while chunk := source.read(CHUNK):
                    read += len(chunk)
    return read / (time.perf_counter() - began)


def measured(place: str, spans: list[tuple[str, float]], workers: int, seconds: float) -> dict[str, Any]:
    """By way the median of all rounds; ratios are medians of each round's own."""
    files = sorted(Path(place).rglob("*.tar"))
    epochs = 1_000_000
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "tar": lambda: rate(Repeated(TarClips(place), epochs, decode=False), workers, seconds),
        "lance": lambda: rate(Rows(TableClips(place, files=("mp4", "flac", "json")), epochs), workers, seconds),
        "tar_decoded": lambda: rate(Repeated(TarClips(place), epochs, decode=True), workers, seconds),
        "source_decoded": lambda: rate(Sources(spans, epochs), workers, seconds),
    }
    rounds = []
    for _ in range(ROUNDS):
        one = {"bare_mb_s": bare(files, seconds / 4) / 1e6}
        for name, way in ways.items():
            clips, more = way()
            one[f"{name}_clips_s"] = clips
            if "decoded" not in name:
                one[f"{name}_mb_s"] = more / 1e6
        one["tar_over_bare"] = one["tar_mb_s"] / one["bare_mb_s"]
        one["lance_over_tar"] = one["lance_mb_s"] / one["tar_mb_s"]
        one["decoded_over_sources"] = one["tar_decoded_clips_s"] / one["source_decoded_clips_s"]
        rounds.append(one)
    return {name: round(statistics.median(r[name] for r in rounds), 3) for name in rounds[0]}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("tier")
    asked.add_argument("--workspace", type=Path)
    asked.add_argument("--out")
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--seconds", type=float, default=8.0)
    given = asked.parse_args()
    workspace = open_workspace(given.workspace)
    began = time.perf_counter()
    told = run_shard(workspace.settings.workspace, given.tier, given.out, Asked())
    wrote_s = time.perf_counter() - began
    index = json.loads((Path(told["place"]) / "index.json").read_text())
    with workspace.views() as reader:
        query = "SELECT clip_id, uri, clips.start_s FROM clips JOIN videos USING (video_id) ORDER BY clip_id"
        rows = reader.sql(query).iter_rows()
        spans = [(str(local_path(uri)), float(start_s)) for clip, uri, start_s in rows if clip in index["clips"]]
    figures = measured(told["place"], spans, given.workers, given.seconds)
    size = {k: told[k] for k in ("num_clips", "num_shards", "bytes", "duration_s")}
    made = {} if told["did"] == "nothing" else {"wrote_s": round(wrote_s, 1)}
    print(json.dumps({"machine": machine(), "workers": given.workers, **size, **made, **figures}, indent=1))


if __name__ == "__main__":
    main()
