"""A lab's own table taken in: clips that were cut elsewhere, and scores that stand beside the signals computed here.

The columns that say which clip a row is about are taken out; all others are one signal, named for the table, with a
fingerprint of its own: its columns and its values. Tiers, funnel and explain read it at once; nothing is computed.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from store import ledger as tables
from store.objects import local_path, local_uri
from store.record import Batch, table_of
from store.schema import CLIPPING, CLIPS, PROVENANCE, RIGHTS, VIDEOS
from store.workspace import Reader, Workspace
from tasks.clipping import clip_id
from tasks.ingest import content_id
from tasks.jobs import ADOPTED
from tasks.rights import RIGHTS_KEYS
from tasks.scores import list_signal, rows_before, wide_rows
from tasks.signals import discover

FPS = 25
KEYS = ("clip_id", "video", "start_s", "end_s", "start_frame", "end_frame", "duration_s")
ABOUT = ("width_px", "height_px", "fps", *RIGHTS_KEYS)
"""Of the source, where the table knows a video that the workspace does not."""
MAX_TOLD = 5


@dataclass
class Adopted:
    """What one table brings."""

    signal: str
    fingerprint: str
    columns: dict[str, pa.DataType]
    clip_ids: list[str]
    num_new_clips: int = 0
    num_new_videos: int = 0
    num_cleared: int = 0
    """Clips that had scores by an earlier table of this name, and have none now."""
    batch: Batch = field(default_factory=Batch)

    def to_dict(self) -> dict[str, Any]:
        told = {
            k: getattr(self, k) for k in ("signal", "fingerprint", "num_new_clips", "num_new_videos", "num_cleared")
        }
        return {
            **told,
            "clips": len(self.clip_ids),
            "columns": {f"{self.signal}_{c}": str(t) for c, t in self.columns.items()},
        }


def adopt(workspace: Workspace, path: Path, name: str | None = None, *, dry_run: bool = False) -> Adopted:
    """Takes in a Parquet table, all of it or nothing; one of the same name before it is replaced.

    A row names its clip by `clip_id`, or by `video` (id, file name, path or address) with `start_s` and `end_s`, or
    `start_frame` and `end_frame` at 25 fps, or `duration_s` for a file that is a clip as a whole. Raises ValueError,
    with what to change, for a table that can't be meant.
    """
    frame = _read(path)
    signal = name or re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    _check_name(signal)
    scores = _scores(frame, path)
    manifest = workspace.ledger.manifest()
    with workspace.views(manifest) as reader:
        spans = _spans(workspace, reader, frame, path)
        made = Adopted(signal, _fingerprint(signal, scores, spans), {n: _dtype(scores[n]) for n in scores.columns}, [])
        made.clip_ids = [s["clip_id"] for s in spans]
        _refuse_doubles(made.clip_ids, path)
        if gone := workspace.ledger.erased({s["video_id"] for s in spans}):
            at = next(i for i, s in enumerate(spans) if s["video_id"] in gone)
            raise ValueError(
                f"{path}, row {at}: its video was erased from this workspace; curate --readmit takes it in"
            )
        _add_places(workspace, reader, made, spans)
        _add_scores(reader, made, scores, spans)
    if not dry_run:
        workspace.commit(made.batch, expected=manifest)
        list_signal(workspace, signal, made.fingerprint)
    return made


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, glob=False)  # brackets in a name are no pattern
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(
            f"{path}: {_met(path)} ({str(error).splitlines()[0]}); adopt takes a Parquet table with a column "
            "clip_id, or video and where in it, and one column for each score; write one, as with "
            f"polars.read_csv(...).write_parquet({str(path.with_suffix('.parquet'))!r})"
        ) from None
    if frame.is_empty():
        raise ValueError(f"{path}: has no rows")
    return frame


def _met(path: Path) -> str:
    """What was met instead of a Parquet table, by its first bytes."""
    if path.is_dir():
        return "is a folder, no Parquet table"
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return "is an empty file"
    if head.startswith(b"PAR1"):
        return "begins as a Parquet table and is cut off or damaged"
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a letter was cut in two
            return f"is no Parquet table, it begins with the bytes {head[:4].hex(' ')}"
    return f"is no Parquet table but text{f' ({path.suffix})' if path.suffix else ''}"


def _check_name(signal: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", signal):
        raise ValueError(f"signal {signal!r}: give --name of small letters, digits and _, as in lab_scores")
    if signal in discover():
        raise ValueError(f"signal {signal!r} is computed here; give another --name")


def _scores(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The columns that are the signal's values: numbers, texts and booleans."""
    scores = frame.select([c for c in frame.columns if c not in (*KEYS, *ABOUT)])
    if not scores.columns:
        raise ValueError(f"{path}: has no column of scores beside {', '.join(frame.columns)}")
    reserved = {name for name, _ in PROVENANCE}
    for column in scores.columns:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", column):
            raise ValueError(f"{path}: column {column!r}: name it by small letters, digits and _, as in sync_score")
        if column in reserved:
            raise ValueError(f"{path}: column {column!r} means something else here; rename it")
        kind = scores[column].dtype
        if not (kind.is_numeric() and not kind.is_decimal()) and kind not in (pl.String, pl.Boolean, pl.Null):
            raise ValueError(f"{path}: column {column!r} is {kind}; numbers, texts and booleans can be adopted")
        if kind == pl.Null or scores[column].null_count() == len(scores):
            raise ValueError(f"{path}: column {column!r} has no value at all; leave it out")
        if kind.is_float() and (bad := scores[column].is_nan() | scores[column].is_infinite()).any():
            row = bad.fill_null(False).arg_true()[0]
            raise ValueError(f"{path}: column {column!r}, row {row}: {scores[column][row]} is no value; write NULL")
    return scores


def _spans(workspace: Workspace, reader: Reader, frame: pl.DataFrame, path: Path) -> list[dict[str, Any]]:
    """Per row the clip: its id, video and frames; `known` when the workspace has it, `new_video` when not even that."""
    known = {r["clip_id"]: r for r in reader.sql("SELECT * FROM _clips").iter_rows(named=True)}
    if "clip_id" in frame.columns and "video" not in frame.columns:
        ids = frame["clip_id"].cast(pl.String).to_list()
        if lost := [str(i) for i in ids if i not in known]:
            raise ValueError(
                f"{path}: {len(lost)} of {len(ids)} clip_ids are unknown here ({', '.join(lost[:MAX_TOLD])}); clips that "
                "were cut elsewhere are told by video, start_s and end_s"
            )
        return [{**known[i], "known": True} for i in ids]
    if "video" not in frame.columns:
        raise ValueError(f"{path}: has neither clip_id nor video; it has {', '.join(frame.columns)}")
    videos = _Videos(workspace, reader, path)
    rows = frame.select([c for c in frame.columns if c in (*KEYS, *ABOUT)]).to_dicts()
    return [_span(known, videos, row, number, path) for number, row in enumerate(rows)]


def _span(
    known: Mapping[str, Mapping[str, Any]], videos: _Videos, row: dict[str, Any], number: int, path: Path
) -> dict[str, Any]:
    video = videos.named(row["video"], number)
    start, end = _frames(row, number, path, float(video["source_start_s"] or 0.0))
    length = video["num_frames"]
    if not 0 <= start < end or (length is not None and end > length):
        within = f" within the {length} frames of {row['video']}" if length is not None else ""
        raise ValueError(
            f"{path}, row {number}: frames {start} to {end} are no span{within}; times count from the video's start"
        )
    key = clip_id(video["video_id"], start, end)
    if key in known:
        return {**known[key], "known": True}
    return {
        **row,
        "clip_id": key,
        "video_id": video["video_id"],
        "start_frame": start,
        "end_frame": end,
        "of": video,
        "known": False,
    }


def _frames(row: Mapping[str, Any], number: int, path: Path, origin_s: float) -> tuple[int, int]:
    for start, end, scale in (("start_frame", "end_frame", 1.0), ("start_s", "end_s", float(FPS))):
        if row.get(start) is not None and row.get(end) is not None:
            shift = origin_s if scale > 1 else 0.0
            return round((row[start] - shift) * scale), round((row[end] - shift) * scale)
    if row.get("duration_s") is not None:
        return 0, round(row["duration_s"] * FPS)
    raise ValueError(
        f"{path}, row {number}: says no span; give start_s and end_s, start_frame and end_frame, or duration_s"
    )


class _Videos:
    """The workspace's videos by id, name and address; what is none of them is a new one."""

    def __init__(self, workspace: Workspace, reader: Reader, path: Path) -> None:
        rows = reader.sql("SELECT video_id, name, uri, num_frames, source_start_s FROM videos").to_dicts()
        self.path = path
        self.by: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            for key in dict.fromkeys((row["video_id"], row["name"], row["uri"])):
                self.by.setdefault(key, []).append(row)
        by_id = {row["video_id"]: row for row in rows}
        for seen in workspace.ledger.rows(tables.sources.select()):
            if seen["video_id"] in by_id:
                self.by.setdefault(seen["uri"], [by_id[seen["video_id"]]])

    def named(self, told: object, number: int) -> dict[str, Any]:
        if not isinstance(told, str) or not told:
            raise ValueError(f"{self.path}, row {number}: video is {told!r}; give its id, file name, path or address")
        found = self.by.get(told) or ([] if "://" in told else self.by.get(local_uri(Path(told).absolute()), []))
        if len({f["video_id"] for f in found}) > 1:
            raise ValueError(
                f"{self.path}, row {number}: {len(found)} videos are called {told!r}; give an id or a path"
            )
        if not found:
            found = [self._new(told)]
            self.by[told] = found
        return found[0]

    def _new(self, told: str) -> dict[str, Any]:
        """Known by its content where it can be read, as `curate` would know it; else by its address."""
        uri = told if "://" in told else local_uri(Path(told).absolute())
        here = "://" not in uri and local_path(uri).is_file()
        key = content_id(local_path(uri)) if here else hashlib.sha256(uri.encode()).hexdigest()[:16]
        if key in self.by:
            return self.by[key][0]
        made = {"video_id": key, "name": uri.rsplit("/", 1)[-1], "uri": uri, "num_frames": None, "source_start_s": None}
        self.by[key] = [{**made, "new": True}]
        return self.by[key][0]


def _add_places(workspace: Workspace, reader: Reader, made: Adopted, spans: Sequence[Mapping[str, Any]]) -> None:
    """Rows of clips, of their place in the run of adopted ones, and of videos that the workspace does not have."""
    now, new = time.time(), [s for s in spans if not s["known"]]
    videos: dict[str, Mapping[str, Any]] = {s["video_id"]: s for s in new if s["of"].get("new")}
    sizes = {
        r["video_id"]: r
        for r in reader.sql("SELECT video_id, source_width_px, source_height_px, source_fps FROM videos").to_dicts()
    }
    clips = []
    for span in new:
        origin_s = float(span["of"]["source_start_s"] or 0.0)
        size = sizes.get(span["video_id"]) or _size(span)
        clips.append(
            {
                **{k: span[k] for k in ("clip_id", "video_id", "start_frame", "end_frame")},
                "start_s": round(origin_s + span["start_frame"] / FPS, 6),
                "end_s": round(origin_s + span["end_frame"] / FPS, 6),
                "duration_s": (span["end_frame"] - span["start_frame"]) / FPS,
                **{k: size[k] for k in ("source_width_px", "source_height_px", "source_fps")},
                "active": True,
                "created_at": now,
            }
        )
    retired = [{k: s[k] for k in CLIPS.names} | {"active": True} for s in spans if s["known"] and not s["active"]]
    runs = [
        {"key": f"{ADOPTED}:{c['video_id']}:{c['clip_id']}", "run": ADOPTED, **c, "computed_at": now}
        for c in clips + retired
    ]
    made.batch.add("videos", table_of([_video(s, now) for s in videos.values()], VIDEOS))
    made.batch.add("rights", table_of([_rights(workspace, s) for s in videos.values()], RIGHTS))
    made.batch.add("clips", table_of([*clips, *retired], CLIPS))
    made.batch.add("clipping", table_of(runs, CLIPPING))
    made.num_new_clips, made.num_new_videos = len(clips), len(videos)


def _size(span: Mapping[str, Any]) -> dict[str, Any]:
    fps = span.get("fps")
    sides = {f"source_{k}": span.get(k) for k in ("width_px", "height_px")}
    return {**sides, "source_fps": None if fps is None else float(fps)}


def _video(span: Mapping[str, Any], now: float) -> dict[str, Any]:
    """A video that was never decoded here: `curate` over its file takes it up, and normalises it."""
    told = {"state": "done", "stage": "source", "reason": "adopted from a table: never decoded here"}
    place = {k: span["of"][k] for k in ("video_id", "name", "uri")}
    return {**place, **_size(span), **told, "normalise_fingerprint": "-", "ingested_at": now}


def _rights(workspace: Workspace, span: Mapping[str, Any]) -> dict[str, Any]:
    settings = workspace.settings
    told = {k: span.get(k) for k in RIGHTS_KEYS}
    default = {"licence": settings.default_licence, "consent": settings.default_consent, "origin": span["of"]["uri"]}
    by = "table" if any(told.values()) else "default"
    return {"video_id": span["video_id"], **{k: told[k] or default[k] for k in RIGHTS_KEYS}, "told_by": by}


def _add_scores(reader: Reader, made: Adopted, scores: pl.DataFrame, spans: Sequence[Mapping[str, Any]]) -> None:
    """The wide rows. Columns of an earlier table of this name that the new one lacks are emptied."""
    own = set(made.clip_ids)
    gone = [row for clip, row in rows_before(reader, made.signal).items() if clip not in own]
    made.num_cleared = len(gone)
    told = [(s["clip_id"], s["video_id"], row) for s, row in zip(spans, scores.to_dicts(), strict=True)]
    made.batch.add("signals", wide_rows(reader, made.signal, made.fingerprint, made.columns, told, gone))


def _dtype(column: pl.Series) -> pa.DataType:
    if column.dtype.is_integer():
        return pa.int64()
    if column.dtype.is_float():
        return pa.float64() if column.dtype == pl.Float64 else pa.float32()
    return pa.bool_() if column.dtype == pl.Boolean else pa.string()


def _fingerprint(signal: str, scores: pl.DataFrame, spans: Sequence[Mapping[str, Any]]) -> str:
    """Of what the table says, in whatever order its rows stand."""
    rows = sorted(json.dumps([s["clip_id"], r], sort_keys=True) for s, r in zip(spans, scores.to_dicts(), strict=True))
    told = [signal, {n: str(d) for n, d in scores.schema.items()}, rows]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _refuse_doubles(ids: Sequence[str], path: Path) -> None:
    seen: dict[str, int] = {}
    for number, key in enumerate(ids):
        if key in seen:
            raise ValueError(f"{path}: rows {seen[key]} and {number} are about the same clip, {key}; keep one")
        seen[key] = number
