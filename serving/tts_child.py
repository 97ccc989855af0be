"""The child of `serving.tts`: English on standard input, hibari's speech on standard output, int16 at 16 kHz, mono."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from serving.engine import SAMPLE_HZ
from serving.sound_child import end
from tasks.media.limits import enter

MOST_AT_ONCE = 200
"""Characters: hibari takes 7 MB a second of speech that it makes at once."""


def sentences(text: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.!?;:])\s+", text):
        yield from textwrap.wrap(sentence, MOST_AT_ONCE)


def read(text: str, voice: Any, rate_hz: int, most_s: float) -> bytes:
    """Ends the process for a text without a word that can be said."""
    made, even = bytearray(), av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_HZ)
    for sentence in sentences(text):
        said = np.asarray(voice(sentence), np.float32)
        if not len(said):
            continue
        frame = av.AudioFrame.from_ndarray(np.clip(said, -1, 1)[None], format="flt", layout="mono")
        frame.sample_rate = rate_hz
        for part in even.resample(frame):
            made.extend(part.to_ndarray()[0].astype("<i2").tobytes())
        if len(made) > 2 * SAMPLE_HZ * most_s:
            end(413, f"saying it takes more than {most_s / 60:.0f} minutes; send less at a time")
    if not made:
        end(422, "there is nothing in the text that can be said; the voice is English")
    return bytes(made)


def main() -> None:
    told = json.loads(sys.argv[1])
    enter(told["memory_bytes"], told["cpu_s"], told["parent"])
    from hibari import SAMPLE_RATE, Hibari

    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library prints must not get into the sound
    out.write(read(sys.stdin.buffer.read().decode(), Hibari(), SAMPLE_RATE, told["most_s"]))


if __name__ == "__main__":
    main()
