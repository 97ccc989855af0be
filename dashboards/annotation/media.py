"""Clips for raters: cut from the proxies without names and dates, at addresses that tell nothing and end."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards.annotation.visit import Site
from dashboards.clip_media import EXACT, GRID_FPS, has_sound, run
from store import annotation_items, annotation_queue
from tasks.annotation import batches
from tasks.annotation.sign_in import signed

LASTS_S = 7200
LOUDNESS_LUFS = -23.0
"""EBU R 128. Sides of a pair are brought to it: the louder one would be preferred."""
MAX_GAIN_DB = 20.0
_cutting: dict[str, threading.Lock] = {}
_cutting_lock = threading.Lock()


class Lost(ValueError):  # noqa: N818 - the answer is no; nothing went wrong
    """A clip's media are not there."""


def address(site: Site, token: str, side: int, now: float, host: str = "") -> str:
    """Where a browser finds one side, as it is shown, of an assignment."""
    told = f"{token}.{side}.{int(now) + LASTS_S}"
    packed = base64.urlsafe_b64encode(f"{told}.{signed(site.secret, told)}".encode()).decode().rstrip("=")
    return f"{host}/media/{packed}"


def named(site: Site, packed: str, now: float) -> tuple[str, int] | None:
    """(token, side) of an address of ours that has not ended."""
    try:
        text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
        token, side, until, given = text.rsplit(".", 3)
    except ValueError:
        return None
    if not secrets.compare_digest(given.encode(), signed(site.secret, f"{token}.{side}.{until}").encode()):
        return None
    return (token, int(side)) if float(until) > now else None


def of_item(item_id: int) -> str:
    """What stands for a token in the address of an item's clips, in their own order: for who designs its batch."""
    return f"item/{item_id}"


def of_clip(clip_id: str) -> str:
    """The same of a clip of the workspace, for the preview of a schema."""
    return f"clip/{clip_id}"


def shown(site: Site, token: str) -> Mapping[str, Any] | None:
    """{"media", "swapped"} of what an address names; None where it is not there any more."""
    kind, _, name = token.partition("/")
    if kind == "item":
        clips = site.database.read(lambda c: annotation_items.media_of(c, int(name)))
    elif kind == "clip":
        clips = batches.clips_named(site.workspace, [name])
    else:
        found = site.database.read(lambda c: annotation_queue.shown(c, token))
        return found if found and found["media"] else None
    return {"media": clips, "swapped": False} if clips else None


def clip_file(site: Site, clip: Mapping[str, Any], *, levelled: bool) -> Path:
    """The cut of a clip, made once. Raises Lost when its proxy is gone, ValueError when it can't be read."""
    out = _cut_at(site, clip, levelled)
    key = out.stem
    with _cutting_lock:
        lock = _cutting.setdefault(key, threading.Lock())
    with lock:
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            part = out.with_name(f".{key}.{secrets.token_hex(4)}.mp4")
            _cut(site, clip, part, levelled)
            part.replace(out)
    return out


def gone(site: Site, clips: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a side of an item can't be shown any more: neither its cut nor its proxy is there."""
    levelled = len(clips) > 1
    return any(
        not _cut_at(site, clip, levelled).exists() and not site.workspace.objects.exists(clip["proxy_uri"])
        for clip in clips
    )


def _cut_at(site: Site, clip: Mapping[str, Any], levelled: bool) -> Path:
    span = f"{clip['proxy_uri']}:{clip['start_frame']}:{clip['end_frame']}:{levelled}"
    key = hashlib.sha256(span.encode()).hexdigest()[:32]
    return site.workspace.settings.workspace / "cache" / "annotation" / f"{key}.mp4"


def in_order(media: Sequence[Mapping[str, Any]], swapped: bool) -> list[Mapping[str, Any]]:
    return list(reversed(media)) if swapped else list(media)


def _cut(site: Site, clip: Mapping[str, Any], out: Path, levelled: bool) -> None:
    import ffmpeg

    if not site.workspace.objects.exists(clip["proxy_uri"]):
        raise Lost("the clip's media are gone; run headroom curate again")
    proxy = site.workspace.objects.local(clip["proxy_uri"])
    start, end = clip["start_frame"] / GRID_FPS, clip["end_frame"] / GRID_FPS
    source = ffmpeg.input(f"file:{proxy}", ss=f"{start:.2f}", t=f"{end - start:.2f}")
    picture = source.video.filter("scale", "trunc(iw/2)*2", "trunc(ih/2)*2")
    sound = []
    if has_sound(proxy):
        sound = [source.audio.filter("volume", f"{_gain_db(proxy, start, end):.2f}dB") if levelled else source.audio]
    coded = {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p", "g": 25, "threads:v": 1}
    run(
        ffmpeg.output(
            picture, *sound, str(out), **EXACT, **coded, acodec="aac", audio_bitrate="128k", movflags="+faststart"
        )
    )


def _gain_db(proxy: Path, start_s: float, end_s: float) -> float:
    """What brings the span's sound to -23 LUFS; 0 for silence."""
    import numpy as np

    from tasks.loudness import ABSOLUTE_GATE_LUFS, loudness_lufs

    told = _samples(proxy, start_s, end_s)
    loud = loudness_lufs(told, 16_000) if len(told) else ABSOLUTE_GATE_LUFS
    return 0.0 if loud <= ABSOLUTE_GATE_LUFS else float(np.clip(LOUDNESS_LUFS - loud, -MAX_GAIN_DB, MAX_GAIN_DB))


def _samples(proxy: Path, start_s: float, end_s: float) -> Any:
    """16 kHz mono float32 of a span."""
    import subprocess

    import numpy as np

    from tasks.media.transcode import ffmpeg_binary

    span = ["-ss", f"{start_s:.2f}", "-t", f"{end_s - start_s:.2f}", "-i", f"file:{proxy}"]
    command = [
        ffmpeg_binary(),
        "-nostdin",
        "-loglevel",
        "error",
        *span,
        "-vn",
        "-ac",
        "1",
        "-ar",
        "16000",
        "-f",
        "f32le",
        "-",
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return np.frombuffer(done.stdout, np.float32)
