"""The corpus of modeling/spoken_corpus.py with pictures that networks find a face on: drawn heads whose mouths move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from store.record import Batch, table_of
from store.schema import TIMELINES, VIDEOS
from store.workspace import Workspace
from tasks.digest import pack
from tasks.media.film import write_film
from tasks.signals import faces, landmarks
from tests.drawn_face import media_of
from tests.unit.flows.talking_pictures import SIDE, pictures
from tests.unit.modeling.spoken_corpus import NUM_FRAMES, PEOPLE, fill_spoken


def fill_talking(workspace: Workspace, folder: Path) -> None:
    """All show the same head; what they say differs."""
    fill_spoken(workspace)
    made = pictures(0.5 - 0.4 * np.cos(np.arange(NUM_FRAMES) * 2 * np.pi / 8))
    proxy = folder / "talking.mp4"
    write_film(made, (SIDE, SIDE), np.zeros(NUM_FRAMES * 640, np.float32), proxy)
    media = media_of(dict(enumerate(made)), NUM_FRAMES)
    mesh = landmarks.compute(media, {"faces": _timeline(faces.compute(media, {}))}).timeline
    batch = Batch()
    videos, lines = list[dict[str, Any]](), list[dict[str, Any]]()
    with workspace.views() as reader:
        before = {row["video_id"]: row for row in reader.sql("SELECT * FROM videos").to_dicts()}
    for video in PEOPLE:
        row = {k: v for k, v in before[video].items() if k in VIDEOS.names}
        videos.append({**row, "proxy_uri": str(proxy), "width_px": SIDE, "height_px": SIDE})
        span = {"video_id": video, "clip_id": None, "start_frame": 0, "end_frame": NUM_FRAMES, "window_index": 0}
        told = {"key": f"{video}:landmarks:0", "name": "landmarks", "grain": "video", "status": "ok"}
        lines.append({**span, **told, "fingerprint": "f-landmarks", "payload": pack(_timeline_table(mesh))})
    batch.add("videos", table_of(videos, VIDEOS))
    batch.add("timelines", table_of(lines, TIMELINES))
    workspace.commit(batch)


def _timeline(output: Any) -> pa.Table:
    return _timeline_table(output.timeline)


def _timeline_table(table: pa.Table | None) -> pa.Table:
    assert table is not None
    assert table.num_rows, "a face is found"
    return table
