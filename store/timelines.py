"""Timelines as they lie in the record: packed tables by key, read at the versions of one manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from store.record import Record


def unpacked(payload: bytes) -> pa.Table:
    """The table of one stored row: an Arrow IPC stream."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_all()


def timeline_names(record: Record, versions: Mapping[str, int]) -> set[str]:
    """The signals that have a timeline in these versions of the tables."""
    if "timelines" not in versions:
        return set()
    dataset = record.open("timelines", versions["timelines"])
    assert dataset is not None
    return set(dataset.to_table(columns=["name"]).column("name").unique().to_pylist())


def read_spans(
    record: Record, versions: Mapping[str, int], spans: Sequence[tuple[str, str, int, int]], names: Sequence[str]
) -> list[dict[str, pa.Table]]:
    """For each span (clip_id, video_id, start_frame, end_frame) the timelines `names` that are there, cut to it.

    Of a video signal's timeline these are the rows of the span's frames; of a clip signal's, the rows of the clip
    whose frame lies in the span. All spans are read by one query; a timeline with a window that is not ok is left out.

    Raises ValueError when the record's version can't be read any more.
    """
    if not spans or not names or "timelines" not in versions:
        return [{} for _ in spans]
    dataset = record.open("timelines", versions["timelines"])
    assert dataset is not None
    videos, clips = sorted({v for _, v, _, _ in spans}), sorted({c for c, _, _, _ in spans})
    low, high = min(s for _, _, s, _ in spans), max(e for _, _, _, e in spans)
    windows = f"clip_id IS NULL AND video_id IN ({_told(videos)}) AND start_frame < {high} AND end_frame > {low}"
    where = f"name IN ({_told(names)}) AND (({windows}) OR clip_id IN ({_told(clips)}))"
    wanted = ["video_id", "clip_id", "name", "start_frame", "end_frame", "payload"]
    held: dict[tuple[str, str], list[tuple[int, int, pa.Table | None]]] = {}
    for row in dataset.to_table(columns=wanted, filter=where).to_pylist():
        table = None if row["payload"] is None else unpacked(row["payload"])
        key = (row["clip_id"] or row["video_id"], row["name"])
        held.setdefault(key, []).append((row["start_frame"] or 0, row["end_frame"] or 0, table))
    return [_of_span(held, span, names) for span in spans]


def _of_span(
    held: Mapping[tuple[str, str], Sequence[tuple[int, int, pa.Table | None]]],
    span: tuple[str, str, int, int],
    names: Sequence[str],
) -> dict[str, pa.Table]:
    clip_id, video_id, start, end = span
    found = {}
    for name in names:
        parts = held.get((clip_id, name))
        if parts is None:
            windows = sorted((s, e, t) for s, e, t in held.get((video_id, name), ()) if s < end and e > start)
            covered = sum(min(e, end) - max(s, start) for s, e, _ in windows)
            parts = windows if covered == end - start else []
        tables = [table for _, _, table in parts if table is not None]
        if parts and len(tables) == len(parts):
            found[name] = _between(pa.concat_tables(tables), start, end)
    return found


def _between(table: pa.Table, start: int, end: int) -> pa.Table:
    low, high = np.searchsorted(table["frame"].to_numpy(), [start, end])
    return table.slice(low, high - low)


def _told(values: Sequence[str]) -> str:
    return ", ".join("'" + v.replace("'", "''") + "'" for v in values)
