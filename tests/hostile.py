"""A folder of files that nobody should have to receive, each with the end it must come to.

Ends are "done", "rejected: REASON" (done, but the prefilter says it is not worth curating) and
"quarantined: REASON"; REASON is part of what must be said. Pictures are tiny, so that the whole folder takes seconds.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tasks.media.transcode import ffmpeg_binary
from tests import made

RANDOM = np.random.default_rng(11)


def make_hostile(folder: Path) -> dict[str, str]:
    """Fill the folder. Gives name, relative to it, to expected end. Some names are links, pipes or folders."""
    folder.mkdir(parents=True, exist_ok=True)
    good = made.write(folder / "good.mp4", made.grid(2.4), made.moving(), made.tone(2.4))
    ends = {"good.mp4": "done"}
    for make in (_names, _links, _not_media, _damaged, _shapes, _clocks, _sounds, _dull):
        ends |= make(folder, good)
    return ends


def _names(folder: Path, good: Path) -> dict[str, str]:
    names = [
        "two  spaces .mp4", "it's \"quoted\".mp4", "new\nline.mp4", "-leading dash.mp4", "-i.mp4",
        "ünïcödé 视频 🎥.mp4",
        "100%d %s.mp4", "semi;colon&$(touch x)|`y`.mp4", "file:pipe:0.mp4", "[0:v]null,split.mp4", "UPPER.MP4",
        os.fsdecode(b"not \xff\xfe utf8.mp4"), "n" * 240 + ".mp4", ".hidden.mp4",
    ]  # fmt: skip
    for name in names:
        shutil.copy(good, folder / name)
    return dict.fromkeys(names, "done")


def _links(folder: Path, good: Path) -> dict[str, str]:
    (folder / "link.mp4").symlink_to(good.name)
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    return {
        "link.mp4": "done",
        "sub/../good.mp4": "done",
        "loop.mp4": "quarantined: can't be read",
        "dangling.mp4": "quarantined: can't be read",
        "folder.mp4": "quarantined: a folder, not a regular file",
        "pipe.mp4": "quarantined: a pipe, socket or device",
        "device.mp4": "quarantined: a pipe, socket or device",
    }


def _not_media(folder: Path, good: Path) -> dict[str, str]:
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is no video. " * 200)
    (folder / "random.mp4").write_bytes(RANDOM.bytes(60_000))
    (folder / "playlist.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{good}\n#EXT-X-ENDLIST\n")
    (folder / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{good}'\n")
    (folder / "fake moov.mp4").write_bytes(
        struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 512, b"isom")
        + struct.pack(">I4s", 0x7FFFFFF0, b"moov")
        + b"x" * 90
    )
    made.remake(good, folder / "picture.png", "-frames:v", "1")
    (folder / "picture.png").rename(folder / "picture.mp4")
    with (folder / "sparse.mp4").open("wb") as sparse:
        sparse.truncate(1 << 30)
    not_opened = "quarantined: not a video that can be opened"
    return {
        "zero.mp4": "quarantined: the file is empty",
        **dict.fromkeys(["text.mp4", "random.mp4", "picture.mp4", "sparse.mp4"], not_opened),
        "fake moov.mp4": "quarantined: neither picture nor sound",
        **dict.fromkeys(["playlist.mp4", "concat.mp4"], not_opened),
    }


def _damaged(folder: Path, good: Path) -> dict[str, str]:
    first = made.write(
        folder / "index first.mp4", made.grid(4.0), made.moving(160, 120), made.tone(4.0),
        container_options={"movflags": "faststart"},
    )  # fmt: skip
    whole = first.read_bytes()
    index_end = whole.index(b"mdat")
    (folder / "no index.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "truncated.mp4").write_bytes(whole[: index_end + (len(whole) - index_end) // 2])
    (folder / "last byte missing.mp4").write_bytes(whole[:-1])
    (folder / "corrupt middle.mp4").write_bytes(_scribbled(whole, index_end, 0.3, 0.7, every=37))
    (folder / "one wrong byte.mp4").write_bytes(_scribbled(whole, index_end, 0.5, 0.5005, every=10_000))
    cut = made.write(folder / "whole.mkv", made.grid(4.0), made.moving(160, 120), made.tone(4.0))
    made.remake(cut, folder / "declared.mkv", "-c", "copy")
    data = (folder / "declared.mkv").read_bytes()
    (folder / "truncated.mkv").write_bytes(data[: len(data) // 2])
    (folder / "huge header.ivf").write_bytes(_huge_vp8())
    return {
        "index first.mp4": "done",
        "whole.mkv": "done",
        "declared.mkv": "done",
        "no index.mp4": "quarantined: not a video that can be opened",
        "truncated.mp4": "quarantined: truncated",
        "truncated.mkv": "quarantined: truncated",
        "last byte missing.mp4": "done",
        "corrupt middle.mp4": "quarantined: corrupt",
        "one wrong byte.mp4": "done",
        "huge header.ivf": "quarantined: more than",
    }


def _scribbled(data: bytes, start: int, low: float, high: float, every: int) -> bytes:
    """The data with one byte in `every` replaced, between two shares of what follows `start`."""
    changed = bytearray(data)
    length = len(data) - start
    for at in range(start + int(low * length), start + max(int(high * length), int(low * length) + 1), every):
        changed[at] ^= 0x5A
    return bytes(changed)


def _huge_vp8() -> bytes:
    """An IVF file of 90 bytes whose only frame says that it is 16383 x 16383."""
    frame = bytes([0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A]) + struct.pack("<HH", 16383, 16383) + bytes(36)
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", 16383, 16383, 25, 1, 1, 0)
    return header + struct.pack("<IQ", len(frame), 0) + frame


def _shapes(folder: Path, good: Path) -> dict[str, str]:
    times, moving = made.grid(2.4), made.moving()
    made.write(folder / "ten bit.mp4", times, moving, pix_fmt="yuv420p10le", options={"preset": "ultrafast"})
    made.write(folder / "odd.mp4", times, made.moving(97, 71), pix_fmt="yuv444p")
    made.write(folder / "not square.mp4", times, moving, made.tone(2.4), sar=Fraction(64, 45))
    made.remake(good, folder / "old.avi", "-c:v", "mpeg4", "-c:a", "mp2")
    made.write(folder / "wide.mp4", times, made.moving(1600, 64))
    made.write(folder / "narrow.mp4", times, made.moving(640, 64))
    made.write(folder / "tiny.mp4", times, made.moving(48, 32))
    made.remake(good, folder / "turned.mp4", "-c", "copy", before=["-display_rotation", "90"])
    made.remake(good, folder / "askew.mp4", "-c", "copy", before=["-display_rotation", "37"])
    made.remake(
        good,
        folder / "interlaced.mp4",
        "-vf",
        "scale=96:96,setfield=tff",
        "-flags",
        "+ilme+ildct",
        "-x264opts",
        "tff=1",
    )
    made.remake(good, folder / "raw.h264", "-an", "-r", "25", "-f", "h264")
    made.remake(good, folder / "raw at 90000 fps.h264", "-c", "copy", "-an", "-bsf:v", "h264_mp4toannexb", "-f", "h264")
    two = [
        made.write(folder / f"size {w}.ts", times, made.moving(w, 64), options={"preset": "ultrafast"})
        for w in (96, 160)
    ]
    (folder / "changes size.ts").write_bytes(b"".join(p.read_bytes() for p in two))
    for part in two:
        part.unlink()
    return {
        **dict.fromkeys(["ten bit.mp4", "odd.mp4", "not square.mp4", "old.avi", "turned.mp4", "askew.mp4"], "done"),
        **dict.fromkeys(["interlaced.mp4", "raw.h264", "changes size.ts", "narrow.mp4"], "done"),
        "wide.mp4": "rejected: too narrow",
        "raw at 90000 fps.h264": "quarantined: no frame on the grid",
        "tiny.mp4": "rejected: too small",
    }


def _clocks(folder: Path, good: Path) -> dict[str, str]:
    moving = made.moving()
    uneven = np.cumsum(np.random.default_rng(3).uniform(0.012, 0.075, 60)).tolist()
    made.write(folder / "variable rate.mp4", uneven, moving, made.tone(2.5))
    made.write(folder / "late sound.mp4", made.grid(2.6), moving, made.tone(1.5), sound_start_s=1.0)
    made.write(folder / "late picture.mkv", made.grid(2.4, start_s=0.71), moving, made.tone(3.1))
    longer = made.write(folder / "longer.mp4", made.grid(3.2), moving, made.tone(3.2))
    made.remake(  # half a second of it can't be shown
        longer,
        folder / "negative start.mkv",
        "-c",
        "copy",
        "-output_ts_offset",
        "-0.5",
        "-avoid_negative_ts",
        "disabled",
    )
    made.write(folder / "starts after a day.mkv", made.grid(2.4, start_s=86_400.0), moving)
    leap = made.grid(1.2) + made.grid(1.2, start_s=1800.0)
    made.write(folder / "leaps half an hour.mkv", leap, moving)
    made.write(folder / "two minutes.mp4", made.grid(120.0, fps=5.0), moving, made.tone(120.0))
    made.write(folder / "sixty.mp4", made.grid(2.4, fps=60.0), moving)
    return {
        **dict.fromkeys(
            ["variable rate.mp4", "late sound.mp4", "late picture.mkv", "longer.mp4", "negative start.mkv"], "done"
        ),
        **dict.fromkeys(["starts after a day.mkv", "two minutes.mp4", "sixty.mp4"], "done"),
        "leaps half an hour.mkv": "quarantined: stands still for more than 600 s",
    }


def _sounds(folder: Path, good: Path) -> dict[str, str]:
    times, moving = made.grid(2.4), made.moving()
    made.write(folder / "no sound.mp4", times, moving)
    made.write(folder / "only sound.mp4", [], sound=made.tone(3.0))
    made.write(folder / "broken sound.mkv", times, moving, made.tone(2.4), sound_codec="flac")
    broken = bytearray((folder / "broken sound.mkv").read_bytes())
    at = broken.find(b"A_FLAC")
    broken[at : at + 6] = b"A_QOQO"
    (folder / "broken sound.mkv").write_bytes(broken)
    noisy = made.write(folder / "noise for sound.mp4", times, moving, made.tone(2.4))
    with av.open(str(noisy)) as container:
        places = [(p.pos, p.size) for p in container.demux(audio=0) if p.pos is not None]
    data = bytearray(noisy.read_bytes())
    for at, size in places:
        data[at : at + size] = b"\xff" * size
    noisy.write_bytes(data)
    cover = folder / "cover.png"
    made.remake(good, cover, "-frames:v", "1")
    subprocess.run(
        [ffmpeg_binary(), "-v", "error", "-y", "-i", str(folder / "only sound.mp4"), "-i", str(cover),
         "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic",
         str(folder / "sound with cover.mp4")],
        check=True, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    cover.unlink()
    return {
        **dict.fromkeys(["no sound.mp4", "broken sound.mkv", "noise for sound.mp4"], "done"),
        **dict.fromkeys(["only sound.mp4", "sound with cover.mp4"], "quarantined: no video stream"),
    }


def _dull(folder: Path, good: Path) -> dict[str, str]:
    def black(time_s: float) -> np.ndarray:
        return np.zeros((64, 96, 3), np.uint8)

    still = made.moving()(0.0)
    made.write(folder / "one frame.mp4", [0.0], made.moving())
    made.write(folder / "one second.mp4", made.grid(1.0), made.moving())
    made.write(folder / "black.mp4", made.grid(2.4), black)
    made.write(folder / "frozen.mp4", made.grid(2.4), lambda time_s: still)
    made.write(folder / "choppy.mp4", made.grid(4.0), lambda time_s: made.moving()(int(time_s * 5) / 5))
    return {
        **dict.fromkeys(["one frame.mp4", "one second.mp4"], "rejected: too short"),
        "black.mp4": "rejected: black",
        "frozen.mp4": "rejected: frozen",
        "choppy.mp4": "rejected: choppy",
    }
