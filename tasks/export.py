"""A snapshot as WebDataset shards: tar files whose members are named CLIP.EXTENSION, readable without Headroom.

Clips are grouped by shape, resolution of their source and length, so that those of one shard make even batches. The
same snapshot gives the same bytes. Every shard is written whole or not at all, and a killed export goes on where it
was; a shard that is there counts only if it holds what it should.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from store.clip_groups import group_of
from store.frozen import Frozen, frozen_of, snapshot_row
from store.ledger import Manifest, exports
from store.schema import PROVENANCE
from store.snapshot import Snapshot, load
from store.timelines import read_spans
from store.workspace import Workspace
from tasks import freeze
from tasks import tier as tiers
from tasks.card import as_files, card
from tasks.clip_files import clip_files
from tasks.media.transcode import ffmpeg_binary
from tasks.signals import discover

FORMAT = "headroom export 1"
CLIPS_AT_ONCE = 16
"""Clips whose timelines are read by one query."""


@dataclass(frozen=True)
class Exporting:
    """One export under way: what is written where."""

    held: Frozen
    out: Path
    shard_bytes: int
    timelines: tuple[str, ...]
    told: Mapping[str, dict[str, Any]]
    """What the JSON of a clip says, by clip."""


def export(
    workspace: Workspace,
    name: str,
    out_dir: Path,
    *,
    shard_mb: int = 256,
    timelines: Sequence[str] | None = None,
    on_shard: Callable[[dict[str, Any]], None] = lambda shard: None,
) -> dict[str, Any]:
    """Writes the shards of a snapshot (by id; of a tier, as it is frozen now) and `manifest.json`; gives that object.

    `timelines` None is all that signals declare. Raises ValueError for an unknown name, timelines that no signal has,
    a folder that can't be written or that holds another export, and media that can't be read.
    """
    if shard_mb < 1:
        raise ValueError(f"shard of {shard_mb} MB: give 1 or more")
    known = sorted(n for n, s in discover().items() if s.spec.timeline)
    if unknown := sorted(set(timelines or ()) - set(known)):
        raise ValueError(f"timelines {', '.join(unknown)}: no signal has them; there are {', '.join(known)}")
    if name in tiers.sources(workspace):
        name = str(freeze.build(workspace, name)["snapshot"])
    snapshot = load(workspace.objects.local(snapshot_row(workspace, name)["uri"]))
    held = frozen_of(workspace, snapshot)
    chosen = tuple(known if timelines is None else sorted(set(timelines)))
    out = Path(out_dir).absolute()
    with only_one(out):
        _begin(out, {"format": FORMAT, "snapshot": snapshot.sha256, "shard_mb": shard_mb, "timelines": list(chosen)})
        # Before the first shard: an erasure must find whatever was written.
        workspace.ledger.put(exports, [{"path": str(out), "snapshot": snapshot.id, "begun_at": time.time()}])
        work = Exporting(held, out, shard_mb * 1_000_000, chosen, _told(workspace, held, snapshot))
        shards = []
        for group, clips in groups(held, work.told).items():
            for shard in _group(work, group, clips):
                shards.append(shard)
                on_shard(shard)
        listed = [{k: s[k] for k in ("path", "sha256", "bytes", "num_clips", "duration_s")} for s in shards]
        totals = {"num_clips": sum(s["num_clips"] for s in shards), "num_shards": len(shards)}
        made = {"format": FORMAT, "tier": snapshot.tier, "snapshot": snapshot.id, "sha256": snapshot.sha256, **totals}
        for file, data in as_files(card(workspace, snapshot)).items():
            put(out / file, data)
        put(out / "manifest.json", as_json({**made, "shards": listed}))
    return {**made, "shards": listed, "path": str(out / "manifest.json")}


def groups(held: Frozen, told: Mapping[str, Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Clips by group, as "landscape-720p-05to15s", both in order of their names."""
    found: dict[str, list[dict[str, Any]]] = {}
    for clip in held.clips.to_pylist():
        source = told[clip["clip_id"]]["source"]
        seconds = (clip["end_frame"] - clip["start_frame"]) / 25
        key = group_of(int(source["width_px"]), int(source["height_px"]), seconds)
        found.setdefault(key, []).append(clip)
    return dict(sorted(found.items()))


def _group(work: Exporting, group: str, clips: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The group's shards in order: those that stand, and from the first one that does not, new ones."""
    at = number = 0
    while at < len(clips):
        path = work.out / group / f"{number:06d}.tar"
        shard = _standing(path, [c["clip_id"] for c in clips[at:]])
        if shard is None:
            break
        at, number = at + shard["num_clips"], number + 1
        yield shard
    files = _files(work, clips[at:])
    following = next(files, None)
    while following is not None:
        shard, following = _write(work, work.out / group / f"{number:06d}.tar", following, files)
        number += 1
        yield shard


Packed = tuple[dict[str, Any], dict[str, bytes]]


def _files(work: Exporting, clips: Sequence[dict[str, Any]]) -> Iterator[Packed]:
    held = work.held
    for at in range(0, len(clips), CLIPS_AT_ONCE):
        part = clips[at : at + CLIPS_AT_ONCE]
        spans = [(c["clip_id"], c["video_id"], c["start_frame"], c["end_frame"]) for c in part]
        lines = read_spans(held.record, held.versions, spans, work.timelines)
        for clip, found in zip(part, lines, strict=True):
            audio = held.local(clip["audio_uri"]) if clip["audio_uri"] else None
            yield clip, clip_files(clip, held.local(clip["proxy_uri"]), audio, work.told[clip["clip_id"]], found)


def _write(work: Exporting, path: Path, first: Packed, rest: Iterator[Packed]) -> tuple[dict[str, Any], Packed | None]:
    """One shard of `first` and as many of the rest as fit; gives it, and the clip that did not fit any more."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    clips: list[dict[str, Any]] = []
    following: Packed | None = first
    with part.open("wb") as sink:
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            while following is not None:
                clip, files = following
                size = sum(512 + -(-len(data) // 512) * 512 for data in files.values())
                if clips and sink.tell() + size + tarfile.RECORDSIZE > work.shard_bytes:
                    break
                for extension, data in files.items():
                    member = tarfile.TarInfo(f"{clip['clip_id']}.{extension}")
                    member.size, member.mode, member.mtime = len(data), 0o644, 0
                    tar.addfile(member, io.BytesIO(data))
                clips.append(clip)
                following = next(rest, None)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(path)
    shard = {
        "path": path.relative_to(work.out).as_posix(),
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "num_clips": len(clips),
        "duration_s": round(sum(c["end_frame"] - c["start_frame"] for c in clips) / 25, 2),
        "clips": [c["clip_id"] for c in clips],
        **({"weights": [c["weight"] for c in clips]} if "weight" in clips[0] else {}),
    }
    put(path.with_suffix(".json"), as_json(shard))
    return shard, following


def _standing(path: Path, clip_ids: Sequence[str]) -> dict[str, Any] | None:
    """The shard as its list tells it, if its bytes are those and its clips are the next ones."""
    listed = path.with_suffix(".json")
    if not (path.is_file() and listed.is_file()):
        return None
    shard: dict[str, Any] = json.loads(listed.read_text())
    same_clips = shard["clips"] == list(clip_ids[: shard["num_clips"]])
    return shard if same_clips and shard["sha256"] == sha256_of(path) else None


def _told(workspace: Workspace, held: Frozen, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """By clip: ids, span, source, rights, the values that the tier decided by, and what every signal says of it."""
    manifest = Manifest(0, dict(held.versions), "")
    read = workspace.record.read
    rights = {r["video_id"]: r for r in read(manifest, "rights").to_pylist()}
    clips = {r["clip_id"]: r for r in read(manifest, "clips").to_pylist()}
    signals = {r["clip_id"]: r for r in read(manifest, "signals").to_pylist()}
    decided = {r["clip_id"]: r for r in snapshot.clips.to_pylist() if r["clip_id"]}
    made = {}
    for clip in held.clips.to_pylist():
        row, of = clips[clip["clip_id"]], rights.get(clip["video_id"], {})
        made[clip["clip_id"]] = {
            "clip_id": clip["clip_id"],
            "video_id": clip["video_id"],
            "tier": snapshot.tier,
            "snapshot": snapshot.id,
            "rights": {k: of.get(k) or "unknown" for k in ("licence", "consent", "origin")},
            "span": {k: row[k] for k in ("start_frame", "end_frame", "start_s", "end_s", "duration_s")},
            "source": {k: row[f"source_{k}"] for k in ("width_px", "height_px", "fps")},
            "media": {"width_px": clip["width_px"], "height_px": clip["height_px"], "fps": 25, "audio_hz": 16_000},
            "decided_by": {k: v for k, v in decided[clip["clip_id"]].items() if "." in k},
            "signals": _signals(signals.get(clip["clip_id"], {})),
            **({"weight": clip["weight"]} if "weight" in clip else {}),
        }
    return made


def _signals(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By signal its values, or why it has none. When it was computed, and by what, is for the record to know."""
    found: dict[str, dict[str, Any]] = {}
    hidden = {name for name, _ in PROVENANCE}
    for name, signal in discover().items():
        status = row.get(f"{name}_status")
        if signal.spec.grain != "clip" or status is None:
            continue
        if status != "ok":
            found[name] = {"status": status, "reason": row.get(f"{name}_reason")}
            continue
        columns = [c.name for c in signal.spec.columns if c.name not in hidden and f"{name}_{c.name}" in row]
        found[name] = {c: row[f"{name}_{c}"] for c in columns}
    return found


def _begin(out: Path, asked: Mapping[str, Any]) -> None:
    """Says what is exported into the folder, and clears what a killed export left half written.

    Raises ValueError when it holds another export, or one made with another FFmpeg, whose bytes would differ.
    """
    asked = {**asked, "ffmpeg": _ffmpeg_version()}
    said = out / "export.json"
    if said.is_file():
        before = json.loads(said.read_text())
        other = [k for k in asked if before.get(k) != asked[k]]
        if other:
            raise ValueError(
                f"{out} holds an export of another {other[0]} ({before.get(other[0])}); give another folder"
            )
    elif any(f.name not in (".lock", f".part-{said.name}") for f in out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no export; give another folder")
    else:
        put(said, as_json(asked))
    for left in (*out.glob(".part-*.json"), *out.glob("*/.part-*")):
        left.unlink()


@cache
def _ffmpeg_version() -> str:
    told = subprocess.run([ffmpeg_binary(), "-version"], capture_output=True, text=True, check=True).stdout
    return told.splitlines()[0].split(" Copyright")[0]


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Makes the folder, for one export at a time; the lock ends with its holder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = (out / ".lock").open("a")
    except OSError as error:
        raise ValueError(f"export: {out} can't be written ({error.strerror}); give another folder") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"export: another export into {out} is running; wait for it") from None
        yield


def put(path: Path, data: bytes) -> None:
    part = path.with_name(f".part-{path.name}")
    with part.open("wb") as sink:
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(path)


def as_json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


def sha256_of(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
