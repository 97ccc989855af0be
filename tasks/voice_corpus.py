"""Features of real and made voices, to fit `synthetic_audio` on: from sound files to one .npz.

    python -m tasks.voice_corpus OUT.npz --real FILE ... --made FILE ...

Each voice is taken clean, in noise, in a room, with its highest frequencies cut, and after a round trip through MP3,
AAC and Opus, and all of it once more with pitch and formants moved; real and made alike, so that none of these tells
the two apart. A file's voice is the part of its name
before the last underscore; see `modeling/synthetic_audio.py` for what is done with them.
"""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tasks.media.media import Media
from tasks.signals import vad
from tasks.speaker_encoder import spoken
from tasks.voice_texture import AUDIO_HZ, texture

CODECS = {
    "mp3": ("mp3", "libmp3lame", 48_000),
    "aac": ("adts", "aac", 32_000),
    "opus": ("ogg", "libopus", 24_000),
}
"""Container, encoder, bits per second: what speech is sent with, at the lower end."""
NOISE_DB = (10.0, 35.0)
LOG_SPEED = (0.06, 0.22)
"""Slower or quicker by a factor of 1.06 to 1.25, pitch and formants with it: another voice, for the fit."""
EDGE_HZ = (3400.0, 7200.0)
REVERBERATION_S = (0.2, 0.6)
DIRECT_DB = (0.0, 9.0)
"""Of the direct sound above the room's."""
HOP_S = 1.0
MIN_SPEECH_S = 1.0
SPEECH_PROB = 0.5
SAMPLES_PER_FRAME = 640

log = logging.getLogger(__name__)


def export(real: Sequence[Path], made: Sequence[Path], out: Path) -> int:
    """The number of rows written: `texture_RK`, `made_R` (bool), `voice_R` and `treatment_R` (names).

    Raises ValueError when no file of a kind holds a second of speech.
    """
    rng = np.random.default_rng(0)
    rows: dict[str, list[np.ndarray]] = {"texture_RK": [], "made_R": [], "voice_R": [], "treatment_R": []}
    for is_made, files in ((False, real), (True, made)):
        before = len(rows["made_R"])
        for file in files:
            voice = voiced_part(sound_of(str(file)))
            if len(voice) < MIN_SPEECH_S * AUDIO_HZ:
                log.info("%s: left out, under a second of speech", file.name)
                continue
            for name, treated in treatments(voice, rng):
                features = texture(treated, HOP_S)
                told = {"made_R": is_made, "voice_R": file.stem.rpartition("_")[0], "treatment_R": name}
                rows["texture_RK"].append(features)
                for key, value in told.items():
                    rows[key].append(np.full(len(features), value))
            log.info("%s: %.1f s", file.name, len(voice) / AUDIO_HZ)
        if len(rows["made_R"]) == before:
            kind = "made" if is_made else "real"
            raise ValueError(f"no {kind} file holds a second of speech; give sound files of voices")
    np.savez(out, allow_pickle=False, **{name: np.concatenate(values) for name, values in rows.items()})
    return sum(map(len, rows["made_R"]))


def sound_of(source: str | BinaryIO) -> np.ndarray:
    """The first audio track of a file, 16 kHz mono float32."""
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=AUDIO_HZ)
    with av.open(source, "r") as container:
        decoded = [*container.decode(audio=0), None]
        parts = [part.to_ndarray().reshape(-1) for frame in decoded for part in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float32)


def voiced_part(audio: np.ndarray) -> np.ndarray:
    """What is spoken, without the pauses."""
    whole = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    rows = vad.compute(Media(0, len(whole) // SAMPLES_PER_FRAME, 64, 64, audio=whole), {}).timeline
    assert rows is not None
    return spoken(whole, rows["speech_prob"].to_numpy() >= SPEECH_PROB)


def treatments(voice: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """(name, sound) of the voice, and of the same with another pitch: clean, in noise, narrow, in a room, and after
    each codec; all as long as what they are made of."""
    import soxr
    from scipy.signal import fftconvolve, firwin

    speed = np.exp(rng.choice([-1, 1]) * rng.uniform(*LOG_SPEED))
    moved = np.asarray(soxr.resample(voice, AUDIO_HZ * speed, AUDIO_HZ), np.float32)
    for prefix, sound in (("", voice), ("moved ", moved)):
        yield f"{prefix}clean", sound
        noise = rng.normal(size=len(sound)) * sound.std() * 10 ** (-rng.uniform(*NOISE_DB) / 20)
        yield f"{prefix}noise", np.asarray(sound + noise, np.float32)
        low_pass = firwin(201, rng.uniform(*EDGE_HZ), fs=AUDIO_HZ)
        yield f"{prefix}narrow", np.asarray(fftconvolve(sound, low_pass, mode="same"), np.float32)
        yield f"{prefix}room", np.asarray(fftconvolve(sound, room(rng))[: len(sound)], np.float32)
        for name in CODECS:
            yield f"{prefix}{name}", round_trip(sound, name)


def room(rng: np.random.Generator) -> np.ndarray:
    """An impulse response: the direct sound, and noise that dies away by 60 dB in the reverberation time."""
    time_s = np.arange(AUDIO_HZ // 2) / AUDIO_HZ
    tail = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / rng.uniform(*REVERBERATION_S))
    tail *= 10 ** (-rng.uniform(*DIRECT_DB) / 20) / np.linalg.norm(tail)
    tail[0] += 1
    return np.asarray(tail)


def round_trip(audio: np.ndarray, codec: str) -> np.ndarray:
    """16 kHz sound encoded, decoded and cut to its length; the codec's delay stays."""
    import av

    container_name, encoder, bits_per_s = CODECS[codec]
    held = io.BytesIO()
    with av.open(held, "w", format=container_name) as container:
        stream = container.add_stream(encoder, rate=AUDIO_HZ)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate, stream.layout = bits_per_s, "mono"
        samples = np.rint(np.clip(audio, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = AUDIO_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    held.seek(0)
    sound = sound_of(held)[: len(audio)]
    return np.pad(sound, (0, len(audio) - len(sound)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Export features for modeling.synthetic_audio.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path, nargs="+", required=True)
    parser.add_argument("--made", type=Path, nargs="+", required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log.info("%d windows", export(options.real, options.made, options.out))


if __name__ == "__main__":
    main()
