"""Video codecs that turn frames into latents and back: the contract, and the file format of a chunk of latents.

A codec is one file with one class. It is causal in chunks: a chunk is decoded from its own latents alone, so a range of
frames costs the chunks it touches. T frames or latent steps, C channels, H height, W width.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

MAGIC = b"HRLAT1\n"
FORMAT_DTYPES = ("int8", "int16", "float16", "float32")


class Codec(Protocol):
    """Frames are RGB uint8 (T, H, W, 3), any T >= 1 and any size; latents are (T / stride, C, H / stride, W / stride),
    rounded up. `decode` gives just the frames asked for, uint8. Both are deterministic."""

    name: str
    version: int
    frames_per_latent: int
    pixels_per_latent: int
    num_channels: int

    def encode(self, frames_THWC: np.ndarray) -> np.ndarray: ...

    def decode(self, latents_TCHW: np.ndarray, num_frames: int, height_px: int, width_px: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Header:
    """What a chunk says of itself: who made it, and the frames that it stands for, on the video's grid."""

    codec: str
    version: int
    first_frame: int
    num_frames: int
    height_px: int
    width_px: int
    dtype: str
    shape: tuple[int, ...]


def packed(
    latents: np.ndarray, codec: Codec, first_frame: int, num_frames: int, height_px: int, width_px: int
) -> bytes:
    """A chunk as bytes: magic, length and JSON of its header, the latents in zstd."""
    told = (codec.name, codec.version, first_frame, num_frames, height_px, width_px, str(latents.dtype))
    head = json.dumps(asdict(Header(*told, tuple(latents.shape))), sort_keys=True).encode()
    body: bytes = pa.Codec("zstd").compress(np.ascontiguousarray(latents).tobytes(), asbytes=True)
    return MAGIC + len(head).to_bytes(4, "little") + head + body


def unpacked(chunk: bytes) -> tuple[Header, np.ndarray]:
    """Raises ValueError for bytes that are no whole chunk."""
    start = len(MAGIC) + 4
    if not chunk.startswith(MAGIC) or len(chunk) < start:
        raise ValueError(f"latents: {len(chunk)} bytes that begin with {chunk[:8]!r} are no chunk; encode them again")
    end = start + int.from_bytes(chunk[len(MAGIC) : start], "little")
    try:
        told: dict[str, Any] = json.loads(chunk[start:end])
        header = Header(**{**told, "shape": tuple(told["shape"])})
        if header.dtype not in FORMAT_DTYPES:
            raise ValueError(f"dtype {header.dtype!r}")
        size = int(np.prod(header.shape)) * np.dtype(header.dtype).itemsize
        body = pa.Codec("zstd").decompress(chunk[end:], decompressed_size=size, asbytes=True)
        return header, np.frombuffer(body, header.dtype).reshape(header.shape)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"latents: a chunk of {len(chunk)} bytes can't be read ({error}); encode it again") from error
