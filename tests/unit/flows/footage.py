"""Footage for the tests: a few seconds of a drawn face that moves its mouth, which every stage takes for a talking head."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

from tests.drawn_face import draw_face, wall


def environment(prefect: str = "") -> dict[str, str]:
    """For a process that is to find its Prefect API by itself, or to take the one at this URL."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**found, "PREFECT_API_URL": prefect} if prefect else found


def make_talk(path: Path, seconds: float = 3.0, *, center_x: float = 160) -> Path:
    import imageio_ffmpeg

    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x240", "-r", "25", "-i", "pipe:"]
    sound = ["-f", "lavfi", "-i", f"sine=frequency=220:duration={seconds}"]
    out = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-shortest", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *source, *sound, *out]
    noise_HWC = np.random.default_rng(7).integers(0, 12, (240, 320, 3), dtype=np.uint8)
    frames = []
    for frame in range(round(seconds * 25)):
        x = center_x + 4 * np.sin(frame / 5)
        face = draw_face(wall(), x, 105, 150, mouth_open=0.5 + 0.5 * np.sin(frame / 2))
        frames.append((face // 2 + 60 + noise_HWC).tobytes())
    subprocess.run(command, input=b"".join(frames), check=True)
    return path
