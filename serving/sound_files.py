"""Sound files as they come over the network: what they are by their first bytes, and their sound by a child in a cage.

Nothing that a file says is opened: the child has the bytes alone, and reads them as the one format that they were taken for.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

import numpy as np

from serving.engine import SAMPLE_HZ
from tasks.media.limits import python_child

MOST_FILE_BYTES = 64_000_000
MOST_FILE_S = 600.0
MEMORY_BYTES = 1 << 30
CPU_S, WALL_S = 60.0, 120.0
"""Ten minutes of AAC take 0.5 s of processor time; other codecs, and slower machines, take more."""
MOST_SOUND_BYTES, MOST_WORDS_BYTES = int(2.1 * MOST_FILE_S * SAMPLE_HZ), 1 << 20
"""Of what a child writes; it stops before by itself, unless what it was given has got hold of it."""
HEAD_BYTES = 16
KINDS: Sequence[tuple[int, bytes, str]] = (
    (8, b"WAVE", "wav"), (0, b"fLaC", "flac"), (0, b"OggS", "ogg"), (0, b"ID3", "mp3"), (4, b"ftyp", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"), (8, b"AIFF", "aiff"), (8, b"AIFC", "aiff"), (0, b"caff", "caf"), (0, b"#!AMR", "amr"),
)  # fmt: skip
"""Where a format's mark lies, the mark, and FFmpeg's name of what reads it."""
TAKEN = "WAV, MP3, Ogg, FLAC, M4A, MP4, AAC, WebM, Matroska, AIFF, CAF and AMR"


class SoundError(Exception):
    """Why no sound comes of it, and the HTTP status that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def kind_of(head: bytes) -> str:
    """FFmpeg's name of the format that begins so. Raises SoundError for what is none that is taken."""
    for at, mark, kind in KINDS:
        if head[at : at + len(mark)] == mark:
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # a frame of MPEG audio; layer 0 is ADTS, AAC's
        return "mp3" if head[1] & 0x06 else "aac"
    what = "this is no sound file that is taken" if head else "the body is empty"
    raise SoundError(415, f"{what}; send, as the body itself, {TAKEN}")


async def decoded(file: IO[bytes]) -> np.ndarray:
    """The sound of a whole file, int16 at 16 kHz, mono. Raises SoundError."""
    file.seek(0)
    kind = kind_of(file.read(HEAD_BYTES))
    limits = {"memory_bytes": MEMORY_BYTES, "cpu_s": CPU_S, "most_s": MOST_FILE_S}
    return await from_child("serving.sound_child", {"kind": kind, **limits}, file, WALL_S)


async def from_child(module: str, told: Mapping[str, object], given: IO[bytes], wall_s: float) -> np.ndarray:
    """The sound that a child of ours writes, with `given` as its standard input. Raises SoundError: what the child says, else
    that it broke its limits."""
    command, environment = python_child(module)
    words = json.dumps({**told, "parent": os.getpid()})
    child = await asyncio.create_subprocess_exec(
        *command, words, stdin=given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment,
        start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        async with asyncio.timeout(wall_s):
            sound, complaints = await asyncio.gather(
                _at_most(child.stdout, MOST_SOUND_BYTES), _at_most(child.stderr, MOST_WORDS_BYTES)
            )
            await child.wait()
    except TimeoutError:
        raise SoundError(422, f"it could not be made into sound within {wall_s:.0f} s; send less") from None
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    if child.returncode == 0:
        return np.frombuffer(sound, "<i2").astype(np.int16)
    with suppress(ValueError, KeyError, IndexError, TypeError):
        said = json.loads(complaints.splitlines()[-1])
        raise SoundError(int(said["status"]), str(said["error"]))
    raise SoundError(422, "it can't be made into sound within the memory and time that are given; it may be damaged")


async def _at_most(stream: asyncio.StreamReader, most_bytes: int) -> bytes:
    """All of it. Raises SoundError."""
    held = bytearray()
    while part := await stream.read(1 << 16):
        held += part
        if len(held) > most_bytes:
            raise SoundError(422, "more came of it than can be; it may be damaged")
    return bytes(held)


def seconds_of(sound_N: np.ndarray) -> float:
    return round(len(sound_N) / SAMPLE_HZ, 2)
