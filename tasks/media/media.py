"""The frames and the sound that a signal gets: one decode, one pyramid, shared by all who ask together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

PixelFormat = Literal["rgb", "gray"]

FULL_RGB_BYTES = 8 << 20
"""Full-size colour frames that are kept: 12 of 640x360. All 350 of a block would be 240 MB, few are asked for twice,
and memory never touched before costs more than the conversion."""

SIMD_COLUMNS = 128
"""OpenCV converts I420 in steps of this many columns or a half or quarter of them, and the rest of a row one by one,
ten times slower."""


@dataclass
class Media:
    """A span of one proxy, [start_frame, end_frame) on the 25 fps grid.

    `planes` are decoded frames as I420 (one uint8 array of shape (H * 3 / 2, W) each, H and W even), for the grid
    frames listed in `frames`, ascending; with context they may lie outside the span. `audio` is 16 kHz mono
    float32 of exactly the span, or None when the video has no sound.
    """

    start_frame: int
    end_frame: int
    width_px: int
    height_px: int
    frames: Sequence[int] = ()
    planes: Sequence[np.ndarray] = ()
    audio: np.ndarray | None = None
    audio_hz: int = 16_000
    source_width_px: int = 0
    """Width of the (rotated, square-pixel, border-free) source the proxy was made from; scale = source / proxy."""
    video_has_audio: bool = True
    _pyramid: dict[tuple[int, int, PixelFormat], np.ndarray] = field(default_factory=dict, repr=False)
    _full_rgb: deque[tuple[int, int, PixelFormat]] = field(default_factory=deque, repr=False)

    @property
    def duration_s(self) -> float:
        return (self.end_frame - self.start_frame) / 25

    def at(self, fps: float, *, within: bool = True) -> list[int]:
        """Grid frames sampled at `fps`: those of `frames` that are multiples of 25 / fps, from frame 0 of the video.

        Sampling is anchored at the video, not at the span, so overlapping spans see the same frames. A clip that
        is too short to hold a sampled frame gets its middle frame. `within=False` includes context frames.
        """
        step = max(1, round(25 / fps))
        have = [f for f in self.frames if not within or self.start_frame <= f < self.end_frame]
        chosen = [f for f in have if f % step == 0]
        return chosen or have[len(have) // 2 : len(have) // 2 + 1]

    def image(self, frame: int, longest_side_px: int | None = None, pixels: PixelFormat = "rgb") -> np.ndarray:
        """One frame, uint8: (H, W, 3) for rgb, (H, W) for gray, scaled down by area to `longest_side_px`.

        Each level is made once and shared; callers must not write into it. Of full-size colour frames only the last
        FULL_RGB_BYTES are kept, and others made again.
        """
        import cv2

        side = max(self.width_px, self.height_px)
        wanted = side if longest_side_px is None else min(side, longest_side_px)
        key = (frame, wanted, pixels)
        if key in self._pyramid:
            return self._pyramid[key]
        if wanted == side:
            plane = self.planes[self._position(frame)]
            if pixels == "gray":
                made = plane[: self.height_px]
            else:
                made = _rgb(plane)
                self._make_room(key, made.nbytes)
        else:
            full = self.image(frame, None, pixels)
            scale = wanted / side
            size = (max(1, round(self.width_px * scale)), max(1, round(self.height_px * scale)))
            made = cv2.resize(full, size, interpolation=cv2.INTER_AREA)
        made.flags.writeable = False
        self._pyramid[key] = made
        return made

    def _make_room(self, key: tuple[int, int, PixelFormat], num_bytes: int) -> None:
        self._full_rgb.append(key)
        if len(self._full_rgb) > max(1, FULL_RGB_BYTES // num_bytes):
            del self._pyramid[self._full_rgb.popleft()]

    def _position(self, frame: int) -> int:
        if not hasattr(self, "_index"):
            self._index = {f: i for i, f in enumerate(self.frames)}
        return self._index[frame]


def _rgb(plane: np.ndarray) -> np.ndarray:
    """(H, W, 3) of an I420 frame, by BT.601; widths that OpenCV is slow at go through a wider frame, same values."""
    import cv2

    lines, width = plane.shape
    rest = width % SIMD_COLUMNS
    if rest < SIMD_COLUMNS // 4:
        return np.asarray(cv2.cvtColor(plane, cv2.COLOR_YUV2RGB_I420))
    height, wide = lines * 2 // 3, width + SIMD_COLUMNS - rest
    padded = np.empty((lines, wide), np.uint8)
    padded[:height, :width] = plane[:height]
    padded[height:].reshape(height, wide // 2)[:, : width // 2] = plane[height:].reshape(height, width // 2)
    return np.ascontiguousarray(cv2.cvtColor(padded, cv2.COLOR_YUV2RGB_I420)[:, :width])
