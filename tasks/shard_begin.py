"""A shard set begun: the snapshot, its clips by group, where their sources are, and a place that is ours alone."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from store.clip_groups import group_of
from store.frozen import Frozen, frozen_of, snapshot_row
from store.ledger import exports
from store.media import GRID_FPS
from store.snapshot import Snapshot, load
from store.workspace import Workspace
from tasks import freeze
from tasks import tier as tiers
from tasks.media.transcode import ffmpeg_binary
from tasks.shard_set import ASKED, FORMAT, FORMATS, ShardSet, only_one, place
from tasks.shard_told import told_of
from tasks.signals import discover
from tasks.source_files import SourceFiles

Clip = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is wanted of a snapshot."""

    formats: tuple[str, ...] = FORMATS
    shard_mb: int = 256
    timelines: tuple[str, ...] | None = None
    """None is all that signals declare."""

    @property
    def lines(self) -> tuple[str, ...]:
        return _known() if self.timelines is None else self.timelines

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
    """A set under way: `groups` are clips by group; of those in `lost` the source is gone or was changed."""

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
            lost[clip["clip_id"]] = why[video]
        of = told[clip["clip_id"]]
        seconds = (clip["end_frame"] - clip["start_frame"]) / GRID_FPS
        size = (of["source"]["width_px"] or clip["width_px"], of["source"]["height_px"] or clip["height_px"])
        key = group_of(of["kind"], int(size[0]), int(size[1]), seconds)
        groups.setdefault(key, []).append(clip)
    return Sharding(
        workspace, snapshot, held, place_, asked, told, dict(sorted(groups.items())), lost, sources, scratch
    )


def _settle(workspace: Workspace, place_: ShardSet, snapshot: Snapshot, asked: Asked) -> None:
    """Says what the place is of, and clears what a killed run left half written.

    Raises ValueError when it holds another set, or one made with another FFmpeg, whose bytes would differ.
    """
    wanted = {
        "format": FORMAT,
        "snapshot": snapshot.sha256,
        "formats": list(asked.formats),
        "shard_mb": asked.shard_mb,
        "timelines": list(asked.lines),
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
