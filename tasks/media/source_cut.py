"""A clip cut from its source: every frame of its span, at the source's own size and rate, with its sound.

The span is that of the proxy, to the frame: from the source's frame that the proxy shows first to the one that it shows
last. So no frame of another shot comes in, whatever the source's rate. The same file gives the same bytes with the same
FFmpeg: one thread, no dates, no names.
"""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tasks.media.errors import MediaError
from tasks.media.limits import Limits, caged
from tasks.media.normalise import grid_start, nameable, square_px
from tasks.media.probe import OPEN_OPTIONS, Probe, probe
from tasks.media.transcode import GRID_FPS, MAX_SOUND_SLIP_S, ffmpeg_binary

X264 = {"vcodec": "libx264", "preset": "veryfast", "crf": 17, "bf": 0, "pix_fmt": "yuv420p", "threads:v": 1}
"""No B-frames: each picture can be decoded where it stands."""
AAC = {"acodec": "aac", "audio_bitrate": "192k", "ar": 48_000}
SOUND_HZ = 48_000
CLOCK_HZ = 90_000
"""All usual frame rates have whole steps in it, 30000/1001 too."""
MARGINS_S = (3.0, 30.0)
"""Read so much before the span, then more: a source may stand still for long, or be sought badly."""
UNSEEKABLE = ("mpeg", "mpegts", "h264", "hevc", "mpegvideo", "m4v", "dv", "gif", "ivf", "obu", "yuv4mpegpipe")
"""Containers without an index, which are read from their start."""
ON_GRID = 1e-4
"""Time stamps are rounded in containers: a frame half way between two points of the grid goes to the later one."""
NEAR_S = 5e-4
LIMITS = Limits(base_s=120.0, per_s=120.0)


@dataclass(frozen=True)
class Origin:
    """A source that can be cut. `zero_s` is the time of its container at which its proxy has its zero; `width_px` x
    `height_px` the picture without black borders, upright, with square pixels, on even sides."""

    path: Path
    probe: Probe
    zero_s: float
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Cut:
    """An MP4 (H.264, AAC at 48 kHz where there is sound); `start_s` and `end_s` on the source's own clock."""

    data: bytes
    num_frames: int
    start_s: float
    end_s: float


def origin(path: Path) -> Origin:
    """Raises MediaError for a file that can't be opened, or has no picture."""
    found = probe(path)
    if not found.has_video:
        raise MediaError("cut", "no video stream; the source was replaced by something else")
    x0, y0, x1, y1 = found.crop
    per_x, per_y = square_px(found)
    width, height = ((x1 - x0) * per_x, (y1 - y0) * per_y)
    zero_s = round(found.source_start_s - grid_start(found)[0], 6)
    return Origin(path, found, zero_s, max(2, int(width + 1e-6) // 2 * 2), max(2, int(height + 1e-6) // 2 * 2))


def cut(source: Origin, start_frame: int, end_frame: int) -> Cut:
    """The frames that the proxy's frames [start_frame, end_frame) show, each once, at their own times from 0 on.

    Raises MediaError (stage "cut"); a transient one when FFmpeg was killed or ran out of time.
    """
    with tempfile.TemporaryDirectory(prefix="headroom-cut-") as scratch:
        path, out = nameable(source.path.absolute(), Path(scratch)), Path(scratch) / "clip.mp4"
        times, seek_s = _times(source, path, start_frame, end_frame)
        on_grid = math.floor((times[0] - source.zero_s) * GRID_FPS + 0.5 + ON_GRID)
        late = max(0, on_grid - start_frame)
        zero_s = float(times[0]) if on_grid >= start_frame else source.zero_s + start_frame / GRID_FPS
        lasts_s = (end_frame - start_frame - late) / GRID_FPS
        _encode(source, path, out, seek_s, (float(times[0]), float(times[-1])), zero_s, lasts_s)
        found = num_frames_of(out)
        if found != len(times):
            raise MediaError("cut", f"gave {found} of the {len(times)} frames of the clip; the source is damaged")
        return Cut(out.read_bytes(), found, round(zero_s, 6), round(zero_s + lasts_s, 6))


def num_frames_of(video: Path) -> int:
    """Counted by packets, without decoding."""
    import av

    with av.open(f"file:{video}") as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.pts is not None)


def _times(source: Origin, path: Path, start_frame: int, end_frame: int) -> tuple[list[Fraction], float | None]:
    """Times of the clip's frames on the container's clock, and from where they were read (None: from the start)."""
    begins_s = source.zero_s + start_frame / GRID_FPS
    until_s = source.zero_s + (end_frame - 0.5) / GRID_FPS + NEAR_S
    starts: list[float | None] = [begins_s - m for m in MARGINS_S if begins_s - m > source.probe.source_start_s]
    if any(name in UNSEEKABLE for name in source.probe.container.split(",")):
        starts = []
    for seek_s in (*starts, None):
        times = _stamps(source, path, seek_s, until_s)
        points = [math.floor((t - source.zero_s) * GRID_FPS + 0.5 + ON_GRID) for t in times]
        shown_first = [i for i, point in enumerate(points) if point <= start_frame]
        within = [i for i, point in enumerate(points) if point < end_frame]
        if within and (shown_first or seek_s is None):
            return times[shown_first[-1] if shown_first else 0 : within[-1] + 1], seek_s
    raise MediaError("cut", f"gives no frame between {begins_s:.2f} and {until_s:.2f} s; the source is damaged")


STAMP = re.compile(rb"n: *\d+ pts: *(-?\d+) ")
UNIT = re.compile(rb"config in time_base: (\d+)/(\d+)")


def _stamps(source: Origin, path: Path, seek_s: float | None, until_s: float) -> list[Fraction]:
    """Times of the frames that are decoded from `seek_s` to `until_s`, as FFmpeg tells them."""
    import ffmpeg

    seen = _opened(path, seek_s)[str(source.probe.video_index)]
    seen = seen.filter("trim", end=f"{until_s:.6f}").filter("showinfo", checksum=0)
    said = _run(ffmpeg.output(seen, "pipe:1", format="null", fps_mode="passthrough"), "info", until_s)
    unit = UNIT.search(said)
    if unit is None:
        return []
    return sorted(int(pts) * Fraction(int(unit[1]), int(unit[2])) for pts in STAMP.findall(said))


def _encode(
    source: Origin,
    path: Path,
    out: Path,
    seek_s: float | None,
    ends: tuple[float, float],
    zero_s: float,
    lasts_s: float,
) -> None:
    import ffmpeg

    opened = _opened(path, seek_s)
    video = opened[str(source.probe.video_index)]
    if source.probe.interlaced:
        video = video.filter("bwdif", mode="send_frame", deint="interlaced")
    video = video.filter("trim", start=f"{ends[0] - NEAR_S:.6f}", end=f"{ends[1] + NEAR_S:.6f}")
    video = _upright(video, source).filter("settb", f"1/{CLOCK_HZ}")
    # A frame that was shown since before the span begins with it.
    video = video.filter("setpts", f"max(0,PTS-{round(zero_s * CLOCK_HZ)})")
    streams: list[Any] = [video]
    coded: dict[str, Any] = {**X264, "g": max(1, round(source.probe.source_fps or GRID_FPS))}
    if source.probe.has_audio:
        samples = round(lasts_s * SOUND_HZ)
        sound = opened[str(source.probe.audio_index)].filter("asetpts", f"PTS-({zero_s:.6f})/TB")
        sound = sound.filter("atrim", start=-1, end=f"{lasts_s + 1:.6f}")
        slip: dict[str, Any] = {"async": 1, "first_pts": 0, "min_hard_comp": MAX_SOUND_SLIP_S}
        sound = sound.filter("aresample", SOUND_HZ, **slip)
        sound = sound.filter("aformat", sample_rates=SOUND_HZ, channel_layouts="stereo|mono")
        streams.append(sound.filter("apad", whole_len=samples).filter("atrim", end_sample=samples))
        coded |= AAC
    exact = {
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "flags:a": "+bitexact",
    }
    how = {"fps_mode": "passthrough", "enc_time_base:v": f"1/{CLOCK_HZ}", "video_track_timescale": CLOCK_HZ}
    _run(ffmpeg.output(*streams, str(out), **exact, **coded, **how, movflags="+faststart"), "error", lasts_s)


def _upright(video: Any, source: Origin) -> Any:
    """Without black borders, with square pixels, on even sides, as the proxy but at full size. Rotation is FFmpeg's own."""
    found = source.probe
    x0, y0, x1, y1 = found.crop
    square = square_px(found) == (1.0, 1.0)
    kept = (source.width_px, source.height_px) if square else (x1 - x0, y1 - y0)
    turned = found.rotation % 180 == 90
    whole = (found.coded_height_px, found.coded_width_px) if turned else (found.coded_width_px, found.coded_height_px)
    if kept != whole:
        video = video.filter("crop", *kept, x0, y0, exact=1)
    if not square:
        video = video.filter("scale", source.width_px, source.height_px, flags="bicubic")
    return video.filter("setsar", 1).filter("format", "yuv420p")


def _opened(path: Path, seek_s: float | None) -> Any:
    """The source on its own clock, from a little before `seek_s` on."""
    import ffmpeg

    place = {} if seek_s is None else {"seek_timestamp": 1, "ss": f"{seek_s:.6f}"}
    told: dict[str, Any] = {"max_pixels": 36_000_000, "reinit_filter": 0, "threads": 1, **OPEN_OPTIONS}
    return ffmpeg.input(f"file:{path}", **place, **told)


def _run(graph: Any, loglevel: str, media_s: float) -> bytes:
    """What FFmpeg said. Raises MediaError when it fails."""
    quiet = ("-hide_banner", "-nostdin", "-nostats", "-copyts", "-loglevel", loglevel, "-filter_complex_threads", "1")
    command = graph.global_args(*quiet).compile(cmd=ffmpeg_binary(), overwrite_output=True)
    wall_s = LIMITS.wall_s(max(0.0, media_s))
    try:
        done = subprocess.run(
            caged(command, LIMITS.memory_bytes, wall_s),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=wall_s,
        )
    except subprocess.TimeoutExpired:
        raise MediaError("cut", f"not done within {wall_s:.0f} s; run the same command again", transient=True) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        last = re.sub(r"^\[[^\]]*\] ?", "", said[-1])[:200] if said else "no word"
        killed = done.returncode < 0 or done.returncode == 137
        raise MediaError("cut", f"FFmpeg ended with {done.returncode}: {last}", transient=killed)
    return done.stderr
