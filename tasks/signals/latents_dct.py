"""Latents of a video by a DCT codec, in chunks of 2 s: what a generative model of video is trained on, once encoded."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from tasks.codecs import packed
from tasks.codecs.dct import LUMA_CHANNELS, STEP, STEP_PER_FREQUENCY, Dct
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, Output, Signal

SIDE_PX = 256
CHUNK_FRAMES = 2 * GRID_FPS
"""A chunk begins at a multiple of 50 frames of the video, so the same frames make the same chunk in any block."""

SIGNAL = Signal(
    grain="video",
    version=1,
    timeline=(
        Column("num_frames", pa.int16(), "count", "frames of the chunk that begins at `frame`", 1, CHUNK_FRAMES),
        Column("uri", pa.string(), "text", "where its latents lie, below the video's folder in object storage"),
        Column("sha256", pa.string(), "text", "digest of the object"),
        Column("num_bytes", pa.int32(), "bytes", "its size", 1),
        Column(
            "psnr_db", pa.float32(), "db", "of the decoded chunk against the frames; 100 when they are equal", 0, 100, 2
        ),
    ),
    look=Look(frames_fps=GRID_FPS),
    on_request=True,
    cost_cpu_s=0.12,
    params={
        "side_px": SIDE_PX,
        "chunk_frames": CHUNK_FRAMES,
        "codec": (Dct.name, Dct.version, LUMA_CHANNELS, STEP, STEP_PER_FREQUENCY),
    },
    backend="dct",
    summary="Latents (T/4, 64, H/8, W/8) of frames of at most 256 px at 25 fps, by a discrete cosine transform.",
    source="Ahmed et al., Discrete Cosine Transform, IEEE Trans. Computers 1974.",
)


def compute(media: Media, needs: Needs) -> Output:
    codec = Dct()
    rows, objects = [], {}
    for first in range(media.start_frame // CHUNK_FRAMES * CHUNK_FRAMES, media.end_frame, CHUNK_FRAMES):
        shown = [f for f in media.at(GRID_FPS) if first <= f < first + CHUNK_FRAMES]
        if not shown:
            continue
        frames = np.stack([media.image(frame, SIDE_PX) for frame in shown])
        latents = codec.encode(frames)
        size = (len(frames), frames.shape[1], frames.shape[2])
        chunk = packed(latents, codec, shown[0], *size)
        sha256 = hashlib.sha256(chunk).hexdigest()
        uri = f"latents_dct/{sha256}.hrlat"
        objects[uri] = chunk
        told = {"num_frames": len(shown), "uri": uri, "sha256": sha256, "num_bytes": len(chunk)}
        rows.append({"frame": shown[0], **told, "psnr_db": psnr_db(frames, codec.decode(latents, *size))})
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return Output(timeline=pa.Table.from_pylist(rows, schema=schema), objects=objects)


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pictures, at most 100."""
    error = float(np.square(first.astype(np.float32) - second.astype(np.float32)).mean(dtype=np.float64))
    return min(100.0, float(10 * np.log10(255**2 / error))) if error > 0 else 100.0
