"""What the pictures are, in 64 bits each: finds the same footage again after re-encoding or scaling, for next to nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.media.prefilter import perceptual_hash
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal

FPS = 1
SIDE_PX = 160
MIN_DETAIL = 2.0
"""Gray levels; below it the signs of the DCT terms are those of noise, and all flat pictures would be one."""
BITS = 64

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "hash",
            pa.string(),
            "hex",
            "perceptual hash of the clip's mean picture, 16 digits; up to 6 bits apart is the same footage re-encoded",
        ),
        Column("num_frames", pa.int32(), "count", "frames that were hashed, one a second", 1, 1_000_000),
        Column(
            "spread_bits",
            pa.float32(),
            "bits",
            "bits by which a frame's hash differs from the clip's, mean; 0 is a still",
            0,
            BITS,
            2,
        ),
        Column("detail", pa.float32(), "levels", "standard deviation of the mean picture's gray, 0 to 255", 0, 128, 2),
    ),
    timeline=(Column("hash", pa.uint64(), "bits", "perceptual hash of this frame", 0, 2.0**64),),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.001,
    params={"fps": FPS, "side_px": SIDE_PX, "min_detail": MIN_DETAIL},
    backend="phash_dct",
    summary="DCT perceptual hash (64 bits) of one frame a second and of the clip's mean picture.",
    source="Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a picture without detail."""
    frames = media.at(FPS)
    images_NHW = np.stack([media.image(f, SIDE_PX, "gray") for f in frames])
    mean_HW = images_NHW.mean(axis=0)
    detail = float(mean_HW.std())
    if detail < MIN_DETAIL:
        raise NotApplicable("a flat picture")
    told = perceptual_hash(mean_HW)
    hashes = [int(perceptual_hash(image), 16) for image in images_NHW]
    timeline = {"frame": pa.array(frames, pa.int32()), "hash": pa.array(hashes, pa.uint64())}
    return Output(
        row={
            "hash": told,
            "num_frames": len(frames),
            "spread_bits": float(np.mean([bits_apart(h, int(told, 16)) for h in hashes])),
            "detail": detail,
        },
        timeline=pa.table(timeline),
    )


def bits_apart(one: int, other: int) -> int:
    """Hamming distance of two hashes, 0 to 64."""
    return (one ^ other).bit_count()
