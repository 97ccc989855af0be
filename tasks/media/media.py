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

_MATRIX = np.array([[1.1644, 0, 1.596], [1.1644, -0.3918, -0.813], [1.1644, 2.0172, 0]])
TO_RGB = np.hstack([_MATRIX, -_MATRIX @ [[16], [128], [128]]]).astype(np.float32)
"""BT.601, video range, as OpenCV converts I420."""


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
        """One frame, uint8: (H, W, 3) for rgb, (H, W) for gray, scaled down to `longest_side_px`.

        By area to a half and less; above, where two neighbours hold almost all of a pixel, linearly, which is five
        times faster.
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
            scale = wanted / side
            size = (max(1, round(self.width_px * scale)), max(1, round(self.height_px * scale)))
            if pixels == "gray":
                way = cv2.INTER_AREA if side >= 2 * wanted else cv2.INTER_LINEAR
                made = cv2.resize(self.image(frame, None, "gray"), size, interpolation=way)
            else:
                made = _small_rgb(self.image(frame, wanted, "gray"), self._chroma(frame))
        made.flags.writeable = False
        self._pyramid[key] = made
        return made

    def crop(self, frame: int, to_image: np.ndarray, size_px: int) -> np.ndarray:
        """A square of one frame, RGB uint8 (size_px, size_px, 3): what a network about faces looks at.

        `to_image` is affine (2, 3), from pixel centres of the square to pixel centres of the frame; beyond the border
        the edge goes on. `size_px` is even. The planes are warped and only the square is converted to RGB, so colour
        is interpolated as brightness is, and no whole frame is converted.
        """
        luma = self.planes[self._position(frame)][: self.height_px]
        half = size_px // 2
        # A pixel of a colour plane covers two by two of the luma plane, in the square as in the frame.
        to_chroma = to_image.copy()
        to_chroma[:, 2] = (0.5 * to_image[:, :2].sum(axis=1) + to_image[:, 2] - 0.5) / 2
        square = np.empty((size_px * 3 // 2, size_px), np.uint8)
        square[:size_px] = _warped(luma, to_image, size_px)
        below = square[size_px:].reshape(2, half, half)
        for i, chroma in enumerate(self._chroma(frame)):
            below[i] = _warped(chroma, to_chroma, half)
        return _rgb(square)

    def _chroma(self, frame: int) -> np.ndarray:
        """The colour planes U and V, (2, H / 2, W / 2)."""
        plane = self.planes[self._position(frame)]
        return plane[self.height_px :].reshape(2, self.height_px // 2, self.width_px // 2)

    def _make_room(self, key: tuple[int, int, PixelFormat], num_bytes: int) -> None:
        self._full_rgb.append(key)
        if len(self._full_rgb) > max(1, FULL_RGB_BYTES // num_bytes):
            del self._pyramid[self._full_rgb.popleft()]

    def _position(self, frame: int) -> int:
        if not hasattr(self, "_index"):
            self._index = {f: i for i, f in enumerate(self.frames)}
        return self._index[frame]


def _warped(plane_HW: np.ndarray, to_image: np.ndarray, size_px: int) -> np.ndarray:
    import cv2

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(plane_HW, to_image, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped)


def _small_rgb(luma_HW: np.ndarray, chroma_2HW: np.ndarray) -> np.ndarray:
    """(H, W, 3) of luma already scaled down, and colour planes of the full frame: scaled first, then made RGB.

    As good as the other order, and two to three times faster: half as many samples are scaled, few converted.
    """
    import cv2

    height, width = luma_HW.shape
    way = cv2.INTER_AREA if 2 * width <= chroma_2HW.shape[2] else cv2.INTER_LINEAR
    yuv = cv2.merge((luma_HW, *(cv2.resize(c, (width, height), interpolation=way) for c in chroma_2HW)))
    return np.asarray(cv2.transform(yuv, TO_RGB))


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
