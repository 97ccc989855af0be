"""Media made for tests, so that the answer is known: pictures at chosen times, sound that starts when told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tasks.media.transcode import ffmpeg_binary

SOUND_HZ = 48_000
CLOCK_HZ = 90_000
Picture = Callable[[float], np.ndarray]


def moving(width: int = 96, height: int = 64) -> Picture:
    """A textured picture that drifts: nothing in it is black, frozen or static. RGB uint8 (H, W, 3)."""
    random = np.random.default_rng(7)
    tile = random.integers(60, 220, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    texture = tile.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]

    def at(time_s: float) -> np.ndarray:
        return np.roll(texture, (round(time_s * 10), round(time_s * 40)), axis=(0, 1))

    return at


def flashing(times_s: Sequence[float], width: int = 96, height: int = 64, lasts_s: float = 0.2) -> Picture:
    """Dark, and white from each of the times on."""

    def at(time_s: float) -> np.ndarray:
        lit = any(t - 1e-6 <= time_s < t + lasts_s for t in times_s)
        picture = np.full((height, width, 3), 230 if lit else 40, np.uint8)
        column = round(time_s * 50) % (width - 8)
        picture[:8, column : column + 8] = 128  # something moves, or it would be rejected as frozen
        return picture

    return at


def tone(duration_s: float, hz: float = 440.0) -> np.ndarray:
    """float32 mono at SOUND_HZ."""
    t = np.arange(round(duration_s * SOUND_HZ)) / SOUND_HZ
    return (0.3 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def beeping(times_s: Sequence[float], duration_s: float, lasts_s: float = 0.1) -> np.ndarray:
    """Silence, with a 1 kHz beep from each of the times on, which count from the sound's own start."""
    sound = np.zeros(round(duration_s * SOUND_HZ), np.float32)
    for t in times_s:
        beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(round(lasts_s * SOUND_HZ)) / SOUND_HZ)
        start = round(t * SOUND_HZ)
        sound[start : start + len(beep)] = beep[: max(0, len(sound) - start)]
    return sound


def grid(duration_s: float, fps: float = 25.0, start_s: float = 0.0) -> list[float]:
    return [start_s + i / fps for i in range(round(duration_s * fps))]


def write(
    path: Path,
    times_s: Sequence[float],
    picture: Picture | None = None,
    sound: np.ndarray | None = None,
    *,
    sound_start_s: float = 0.0,
    sound_gap: tuple[float, float] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sound_codec: str = "aac",
    format_name: str | None = None,
    sar: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Mux pictures with exactly these time stamps, and sound from `sound_start_s` on.

    `sound_gap` (at_s, length_s) leaves a hole in the sound's time stamps. No frame at all makes a file of sound.
    """
    with av.open(str(path), "w", format=format_name, options=container_options or {}) as out:
        video: Any = None
        if len(times_s):
            assert picture is not None
            height, width = picture(times_s[0]).shape[:2]
            video = out.add_stream(codec, rate=25, options=options or {"preset": "ultrafast", "g": "25"})
            video.width, video.height, video.pix_fmt = width, height, pix_fmt
            video.codec_context.time_base = Fraction(1, CLOCK_HZ)
            video.time_base = Fraction(1, CLOCK_HZ)
            video.thread_count = 1
            if sar is not None:
                video.codec_context.sample_aspect_ratio = sar
        audio: Any = None
        if sound is not None:
            audio = out.add_stream(sound_codec, rate=SOUND_HZ, layout="mono")
        for packet in _packets(video, times_s, picture, audio, sound, sound_start_s, sound_gap):
            out.mux(packet)
    return path


def _packets(
    video: Any,
    times_s: Sequence[float],
    picture: Picture | None,
    audio: Any,
    sound: np.ndarray | None,
    sound_start_s: float,
    sound_gap: tuple[float, float] | None,
) -> list[Any]:
    packets = []
    for time_s in times_s:
        assert picture is not None
        frame = av.VideoFrame.from_ndarray(picture(time_s), format="rgb24")
        frame.pts, frame.time_base = round(time_s * CLOCK_HZ), Fraction(1, CLOCK_HZ)
        packets += video.encode(frame)
    if video is not None:
        packets += video.encode(None)
    if sound is not None:
        step = 1024
        for i in range(0, len(sound) // step * step, step):
            at_s = i / SOUND_HZ
            late_s = sound_gap[1] if sound_gap is not None and at_s >= sound_gap[0] else 0.0
            piece = av.AudioFrame.from_ndarray(sound[None, i : i + step], format="fltp", layout="mono")
            piece.sample_rate, piece.time_base = SOUND_HZ, Fraction(1, SOUND_HZ)
            piece.pts = i + round((sound_start_s + late_s) * SOUND_HZ)
            packets += audio.encode(piece)
        packets += audio.encode(None)
    return sorted((p for p in packets if p.dts is not None), key=lambda p: p.dts * p.time_base)


def remake(source: Path, target: Path, *options: str, before: Sequence[str] = ()) -> Path:
    """Run FFmpeg over a made file, for what PyAV can't write."""
    command = [ffmpeg_binary(), "-v", "error", "-y", *before, "-i", f"file:{source}", *options, f"file:{target}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return target
