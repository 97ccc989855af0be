"""Text said by a speech synthesizer of this machine, when one is installed: hibari (a Python package), else the program
espeak-ng. Each text is read by a child in a cage, and goes nowhere else."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import unicodedata
from contextlib import suppress
from importlib.util import find_spec

import numpy as np

from serving.sound_files import MOST_FILE_S, SoundError, decoded, from_child
from tasks.media.limits import caged

MOST_CHARACTERS = 1000
"""About a minute."""
MEMORY_BYTES = 3 << 30
CPU_S, WALL_S = 120.0, 120.0
HIBARI, ESPEAK = "hibari", "espeak-ng"
NONE = (
    "no speech synthesizer is installed where this server runs; pip install 'headroom[tts]' (hibari, English, Apache-2.0) "
    "or the program espeak-ng (GPL-3.0)"
)


def installed() -> str | None:
    """The synthesizer that reads texts here."""
    if find_spec(HIBARI) is not None:
        return HIBARI
    return ESPEAK if shutil.which(ESPEAK) else None


def readable(text: str) -> str:
    """The text without control characters. Raises SoundError for one that is too long, and for none."""
    told = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).strip()
    if not told:
        raise SoundError(422, "there is no text to say")
    if len(told) > MOST_CHARACTERS:
        raise SoundError(413, f"the text has {len(told):,} characters; at most {MOST_CHARACTERS:,} are said at a time")
    return told


async def read_aloud(text: str) -> np.ndarray:
    """Its sound, int16 at 16 kHz, mono. Raises SoundError: 501 without a synthesizer, and for a text that can't be said."""
    told, reader = readable(text), installed()
    if reader is None:
        raise SoundError(501, NONE)
    with tempfile.TemporaryFile() as given:
        given.write(told.encode())
        given.flush()
        os.lseek(given.fileno(), 0, os.SEEK_SET)
        if reader == HIBARI:
            limits = {"memory_bytes": MEMORY_BYTES, "cpu_s": CPU_S, "most_s": MOST_FILE_S}
            return await from_child("serving.tts_child", limits, given, WALL_S)
        with tempfile.TemporaryFile() as made:
            await _espeak(given.fileno(), made.fileno())
            return await decoded(made)


async def _espeak(given: int, made: int) -> None:
    """Writes a WAV file. Raises SoundError."""
    command = caged([ESPEAK, "-v", "en-us", "-b", "1", "--stdin", "--stdout"], MEMORY_BYTES, CPU_S)
    child = await asyncio.create_subprocess_exec(
        *command, stdin=given, stdout=made, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        status = await asyncio.wait_for(child.wait(), WALL_S)
    except TimeoutError:
        status = -signal.SIGKILL
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    if status != 0:
        raise SoundError(422, f"{ESPEAK} can't say this text (status {status}); send another")
