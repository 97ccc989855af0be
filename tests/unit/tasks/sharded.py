"""A corpus whose videos have sources: twice as large as their proxies, at twice their rate, with the same grays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from store.ledger import sources
from store.workspace import Workspace
from tasks.ingest import local_source
from tests.made import beeping, grid, write
from tests.unit.modeling.conftest import HEIGHT, NUM_FRAMES, WIDTH, fill, gray_of


def fill_with_sources(workspace: Workspace, footage: Path) -> None:
    """`footage/va.mp4` with sound and `footage/vb.mp4` without, at 50 fps."""
    fill(workspace)
    for video in ("va", "vb"):
        put_source(workspace, footage, video)


def put_source(workspace: Workspace, footage: Path, video: str) -> Path:
    def picture(time_s: float) -> np.ndarray:
        made = np.full((2 * HEIGHT, 2 * WIDTH, 3), gray_of(video, int(time_s * 25 + 1e-6)), np.uint8)
        made[:, :WIDTH] = 40  # no black border
        return made

    footage.mkdir(parents=True, exist_ok=True)
    seconds = NUM_FRAMES / 25
    heard = beeping([1.0], seconds) if video == "va" else None
    options = {"crf": "4", "preset": "ultrafast", "g": "50", "bf": "0"}
    file = write(footage / f"{video}.mp4", grid(seconds, 50), picture, heard, options=options)
    seen = local_source(file)
    row = {"uri": str(file), "video_id": video, "num_bytes": seen.num_bytes, "hint": seen.hint}
    workspace.ledger.put(sources, [{**row, "rights_sha256": "", "seen_at": 1.0}])
    return file
