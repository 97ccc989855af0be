"""A clip as files of its own, for training elsewhere: picture, sound, what is known of it, and its timelines.

The same clip gives the same bytes with the same FFmpeg: no dates, no names of machines, one encoder thread.
"""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from store.media import AUDIO_HZ, GRID_FPS, read_sound
from tasks.digest import pack
from tasks.media.transcode import ffmpeg_binary

CRF, PRESET = 17, "fast"


def clip_files(
    clip: Mapping[str, Any], proxy: Path, audio: Path | None, told: Mapping[str, Any], timelines: Mapping[str, pa.Table]
) -> dict[str, bytes]:
    """Bytes by extension: `mp4` (the proxy's frames of exactly the clip, with its sound), `flac` (16 kHz mono of exactly
    the clip, if it has sound), `json` (what is told), and `NAME.arrow` for each timeline (an Arrow IPC stream).

    Raises ValueError when the media can't be read.
    """
    start, end = int(clip["start_frame"]), int(clip["end_frame"])
    files = {"mp4": cut(proxy, start, end)}
    if audio is not None:
        files["flac"] = flac(read_sound(audio, start, end))
    files["json"] = (json.dumps(told, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
    return files | {f"{name}.arrow": pack(table) for name, table in sorted(timelines.items())}


def cut(proxy: Path, start_frame: int, end_frame: int) -> bytes:
    """An MP4 of the proxy's frames [start_frame, end_frame), 25 fps, a keyframe each second, with its sound if any.

    Raises ValueError when FFmpeg fails or the proxy holds fewer frames.
    """
    import ffmpeg

    num_frames, sound = end_frame - start_frame, has_sound(proxy)
    # Seeking to half a frame before the first makes rounding harmless; what that brings too much of sound is cut off.
    lead_s = 0.5 / GRID_FPS if start_frame else 0.0
    source = ffmpeg.input(f"file:{proxy}", ss=f"{start_frame / GRID_FPS - lead_s:.4f}", threads=1)
    streams = [source.video.filter("setpts", "PTS-STARTPTS")]
    if sound:
        heard = source.audio.filter("atrim", start=f"{lead_s:.4f}", duration=f"{num_frames / GRID_FPS:.4f}")
        streams.append(heard.filter("asetpts", "PTS-STARTPTS"))
    exact = {"map_metadata": -1, "fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact"}
    coded = {"vcodec": "libx264", "preset": PRESET, "crf": CRF, "pix_fmt": "yuv420p", "g": GRID_FPS, "bf": 0}
    with tempfile.TemporaryDirectory(prefix="headroom-clip-") as folder:
        out = Path(folder) / "clip.mp4"
        heard_as = {"acodec": "aac", "audio_bitrate": "128k"} if sound else {"an": None}
        graph = ffmpeg.output(
            *streams, str(out), **exact, **coded, **heard_as, r=GRID_FPS, **{"frames:v": num_frames, "threads:v": 1}
        )
        quiet = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-filter_complex_threads", "1")
        command = graph.global_args(*quiet).compile(cmd=ffmpeg_binary(), overwrite_output=True)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise ValueError(f"proxy {proxy}: FFmpeg ended with {done.returncode}: {lines[-1] if lines else 'no word'}")
        found = num_frames_of(out)
        if found != num_frames:
            raise ValueError(
                f"proxy {proxy}: gave {found} of the {num_frames} frames from {start_frame}; curate it again"
            )
        return out.read_bytes()


def has_sound(video: Path) -> bool:
    """Raises ValueError when the file can't be read."""
    import av

    try:
        with av.open(f"file:{video}") as container:
            return bool(container.streams.audio)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"proxy {video}: can't be read ({error}); run headroom curate again") from error


def num_frames_of(video: Path) -> int:
    """Counted by packets, without decoding."""
    import av

    with av.open(f"file:{video}") as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.pts is not None)


def flac(sound: np.ndarray) -> bytes:
    """16 bit FLAC of 16 kHz mono float32."""
    import soundfile

    sink = io.BytesIO()
    soundfile.write(sink, sound, AUDIO_HZ, format="FLAC", subtype="PCM_16")
    return sink.getvalue()
