from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import voice_embedding
from tasks.signals.voice_embedding import windows
from tests.moving_mouth import vad

AUDIO_HZ = 16_000


@cache
def voice(pitch_hz: float, formants: tuple[float, float], seed: int, duration_s: float = 8.0) -> np.ndarray:
    """A buzz whose pitch wavers, through two resonances: a made-up speaker, saying something by `seed`."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    num = round(duration_s * AUDIO_HZ)
    waver = np.interp(np.arange(num), np.arange(0, num, 1600), rng.uniform(0.85, 1.15, -(-num // 1600)))
    sound = np.sign(np.sin(2 * np.pi * np.cumsum(pitch_hz * waver) / AUDIO_HZ))
    for centre_hz in formants:
        radius = np.exp(-np.pi * 120 / AUDIO_HZ)
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * centre_hz / AUDIO_HZ), radius**2], sound)
    loud = np.interp(np.arange(num), np.arange(0, num, 2400), rng.uniform(0.2, 1, -(-num // 2400)))
    return (0.3 * sound * loud / np.abs(sound).max()).astype(np.float32)


def vector(audio: np.ndarray) -> np.ndarray:
    num_frames = len(audio) // 640
    media = Media(0, num_frames, 64, 64, audio=audio)
    return np.asarray(voice_embedding.compute(media, {"vad": vad(num_frames)}).vectors["voice"])


def test_a_speaker_is_nearer_to_himself_than_to_another() -> None:
    low, high = (95.0, (500.0, 1100.0)), (230.0, (850.0, 2300.0))
    first, later, other = (vector(voice(*who, seed=s)) for who, s in ((low, 0), (low, 1), (high, 2)))
    assert float(np.linalg.norm(first)) == pytest.approx(1, abs=1e-5)
    assert float(first @ later) > 0.85
    assert float(first @ later) > float(first @ other) + 0.1


def test_columns_and_silence_between_words() -> None:
    audio = voice(120.0, (600.0, 1500.0), 0)
    media = Media(0, 200, 64, 64, audio=audio)
    made = voice_embedding.compute(media, {"vad": vad(200, speech_ratio=0.5)})
    assert set(made.row) == {c.name for c in voice_embedding.SIGNAL.columns}
    assert made.row["speech_s"] == 4
    assert made.row["num_windows"] == 3  # of 1.6 s in 4 s, so they overlap a little
    noisy = audio.copy()
    noisy[len(audio) // 2 :] = np.random.default_rng(0).normal(0, 0.3, len(audio) - len(audio) // 2)
    again = voice_embedding.compute(Media(0, 200, 64, 64, audio=noisy), {"vad": vad(200, speech_ratio=0.5)})
    assert np.array_equal(again.vectors["voice"], made.vectors["voice"]), "what is no speech must not matter"


def test_two_speakers_spread_more_than_one() -> None:
    one = np.concatenate([voice(95.0, (500.0, 1100.0), s, 4.0) for s in (0, 1)])
    two = np.concatenate([voice(95.0, (500.0, 1100.0), 0, 4.0), voice(230.0, (850.0, 2300.0), 2, 4.0)])
    spread = [
        voice_embedding.compute(Media(0, 200, 64, 64, audio=a), {"vad": vad(200)}).row["spread"] for a in (one, two)
    ]
    assert spread[1] > spread[0] + 0.02


def test_windows_cover_the_speech() -> None:
    mel_TF = np.arange(5000, dtype=np.float32)[:, None].repeat(40, axis=1)
    made = windows(mel_TF)
    assert made.shape == (16, 160, 40)
    assert (made[0, 0, 0], made[-1, -1, 0]) == (0, 4999)
    assert windows(mel_TF[:161]).shape == (1, 160, 40)


def test_short_speech_is_repeated_until_it_fills_a_window() -> None:
    audio = voice(120.0, (600.0, 1500.0), 0)
    short = voice_embedding.compute(Media(0, 200, 64, 64, audio=audio), {"vad": vad(200, speech_ratio=0.15)})
    assert (short.row["speech_s"], short.row["num_windows"]) == (pytest.approx(1.2), 1)
    long = vector(audio)
    assert float(short.vectors["voice"] @ long) > 0.7


def test_no_audio() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        voice_embedding.compute(Media(0, 50, 64, 64), {})


def test_too_little_speech() -> None:
    media = Media(0, 100, 64, 64, audio=np.zeros(64_000, np.float32))
    with pytest.raises(NotApplicable, match="under 1 s of speech"):
        voice_embedding.compute(media, {"vad": vad(100, speech_ratio=0.24)})
