"""Features of real and made voices, to fit `synthetic_audio` on: from sound files to one .npz.

    python -m tasks.voice_corpus OUT.npz --real FILE ... --made FILE ...

Each file is taken clean and through several ways that speech comes to a listener, drawn by lot: pitch and formants
moved, a room, noise of some colour or babble of the other files, an equaliser, a narrow band or a telephone line, and
one or two round trips through MP3, AAC or Opus at a rate of its own; real and made alike, so that none of these tells
the two apart. What is left without a voice above 4 kHz is left out: the signal does not judge it. A file's voice is the
part of its name before the last underscore; see `modeling/synthetic_audio.py` for what is done with them.
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
from tasks.voice_texture import AUDIO_HZ, holds_high_voice, texture

CODECS = {
    "mp3": ("mp3", "libmp3lame", 48_000),
    "aac": ("adts", "aac", 32_000),
    "opus": ("ogg", "libopus", 24_000),
}
"""Container, encoder, bits per second: what speech is sent with, at the lower end."""
RATES = {"mp3": (32, 48, 64, 96), "aac": (24, 32, 48, 64), "opus": (12, 16, 24, 32, 48)}
"""Of the fit, in kbit/s."""
NUM_WAYS = {"real": 20, "made": 5}
"""Of a file: few people have to show what the ways do to a voice, and made voices are many."""
MAX_SPEECH_S = 4.0
NOISE_DB = (3.0, 40.0)
NOISE_SLOPE = (0.0, 1.0)
"""White to pink: the amplitude falls by so many powers of the frequency."""
EQUALISER_DB, EQUALISER_POINTS = 6.0, 8
LOG_SPEED = (0.06, 0.22)
"""Slower or quicker by a factor of 1.06 to 1.25, pitch and formants with it: another voice, for the fit."""
BABBLE_VOICES = 5
EDGE_HZ = (3400.0, 7200.0)
TELEPHONE_HZ, TELEPHONE_BAND_HZ = 8000, (300.0, 3400.0)
MU = 255.0
"""Of the companding of ITU-T G.711, to 8 bits."""
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
    spoken_in = {file: voiced_part(sound_of(str(file)))[: round(MAX_SPEECH_S * AUDIO_HZ)] for file in (*real, *made)}
    crowd = [v for v in spoken_in.values() if len(v) >= MIN_SPEECH_S * AUDIO_HZ]
    for is_made, files in ((False, real), (True, made)):
        before = len(rows["made_R"])
        for file in files:
            voice = spoken_in[file]
            if len(voice) < MIN_SPEECH_S * AUDIO_HZ:
                log.info("%s: left out, under a second of speech", file.name)
                continue
            for name, treated in treatments(voice, crowd, NUM_WAYS["made" if is_made else "real"], rng):
                features = texture(treated, HOP_S)
                if not holds_high_voice(features):
                    continue
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


def treatments(
    voice: np.ndarray, crowd: Sequence[np.ndarray], num_ways: int, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """(name, sound) of the voice clean, and of that many ways by lot; the name says the codecs it went through."""
    yield "clean", voice
    for i in range(num_ways):
        sound, codecs = on_its_way(voice, crowd, rng)
        yield f"{i} {' '.join(codecs)}".strip(), sound


def on_its_way(
    voice: np.ndarray, crowd: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    import soxr
    from scipy.signal import fftconvolve, firwin

    sound = np.asarray(voice, np.float64)
    if rng.random() < 0.6:
        speed = np.exp(rng.choice([-1, 1]) * rng.uniform(*LOG_SPEED))
        sound = soxr.resample(sound, AUDIO_HZ * speed, AUDIO_HZ)
    if rng.random() < 0.35:
        sound = fftconvolve(sound, room(rng))[: len(sound)]
    if rng.random() < 0.6:
        behind = noise(len(sound), rng) if rng.random() < 0.7 else babble(len(sound), crowd, rng)
        sound = sound + behind * sound.std() * 10 ** (-rng.uniform(*NOISE_DB) / 20)
    if rng.random() < 0.5:
        sound = fftconvolve(sound, equaliser(rng), mode="same")
    line = rng.random()
    if line < 0.2:
        sound = fftconvolve(sound, firwin(201, rng.uniform(*EDGE_HZ), fs=AUDIO_HZ), mode="same")
    elif line < 0.4:
        sound = telephone(sound)
    sound = np.asarray(sound / max(float(np.abs(sound).max()), 1e-9) * rng.uniform(0.1, 0.95), np.float32)
    codecs = [str(name) for name in rng.choice(sorted(CODECS), size=int(rng.choice([0, 1, 2], p=[0.25, 0.55, 0.2])))]
    for name in codecs:
        sound = round_trip(sound, name, int(rng.choice(RATES[name])) * 1000)
    return sound, codecs


def noise(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Of unit power, white to pink."""
    spectrum = np.fft.rfft(rng.normal(size=num_samples))
    spectrum /= np.maximum(np.fft.rfftfreq(num_samples, 1 / AUDIO_HZ), 50.0) ** rng.uniform(*NOISE_SLOPE)
    made = np.fft.irfft(spectrum, num_samples)
    return np.asarray(made / max(float(made.std()), 1e-9))


def babble(num_samples: int, crowd: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Of unit power: several voices at once."""
    chosen = [crowd[i] for i in rng.integers(0, len(crowd), BABBLE_VOICES)]
    made = np.sum([np.resize(v / max(float(v.std()), 1e-9), num_samples) for v in chosen], axis=0)
    return np.asarray(made / max(float(made.std()), 1e-9))


def telephone(sound: np.ndarray) -> np.ndarray:
    """The sound (16 kHz) after a telephone line: 300 to 3400 Hz, 8000 samples a second of 8 bits, companded."""
    import soxr
    from scipy.signal import butter, sosfiltfilt

    low = soxr.resample(np.asarray(sound, np.float64), AUDIO_HZ, TELEPHONE_HZ)
    low = sosfiltfilt(butter(4, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_HZ, output="sos"), low)
    peak = max(float(np.abs(low).max()), 1e-9)
    coded = np.rint(np.sign(low) * np.log1p(MU * np.abs(low) / peak) / np.log1p(MU) * 127) / 127
    low = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU * peak
    whole = soxr.resample(low, TELEPHONE_HZ, AUDIO_HZ)[: len(sound)]
    return np.asarray(np.pad(whole, (0, len(sound) - len(whole))))


def equaliser(rng: np.random.Generator) -> np.ndarray:
    """A linear-phase filter that bends the spectrum by a few dB here and there."""
    from scipy.signal import firwin2

    points_hz = np.linspace(0, AUDIO_HZ / 2, EQUALISER_POINTS)
    gains_db = rng.uniform(-EQUALISER_DB, EQUALISER_DB, EQUALISER_POINTS)
    return np.asarray(firwin2(129, points_hz, 10 ** (gains_db / 20), fs=AUDIO_HZ))


def room(rng: np.random.Generator) -> np.ndarray:
    """An impulse response: the direct sound, and noise that dies away by 60 dB in the reverberation time."""
    time_s = np.arange(AUDIO_HZ // 2) / AUDIO_HZ
    tail = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / rng.uniform(*REVERBERATION_S))
    tail *= 10 ** (-rng.uniform(*DIRECT_DB) / 20) / np.linalg.norm(tail)
    tail[0] += 1
    return np.asarray(tail)


def round_trip(audio: np.ndarray, codec: str, bits_per_s: int | None = None) -> np.ndarray:
    """16 kHz sound encoded (at the rate of CODECS unless told), decoded and cut to its length; the codec's delay
    stays."""
    import av

    container_name, encoder, usual = CODECS[codec]
    held = io.BytesIO()
    with av.open(held, "w", format=container_name) as container:
        stream = container.add_stream(encoder, rate=AUDIO_HZ)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate, stream.layout = bits_per_s or usual, "mono"
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
