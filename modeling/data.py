"""What training reads: ranges of the clips of a frozen snapshot, as tensors, in an order that can be repeated.

Legend: B batch, T frames, C channels, H height, W width, N audio samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from store.frozen import Frozen
from store.media import GRID_FPS, fit, read_frames, read_sound
from store.timelines import read_spans, timeline_names

Item = dict[str, Any]
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class ClipRanges:
    """What one item holds. Each clip is cut into ranges of `length_s` from its start, `hop_s` apart; what is left at
    its end, and a clip that is shorter, gives none. `length_s` None takes each clip whole.

    `size` is (height, width): a frame fills it, cut around its centre, or lies whole in it with `pad`. `fps` counts
    frames that are kept, the nearest ones of the 25 fps grid. `timelines` are names of signals.
    """

    length_s: float | None = 2.0
    hop_s: float | None = None
    fps: float = 25.0
    size: tuple[int, int] = (256, 256)
    pad: bool = False
    frames: bool = True
    audio: bool = True
    timelines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.fps <= GRID_FPS:
            raise ValueError(
                f"fps {self.fps:g}: frames come from a grid of {GRID_FPS}, so it is above 0 and at most that"
            )
        if min(self.size) < 2:
            raise ValueError(f"size {self.size}: height and width are at least 2 px")
        for name, value in (("length_s", self.length_s), ("hop_s", self.hop_s)):
            if value is not None and value * GRID_FPS < 1:
                raise ValueError(f"{name} {value:g}: a frame lasts {1 / GRID_FPS:g} s; give more")


class ClipDataset(Dataset[Item]):
    """Ranges of a snapshot's clips, by number, in the order of clip_id and time.

    An item holds "clip_id", "video_id", "start_frame", "end_frame" and "clip_start_frame", and as asked for:
    - "frames" uint8 (T, C, H, W), "frame_index" int64 (T,), and "proxy_to_frame" float32 (2, 3): from pixels of the
      proxy, in which timelines tell places, to pixels of `frames`;
    - "audio" float32 (N,), 16 kHz mono, and "has_audio": without, it is silence;
    - "timelines" {name: {column: tensor, or list of texts}}, without those that the clip lacks.
    Frames are those of the video's grid; seconds of words and turns count from `clip_start_frame`.

    It may be sent to processes that are spawned, each opens the store for itself. In a forked one it raises
    RuntimeError: Lance's threads do not survive a fork.
    """

    def __init__(self, frozen: Frozen, ranges: ClipRanges = ClipRanges()) -> None:
        if unknown := sorted(set(ranges.timelines) - (known := timeline_names(frozen.record, frozen.versions))):
            raise ValueError(
                f"timeline {unknown[0]!r} is not in this snapshot; it has {', '.join(sorted(known)) or 'none'}"
            )
        self.frozen = frozen
        self.ranges = ranges
        starts = frozen.clips["start_frame"].to_numpy().astype(np.int64)
        ends = frozen.clips["end_frame"].to_numpy().astype(np.int64)
        self._clip, self._start, self._end = _cut(starts, ends, ranges)
        self._pid = os.getpid()

    @property
    def draw_probability(self) -> np.ndarray | None:
        """Of each item, by the weights of a balanced snapshot: a clip's is shared by its ranges. None without weights.

        Raises ValueError when no range is of a clip with a weight above 0.
        """
        if "weight" not in self.frozen.clips.column_names:
            return None
        share = self.frozen.clips["weight"].to_numpy()[self._clip] / np.bincount(self._clip)[self._clip]
        if not share.sum() > 0:
            raise ValueError(f"snapshot {self.frozen.snapshot_id}: none of these ranges is of a clip that is drawn")
        return np.asarray(share / share.sum())

    def __len__(self) -> int:
        return len(self._clip)

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Items of a batch: their timelines are read by one query."""
        if os.getpid() != self._pid:
            raise RuntimeError("this process was forked; use ClipLoader, or multiprocessing_context='spawn'")
        rows = [self.frozen.clips.slice(int(self._clip[i]), 1).to_pylist()[0] for i in indices]
        spans = [
            (r["clip_id"], r["video_id"], int(self._start[i]), int(self._end[i]))
            for r, i in zip(rows, indices, strict=True)
        ]
        lines = read_spans(self.frozen.record, self.frozen.versions, spans, self.ranges.timelines)
        return [self._item(row, *span[2:], found) for row, span, found in zip(rows, spans, lines, strict=True)]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pid = os.getpid()

    def _item(self, row: Mapping[str, Any], start: int, end: int, lines: Mapping[str, pa.Table]) -> Item:
        told = self.ranges
        item: Item = {"clip_id": row["clip_id"], "video_id": row["video_id"], "start_frame": start, "end_frame": end}
        item["clip_start_frame"] = row["start_frame"]
        if told.frames:
            how = fit(row["width_px"], row["height_px"], told.size, cut=not told.pad)
            kept = _sampled(start, end, told.fps)
            item["frames"] = torch.from_numpy(read_frames(self.frozen.local(row["proxy_uri"]), kept.tolist(), how))
            item["frame_index"] = torch.from_numpy(kept)
            item["proxy_to_frame"] = torch.from_numpy(how.affine.copy())
        if told.audio:
            item["has_audio"] = bool(row["audio_uri"])
            silence = np.zeros((end - start) * 640, np.float32)
            heard = read_sound(self.frozen.local(row["audio_uri"]), start, end) if row["audio_uri"] else silence
            item["audio"] = torch.from_numpy(heard)
        if told.timelines:
            item["timelines"] = {name: _tensors(table) for name, table in lines.items()}
        return item


def _cut(starts: np.ndarray, ends: np.ndarray, ranges: ClipRanges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(clip, start, end) of every range, int64."""
    if ranges.length_s is None:
        return np.arange(len(starts)), starts, ends
    length = round(ranges.length_s * GRID_FPS)
    hop = length if ranges.hop_s is None else round(ranges.hop_s * GRID_FPS)
    counts = np.maximum(0, (ends - starts - length) // hop + 1)
    clip = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = starts[clip] + place * hop
    return clip, start, start + length


def _sampled(start: int, end: int, fps: float) -> np.ndarray:
    """Grid frames of a range at `fps`, int64, the first one first."""
    count = max(1, int((end - start) * fps / GRID_FPS + 1e-6))
    kept: np.ndarray = start + np.floor(np.arange(count) * GRID_FPS / fps + 1e-6).astype(np.int64)
    return kept


def _tensors(table: pa.Table) -> dict[str, Any]:
    """Columns as tensors: (rows,), or (rows, length) of lists that are equally long; texts, and lists that are not, as
    they are. NULL is NaN among floats, and makes other columns lists."""
    made: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        dtype = column.type
        if pa.types.is_list(dtype) and not column.null_count and len(set(column.value_lengths().to_pylist())) == 1:
            flat = column.flatten().to_numpy(zero_copy_only=False)
            made[name] = torch.from_numpy(flat.reshape(len(column), -1).copy())
        elif pa.types.is_floating(dtype) or (pa.types.is_integer(dtype) and not column.null_count):
            made[name] = torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())
        else:
            made[name] = column.to_pylist()
    return made


def collate(items: Sequence[Item]) -> Item:
    """A batch: tensors of equal shape stacked on a new first axis, everything else as a list of B."""
    batch: Item = {}
    for key in items[0]:
        values = [item[key] for item in items]
        tensors = all(isinstance(v, torch.Tensor) for v in values) and len({v.shape for v in values}) == 1
        batch[key] = torch.stack(values) if tensors else values
    return batch


class ClipLoader:
    """Batches of a ClipDataset for one rank, loaded ahead by spawned processes, that can stop and go on anywhere.

    `iter` gives what is left of the epoch, then the next epoch begins. The order follows from `seed` and the epoch
    alone, whatever `num_workers`; ranks take turns at it and all get the same number of items, so at most
    world_size - 1 items of an epoch are left out. `state_dict` tells what was handed out (not what was loaded ahead),
    so going on from it gives exactly the batches that would have come, also with another number of ranks.

    Of a balanced snapshot an epoch is as many draws as there are items, each item as often as its clip's weight says, to
    one draw; without `shuffle` each item comes once.

    Each process holds `prefetch` batches at most and one open file, however long the epoch.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        *,
        batch_size: int = 8,
        num_workers: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 2,
        drop_last: bool = False,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}: ranks count from 0 to world_size - 1")
        if batch_size < 1 or not 0 <= seed <= MAX_SEED:
            raise ValueError(f"batch_size {batch_size}, seed {seed}: a batch holds 1 or more, a seed is 0 to 2^63 - 1")
        self.dataset = dataset
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size, self.drop_last = rank, world_size, drop_last
        self.epoch, self.consumed = 0, 0
        ahead: dict[str, Any] = {}
        if num_workers:
            ahead = {"multiprocessing_context": "spawn", "persistent_workers": True, "prefetch_factor": prefetch}
        self._loader: DataLoader[Item] = DataLoader(
            dataset, batch_sampler=_Batches(self), num_workers=num_workers, collate_fn=collate, **ahead
        )

    def __len__(self) -> int:
        """Batches that are left of this epoch."""
        return len(self._left())

    def __iter__(self) -> Iterator[Item]:
        left = self._left()
        for indices, batch in zip(left, self._loader, strict=True):
            self.consumed += len(indices) * self.world_size
            yield batch
        self.epoch, self.consumed = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: numbers and texts only, the same on every rank."""
        kept = {"seed": self.seed, "shuffle": self.shuffle, "epoch": self.epoch, "consumed": self.consumed}
        return {"snapshot": self.dataset.frozen.sha256, "num_items": len(self.dataset), **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there. Raises ValueError when the state is of another snapshot, of other ranges or another order."""
        mine = self.state_dict()
        for key in ("snapshot", "num_items", "seed", "shuffle"):
            if state[key] != mine[key]:
                raise ValueError(f"loader state: its {key} is {state[key]}, this loader's {mine[key]}; make it alike")
        self.epoch, self.consumed = int(state["epoch"]), int(state["consumed"])

    def _left(self) -> list[list[int]]:
        """Batches of this rank from here to the epoch's end."""
        count = len(self.dataset)
        order = self._drawn(np.random.default_rng([self.seed, self.epoch])) if self.shuffle else np.arange(count)
        rest = order[self.consumed :]
        mine = rest[self.rank :: self.world_size][: len(rest) // self.world_size].tolist()
        cut = [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        return [b for b in cut if len(b) == self.batch_size or not self.drop_last]

    def _drawn(self, draw: np.random.Generator) -> np.ndarray:
        """Items of an epoch in order; with weights by systematic sampling, which keeps to the shares as near as can be."""
        count, share = len(self.dataset), self.dataset.draw_probability
        if share is None or not count:
            return draw.permutation(count)
        points = (np.arange(count) + draw.random()) / count
        found = np.searchsorted(np.cumsum(share), points, side="right")
        return draw.permutation(np.minimum(found, np.flatnonzero(share)[-1]))


class _Batches(Sampler[list[int]]):
    """The batches that its loader has left, asked for anew at each pass."""

    def __init__(self, loader: ClipLoader) -> None:
        self._of = loader

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._of._left())

    def __len__(self) -> int:
        return len(self._of._left())
