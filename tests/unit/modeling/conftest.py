"""A small corpus with a snapshot: the gray of a frame tells its number, the sound tells its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from store.frozen import Frozen, frozen
from store.record import Batch, table_of
from store.schema import CLIPPING, CLIPS, RIGHTS, TIMELINES, VIDEOS
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.digest import pack

NUM_FRAMES, WIDTH, HEIGHT = 160, 96, 64
CLIP_SPANS = {"a1": ("va", 0, 60), "a2": ("va", 60, 155), "b1": ("vb", 10, 110)}
"""By clip: video, first frame, end. `vb` has no sound."""


def gray_of(video: str, frame: int) -> int:
    return 20 + (frame if video == "va" else 160 - frame)


def make_proxy(folder: Path, video: str) -> Path:
    """25 fps, a keyframe each second; the left half is dark, the right half's gray tells the frame."""
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / "proxy.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "4", "preset": "ultrafast", "g": "25", "bf": "0", "x264-params": "threads=1"}
        for i in range(NUM_FRAMES):
            picture = np.full((HEIGHT, WIDTH, 3), gray_of(video, i), np.uint8)
            picture[:, : WIDTH // 2] = 10
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return folder / "proxy.mp4"


def make_sound(folder: Path) -> Path:
    """Sample i is i / 2^17: its value tells its place."""
    soundfile.write(folder / "audio.flac", np.arange(NUM_FRAMES * 640) / 2**17, 16_000, subtype="PCM_24")
    return folder / "audio.flac"


def timelines() -> list[dict[str, Any]]:
    """`dots` at 25 fps in one window of both videos, `words` of clip a2; `dots` of vb failed in a second window."""
    rows = []
    for video in ("va", "vb"):
        frames = list(range(NUM_FRAMES))
        table = pa.table(
            {
                "frame": pa.array(frames, pa.int32()),
                "x": pa.array([f * 0.5 for f in frames], pa.float32()),
                "points": pa.array([[f, f + 1] for f in frames], pa.list_(pa.int16())),
                "shape": pa.array([[1] if f % 5 == 0 else None for f in frames], pa.list_(pa.int16())),
            }
        )
        told = {"key": f"{video}:dots:0", "video_id": video, "name": "dots", "grain": "video", "window_index": 0}
        rows.append({**told, "start_frame": 0, "end_frame": NUM_FRAMES, "status": "ok", "payload": pack(table)})
    words = pa.table({"frame": pa.array([65, 130], pa.int32()), "word": ["one", "two"]})
    rows.append(
        {
            "key": "a2:words",
            "video_id": "va",
            "clip_id": "a2",
            "name": "words",
            "grain": "clip",
            "status": "ok",
            "payload": pack(words),
        }
    )
    return rows


def fill(workspace: Workspace) -> None:
    media = workspace.settings.workspace / "media"
    videos, size = [], {"width_px": WIDTH, "height_px": HEIGHT, "num_frames": NUM_FRAMES, "source_width_px": 1920}
    for video in ("va", "vb"):
        proxy = make_proxy(media / video, video)
        audio = str(make_sound(media / video)) if video == "va" else None
        facts = {
            "state": "done",
            "proxy_uri": str(proxy),
            "audio_uri": audio,
            "proxy_sha256": video * 32,
            "has_audio": bool(audio),
        }
        videos.append({"video_id": video, "name": f"{video}.mp4", "uri": f"/footage/{video}.mp4", **size, **facts})
    clips = []
    for clip, (video, start, end) in CLIP_SPANS.items():
        span = {"start_frame": start, "end_frame": end, "start_s": start / 25, "end_s": end / 25}
        facts = {
            "duration_s": (end - start) / 25,
            "source_width_px": 1920,
            "source_height_px": 1080,
            "source_fps": 25.0,
        }
        clips.append({"clip_id": clip, "video_id": video, **span, **facts, "active": True, "created_at": 1.0})
    batch = Batch()
    batch.add("videos", table_of(videos, VIDEOS))
    batch.add("clips", table_of(clips, CLIPS))
    batch.add("clipping", table_of([{"key": f"r:{c['clip_id']}", "run": "r", **c} for c in clips], CLIPPING))
    batch.add("timelines", table_of(timelines(), TIMELINES))
    rights = [{"video_id": v, "licence": "CC-BY-4.0", "consent": "yes", "origin": "made up"} for v in ("va", "vb")]
    batch.add("rights", table_of(rights, RIGHTS))
    workspace.commit(batch, clipping_run="r")
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir(exist_ok=True)
    (folder / "all_of_it.sql").write_text("SELECT clip_id FROM clips WHERE duration_s >= 2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = open_workspace(tmp_path_factory.mktemp("training") / "corpus")
    fill(workspace)
    freeze.build(workspace, "all_of_it")
    return workspace


@pytest.fixture(scope="module")
def held(corpus: Workspace) -> Frozen:
    return frozen(corpus, "all_of_it")
