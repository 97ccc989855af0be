"""A snapshot as shards for training elsewhere: WebDataset tars and Lance tables of clips cut from their sources.

Clips are grouped by what they show, resolution of the source, aspect ratio and length, so that those of one shard make
even batches. The same snapshot gives the same tars and the same index. Every shard is written whole or not at all, its
list last; a killed run goes on where it was, and a shard that stands is not made again.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from store import shard_table
from store.clip_groups import group_of
from store.frozen import Frozen, frozen_of, snapshot_row
from store.ledger import exports
from store.media import GRID_FPS
from store.snapshot import Snapshot, load
from store.timelines import read_spans
from store.workspace import Workspace
from tasks import freeze
from tasks import tier as tiers
from tasks.card import as_files, card
from tasks.clip_files import clip_files
from tasks.media.errors import MediaError
from tasks.media.transcode import ffmpeg_binary
from tasks.shard_set import ASKED, FORMAT, FORMATS, INDEX, ShardSet, only_one, place, rows_of, sha256_of
from tasks.shard_told import told_of
from tasks.signals import discover
from tasks.source_files import SourceFiles

CLIPS_AT_ONCE = 16
"""Clips whose timelines are read by one query."""
OnShard = Callable[[dict[str, Any]], None]
Clip = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is wanted of a snapshot."""

    formats: tuple[str, ...] = FORMATS
    shard_mb: int = 256
    timelines: tuple[str, ...] | None = None
    """None is all that signals declare."""

    def __post_init__(self) -> None:
        if self.shard_mb < 1:
            raise ValueError(f"shard of {self.shard_mb} MB: give 1 or more")
        if not self.formats or (other := set(self.formats) - set(FORMATS)):
            raise ValueError(
                f"format {', '.join(other) if self.formats else 'none'}: give {', '.join(FORMATS)} or both"
            )
        if other := set(self.timelines or ()) - set(_known()):
            raise ValueError(
                f"timelines {', '.join(sorted(other))}: no signal has them; there are {', '.join(_known())}"
            )


@dataclass(frozen=True)
class Sharding:
    """A set under way: `groups` clips by group, without those in `lost`, whose source is gone or changed."""

    workspace: Workspace
    snapshot: Snapshot
    held: Frozen
    place: ShardSet
    asked: Asked
    told: Mapping[str, dict[str, Any]]
    groups: Mapping[str, Sequence[Clip]]
    lost: Mapping[str, str]
    sources: SourceFiles
    scratch: Path
    made: list[str] = field(default_factory=list)
    """Shards that this run wrote."""


@contextmanager
def begun(workspace: Workspace, name: str, out: str | None, asked: Asked) -> Iterator[Sharding]:
    """Freezes a tier (a snapshot is named by its id), groups its clips and looks for their sources; nobody else writes
    into the place meanwhile.

    `out` None is `shards/SNAPSHOT` of the workspace. Raises ValueError for an unknown name, and for a place that holds
    something else or can't be written.
    """
    if name in tiers.sources(workspace):
        name = str(freeze.build(workspace, name)["snapshot"])
    snapshot = load(workspace.objects.local(snapshot_row(workspace, name)["uri"]))
    held = frozen_of(workspace, snapshot)
    place_ = place(workspace, out or f"{workspace.settings.objects_url}/shards/{snapshot.id}")
    with only_one(workspace, place_.objects.url):
        _settle(workspace, place_, snapshot, asked)
        work = _grouped(workspace, held, snapshot, place_, asked)
        try:
            yield work
        finally:
            shutil.rmtree(work.scratch, ignore_errors=True)


def _grouped(workspace: Workspace, held: Frozen, snapshot: Snapshot, place_: ShardSet, asked: Asked) -> Sharding:
    scratch = workspace.scratch / f"shards-{snapshot.id}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    told, sources = told_of(workspace, held, snapshot), SourceFiles(workspace, scratch)
    groups: dict[str, list[Clip]] = {}
    lost: dict[str, str] = {}
    why: dict[str, str] = {}
    for clip in held.clips.to_pylist():
        video = clip["video_id"]
        if video not in why:
            why[video] = sources.lost(video, clip["uri"])
        if why[video]:
            lost[clip["clip_id"]] = f"source: {why[video]}"
            continue
        of = told[clip["clip_id"]]
        seconds = (clip["end_frame"] - clip["start_frame"]) / GRID_FPS
        size = (of["source"]["width_px"] or clip["width_px"], of["source"]["height_px"] or clip["height_px"])
        key = group_of(of["kind"], int(size[0]), int(size[1]), seconds)
        groups.setdefault(key, []).append(clip)
    return Sharding(
        workspace, snapshot, held, place_, asked, told, dict(sorted(groups.items())), lost, sources, scratch
    )


def write_group(work: Sharding, group: str, on_shard: OnShard = lambda shard: None) -> list[dict[str, Any]]:
    """The group's shards in order: those that stand as they are, the others made."""
    clips, shards = work.groups[group], []
    rows = _rows(work, group)
    for listed, mine in _listed(work, group):
        clips = clips[len(mine) :]
        if not work.place.stands(listed, rows.get(listed["number"], [])):
            kept = [c for c in mine if c["clip_id"] not in listed["left_out"]]
            with _Cutter(work, kept) as cut:
                listed = _write(work, group, listed["number"], cut, {**listed["left_out"]}, whole=True)
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
    told = index_of(shards, work.lost, _named(work))
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


def index_of(shards: Sequence[Mapping[str, Any]], lost: Mapping[str, str], named: Mapping[str, Any]) -> dict[str, Any]:
    """The whole set: shards with hashes and counts, groups, by clip [number in "shards", offset in the tar], and what is
    missing with the reason."""
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
    left_out = {**lost, **{clip: why for s in shards for clip, why in s["left_out"].items()}}
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
        if not told or told != {c["clip_id"] for c in mine}:
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
        source = self._work.sources.open(clip["video_id"], clip["uri"])
        audio = held.local(clip["audio_uri"]) if clip["audio_uri"] else None
        return clip_files(clip, source, audio, self._work.told[clip["clip_id"]], lines)


def _with_timelines(work: Sharding, clips: Sequence[Clip]) -> Iterator[tuple[Clip, Mapping[str, Any]]]:
    held, names = work.held, _known() if work.asked.timelines is None else work.asked.timelines
    for at in range(0, len(clips), CLIPS_AT_ONCE):
        part = clips[at : at + CLIPS_AT_ONCE]
        spans = [(c["clip_id"], c["video_id"], c["start_frame"], c["end_frame"]) for c in part]
        yield from zip(part, read_spans(held.record, held.versions, spans, names), strict=True)


def _write(
    work: Sharding, group: str, number: int, cut: _Cutter, left_out: dict[str, str], *, whole: bool = False
) -> dict[str, Any]:
    """One shard of as many of the next clips as fit (`whole`: of all of them): the tar, the rows, then its list."""
    key = f"{group}/{number:06d}"
    file = work.scratch / f"{number:06d}.tar"
    clips: list[Clip] = []
    offsets: list[int] = []
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
    if "lance" in work.asked.formats:
        names = _known() if work.asked.timelines is None else work.asked.timelines
        schema = shard_table.schema_of(sorted(names))
        shard_table.put_shard(work.place.table(group), schema, number, rows_of(file, weights))
    if "webdataset" in work.asked.formats:
        listed["tar"] = {"path": f"{key}.tar", "sha256": sha256_of(file), "bytes": file.stat().st_size}
        work.place.objects.put(file, f"{key}.tar")
    file.unlink(missing_ok=True)
    work.place.put(f"{key}.json", listed)
    work.made.append(key)
    return listed


def _settle(workspace: Workspace, place_: ShardSet, snapshot: Snapshot, asked: Asked) -> None:
    """Says what the place is of, and clears what a killed run left half written.

    Raises ValueError when it holds another set, or one made with another FFmpeg, whose bytes would differ.
    """
    wanted = {
        "format": FORMAT,
        "snapshot": snapshot.sha256,
        "formats": list(asked.formats),
        "shard_mb": asked.shard_mb,
        "timelines": list(_known() if asked.timelines is None else asked.timelines),
        "ffmpeg": _ffmpeg_version(),
    }
    url = place_.objects.url
    try:
        before = place_.read(ASKED)
        if before is not None:
            if other := [k for k in wanted if before.get(k) != wanted[k]]:
                raise ValueError(
                    f"{url} holds shards of another {other[0]} ({before.get(other[0])}); give another --out"
                )
            place_.clear()
        elif any(not Path(k).name.startswith(f".{ASKED}.") for k in place_.files()):
            raise ValueError(f"{url} is not empty and holds no shards; give another --out")
        else:
            place_.clear()
            place_.put(ASKED, wanted)
    except OSError as error:
        raise ValueError(f"shard: {url} can't be written ({error.strerror}); give another --out") from error
    # Before the first shard: an erasure must find whatever was written.
    workspace.ledger.put(exports, [{"path": url, "snapshot": snapshot.id, "begun_at": time.time()}])


@cache
def _known() -> tuple[str, ...]:
    return tuple(sorted(n for n, s in discover().items() if s.spec.timeline))


@cache
def _ffmpeg_version() -> str:
    told = subprocess.run([ffmpeg_binary(), "-version"], capture_output=True, text=True, check=True).stdout
    return told.splitlines()[0].split(" Copyright")[0]
