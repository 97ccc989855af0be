"""A small workspace of known content: rows written by hand, proxies of plain colours made on the spot."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from store.record import Batch, table_of
from store.schema import CLIPPING, CLIPS, LOG, VIDEOS, signal_fields
from store.workspace import Workspace, open_workspace
from tasks.media.transcode import ffmpeg_binary
from tasks.signals import discover

COLOURS = ("red", "lime", "blue", "yellow")
EVIL = "<script>alert(1)</script>.mp4"
WIDE_SQL = "SELECT clip_id FROM signals WHERE visual_quality_quality >= 2.5 -- source: made up\n"
NARROW_SQL = "SELECT clip_id FROM signals WHERE clip_id IN (SELECT clip_id FROM t_wide) AND motion_static_ratio < 0.3"


def make_proxy(folder: Path, colour: str, *, size: str = "160x120", seconds: float = 4, sound: bool = True) -> Path:
    """A proxy of one colour, 25 fps, a keyframe each second, with a tone."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "proxy.mp4"
    command = [ffmpeg_binary(), "-y", "-loglevel", "error", "-f", "lavfi"]
    command += ["-i", f"color={colour}:size={size}:rate=25:duration={seconds}"]
    command += ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"] if sound else []
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, *coded, *(["-c:a", "aac"] if sound else []), str(out)], check=True)
    return out


def video_row(video_id: str, name: str, **told: Any) -> dict[str, Any]:
    base = {"video_id": video_id, "name": name, "uri": f"/footage/{name}", "num_bytes": 1000, "state": "done"}
    return {**base, **told}


def with_proxy(workspace: Workspace, video_id: str, colour: str, **told: Any) -> dict[str, Any]:
    made = make_proxy(workspace.settings.workspace / "media" / video_id, colour, **told)
    seconds = told.get("seconds", 4)
    facts = {
        "proxy_uri": str(made),
        "proxy_sha256": hashlib.sha256(video_id.encode()).hexdigest(),
        "num_frames": round(seconds * 25),
    }
    return {**facts, "width_px": 160, "height_px": 120, "normalise_cpu_s": 0.5, "has_audio": told.get("sound", True)}


def clip_row(clip_id: str, video_id: str, start: int, end: int) -> dict[str, Any]:
    times = {"start_s": start / 25, "end_s": end / 25, "duration_s": (end - start) / 25}
    size = {"source_width_px": 320, "source_height_px": 240, "source_fps": 25.0}
    ids = {"clip_id": clip_id, "video_id": video_id, "start_frame": start, "end_frame": end}
    return {**ids, **times, **size, "active": True, "created_at": 1.0}


def signal_rows(signal: str, rows: Mapping[str, Mapping[str, Any]], videos: Mapping[str, str]) -> pa.Table:
    """Wide rows of one signal by clip: values without a status are ok."""
    declared = [(c.name, c.dtype) for c in discover()[signal].spec.columns]
    fields = [pa.field("clip_id", pa.string()), pa.field("video_id", pa.string()), pa.field("active", pa.bool_())]
    fields += signal_fields(signal, declared)
    made = []
    for clip_id, values in rows.items():
        told = {"status": "ok", "fingerprint": "made", "input_digest": 1, "output_digest": 2, **values}
        wide = {f"{signal}_{k}": v for k, v in told.items()}
        made.append({"clip_id": clip_id, "video_id": videos[clip_id], "active": True, **wide})
    return table_of(made, pa.schema(fields))


def log_rows(rows: Sequence[tuple[str, float, float]]) -> pa.Table:
    """(signal, cpu_s, media_s)."""
    return table_of(
        [{"signal": s, "status": "ok", "cpu_s": c, "media_s": m, "video_id": "v0"} for s, c, m in rows], LOG
    )


def fill(workspace: Workspace) -> None:
    """Four videos with a clip each, one rejected, one without a clip, two in quarantine; two signals; a log."""
    videos = [video_row(f"v{i}", f"talk {c}.mp4", **with_proxy(workspace, f"v{i}", c)) for i, c in enumerate(COLOURS)]
    frozen = "frozen: 98% of the frames repeat the one before"
    told = {"stage": "prefilter", "reason": frozen, "rejected": frozen}
    videos.append(video_row("v4", "frozen.mp4", **with_proxy(workspace, "v4", "gray", seconds=10, sound=False), **told))
    no_face = {"stage": "clip", "reason": "no face in 0.95 of the time"}
    videos.append(video_row("v5", "street.mp4", **with_proxy(workspace, "v5", "white"), **no_face))
    bad = {"state": "quarantined", "stage": "probe", "tool_version": "av 1"}
    videos.append(video_row("v6", EVIL, **bad, reason="no <b>video</b> stream"))
    videos.append(video_row("v7", "cut short.mp4", **bad, reason="can't be decoded"))
    clips = [clip_row(f"c{i}", f"v{i}", 0 if i else 25, 75 if i else 100) for i in range(4)]
    of = {f"c{i}": f"v{i}" for i in range(4)}
    quality = {f"c{i}": {"quality": 1.0 + i, "brisque": 10.0 * i, "noise": 1.0} for i in range(4)}
    motion: dict[str, dict[str, Any]] = {f"c{i}": {"static_ratio": 0.1 * i, "subject_speed": 2.0} for i in range(3)}
    motion["c3"] = {"status": "not_applicable", "reason": "too short for a pair of frames"}
    batch = Batch()
    batch.add("videos", table_of(videos, VIDEOS))
    batch.add("clips", table_of(clips, CLIPS))
    runs = [{"key": f"r:{c['video_id']}:{c['clip_id']}", "run": "r", **c} for c in clips]
    batch.add("clipping", table_of(runs, CLIPPING))
    batch.add("signals", signal_rows("visual_quality", quality, of))
    batch.add("signals", signal_rows("motion", motion, of))
    batch.log.append(log_rows([("faces", 2.0, 4.0), ("faces", 1.0, 4.0), ("visual_quality", 0.6, 3.0)]))
    workspace.commit(batch, clipping_run="r")
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir(exist_ok=True)
    (folder / "t_wide.sql").write_text(WIDE_SQL)
    (folder / "t_narrow.sql").write_text(NARROW_SQL)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Read only; a test that changes it makes its own by `fill`."""
    workspace = open_workspace(tmp_path_factory.mktemp("dashboards") / "corpus")
    fill(workspace)
    return workspace
