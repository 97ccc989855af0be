"""People who speak, for the scorecards of sound: proxies made once a run, sounds moved, mixed and measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.footage import manifest
from tasks.lip_corpus import timelines
from tasks.media.media import Media
from tasks.media.normalise import normalise
from tasks.media.reader import Reader
from tasks.signals import vad

AUDIO_HZ = 16_000
SAMPLES_PER_FRAME = AUDIO_HZ // 25


@dataclass
class Voice:
    """One clip: who, its sound, and its timelines (`landmarks` only where asked for)."""

    file: str
    person: str
    entry: dict[str, Any]
    num_frames: int
    audio: np.ndarray | None
    needs: dict[str, pa.Table]

    def media(self, audio: np.ndarray | None = None) -> Media:
        return Media(0, self.num_frames, 64, 64, audio=self.audio if audio is None else audio)

    @property
    def speech_ratio(self) -> float:
        return float((self.needs["vad"]["speech_prob"].to_numpy() >= 0.5).mean()) if "vad" in self.needs else 0.0


def films(root: Path, folder: str, *, min_s: float, faces: bool, tags: frozenset[str] = frozenset()) -> Iterator[Voice]:
    """The videos of a folder (with one of `tags`, if any are given), normalised, at most 30 s of each."""
    with Reader() as reader, TemporaryDirectory() as scratch:
        for entry in manifest(root, folder):
            if (entry["duration"] or 0) < min_s or (tags and not tags & set(entry["tags"])):
                continue
            made = normalise(entry["path"], Path(scratch) / Path(entry["file"]).name)
            num = min(made.num_frames, 30 * 25)
            audio = reader.read_audio(made.audio_path, 0, num) if made.audio_path else None
            if faces:
                needs = timelines(reader, made.proxy_path, made.audio_path, num)
            else:
                needs = {} if audio is None else {"vad": activity(audio)}
            yield Voice(entry["file"], entry["person"], entry, num, audio, needs)


def sound_file(path: Path) -> np.ndarray:
    """A sound file as 16 kHz mono, cut to whole frames."""
    import soundfile
    import soxr

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(audio.mean(axis=1), rate, AUDIO_HZ).astype(np.float32)
    return mono[: len(mono) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]


def activity(audio: np.ndarray) -> pa.Table:
    return vad.compute(Media(0, len(audio) // SAMPLES_PER_FRAME, 64, 64, audio=audio), {}).timeline


def delayed(audio: np.ndarray, num_frames: int) -> np.ndarray:
    """The sound so many frames later (earlier, if negative); what is missing is silence."""
    shift = num_frames * SAMPLES_PER_FRAME
    moved = np.zeros_like(audio)
    if shift >= 0:
        moved[shift:] = audio[: len(audio) - shift]
    else:
        moved[:shift] = audio[-shift:]
    return moved
