"""The child of `tasks.media.probe`: opens one file with PyAV, looks at a few frames, prints one line of JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from tasks.media.borders import agreed_crop, bars_of
from tasks.media.limits import enter

NUM_SEEKS = 8
NUM_AUDIO_PACKETS = 50


def inspect(path: str, max_pixels: int, open_options: dict[str, str]) -> dict[str, Any]:
    """The fields of Probe as a dict, or {"error": reason}."""
    try:
        container = av.open(_source(path), options=dict(open_options), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        return {"error": f"not a video that can be opened ({_message(error)}); the file is damaged or of another kind"}
    with container:
        told: dict[str, Any] = {
            "container": container.format.name,
            "duration_s": _seconds(container.duration, 1e-6),
            "source_start_s": (container.start_time or 0) / 1e6,
            "has_video": False,
            "has_audio": False,
            "crop": [0, 0, 0, 0],
        }
        video = next((s for s in container.streams.video if not _is_cover(s)), None)
        told.update(_audio(container))
        if video is None:
            return told
        if video.codec_context is None:
            return {"error": "the video's codec is unknown to this decoder; convert the file to H.264"}
        if video.width * video.height > max_pixels:
            size = f"{video.width}x{video.height}"
            return {"error": f"the picture is {size}, more than {max_pixels} pixels; scale it down"}
        return told | _video(container, video)


def _video(container: Any, video: Any) -> dict[str, Any]:
    frames, interlaced = _look(container, video)
    if not frames:
        return {"error": "no frame of the video can be decoded; the file is damaged"}
    first = frames[0]
    rotation = first.rotation
    turned = rotation % 180 == 90
    width, height = first.width, first.height
    sar = float(video.sample_aspect_ratio or 1) or 1.0
    if not 0.1 <= sar <= 10:
        sar = 1.0
    shown_width, shown_height = round(width * sar), height
    if sar < 1:  # widen what is narrow rather than throw pixels away
        shown_width, shown_height = width, round(height / sar)
    crop = agreed_crop([bars_of(_gray(f, rotation)) for f in frames], (height, width) if turned else (width, height))
    average = float(video.average_rate or 0) or float(video.guessed_rate or 0)
    return {
        "has_video": True,
        "video_index": video.index,
        "width_px": shown_height if turned else shown_width,
        "height_px": shown_width if turned else shown_height,
        "coded_width_px": width,
        "coded_height_px": height,
        "rotation": rotation,
        "sar": sar,
        "source_fps": round(average, 4) if average < 1000 else 0.0,
        "video_codec": video.codec_context.name,
        "video_start_s": _seconds(video.start_time, video.time_base),
        "video_duration_s": _seconds(video.duration, video.time_base),
        "num_frames_estimate": video.frames,
        "pix_fmt": video.codec_context.pix_fmt or "",
        "matrix_told": int(first.colorspace) not in (2, 3),
        "interlaced": interlaced,
        "crop": list(crop),
    }


def _look(container: Any, video: Any) -> tuple[list[Any], bool]:
    """Some frames from all over the video: keyframes after seeks, else one in fifteen from its start."""
    video.thread_count = 1
    length = container.duration or 0
    start = container.start_time or 0
    found: dict[int, Any] = {}
    for i in range(NUM_SEEKS if length else 1):
        try:
            if i:  # the first frame needs no seek: a raw stream can't do any
                container.seek(int(start + length * i / NUM_SEEKS))
                video.codec_context.skip_frame = "NONKEY"
            frame = next(container.decode(video))
        except (av.error.FFmpegError, StopIteration):
            continue
        found.setdefault(frame.pts if frame.pts is not None else i, frame)
    interlaced = any(f.interlaced_frame for f in found.values())
    if len(found) < 4:
        video.codec_context.skip_frame = "DEFAULT"
        try:
            if length:
                container.seek(start)
            for i, frame in enumerate(container.decode(video)):
                interlaced = interlaced or frame.interlaced_frame
                if i % 15 == 0:
                    found.setdefault(frame.pts if frame.pts is not None else 1000 + i, frame)
                if i >= 75:
                    break
        except av.error.FFmpegError as error:
            # What was decoded so far is enough; the normalising run judges the damage.
            print(f"stopped looking: {error}", file=sys.stderr)  # noqa: T201
    return [found[k] for k in sorted(found)], interlaced


def _gray(frame: Any, rotation: int) -> np.ndarray:
    """Luma as displayed, uint8 0 to 255, black at 0 whatever the range of the file."""
    full = frame.color_range == 2 or (frame.format.name.startswith(("yuvj", "rgb", "gbr", "bgr", "pal")))
    gray: np.ndarray = frame.reformat(format="gray").to_ndarray()
    # swscale has widened limited range to full for gray; where it did not, black is at 16.
    if not full and gray.min() >= 16:
        gray = gray - 16
    return np.rot90(gray, round(rotation / 90) % 4)


def _audio(container: Any) -> dict[str, Any]:
    if not container.streams.audio:
        return {"audio_reason": "no audio"}
    audio = container.streams.audio[0]
    if audio.codec_context is None:
        return {"audio_reason": "the sound's codec is unknown to this decoder"}
    told = {
        "audio_index": audio.index,
        "audio_codec": audio.codec_context.name,
        "audio_start_s": _seconds(audio.start_time, audio.time_base),
    }
    last = "no packet of sound in the file"
    for i, packet in enumerate(container.demux(audio)):
        try:
            if any(f.samples for f in packet.decode()):
                return told | {"has_audio": True}
        except (av.error.FFmpegError, ValueError) as error:
            last = _message(error)
        if i >= NUM_AUDIO_PACKETS:
            break
    return told | {"audio_reason": f"the sound can't be decoded ({last})"}


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _seconds(count: int | None, unit: Any) -> float | None:
    return None if count is None else float(count * unit)


def _source(path: str) -> Any:
    """A name PyAV can take; one that is no valid UTF-8 is opened here and handed over as a file."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return open(os.fsencode(path), "rb")
    return f"file:{path}"


def _message(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def main() -> None:
    request = json.loads(sys.stdin.readline())
    enter(request["memory_bytes"], request["cpu_s"], request["parent"])
    av.logging.set_level(av.logging.PANIC)
    told = inspect(request["path"], request["max_pixels"], request["open_options"])
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
