"""A clip as files of its own, for training elsewhere: picture and sound of the source, what is known of it, its timelines.

The same clip gives the same bytes with the same FFmpeg: no dates, no names of machines, one encoder thread.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from store.media import AUDIO_HZ, read_sound
from tasks.digest import pack
from tasks.media.source_cut import Origin, cut


def clip_files(
    clip: Mapping[str, Any],
    source: Origin,
    audio: Path | None,
    told: Mapping[str, Any],
    timelines: Mapping[str, pa.Table],
) -> dict[str, bytes]:
    """Bytes by extension: `mp4` (the source's frames of exactly the clip, with its sound), `flac` (16 kHz mono of exactly
    the clip, if it has sound), `json` (what is told, with "media"), and `NAME.arrow` for each timeline (an Arrow IPC
    stream).

    Raises MediaError when the source can't be cut, ValueError when the sound can't be read.
    """
    start, end = int(clip["start_frame"]), int(clip["end_frame"])
    made = cut(source, start, end)
    media = {
        "width_px": source.width_px,
        "height_px": source.height_px,
        "fps": source.probe.source_fps,
        "num_frames": made.num_frames,
        "start_s": made.start_s,
        "end_s": made.end_s,
        "has_audio": source.probe.has_audio,
        # Timelines tell places in pixels of the proxy.
        "proxy_to_clip": [source.width_px / clip["width_px"], source.height_px / clip["height_px"]],
    }
    files = {"mp4": made.data}
    if audio is not None:
        files["flac"] = flac(read_sound(audio, start, end))
    files["json"] = (json.dumps({**told, "media": media}, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
    return files | {f"{name}.arrow": pack(table) for name, table in sorted(timelines.items())}


def flac(sound: np.ndarray) -> bytes:
    """16 bit FLAC of 16 kHz mono float32."""
    import soundfile

    sink = io.BytesIO()
    soundfile.write(sink, sound, AUDIO_HZ, format="FLAC", subtype="PCM_16")
    return sink.getvalue()
