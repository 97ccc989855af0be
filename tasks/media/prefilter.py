"""Cheap figures from small gray frames while the proxy is made: what is frozen, choppy, static or black stops here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.media.errors import MediaError

DUPLICATE_LEVEL = 1.0
"""A frame repeats the one before when 99.8 % of its pixels (160 px wide, gray) changed by at most this much."""

STILL_LEVEL = 0.15
"""Two frames a second apart show the same when their pixels differ by at most this much on average."""

BLACK_MEAN, BLACK_BRIGHTEST = 24.0, 40.0
MAX_BLACK_RATIO = 0.9
FROZEN_RATIO = 0.9
MAX_CHOPPY_RATIO = 0.45
STATIC_RATIO = 0.9
MIN_DURATION_S = 2.0
MAX_SAME_S = 600


@dataclass(frozen=True)
class Prefilter:
    """Ratios are shares of frames, 0 to 1; `mean_motion` is the mean absolute change from frame to frame in gray
    levels (0 to 255); `phash` is the 64-bit perceptual hash of the mean picture, in hex."""

    duplicate_ratio: float
    static_ratio: float
    mean_motion: float
    black_ratio: float
    phash: str


class GrayStream:
    """Takes gray frames in order, in pieces of any size, and keeps only per-frame figures and sums.

    The first `skip` frames only fill the time until the picture starts and count for nothing.
    `num_same` counts the last frames that equal, to the byte, those before them.
    """

    def __init__(self, width_px: int, height_px: int, *, skip: int = 0) -> None:
        self.num_to_skip = skip
        self.shape = (height_px, width_px)
        self.changes: list[np.ndarray] = []
        self.peaks: list[np.ndarray] = []
        self.second_changes: list[float] = []
        self.means: list[np.ndarray] = []
        self.brightest: list[np.ndarray] = []
        self.num_frames = 0
        self.num_same = 0
        self._last: np.ndarray | None = None
        self._last_second: np.ndarray | None = None
        self._sum = np.zeros((height_px, width_px), np.float64)
        self._num_summed = 0

    def take(self, data: bytes) -> None:
        """Raises MediaError when nothing at all has changed for MAX_SAME_S: a clock that leaps makes FFmpeg repeat
        one frame for as long as it leapt, and that may be days."""
        frames: np.ndarray = np.frombuffer(data, np.uint8).reshape(-1, *self.shape)
        skipped = min(self.num_to_skip, len(frames))
        self.num_to_skip -= skipped
        frames = frames[skipped:]
        for i in range(0, len(frames), 64):
            self._take_some(frames[i : i + 64])
        if self.num_same > 25 * MAX_SAME_S:
            told = f"the picture stands still for more than {MAX_SAME_S} s"
            raise MediaError("normalise", f"{told}: its clock leaps, or nothing was recorded; cut the file")

    def _take_some(self, frames: np.ndarray) -> None:
        before = frames[:1] if self._last is None else self._last[None]
        joined = np.concatenate([before, frames]).astype(np.int16)
        change = np.abs(np.diff(joined, axis=0)).reshape(len(frames), -1)
        self.changes.append(change.mean(axis=1))
        moved = np.flatnonzero(self.changes[-1])
        self.num_same = len(frames) - 1 - int(moved[-1]) if len(moved) else self.num_same + len(frames)
        self.peaks.append(np.percentile(change, 99.8, axis=1))
        flat = frames.reshape(len(frames), -1)
        self.means.append(flat.mean(axis=1))
        self.brightest.append(np.percentile(flat, 99, axis=1))
        for i in range((-self.num_frames) % 25, len(frames), 25):
            second = frames[i].astype(np.int16)
            if self._last_second is not None:
                self.second_changes.append(float(np.abs(second - self._last_second).mean()))
            self._last_second = second
            self._sum += second
            self._num_summed += 1
        self._last = frames[-1]
        self.num_frames += len(frames)

    def figures(self) -> Prefilter:
        """Raises ValueError when no frame was taken."""
        if self.num_frames == 0:
            raise ValueError("prefilter: took no frame; give it at least one")
        peaks, changes = np.concatenate(self.peaks)[1:], np.concatenate(self.changes)[1:]
        means, brightest = np.concatenate(self.means), np.concatenate(self.brightest)
        still_seconds = np.array(self.second_changes) <= STILL_LEVEL
        return Prefilter(
            duplicate_ratio=round(float((peaks <= DUPLICATE_LEVEL).mean()), 4) if len(peaks) else 1.0,
            static_ratio=round(float(still_seconds.mean()), 4) if len(still_seconds) else 0.0,
            mean_motion=round(float(changes.mean()), 4) if len(changes) else 0.0,
            black_ratio=round(float(((means < BLACK_MEAN) & (brightest < BLACK_BRIGHTEST)).mean()), 4),
            phash=perceptual_hash(self._sum / max(1, self._num_summed)),
        )


def perceptual_hash(gray: np.ndarray) -> str:
    """64-bit pHash of one picture, 16 hex digits: signs of the 8 x 8 lowest DCT terms against their median.

    Source: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
    """
    import cv2

    small = cv2.resize(gray.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
    low = np.asarray(cv2.dct(small), np.float32)[:8, :8].ravel()
    # Rounded, so that the last bit of float arithmetic can't turn a hash of a flat picture.
    bits = np.round(low, 1) > np.round(np.median(low[1:]), 1)
    return f"{int(''.join('1' if b else '0' for b in bits), 2):016x}"


def verdict(figures: Prefilter, num_frames: int, source_fps: float) -> str | None:
    """Why the video is not worth any costly work, for people; None when it is.

    A source of 10 fps repeats 60 % of its frames on the 25 fps grid and is not choppy for that: only repeats beyond
    those that its own rate explains count.
    """
    duration_s = num_frames / 25
    explained = max(0.0, 1 - source_fps / 25) if source_fps else 0.0
    beyond = (figures.duplicate_ratio - explained) / (1 - explained) if explained < 1 else 0.0
    if duration_s < MIN_DURATION_S:
        return f"too short: {duration_s:.2f} s, at least {MIN_DURATION_S:g} s are needed"
    if figures.black_ratio >= MAX_BLACK_RATIO:
        return f"black: {figures.black_ratio:.0%} of the frames show nothing"
    if figures.duplicate_ratio >= FROZEN_RATIO:
        return f"frozen: {figures.duplicate_ratio:.0%} of the frames repeat the one before"
    if beyond >= MAX_CHOPPY_RATIO:
        return f"choppy: {beyond:.0%} of the frames repeat the one before, beyond what {source_fps:g} fps explains"
    if figures.static_ratio >= STATIC_RATIO:
        return f"static: nothing changes from second to second in {figures.static_ratio:.0%} of the time"
    return None
