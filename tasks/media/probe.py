"""What a file says it is, read in a child process before anything else touches it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.media.errors import MediaError
from tasks.media.limits import Limits, python_child

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpeg", "mpegts", "flv", "asf", "ogg", "h264", "hevc",
    "mpegvideo", "m4v", "wav", "mp3", "flac", "aac", "mxf", "ivf", "obu", "dv", "gif", "rm", "wtv", "nut",
    "yuv4mpegpipe",
)  # fmt: skip
"""Containers that may be opened. Left out are those that name other files or addresses (playlists, concat
scripts) and still images: a text file called x.mp4 must not make the decoder fetch anything."""

OPEN_OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file,pipe"}

PROBE_LIMITS = Limits(memory_bytes=2 << 30, base_s=60.0, per_s=0.0)


@dataclass(frozen=True)
class Probe:
    """Facts of one file. Times are in seconds of the container's clock, None where it doesn't say.

    `width_px` x `height_px` is the displayed picture: rotated, with square pixels. `rotation` is what the display
    matrix asks for, in degrees. `crop` (x0, y0, x1, y1) leaves the black borders out; it counts rotated pixels
    before they are made square, and is the whole picture where no borders are found. `audio_reason` says why sound
    that is there can't be used.
    """

    container: str
    bytes: int
    duration_s: float | None
    has_video: bool
    has_audio: bool
    width_px: int = 0
    height_px: int = 0
    coded_width_px: int = 0
    coded_height_px: int = 0
    rotation: int = 0
    sar: float = 1.0
    source_fps: float = 0.0
    video_codec: str = ""
    audio_codec: str = ""
    video_index: int = -1
    audio_index: int = -1
    video_start_s: float | None = None
    audio_start_s: float | None = None
    video_duration_s: float | None = None
    source_start_s: float = 0.0
    num_frames_estimate: int = 0
    pix_fmt: str = ""
    matrix_told: bool = False
    interlaced: bool = False
    audio_reason: str = ""
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def media_s(self) -> float:
        """Length for time limits: what the container says, else a guess from its size at 100 kbit/s."""
        return self.duration_s if self.duration_s else self.bytes / 12_500


def probe(path: Path, limits: Limits = PROBE_LIMITS) -> Probe:
    """Open the file in a child process and tell what it holds.

    Raises MediaError (stage "probe") when it is no regular file, no container that may be opened, has more pixels
    than allowed, or does not answer within its limits.
    """
    size = regular_size(path)
    if size == 0:
        raise MediaError("probe", "the file is empty (0 bytes); copy it again")
    request = {
        "path": os.fspath(path.absolute()),
        "max_pixels": limits.max_pixels,
        "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.base_s,
        "parent": os.getpid(),
        "open_options": OPEN_OPTIONS,
    }
    told = _ask_child(request, limits.base_s)
    if "error" in told:
        raise MediaError("probe", told["error"])
    return Probe(**{**told, "bytes": size, "crop": tuple(told["crop"])})


def regular_size(path: Path) -> int:
    """Bytes of a regular file, links followed. A pipe or a device could hang whoever opens it.

    Raises MediaError when it is anything else or can't be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
            raise MediaError("probe", f"{kind}, not a regular file; name the video itself")
        with path.open("rb"):
            return found.st_size
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise MediaError("probe", f"can't be read ({why}); check the path and its rights") from error


def _ask_child(request: dict[str, Any], wall_s: float) -> dict[str, Any]:
    command, environment = python_child("tasks.media.prober")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
    ) as child:
        try:
            out, err = child.communicate(json.dumps(request).encode(), timeout=wall_s)
        except subprocess.TimeoutExpired:
            raise MediaError("probe", f"no answer within {wall_s:g} s; the file makes its decoder hang") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode != 0 or not out:
        last = err.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        # Its limits end it by other signals: killed it was from outside, and the file may be whole.
        told = f"the decoder ended with status {child.returncode} ({last[0][:200]})"
        raise MediaError("probe", told, transient=child.returncode == -signal.SIGKILL)
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer
