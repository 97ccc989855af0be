"""How fast a shard set is read back by a torch DataLoader, against bare reading of its bytes and against its sources.

    python -m benchmarks.shards TIER [--workspace DIR] [--out PLACE] [--workers 2] [--seconds 8] [--s3 s3://BUCKET/PREFIX]

The set is written first, if it is not there. All ways are taken in turn, several times, and the median is told, so that a
slow moment of the machine meets all of them. Files come from the page cache: what is measured is the reading, not the disk. With --s3 the set is copied there and read by the same
readers: tars by a loader that holds none of them yet, and again, rows of the tables each time from the server.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from benchmarks.machine import machine
from flows.shard import run_shard
from modeling.shards import TableClips, TarClips, decoded
from store.media import fit
from store.objects import Objects, local_path
from store.workspace import open_workspace
from tasks.shard_begin import Asked

FRAMES, SIZE = 16, (256, 256)
ROUNDS, BATCH = 3, 4
START_S = 10.0
"""Until the processes of a loader are there, about."""
CHUNK = 1 << 20


class Repeated(IterableDataset[Any]):
    """Epoch after epoch of a set in one loader, so long: starting processes is not what is measured."""

    def __init__(self, data: TarClips, seconds: float, decode: bool) -> None:
        self.data, self.seconds, self.decode = data, seconds, decode

    def __iter__(self) -> Iterator[Any]:
        ends = time.perf_counter() + self.seconds
        for epoch in itertools.count():
            self.data.set_epoch(epoch)
            for clip in self.data:
                yield decoded(clip, FRAMES, SIZE) if self.decode else _bytes(clip)
                if time.perf_counter() > ends:
                    return


class Epoch(IterableDataset[int]):
    """Bytes of each clip, once."""

    def __init__(self, data: TarClips) -> None:
        self.data = data

    def __iter__(self) -> Iterator[int]:
        yield from map(_bytes, self.data)


class Rows(Dataset[int]):
    """Bytes of rows of the Lance tables."""

    def __init__(self, data: TableClips) -> None:
        self.data = data

    def __getitems__(self, numbers: list[int]) -> list[int]:
        return [_bytes(clip) for clip in self.data.__getitems__(numbers)]


class Numbers(Sampler[list[int]]):
    """Batches of numbers drawn by chance, so long from the first one that was asked for on."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds

    def __iter__(self) -> Iterator[list[int]]:
        draw, ends = np.random.default_rng(0), time.perf_counter() + START_S + self.seconds
        while time.perf_counter() < ends:
            yield draw.integers(0, self.count, BATCH).tolist()


class Sources(IterableDataset[Any]):
    """The first frames of the same clips, decoded from their sources: sought, read up to the span, cropped."""

    def __init__(self, spans: list[tuple[str, float]], seconds: float) -> None:
        self.spans, self.seconds = spans, seconds

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        number, count = (info.id, info.num_workers) if info else (0, 1)
        ends = time.perf_counter() + self.seconds
        for path, start_s in itertools.cycle(self.spans[number::count]):
            yield _from_source(path, start_s)
            if time.perf_counter() > ends:
                return


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


def rate(data: Any, workers: int, numbers: Numbers | None = None) -> tuple[float, float]:
    """(clips, bytes or frames) a second of a loader that runs to its end, counted from its first batch on."""
    order: dict[str, Any] = {"batch_size": BATCH} if numbers is None else {"batch_sampler": numbers}
    loader: DataLoader[Any] = DataLoader(
        data, num_workers=workers, collate_fn=as_they_are, multiprocessing_context="spawn", **order
    )
    clips, told, began = 0, 0.0, 0.0
    for batch in loader:
        if not began:  # the processes are there
            began = time.perf_counter()
            continue
        clips += len(batch)
        told += sum(len(item) if isinstance(item, torch.Tensor) else item for item in batch)
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
    table = TableClips(place, files=("mp4", "flac", "json"))
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "tar": lambda: rate(Repeated(TarClips(place), seconds, decode=False), workers),
        "lance": lambda: rate(Rows(table), workers, Numbers(len(table), seconds)),
        "tar_decoded": lambda: rate(Repeated(TarClips(place), seconds, decode=True), workers),
        "source_decoded": lambda: rate(Sources(spans, seconds), workers),
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


def from_s3(place: str, url: str, workers: int, seconds: float) -> dict[str, float]:
    """Clips and megabytes a second of a set on S3: tars that have to be fetched, the same tars again, rows of the tables."""
    with tempfile.TemporaryDirectory(prefix="shards-s3-") as folder:
        there, root = Objects(url, Path(folder) / "sent"), Path(place)
        for file in sorted(f for f in root.rglob("*") if f.is_file()):
            there.put(file, str(file.relative_to(root)))
        tars, table = TarClips(url, cache=Path(folder) / "cache"), TableClips(url, files=("mp4", "flac", "json"))
        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "s3_tar_first": lambda: rate(Epoch(tars), workers),
            "s3_tar_again": lambda: rate(Repeated(tars, seconds, decode=False), workers),
            "s3_lance": lambda: rate(Rows(table), workers, Numbers(len(table), seconds)),
        }
        made = {}
        for name, way in ways.items():
            clips, more = way()
            made |= {f"{name}_clips_s": round(clips, 3), f"{name}_mb_s": round(more / 1e6, 3)}
    return made


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("tier")
    asked.add_argument("--workspace", type=Path)
    asked.add_argument("--out")
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--seconds", type=float, default=8.0)
    asked.add_argument("--s3", metavar="s3://BUCKET/PREFIX")
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
    if given.s3:
        figures |= from_s3(told["place"], given.s3, given.workers, given.seconds)
    size = {k: told[k] for k in ("num_clips", "num_shards", "bytes", "duration_s")}
    made = {} if told["did"] == "nothing" else {"wrote_s": round(wrote_s, 1)}
    print(json.dumps({"machine": machine(), "workers": given.workers, **size, **made, **figures}, indent=1))


if __name__ == "__main__":
    main()
