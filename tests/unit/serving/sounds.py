"""Sound as clients send it: packets and files, by PyAV's encoders."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np

HZ = 16_000
TONE = (8000 * np.sin(np.arange(HZ // 2) * 0.3)).astype(np.int16)
"""Half a second."""


def whites(data: bytes) -> int:
    """Frames of a stream in which `flashing`'s avatar heard something."""
    with av.open(io.BytesIO(data)) as container:
        return sum(frame.to_ndarray(format="gray").mean() > 128 for frame in container.decode(video=0))


def syllable(seconds: float, hz: int = 200) -> np.ndarray:
    """A tone that swells four times a second, int16 at 16 kHz."""
    t = np.arange(round(HZ * seconds)) / HZ
    return np.asarray(9000 * np.sin(2 * np.pi * hz * t) * np.sin(2 * np.pi * 2 * t) ** 2, np.int16)


def opus_packets(sound_N: np.ndarray, frame_ms: int = 20, layout: str = "mono") -> list[bytes]:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = HZ, layout, "s16", 32_000
    encoder.options, encoder.time_base = {"application": "voip", "frame_duration": str(frame_ms)}, Fraction(1, HZ)
    num = HZ * frame_ms // 1000
    packets: list[bytes] = []
    for at in range(0, len(sound_N) - num + 1, num):
        part = np.repeat(sound_N[at : at + num], 2 if layout == "stereo" else 1)[None]
        frame = av.AudioFrame.from_ndarray(part, "s16", layout)
        frame.sample_rate, frame.pts = HZ, at
        packets += [bytes(p) for p in encoder.encode(frame)]
    return packets + [bytes(p) for p in encoder.encode(None)]


def sound_file(kind: str, codec: str, sound_N: np.ndarray, rate_hz: int = 48_000) -> bytes:
    """`kind` is FFmpeg's name of the container."""
    held = io.BytesIO()
    with av.open(held, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound_N[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = HZ, 0, Fraction(1, HZ)
        even = av.AudioResampler(
            stream.codec_context.format.name, "mono", rate_hz, frame_size=stream.frame_size or None
        )
        for part in [*even.resample(frame), *even.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return held.getvalue()
