"""The child of `serving.sound_files`: a sound file on standard input, its sound on standard output, int16 at 16 kHz, mono."""

from __future__ import annotations

import json
import sys
from typing import IO, Any, NoReturn

import av

from serving.engine import SAMPLE_HZ
from tasks.media.limits import enter

ALONE, ALONE_MOV = {"protocol_whitelist": "none"}, {"enable_drefs": "0", "use_absolute_path": "0"}
"""A file that names others has none of them opened."""


def decode(file: IO[bytes], kind: str, most_s: float) -> bytes:
    """Damaged parts are left out, as players do; ends the process for a file that has no sound, or more than `most_s`."""
    made, options = bytearray(), {**ALONE, **(ALONE_MOV if kind == "mov" else {})}
    even = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_HZ)

    def keep(frame: Any) -> None:
        for part in even.resample(frame):
            made.extend(part.to_ndarray()[0].astype("<i2").tobytes())
        if len(made) > 2 * SAMPLE_HZ * most_s:
            end(413, f"it lasts more than {most_s / 60:.0f} minutes; send less at a time")

    try:
        with av.open(file, "r", format=kind, options=options, metadata_errors="replace") as container:
            if not container.streams.audio or container.streams.audio[0].codec_context is None:
                end(422, "there is no sound in it that can be decoded; send one with a voice")
            for packet in container.demux(container.streams.audio[0]):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    keep(frame)
        keep(None)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        end(422, f"it can't be decoded ({getattr(error, 'strerror', None) or error}); it is damaged or of another kind")
    if not made:
        end(422, "there is no sound in it that can be decoded; send one with a voice")
    return bytes(made)


def end(status: int, why: str) -> NoReturn:
    """With the words that `serving.sound_files` makes its error of."""
    sys.stderr.write("\n" + json.dumps({"status": status, "error": why}) + "\n")
    sys.stderr.flush()
    sys.exit(1)


def main() -> None:
    told = json.loads(sys.argv[1])
    enter(told["memory_bytes"], told["cpu_s"], told["parent"])
    av.logging.set_level(av.logging.PANIC)
    sys.stdin.buffer.seek(0)  # whoever opened it may have read ahead
    sys.stdout.buffer.write(decode(sys.stdin.buffer, told["kind"], told["most_s"]))


if __name__ == "__main__":
    main()
