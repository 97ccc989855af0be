"""FFmpeg, run so that the same input gives the same bytes: one thread, no dates, no version in the file."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

# "grain": a quiet face must not become the still picture that the prefilter looks for
H264 = ("-c:v", "libx264", "-preset", "fast", "-tune", "grain", "-crf", "18", "-pix_fmt", "yuv420p", "-threads:v", "1")
AAC = ("-c:a", "aac", "-b:a", "128k", "-ar", "48000")
MADE = "Made by Headroom from a still portrait or from other footage: not a recording."
EXACT = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact")


def run(*arguments: str | Path, frames: Iterable[np.ndarray] = ()) -> None:
    """FFmpeg with these arguments, the output last; `frames` go to its standard input, as raw video.

    Raises ValueError with FFmpeg's own words when it fails.
    """
    from imageio_ffmpeg import get_ffmpeg_exe  # always this one: a system's FFmpeg would give other bytes

    *options, out = map(str, arguments)
    command = [get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", *options, *EXACT]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [*command, "-metadata", f"comment={MADE}", out], stdin=subprocess.PIPE, stdout=words, stderr=words
        )
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it has stopped reading; its exit code and words say why
                for frame in frames:
                    process.stdin.write(frame.tobytes())
                process.stdin.close()
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        words.seek(0)
        if code != 0:
            said = words.read().decode(errors="replace").strip()
            raise ValueError(f"sample footage: FFmpeg ended with {code} on {Path(out).name}: {said}")


def encode(frames: Iterable[np.ndarray], size: tuple[int, int], fps: int, sound: Path, out: Path) -> None:
    """BGR frames of (width, height) and a WAV as MP4; frame 0 and sample 0 begin together."""
    raw = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "pipe:0")
    run(*raw, "-i", sound, *H264, *AAC, out, frames=frames)
