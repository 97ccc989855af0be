"""The one FFmpeg run of a video: proxy, analysis sound and a small gray stream, made by a single decode."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tasks.media.errors import MediaError
from tasks.media.limits import Limits, caged
from tasks.media.probe import OPEN_OPTIONS, Probe

GRID_FPS = 25
GRAY_LONGEST_PX = 160

X264 = {
    "vcodec": "libx264", "preset": "veryfast", "crf": 17, "g": 25, "keyint_min": 25, "sc_threshold": 0, "bf": 0,
    "pix_fmt": "yuv420p", "colorspace": "smpte170m", "color_range": "tv", "threads:v": 1,
}  # fmt: skip
"""A keyframe each second and no B-frames make every seek exact and cheap; one thread makes the bytes repeatable."""

AAC = {"acodec": "aac", "audio_bitrate": "160k"}
MAX_SOUND_SLIP_S = 0.008
"""Sound is filled or trimmed where it leaves its time stamps by more. Rounding in containers stays below 1 ms."""


@dataclass(frozen=True)
class Plan:
    """What the run makes of the source. `crop` counts rotated, not yet square pixels; `shift_s` is added to all
    times of the container (which FFmpeg counts from the container's start); the picture starts on `first_frame`."""

    source: Path
    probe: Probe
    crop: tuple[int, int, int, int]
    width_px: int
    height_px: int
    gray_width_px: int
    gray_height_px: int
    shift_s: float
    first_frame: int
    sound: bool


@dataclass
class Outcome:
    """How the run went: frames on the grid, and what FFmpeg counted and said."""

    num_frames: int = 0
    status: int = 0
    cpu_s: float = 0.0
    num_packets: int = 0
    num_decoded: int = 0
    num_errors: int = 0
    num_sound_packets: int = 0
    num_sound_decoded: int = 0
    num_corrupt: int = 0
    messages: deque[str] = field(default_factory=lambda: deque(maxlen=40))

    @property
    def last_message(self) -> str:
        """The last line that FFmpeg meant as an error, else its last line."""
        said = [m for m in self.messages if not re.search(r"Conversion failed|Exiting with|Terminating", m)]
        told = [m for m in said if re.search(r"rror|nvalid|ailed|annot|not |No ", m)] or said
        return re.sub(r"^\[[^\]]*\] ?", "", told[-1])[:200] if told else "no message"


@cache
def ffmpeg_binary() -> str:
    """The system's FFmpeg, else the one that imageio-ffmpeg carries."""
    found = os.environ.get("HEADROOM_FFMPEG") or shutil.which("ffmpeg")
    if found:
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def command_of(plan: Plan, proxy: Path, flac: Path) -> list[str]:
    """The FFmpeg command line; the gray frames go to its standard output."""
    import ffmpeg

    probe = plan.probe
    source = ffmpeg.input(
        f"file:{plan.source}",
        max_pixels=36_000_000,
        reinit_filter=0,  # a size that changes midway would restart the graph and its clock
        **{"threads": 1, **OPEN_OPTIONS},
    )
    video = _picture(source[str(probe.video_index)], plan).filter_multi_output("split")
    gray = video[1].filter("scale", plan.gray_width_px, plan.gray_height_px, flags="area").filter("format", "gray")
    exact: dict[str, Any] = {"map_metadata": -1, "map_chapters": -1, "flags:v": "+bitexact", "flags:a": "+bitexact"}
    proxy_options = {**exact, **X264, "fps_mode": "passthrough", "movflags": "+faststart", "fflags": "+bitexact"}
    stdout = ffmpeg.output(gray, "pipe:1", format="rawvideo", fps_mode="passthrough", pix_fmt="gray")
    if not plan.sound:
        outputs = [ffmpeg.output(video[0], str(proxy), **proxy_options), stdout]
    else:
        sound = _sound(source[str(probe.audio_index)], plan).filter_multi_output("asplit")
        wide = sound[0].filter("aformat", sample_rates=48_000, channel_layouts="stereo|mono")
        narrow = sound[1].filter("aresample", 16_000).filter("aformat", sample_fmts="s16", channel_layouts="mono")
        outputs = [
            ffmpeg.output(video[0], wide, str(proxy), **proxy_options, **AAC),
            ffmpeg.output(narrow, str(flac), acodec="flac", fflags="+bitexact", **exact),
            stdout,
        ]
    told: list[str] = ffmpeg.merge_outputs(*outputs).global_args(
        "-hide_banner", "-nostdin", "-nostats", "-benchmark", "-loglevel", "verbose", "-filter_complex_threads", "1"
    ).compile(cmd=ffmpeg_binary(), overwrite_output=True)  # fmt: skip
    return told


def _picture(stream: Any, plan: Plan) -> Any:
    """Frames on the 25 fps grid, cropped, square, at the proxy's size. Rotation is FFmpeg's own, before the graph.

    A frame goes to the grid point nearest to its time stamp, and the first one fills the grid from 0.
    """
    probe = plan.probe
    stream = stream.filter("setpts", f"PTS+{plan.shift_s:.6f}/TB")
    if probe.interlaced:
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    drops = probe.source_fps > GRID_FPS  # then leave frames out before the costly steps, else repeat them after
    if drops:
        stream = stream.filter("fps", fps=GRID_FPS, start_time=0, round="near")
    x0, y0, x1, y1 = plan.crop
    turned = probe.rotation % 180 == 90
    whole = (probe.coded_height_px, probe.coded_width_px) if turned else (probe.coded_width_px, probe.coded_height_px)
    if (x1 - x0, y1 - y0) != whole:
        stream = stream.filter("crop", x1 - x0, y1 - y0, x0, y0, exact=1)
    # Media.image turns I420 into RGB by BT.601; untagged HD is BT.709 by custom.
    matrix = "auto" if probe.matrix_told or probe.coded_height_px < 720 else "bt709"
    stream = stream.filter(
        "scale", plan.width_px, plan.height_px, flags="bicubic",
        in_color_matrix=matrix, out_color_matrix="bt601", out_range="tv",
    )  # fmt: skip
    stream = stream.filter("setsar", 1).filter("format", "yuv420p")
    return stream if drops else stream.filter("fps", fps=GRID_FPS, start_time=0, round="near")


def _sound(stream: Any, plan: Plan) -> Any:
    """Sound from time 0 at 48 kHz: silence before its start and in its gaps, trimmed where it overlaps itself."""
    stream = stream.filter("asetpts", f"PTS+{plan.shift_s:.6f}/TB")
    return stream.filter(
        "aresample", 48_000, **{"async": 1, "first_pts": 0, "min_hard_comp": MAX_SOUND_SLIP_S}
    )  # fmt: skip


def run(plan: Plan, proxy: Path, flac: Path, take: Callable[[bytes], None], limits: Limits) -> Outcome:
    """Run FFmpeg to its end; `take` gets each gray frame as it comes. The status is for the caller to judge.

    Raises MediaError (stage "normalise") when the run breaks its limits; no process of it is left then.
    """
    wall_s = limits.wall_s(plan.probe.media_s)
    command = caged(command_of(plan, proxy, flac), limits.memory_bytes, wall_s)
    outcome = Outcome()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True) as child:
        try:
            _follow(child, plan, take, outcome, limits, wall_s)
            outcome.status = child.wait(timeout=limits.stall_s)
        except subprocess.TimeoutExpired:
            raise MediaError("normalise", f"FFmpeg did not end within {limits.stall_s:g} s of its last frame") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    return outcome


def _follow(
    child: subprocess.Popen[bytes], plan: Plan, take: Callable[[bytes], None], outcome: Outcome, limits: Limits,
    wall_s: float,
) -> None:  # fmt: skip
    """Read both pipes until they close, within the limits."""
    assert child.stdout is not None
    assert child.stderr is not None
    frame_bytes = plan.gray_width_px * plan.gray_height_px
    # Time stamps that jump far ahead would make FFmpeg repeat one frame for hours.
    max_frames = GRID_FPS * (1.5 * plan.probe.media_s + 120)
    pending, text = bytearray(), bytearray()
    started = progressed = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ, "frames")
        selector.register(child.stderr, selectors.EVENT_READ, "text")
        while selector.get_map():
            for key, _ in selector.select(timeout=1.0):
                data = os.read(key.fd, 1 << 20)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data == "text":
                    _note(text, data, outcome)
                else:
                    progressed = time.monotonic()
                    pending += data
                    whole = len(pending) // frame_bytes * frame_bytes
                    if whole:
                        take(bytes(pending[:whole]))
                        outcome.num_frames += whole // frame_bytes
                        del pending[:whole]
            now = time.monotonic()
            if now - started > wall_s:
                raise MediaError("normalise", f"not done within {wall_s:.0f} s; the file takes too long to decode")
            if now - progressed > limits.stall_s:
                raise MediaError("normalise", f"no frame for {limits.stall_s:g} s; the file makes its decoder hang")
            if outcome.num_frames > max_frames:
                told = f"{plan.probe.media_s:.1f} s"
                raise MediaError("normalise", f"its time stamps run far beyond the {told} it declares; remux the file")


COUNTS = re.compile(
    rb"Input stream #0:\d+ \((video|audio)\): (\d+) packets read.*?; (\d+) frames decoded(?:; (\d+) decode errors)?"
)


SPENT = re.compile(rb"bench: utime=([\d.]+)s stime=([\d.]+)s")


def _note(text: bytearray, data: bytes, outcome: Outcome) -> None:
    """Keep the last lines of FFmpeg's words and the counts among them; a damaged file can say megabytes."""
    text += data
    *lines, rest = bytes(text).split(b"\n")
    text[:] = rest[-4096:]
    for line in lines:
        counted = COUNTS.search(line)
        if counted is None:
            if spent := SPENT.search(line):
                outcome.cpu_s = float(spent[1]) + float(spent[2])
            elif b"corrupt decoded frame" in line:
                outcome.num_corrupt += 1
            elif line.strip():
                outcome.messages.append(line.decode(errors="replace").strip())
            continue
        kind, packets, decoded, errors = counted.groups()
        if kind == b"video":
            outcome.num_packets, outcome.num_decoded = int(packets), int(decoded)
            outcome.num_errors = int(errors or 0)
        else:
            outcome.num_sound_packets, outcome.num_sound_decoded = int(packets), int(decoded)
