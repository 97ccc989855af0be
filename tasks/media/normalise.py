"""From a raw file to its proxy: 25 fps, square pixels, upright, at most 640 px, with the sound where it belongs.

Everything after this step reads the proxy and its 16 kHz sound; times map back by
source time = proxy time + source_start_s.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.media import borders, prefilter, transcode
from tasks.media.errors import MediaError
from tasks.media.limits import Limits
from tasks.media.prefilter import GrayStream
from tasks.media.probe import Probe, probe
from tasks.media.transcode import GRAY_LONGEST_PX, GRID_FPS, Outcome, Plan

VERSION = 2
LONGEST_PX = 640
SMALLEST_PX = 64
MAX_ASPECT = 10.0
"""OpenCV's DIS flow writes beyond its memory on pictures 11 times as wide as high, and crashes the process."""
FULL = os.strerror(errno.ENOSPC)
MIN_DECODED_RATIO = 0.9
MIN_SOUND_RATIO = 0.5
MAX_START_GAP_S = 60.0
OUT_OF_MEMORY = 256 - errno.ENOMEM
"""FFmpeg's exit status is the low byte of its last error."""

KILLED = (-9, 137)
"""Statuses of a child that was killed: its own limits end it by other signals first."""
FINGERPRINT = hashlib.sha256(
    json.dumps(
        [
            VERSION, LONGEST_PX, SMALLEST_PX, MAX_ASPECT, MIN_DECODED_RATIO, MIN_SOUND_RATIO, MAX_START_GAP_S, GRAY_LONGEST_PX,
            transcode.X264, transcode.AAC, transcode.MAX_SOUND_SLIP_S,
            {k: v for module in (prefilter, borders) for k, v in vars(module).items() if k.isupper()},
        ],
        sort_keys=True,
    ).encode()
).hexdigest()[:16]  # fmt: skip
"""Hash of the recipe. Raise VERSION whenever the code changes what comes out."""


@dataclass(frozen=True)
class Normalised:
    """A proxy and what is known of its making.

    Frames before `first_frame` repeat the first picture: it starts later than the sound.
    `crop_*` is the kept part in displayed (rotated, square) pixels of the source; `source_width_px` x
    `source_height_px` is its size. Ratios as in `tasks.media.prefilter`. `rejected` says why the video is not worth
    curating, None when it is. `cpu_s` is processor time of the FFmpeg run, not part of what is hashed.
    """

    proxy_path: Path
    audio_path: Path | None
    num_frames: int
    first_frame: int
    width_px: int
    height_px: int
    source_width_px: int
    source_height_px: int
    source_fps: float
    source_start_s: float
    crop_x0: int
    crop_y0: int
    crop_x1: int
    crop_y1: int
    rotation: int
    interlaced: bool
    container: str
    video_codec: str
    audio_codec: str | None
    proxy_sha256: str
    audio_sha256: str | None
    has_audio: bool
    audio_reason: str
    duration_s: float
    bytes: int
    duplicate_ratio: float
    static_ratio: float
    mean_motion: float
    black_ratio: float
    phash: str
    rejected: str | None
    cpu_s: float = 0.0


def normalise(source: Path, out_dir: Path, limits: Limits | None = None) -> Normalised:
    """Write `proxy.mp4`, and `audio.flac` where there is sound, into `out_dir`; whole or not at all.

    Raises MediaError when the file can't be used; its stage says where and its reason says why.
    """
    limits = limits or Limits()
    found = probe(source)
    if not found.has_video and not found.audio_codec:
        raise MediaError("normalise", "neither picture nor sound in it; the file is damaged")
    if not found.has_video:
        raise MediaError("normalise", "no video stream, only sound; give a file with a picture")
    out_dir.mkdir(parents=True, exist_ok=True)
    _remove_left_over(out_dir)
    with tempfile.TemporaryDirectory(prefix=".normalise-", dir=out_dir) as scratch:
        proxy, flac = Path(scratch) / "proxy.mp4", Path(scratch) / "audio.flac"
        plan = _plan(nameable(source.absolute(), Path(scratch)), found)
        gray, outcome = _run(plan, proxy, flac, limits)
        audio_reason = found.audio_reason
        if plan.sound and _sound_failed(outcome, flac):
            audio_reason = f"the sound can't be decoded ({outcome.last_message})"
            flac.unlink(missing_ok=True)
            plan = Plan(**{**vars(plan), "sound": False})
            gray, outcome = _run(plan, proxy, flac, limits)
        _judge(plan, outcome, _length_s(flac) if plan.sound else 0.0)
        return _finish(plan, outcome, gray, audio_reason, Path(scratch), out_dir)


def nameable(source: Path, scratch: Path) -> Path:
    """The source, or a link to it where its name is no valid UTF-8 and could not stand in a command."""
    try:
        str(source).encode()
    except UnicodeEncodeError:
        link = scratch / "source"
        link.symlink_to(source)
        return link
    return source


def _plan(source: Path, found: Probe) -> Plan:
    x0, y0, x1, y1 = found.crop
    per_x, per_y = square_px(found)
    width, height = (x1 - x0) * per_x, (y1 - y0) * per_y
    scale = min(1.0, LONGEST_PX / max(width, height))
    proxy_width, proxy_height = _even(width * scale), _even(height * scale)
    gray_scale = min(1.0, GRAY_LONGEST_PX / max(proxy_width, proxy_height))
    return Plan(
        source=source,
        probe=found,
        crop=found.crop,
        width_px=proxy_width,
        height_px=proxy_height,
        gray_width_px=max(2, round(proxy_width * gray_scale)),
        gray_height_px=max(2, round(proxy_height * gray_scale)),
        shift_s=grid_start(found)[0],
        first_frame=grid_start(found)[1],
        sound=found.has_audio,
    )


def grid_start(found: Probe) -> tuple[float, int]:
    """Seconds from the proxy's zero to the container's start, 0 to 0.04, and the frame on which the picture starts.

    The grid is laid so that the first frame of the video falls on it: a source at 25 fps keeps every time stamp
    exactly, however late its picture starts.
    """
    if found.video_start_s is None:
        return 0.0, 0
    late_s = max(0.0, found.video_start_s - found.source_start_s)
    if late_s > MAX_START_GAP_S:
        told = f"{late_s:.0f} s after the sound, at most {MAX_START_GAP_S:.0f} s are bridged"
        raise MediaError("normalise", f"the picture starts {told}; cut the file")
    first_frame = math.ceil(round(late_s * GRID_FPS, 4))
    return first_frame / GRID_FPS - late_s, first_frame


def square_px(found: Probe) -> tuple[float, float]:
    """Displayed pixels per rotated coded pixel, across and down."""
    turned = found.rotation % 180 == 90
    across, down = (found.coded_height_px, found.coded_width_px) if turned else (
        found.coded_width_px, found.coded_height_px
    )  # fmt: skip
    return found.width_px / across, found.height_px / down


def _even(length_px: float) -> int:
    return max(2, round(length_px) // 2 * 2)


def _run(plan: Plan, proxy: Path, flac: Path, limits: Limits) -> tuple[GrayStream, Outcome]:
    gray = GrayStream(plan.gray_width_px, plan.gray_height_px, skip=plan.first_frame)
    outcome = transcode.run(plan, proxy, flac, gray.take, limits)
    if any(FULL in told for told in outcome.messages):  # no fault of the file's
        raise OSError(errno.ENOSPC, FULL, str(proxy.parent))
    if outcome.status in KILLED:  # nor is this: without it being told here, a second try would do without the sound
        told = outcome.last_message
        raise MediaError("normalise", f"FFmpeg was killed from outside ({told}); run again", transient=True)
    return gray, outcome


def _sound_failed(outcome: Outcome, flac: Path) -> bool:
    enough = outcome.num_sound_decoded > MIN_SOUND_RATIO * outcome.num_sound_packets
    return outcome.status != 0 or not enough or not flac.exists()


def _judge(plan: Plan, outcome: Outcome, sound_s: float) -> None:
    """Raises MediaError for a video of which too little could be decoded."""
    if outcome.status == 0 and outcome.num_frames <= plan.first_frame:
        raise MediaError("normalise", "its time stamps put no frame on the grid of 25 a second; remux the file")
    if outcome.status != 0:
        told = outcome.last_message
        if outcome.status == OUT_OF_MEMORY:
            raise MediaError("normalise", "FFmpeg ran out of the memory it may use; scale the video down")
        raise MediaError("normalise", f"FFmpeg ended with status {outcome.status} ({told}); the file is damaged")
    damaged = outcome.num_errors + outcome.num_corrupt
    if outcome.num_packets > 10 and damaged > (1 - MIN_DECODED_RATIO) * outcome.num_packets:
        told = f"{damaged} of {outcome.num_packets} pieces of the video are damaged"
        raise MediaError("normalise", f"corrupt: {told}; copy the file again from its origin")
    declared_s = plan.probe.video_duration_s or 0.0
    start_s = (plan.probe.video_start_s or 0.0) - plan.probe.source_start_s
    got_s = outcome.num_frames / GRID_FPS - max(0.0, start_s)
    if not declared_s and plan.probe.duration_s:
        declared_s = plan.probe.duration_s - max(0.0, start_s)
        if plan.probe.container.startswith("matroska"):  # it counts its length from 0, not from its start
            declared_s -= max(0.0, plan.probe.source_start_s)
        got_s = max(got_s, sound_s - max(0.0, start_s))
    if got_s < MIN_DECODED_RATIO * declared_s - 0.1:
        told = f"{got_s:.1f} s of the {declared_s:.1f} s it declares can be decoded"
        raise MediaError("normalise", f"truncated: only {told}; copy the file again from its origin")


def _finish(
    plan: Plan, outcome: Outcome, gray: GrayStream, audio_reason: str, scratch: Path, out_dir: Path
) -> Normalised:
    found = plan.probe
    figures = gray.figures()
    rejected = prefilter.verdict(figures, gray.num_frames, found.source_fps)
    per_x, per_y = square_px(found)
    x0, y0, x1, y1 = plan.crop
    crop = [round(x0 * per_x), round(y0 * per_y), round(x1 * per_x), round(y1 * per_y)]
    source_width, source_height = crop[2] - crop[0], crop[3] - crop[1]
    if min(source_width, source_height) < SMALLEST_PX:
        rejected = f"too small: {source_width}x{source_height} px, at least {SMALLEST_PX} px a side are needed"
    elif max(plan.width_px, plan.height_px) > MAX_ASPECT * min(plan.width_px, plan.height_px):
        rejected = (
            f"too narrow: {source_width}x{source_height} px, at most {MAX_ASPECT:g} times as long as wide can be used"
        )
    proxy, audio = out_dir / "proxy.mp4", out_dir / "audio.flac"
    size = sum(f.stat().st_size for f in scratch.iterdir() if not f.is_symlink())
    # The proxy comes last: where it is, all of it is.
    if plan.sound:
        os.replace(scratch / "audio.flac", audio)
    else:
        audio.unlink(missing_ok=True)
    os.replace(scratch / "proxy.mp4", proxy)
    return Normalised(
        proxy_path=proxy,
        audio_path=audio if plan.sound else None,
        num_frames=outcome.num_frames,
        first_frame=plan.first_frame,
        width_px=plan.width_px,
        height_px=plan.height_px,
        source_width_px=source_width,
        source_height_px=source_height,
        source_fps=found.source_fps,
        source_start_s=round(found.source_start_s - plan.shift_s, 6),
        crop_x0=crop[0],
        crop_y0=crop[1],
        crop_x1=crop[2],
        crop_y1=crop[3],
        rotation=found.rotation,
        interlaced=found.interlaced,
        container=found.container,
        video_codec=found.video_codec,
        audio_codec=found.audio_codec or None,
        proxy_sha256=_sha256(proxy),
        audio_sha256=_sha256(audio) if plan.sound else None,
        has_audio=plan.sound,
        audio_reason="" if plan.sound else audio_reason,
        duration_s=outcome.num_frames / GRID_FPS,
        bytes=size,
        **asdict(figures),
        rejected=rejected,
        cpu_s=round(outcome.cpu_s, 3),
    )


def _remove_left_over(out_dir: Path) -> None:
    """Scratch folders of runs that were killed. A day old, so that no run in progress loses its own."""
    for folder in out_dir.glob(".normalise-*"):
        if time.time() - folder.stat().st_mtime > 86_400:
            shutil.rmtree(folder, ignore_errors=True)


def _length_s(flac: Path) -> float:
    import soundfile

    return float(soundfile.info(flac).duration)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
