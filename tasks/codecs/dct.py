"""A codec without a network: the lowest coefficients of a discrete cosine transform over 4 frames and 8 x 8 pixels.

It proves the contract, and is the baseline that learned codecs must beat. Source: Ahmed et al., Discrete Cosine
Transform, IEEE Trans. Computers 1974; colour by ITU-R BT.601.
"""

from __future__ import annotations

import numpy as np

FRAMES, PIXELS = 4, 8
LUMA_CHANNELS, CHROMA_CHANNELS = 56, 4
STEP, STEP_PER_FREQUENCY = 16.2, 1.5
"""The mean of a block reaches +-2048 in the transform; a step of 16.2 brings it into int8."""
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_TO_RGB = np.linalg.inv(_TO_YCC.astype(np.float64)).astype(np.float32)


def _basis(size: int) -> np.ndarray:
    """Orthonormal DCT-II, (frequency, place)."""
    k, n = np.mgrid[:size, :size]
    made = np.sqrt(2 / size) * np.cos(np.pi * (2 * n + 1) * k / (2 * size))
    made[0] /= np.sqrt(2)
    return np.asarray(made, np.float32)


def _order() -> tuple[np.ndarray, np.ndarray]:
    """Places (256,) of the coefficients in a block of 4 x 8 x 8, lowest frequency first, and their steps (256,)."""
    t, y, x = (a.ravel() for a in np.mgrid[:FRAMES, :PIXELS, :PIXELS])
    frequency = 2 * t + y + x
    places = np.lexsort((t, y, x, frequency))
    return places, (STEP + STEP_PER_FREQUENCY * frequency[places]).astype(np.float32)


_PLACES, _STEPS = _order()
_BASIS = np.kron(_basis(FRAMES), np.kron(_basis(PIXELS), _basis(PIXELS)))[_PLACES]
"""Each row is one coefficient's pattern over a block of 256 values: only those that are kept are ever computed."""
_COUNTS = (LUMA_CHANNELS, CHROMA_CHANNELS, CHROMA_CHANNELS)


class Dct:
    """Latents int8 (T / 4, 64, H / 8, W / 8): 56 coefficients of luma, 4 of each chroma."""

    name = "dct"
    version = 1
    frames_per_latent = FRAMES
    pixels_per_latent = PIXELS
    num_channels = LUMA_CHANNELS + 2 * CHROMA_CHANNELS

    def encode(self, frames_THWC: np.ndarray) -> np.ndarray:
        """Raises ValueError for anything but RGB uint8 with at least one frame."""
        if frames_THWC.dtype != np.uint8 or frames_THWC.ndim != 4 or frames_THWC.shape[-1] != 3 or not len(frames_THWC):
            raise ValueError(f"dct: frames must be uint8 (T, H, W, 3), not {frames_THWC.dtype} {frames_THWC.shape}")
        parts = []
        for start in range(0, len(frames_THWC), FRAMES):  # four frames at a time: memory stays flat
            group = frames_THWC[start : start + FRAMES]
            parts.append(_encoded(_padded(group)))
        return np.asarray(np.stack(parts))

    def decode(self, latents_TCHW: np.ndarray, num_frames: int, height_px: int, width_px: int) -> np.ndarray:
        """Raises ValueError for latents that don't fit the frames asked for."""
        shape = tuple(
            -(-n // d) for n, d in zip((num_frames, height_px, width_px), (FRAMES, PIXELS, PIXELS), strict=True)
        )
        expected = (shape[0], self.num_channels, *shape[1:])
        if latents_TCHW.shape != expected or latents_TCHW.dtype != np.int8:
            raise ValueError(f"dct: latents {latents_TCHW.dtype} {latents_TCHW.shape}, expected int8 {expected}")
        frames = np.concatenate([_decoded(step) for step in latents_TCHW])
        return np.asarray(frames[:num_frames, :height_px, :width_px])


def _padded(group_THWC: np.ndarray) -> np.ndarray:
    """Whole blocks, the last frame, row and column repeated."""
    height, width = group_THWC.shape[1:3]
    more = ((0, FRAMES - len(group_THWC)), (0, -height % PIXELS), (0, -width % PIXELS), (0, 0))
    return np.asarray(np.pad(group_THWC, more, mode="edge"))


def _encoded(frames_THWC: np.ndarray) -> np.ndarray:
    """Int8 (C, H / 8, W / 8) of four frames of whole blocks."""
    ycc = frames_THWC.astype(np.float32) @ _TO_YCC.T
    ycc[..., 0] -= 128
    rows, columns = frames_THWC.shape[1] // PIXELS, frames_THWC.shape[2] // PIXELS
    blocks = (
        ycc.reshape(FRAMES, rows, PIXELS, columns, PIXELS, 3).transpose(5, 1, 3, 0, 2, 4).reshape(3, rows, columns, -1)
    )
    kept = [blocks[plane] @ _BASIS[:n].T / _STEPS[:n] for plane, n in enumerate(_COUNTS)]
    latents = np.rint(np.concatenate(kept, axis=-1)).clip(-127, 127).astype(np.int8)
    return np.ascontiguousarray(latents.transpose(2, 0, 1))


def _decoded(latents_CHW: np.ndarray) -> np.ndarray:
    """Uint8 (4, H, W, 3) of one latent step."""
    rows, columns = latents_CHW.shape[1:]
    planes, channel = [], 0
    for count in _COUNTS:
        part = latents_CHW[channel : channel + count].transpose(1, 2, 0).astype(np.float32)
        planes.append((part * _STEPS[:count]) @ _BASIS[:count])
        channel += count
    blocks = np.stack(planes).reshape(3, rows, columns, FRAMES, PIXELS, PIXELS)
    ycc = blocks.transpose(3, 1, 4, 2, 5, 0).reshape(FRAMES, rows * PIXELS, columns * PIXELS, 3).copy()
    ycc[..., 0] += 128
    return np.asarray(np.rint(ycc @ _TO_RGB.T).clip(0, 255), np.uint8)
