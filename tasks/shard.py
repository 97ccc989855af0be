"""A snapshot as shards for training elsewhere: WebDataset tars and Lance tables of clips cut from their sources.

Clips are grouped by what they show, resolution of the source, aspect ratio and length, so that those of one shard make
even batches. The same snapshot gives the same tars and the same index. Every shard is written whole or not at all, its
list last; a killed run goes on where it was, and a shard that stands is not made again.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from store import shard_table
from store.media import GRID_FPS
from store.timelines import read_spans
from tasks.card import as_files, card
from tasks.clip_files import clip_files
from tasks.media.errors import MediaError
from tasks.shard_begin import Clip, Sharding
from tasks.shard_set import FORMAT, INDEX, rows_of, sha256_of

CLIPS_AT_ONCE = 16
"""Clips whose timelines are read by one query."""
OnShard = Callable[[dict[str, Any]], None]


def write_group(work: Sharding, group: str, on_shard: OnShard = lambda shard: None) -> list[dict[str, Any]]:
    """The group's shards in order: those that stand as they are, the others made."""
    clips, shards = work.groups[group], []
    rows = _rows(work, group)
    for listed, mine in _listed(work, group):
        clips = clips[len(mine) :]
        if not work.place.stands(listed, rows.get(listed["number"], [])):
            kept = [c for c in mine if c["clip_id"] not in listed["left_out"]]
            with _Cutter(work, kept) as cut:
                listed = _write(work, group, listed["number"], cut, listed["left_out"], whole=True)
            on_shard(listed)
        shards.append(listed)
    number = len(shards)
    _drop_from(work, group, number, rows)
    with _Cutter(work, clips) as cut:
        while cut.left:
            listed = _write(work, group, number, cut, {})
            shards.append(listed)
            on_shard(listed)
            number += 1
    return shards


def finish(work: Sharding, shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Writes index and card; gives the index without its clips, with "did": "made" or "nothing", and "place"."""
    if work.made and "lance" in work.asked.formats:
        for group in work.groups:
            shard_table.settle(work.place.table(group))
    told = index_of(shards, _named(work))
    before = work.place.read(INDEX)
    if told != before:
        for file, data in as_files({**card(work.workspace, work.snapshot), "shards": for_card(told)}).items():
            work.place.objects.put_bytes(data, file)
        work.place.put(INDEX, told)
    did = "made" if work.made or told != before else "nothing"
    return {
        **{k: v for k, v in told.items() if k != "clips"},
        "did": did,
        "made": len(work.made),
        "place": work.place.objects.url,
    }


def index_of(lists: Sequence[Mapping[str, Any]], named: Mapping[str, Any]) -> dict[str, Any]:
    """The whole set: shards with hashes and counts, groups, by clip [number in "shards", offset in the tar], and what is
    missing with the reason."""
    shards = [s for s in lists if s["clips"]]
    groups: dict[str, dict[str, Any]] = {}
    for s in shards:
        of = groups.setdefault(s["group"], {"num_clips": 0, "num_shards": 0, "duration_s": 0.0, "bytes": 0})
        for key, more in (
            ("num_clips", s["num_clips"]),
            ("num_shards", 1),
            ("bytes", s["bytes"]),
            ("duration_s", s["duration_s"]),
        ):
            of[key] = round(of[key] + more, 2)
    left_out = {clip: why for s in lists for clip, why in s["left_out"].items()}
    totals = {
        key: round(sum(g[key] for g in groups.values()), 2)
        for key in ("num_clips", "num_shards", "duration_s", "bytes")
    }
    hidden = ("clips", "offsets", "weights", "durations_s", "left_out", "formats")
    return {
        **named,
        **totals,
        "groups": groups,
        "shards": [{k: v for k, v in s.items() if k not in hidden} for s in shards],
        "left_out": dict(sorted(left_out.items())),
        "clips": {
            c: [i, offset] for i, s in enumerate(shards) for c, offset in zip(s["clips"], s["offsets"], strict=True)
        },
    }


def for_card(index: Mapping[str, Any]) -> dict[str, Any]:
    """What the card says of a set: it names no clip."""
    kept = ("formats", "num_clips", "num_shards", "duration_s", "bytes", "groups")
    return {**{k: index[k] for k in kept}, "num_left_out": len(index["left_out"])}


def _named(work: Sharding) -> dict[str, Any]:
    of = work.snapshot
    return {
        "format": FORMAT,
        "tier": of.tier,
        "snapshot": of.id,
        "sha256": of.sha256,
        "formats": list(work.asked.formats),
    }


def standing(work: Sharding) -> list[dict[str, Any]] | None:
    """All shards' lists, if every one of them stands; None when there is something to do."""
    found = []
    for group, clips in work.groups.items():
        rows, num = _rows(work, group), 0
        for listed, mine in _listed(work, group):
            if not work.place.stands(listed, rows.get(listed["number"], [])):
                return None
            found.append(listed)
            num += len(mine)
        if num < len(clips):
            return None
    return found


def _rows(work: Sharding, group: str) -> dict[int, list[str]]:
    return shard_table.shards_in(work.place.table(group)) if "lance" in work.asked.formats else {}


def _listed(work: Sharding, group: str) -> Iterator[tuple[dict[str, Any], Sequence[Clip]]]:
    """Shards from the first on whose lists are of the next clips of the group, with these clips."""
    clips, number = work.groups[group], 0
    while (listed := work.place.read(f"{group}/{number:06d}.json")) is not None:
        told = {*listed["clips"], *listed["left_out"]}
        mine, clips = clips[: len(told)], clips[len(told) :]
        back = [c for c, why in listed["left_out"].items() if why.startswith("source: ") and c not in work.lost]
        if back or not told or told != {c["clip_id"] for c in mine}:
            return
        yield listed, mine
        number += 1


def _drop_from(work: Sharding, group: str, number: int, rows: Mapping[int, Sequence[str]]) -> None:
    """What the group holds from a shard on is of clips that are grouped otherwise now."""
    later = [n for n in rows if n >= number]
    if later:
        shard_table.drop_shards(work.place.table(group), later)
    keys = [k for k, _ in work.place.objects.under(group) if k.count("/") == group.count("/") + 1]
    stale = [k for k in keys if (stem := Path(k).stem).isdigit() and int(stem) >= number]
    work.place.objects.delete(sorted(stale, key=lambda k: not k.endswith(".json")))


class _Cutter:
    """Files of clips in order, made ahead on all cores: each FFmpeg runs on one thread, so that its bytes are the same."""

    def __init__(self, work: Sharding, clips: Sequence[Clip]) -> None:
        self._work, self._ahead, self._clips = work, 2 * (os.cpu_count() or 1), iter(_with_timelines(work, clips))
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="cut")
        self._next: deque[tuple[Clip, Future[dict[str, bytes]]]] = deque()

    def __enter__(self) -> _Cutter:
        self._fill()
        return self

    def __exit__(self, *failure: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def left(self) -> bool:
        return bool(self._next)

    def peek(self) -> tuple[Clip, dict[str, bytes] | MediaError]:
        """The next clip's files, or why it has none. Raises ValueError for what may well go another time."""
        clip, files = self._next[0]
        try:
            return clip, files.result()
        except MediaError as error:
            if error.transient:
                raise ValueError(f"clip {clip['clip_id']}: {error}") from error
            return clip, error

    def take(self) -> None:
        self._next.popleft()
        self._fill()

    def _fill(self) -> None:
        while len(self._next) < self._ahead and (following := next(self._clips, None)):
            clip, lines = following
            self._next.append((clip, self._pool.submit(self._files, clip, lines)))

    def _files(self, clip: Clip, lines: Mapping[str, Any]) -> dict[str, bytes]:
        held = self._work.held
        if why := self._work.lost.get(clip["clip_id"]):
            raise MediaError("source", why)
        source = self._work.sources.open(clip["video_id"], clip["uri"])
        audio = held.local(clip["audio_uri"]) if clip["audio_uri"] else None
        return clip_files(clip, source, audio, self._work.told[clip["clip_id"]], lines)


def _with_timelines(work: Sharding, clips: Sequence[Clip]) -> Iterator[tuple[Clip, Mapping[str, Any]]]:
    held, names = work.held, work.asked.lines
    for at in range(0, len(clips), CLIPS_AT_ONCE):
        part = clips[at : at + CLIPS_AT_ONCE]
        spans = [(c["clip_id"], c["video_id"], c["start_frame"], c["end_frame"]) for c in part]
        yield from zip(part, read_spans(held.record, held.versions, spans, names), strict=True)


def _write(
    work: Sharding, group: str, number: int, cut: _Cutter, left_out: Mapping[str, str], *, whole: bool = False
) -> dict[str, Any]:
    """One shard of as many of the next clips as fit (`whole`: of all of them): the tar, the rows, then its list."""
    key = f"{group}/{number:06d}"
    file = work.scratch / f"{number:06d}.tar"
    clips: list[Clip] = []
    offsets: list[int] = []
    left_out = dict(left_out)
    with file.open("wb") as sink, tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        while cut.left:
            clip, files = cut.peek()
            if isinstance(files, MediaError):
                left_out[clip["clip_id"]] = str(files)
                cut.take()
                continue
            size = sum(512 + -(-len(data) // 512) * 512 for data in files.values())
            if clips and not whole and tar.offset + size + tarfile.RECORDSIZE > work.asked.shard_mb * 1_000_000:
                break
            offsets.append(tar.offset)
            for extension, data in files.items():
                member = tarfile.TarInfo(f"{clip['clip_id']}.{extension}")
                member.size, member.mode, member.mtime = len(data), 0o644, 0
                tar.addfile(member, io.BytesIO(data))
            clips.append(clip)
            cut.take()
    weights = {c["clip_id"]: c["weight"] for c in clips if "weight" in c}
    durations_s = [(c["end_frame"] - c["start_frame"]) / GRID_FPS for c in clips]
    listed: dict[str, Any] = {
        "group": group,
        "number": number,
        "formats": list(work.asked.formats),
        "num_clips": len(clips),
        "bytes": file.stat().st_size,
        "duration_s": round(sum(durations_s), 2),
        "durations_s": durations_s,
        "clips": [c["clip_id"] for c in clips],
        "offsets": offsets,
        "left_out": dict(sorted(left_out.items())),
        **({"weights": list(weights.values())} if weights else {}),
    }
    if clips and "lance" in work.asked.formats:
        schema = shard_table.schema_of(sorted(work.asked.lines))
        shard_table.put_shard(work.place.table(group), schema, number, rows_of(file, weights))
    if clips and "webdataset" in work.asked.formats:
        listed["tar"] = {"path": f"{key}.tar", "sha256": sha256_of(file), "bytes": file.stat().st_size}
        work.place.objects.put(file, f"{key}.tar")
    file.unlink(missing_ok=True)
    work.place.put(f"{key}.json", listed)
    work.made.append(key)
    return listed
