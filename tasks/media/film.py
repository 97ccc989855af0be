"""Pictures and sound written as an MP4 that any browser plays: what is drawn of clips, to be looked at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from tasks.media.transcode import ffmpeg_binary
from tasks.signal import GRID_FPS


def write_film(pictures: Iterable[np.ndarray], size: tuple[int, int], sound_N: np.ndarray, out: Path) -> None:
    """RGB uint8 (H, W, 3) at 25 fps, `size` being (H, W), both even, beside float32 sound at 16 kHz.

    Raises ValueError when FFmpeg fails.
    """
    sound = out.with_name(f".{out.stem}.f32")
    sound.write_bytes(sound_N.astype("<f4").tobytes())
    try:
        process = subprocess.Popen(_command(sound, size, out), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # FFmpeg is gone: what it said is told below
            for picture in pictures:
                process.stdin.write(picture.tobytes())
        _, said = process.communicate()
    finally:
        sound.unlink(missing_ok=True)
    if process.returncode != 0:
        told = said.decode(errors="replace").strip()[-200:]
        raise ValueError(f"{out.name}: FFmpeg ended with {process.returncode}: {told}")


def _command(sound: Path, size: tuple[int, int], out: Path) -> list[str]:
    return [
        ffmpeg_binary(), "-hide_banner", "-nostats", "-loglevel", "error", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}", "-r", str(GRID_FPS), "-i", "-",
        "-f", "f32le", "-ar", "16000", "-ac", "1", "-i", f"file:{sound}",
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-threads", "1",
        "-c:a", "aac", "-b:a", "64k", "-movflags", "+faststart", f"file:{out}",
    ]  # fmt: skip
