"""Pictures and short videos of clips for people, made from the proxies: stills by PyAV, cuts by FFmpeg."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.media.transcode import ffmpeg_binary

if TYPE_CHECKING:
    from PIL.Image import Image

GRID_FPS = 25
EXACT: dict[str, Any] = {"map_metadata": -1, "fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact"}
"""No dates and no versions in what is written: the same clip gives the same bytes."""


@dataclass(frozen=True)
class Span:
    """Frames [start_frame, end_frame) of a proxy."""

    proxy: Path
    start_frame: int
    end_frame: int


def still(proxy: Path, frame: int, longest_px: int) -> Image:
    """Frame `frame` of the grid, scaled down to `longest_px`; the last one there is when the proxy ends before it.

    Raises ValueError when the proxy can't be read or holds no frame.
    """
    import av
    from PIL.Image import Resampling

    found = None
    try:
        with av.open(str(proxy)) as container:
            stream = container.streams.video[0]
            base = float(stream.time_base or 1)
            container.seek(round(frame / GRID_FPS / base), stream=stream)
            for found in container.decode(stream):
                if found.pts is not None and round(float(found.pts) * base * GRID_FPS) >= frame:
                    break
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"proxy {proxy.name}: can't be decoded ({error}); run headroom curate again") from error
    if found is None:
        raise ValueError(f"proxy {proxy.name}: holds no frame; run headroom curate again")
    made: Image = found.to_image()  # type: ignore[no-untyped-call]
    made.thumbnail((longest_px, longest_px), Resampling.BOX)
    return made


def cut(span: Span, out: Path, *, longest_px: int = 360, max_s: float = 15.0) -> None:
    """Writes the span's first `max_s` seconds as a small MP4 with its sound. Raises ValueError when FFmpeg fails."""
    import ffmpeg

    duration_s = min(max_s, (span.end_frame - span.start_frame) / GRID_FPS)
    source = ffmpeg.input(f"file:{span.proxy}", ss=f"{span.start_frame / GRID_FPS:.2f}", t=f"{duration_s:.2f}")
    scale = f"min(1,{longest_px}/max(iw,ih))"
    picture = source.video.filter("scale", f"trunc(iw*{scale}/2)*2", f"trunc(ih*{scale}/2)*2", flags="area")
    sound = [source.audio] if has_sound(span.proxy) else []
    run(
        ffmpeg.output(
            picture, *sound, str(out), **EXACT, vcodec="libx264", preset="veryfast", crf=27, pix_fmt="yuv420p",
            acodec="aac", audio_bitrate="64k", movflags="+faststart", **{"threads:v": 1},
        )
    )  # fmt: skip


def has_sound(proxy: Path) -> bool:
    import av

    with av.open(str(proxy)) as container:
        return bool(container.streams.audio)


def run(graph: Any) -> None:
    """Runs what ffmpeg-python built. Raises ValueError with FFmpeg's last line when it fails."""
    quiet = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-filter_complex_threads", "1")
    command = graph.global_args(*quiet).compile(cmd=ffmpeg_binary(), overwrite_output=True)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(f"FFmpeg ended with {done.returncode}: {lines[-1] if lines else 'it said nothing'}")
