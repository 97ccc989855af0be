"""From stored latents back to frames: the chunks that a range touches, each checked by its digest."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from store.workspace import Workspace
from tasks.codecs import Codec, unpacked
from tasks.codecs.dct import Dct

CODECS: dict[str, type[Codec]] = {Dct.name: Dct}


def frames_of(workspace: Workspace, video_id: str, timeline: pa.Table, start_frame: int, end_frame: int) -> np.ndarray:
    """RGB uint8 (T, H, W, 3) of the frames [start_frame, end_frame) from a latents timeline of the video.

    Raises ValueError for frames that no chunk holds, a chunk whose bytes are not those that were written, or one of a
    codec that is not there.
    """
    parts = []
    reached = start_frame
    for row in timeline.to_pylist():
        first, last = row["frame"], row["frame"] + row["num_frames"]
        if last <= start_frame or first >= end_frame:
            continue
        if first > reached:
            break
        frames = _decoded(workspace, video_id, row)
        parts.append(frames[max(0, start_frame - first) : end_frame - first])
        reached = last
    if reached < end_frame:
        raise ValueError(f"video {video_id}: no latents of frame {reached}; compute them, or ask for fewer frames")
    return np.concatenate(parts)


def _decoded(workspace: Workspace, video_id: str, row: dict[str, object]) -> np.ndarray:
    place = workspace.objects.uri(f"media/{video_id}/{row['uri']}")
    chunk = workspace.objects.local(place).read_bytes()
    if hashlib.sha256(chunk).hexdigest() != row["sha256"]:
        raise ValueError(f"{place}: holds other bytes than were written; delete it and compute the signal again")
    header, latents = unpacked(chunk)
    if header.codec not in CODECS:
        raise ValueError(f"{place}: made by codec {header.codec!r}, which is none of {', '.join(sorted(CODECS))}")
    return CODECS[header.codec]().decode(latents, header.num_frames, header.height_px, header.width_px)
