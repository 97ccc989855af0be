"""Frames and sound of clips for training: decoded from the proxies, which Headroom made itself and which seek fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GRID_FPS = 25
AUDIO_HZ = 16_000
SAMPLES_PER_FRAME = AUDIO_HZ // GRID_FPS


@dataclass(frozen=True)
class Fit:
    """How a frame of `width_px` x `height_px` is brought to a size: scaled, then cut or padded around its centre.

    `scaled` and `corner` are (height, width) and (top, left): of the scaled frame, and where the result begins in it;
    a negative corner is padding.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    corner: tuple[int, int]

    affine: np.ndarray
    """(2, 3) float32 from pixels of the proxy to pixels of the result."""


def fit(width_px: int, height_px: int, size: tuple[int, int], *, cut: bool) -> Fit:
    """`cut` fills the size and loses what is beyond it; without, the whole frame is kept and the rest is black."""
    choose = max if cut else min
    scale = choose(size[0] / height_px, size[1] / width_px)
    scaled = (max(1, round(height_px * scale)), max(1, round(width_px * scale)))
    corner = ((scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2)
    across, down = scaled[1] / width_px, scaled[0] / height_px
    affine = np.array([[across, 0, -corner[1]], [0, down, -corner[0]]], np.float32)
    return Fit(size, scaled, corner, affine)


def read_frames(proxy: Path, frames: Sequence[int], how: Fit) -> np.ndarray:
    """RGB uint8 (T, 3, H, W) of the grid frames asked for, which ascend; one may be asked for several times.

    Raises ValueError when the proxy can't be read or ends before the last of them.
    """
    import av

    height, width = how.size
    made = np.zeros((len(frames), 3, height, width), np.uint8)
    left = list(enumerate(frames))
    try:
        with av.open(f"file:{proxy}") as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            base = float(stream.time_base or 1)
            container.seek(round(frames[0] / GRID_FPS / base), stream=stream, backward=True)
            for picture in container.decode(stream):
                at = -1 if picture.pts is None else round(float(picture.pts) * base * GRID_FPS)
                if left and at == left[0][1]:
                    pixels = _placed(picture, how)
                    while left and left[0][1] == at:
                        made[left.pop(0)[0]] = pixels
                if not left:
                    return made
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise ValueError(f"proxy {proxy}: can't be decoded ({error}); run headroom curate again") from error
    raise ValueError(f"proxy {proxy}: ends before frame {left[0][1]}; run headroom curate again")


def _placed(picture: Any, how: Fit) -> np.ndarray:
    """(3, H, W) of one decoded frame."""
    scaled = picture.to_ndarray(format="rgb24", width=how.scaled[1], height=how.scaled[0], interpolation="AREA")
    (top, left), (height, width) = how.corner, how.size
    placed = np.zeros((height, width, 3), np.uint8)
    kept = scaled[max(0, top) : max(0, top) + height, max(0, left) : max(0, left) + width]
    y, x = max(0, -top), max(0, -left)
    placed[y : y + kept.shape[0], x : x + kept.shape[1]] = kept
    return placed.transpose(2, 0, 1)


def read_sound(audio: Path, start_frame: int, end_frame: int) -> np.ndarray:
    """16 kHz mono float32 in [-1, 1], 640 samples a frame; silence beyond the file's end.

    Raises ValueError when the file can't be read.
    """
    import soundfile

    wanted = np.zeros((end_frame - start_frame) * SAMPLES_PER_FRAME, np.float32)
    try:
        with soundfile.SoundFile(audio) as sound:
            if start_frame * SAMPLES_PER_FRAME < sound.frames:
                sound.seek(start_frame * SAMPLES_PER_FRAME)
                read = sound.read(len(wanted), dtype="float32", always_2d=False)
                wanted[: len(read)] = read
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"sound {audio}: can't be read ({error}); run headroom curate again") from error
    return wanted
