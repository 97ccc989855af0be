"""A small made world for tests of tiers: eight clips of four videos whose verdicts are known by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

SIGNALS = ("face_track", "lip_sync", "speech", "speech_quality")
"""Two of the names begin alike, so the longest must win."""

CLIPS: list[dict[str, Any]] = [
    {"clip_id": f"c{i}", "video_id": f"v{i // 2}", "start_frame": 100 * i, "end_frame": 100 * i + 25 * (i + 2)}
    for i in range(8)
]
FACES = [0.9, 0.9, 0.2, 0.9, None, 0.9, 0.9, 0.9]
SPEECH = [0.8, 0.8, 0.8, 0.1, None, 0.8, 0.8, 0.8]
QUALITY = [3.5, 2.0, 3.0, 3.0, None, 3.1, 3.2, None]
OFFSETS = [40.0, 0.0, 0.0, 0.0, None, None, 200.0, -40.0]


def world() -> dict[str, pa.Table]:
    """By name of the view. Clip i lasts i + 2 seconds; c4 has no face and no sound, c7 waits for speech_quality."""
    clips = [
        {
            **c,
            "start_s": c["start_frame"] / 25,
            "end_s": c["end_frame"] / 25,
            "duration_s": (c["end_frame"] - c["start_frame"]) / 25,
            "source_width_px": 640,
        }
        for c in CLIPS
    ]
    signals = []
    for i, clip in enumerate(CLIPS):
        row: dict[str, Any] = {"clip_id": clip["clip_id"], "video_id": clip["video_id"]}
        for name, column, values, reason in (
            ("face_track", "face_ratio", FACES, "no face"),
            ("lip_sync", "offset_ms", OFFSETS, "shorter than 4 s" if i == 5 else "no face"),
            ("speech", "speech_ratio", SPEECH, "no audio"),
            ("speech_quality", "ovrl", QUALITY, "no audio"),
        ):
            waits = name == "speech_quality" and i == 7
            ok = values[i] is not None
            row[f"{name}_{column}"] = values[i]
            row[f"{name}_status"] = None if waits else "ok" if ok else "not_applicable"
            row[f"{name}_reason"] = None if ok or waits else reason
        signals.append(row)
    videos = [{"video_id": f"v{i}", "name": f"{i}.mp4", "state": "done", "num_bytes": i} for i in range(4)]
    rights = [{"video_id": f"v{i}", "licence": "CC-BY-4.0" if i else "unknown", "consent": "yes"} for i in range(4)]
    values = [{"clip_id": c, "task_type": "flags"} for c in ("c0", "c0", "c3")]
    tables = {"clips": clips, "signals": signals, "videos": videos, "rights": rights, "label_values": values}
    return {name: pa.Table.from_pylist(rows) for name, rows in tables.items()}


def connect(tables: dict[str, pa.Table]) -> Any:
    import duckdb

    connection = duckdb.connect(":memory:")
    for name, table in tables.items():
        connection.register(name, table)
    return connection


@pytest.fixture
def connection() -> Iterator[Any]:
    made = connect(world())
    yield made
    made.close()


@pytest.fixture
def query(connection: Any) -> Any:
    from store.guard import in_process

    return in_process(connection)
