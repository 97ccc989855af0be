"""Scorecard of latents_dct: how much of a picture comes back, for how many bytes, beside the means of its blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.codecs.dct import CHROMA_CHANNELS, LUMA_CHANNELS, Dct
from tasks.signal import GRID_FPS
from tasks.signals import latents_dct

SECONDS = 2.0
PSNR_GOAL_DB = 30.0


def means_only(frames: np.ndarray) -> np.ndarray:
    """Baseline: every block of 4 frames and 8 x 8 pixels in its mean colour."""
    latents = Dct().encode(frames)
    flat = np.zeros_like(latents)
    for channel in (0, LUMA_CHANNELS, LUMA_CHANNELS + CHROMA_CHANNELS):
        flat[:, channel] = latents[:, channel]
    return np.asarray(Dct().decode(flat, *frames.shape[:3]))


def run(root: Path) -> list[Row]:
    psnr: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    naive = []
    for entry in manifest(root, "talk"):
        frames, width = read_frames(entry["path"], GRID_FPS, max_s=SECONDS)
        media = media_of(frames[: latents_dct.CHUNK_FRAMES], GRID_FPS, source_width_px=width)
        made = latents_dct.compute(media, {}).timeline
        assert made is not None
        shown = np.stack([media.image(f, latents_dct.SIDE_PX) for f in media.frames])
        num_bytes, seconds = sum(made["num_bytes"].to_pylist()), len(shown) / GRID_FPS
        psnr.setdefault(entry["person"], []).append(float(np.mean(made["psnr_db"].to_pylist())))
        sizes.setdefault(entry["person"], []).append(num_bytes / seconds / 1000)
        ratios.setdefault(entry["person"], []).append(shown.nbytes / num_bytes)
        naive.append(latents_dct.psnr_db(shown, means_only(shown)))
    n, people = sum(len(v) for v in psnr.values()), len(psnr)
    base = float(np.mean(naive))
    return [
        Row("latents_dct", "frames come back from their latents", "mean PSNR, dB", *bootstrap_ci(psnr, np.mean), n, people,
            base, PSNR_GOAL_DB, "higher", "means of blocks"),
        Row("latents_dct", "what a second costs at 256 px", "mean kB a second", *bootstrap_ci(sizes, np.mean), n, people,
            None, None, "lower"),
        Row("latents_dct", "smaller than the frames", "mean ratio of bytes", *bootstrap_ci(ratios, np.mean), n, people,
            1.0, 10.0, "higher", "raw frames"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
