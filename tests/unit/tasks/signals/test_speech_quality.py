from typing import Any

import numpy as np
import pytest

from benchmarks.scorecards.made_sounds import in_a_room, song
from tasks import room_sound
from tasks.digest import declared_row, digest_of_values
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import speech_quality
from tests.moving_mouth import syllables, vad

NUM_FRAMES = 100


def row(audio: np.ndarray | None, speech_ratio: float = 1.0) -> dict[str, Any]:
    media = Media(0, NUM_FRAMES, 64, 64, audio=audio)
    needs = {"vad": vad(NUM_FRAMES, speech_ratio=speech_ratio)}
    return declared_row(speech_quality.SIGNAL.columns, speech_quality.compute(media, needs).row)


def noise(level: float, seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(16_000 * seconds)).astype(np.float32)


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        row(None)


@pytest.mark.parametrize("audio", [np.zeros(64_000, np.float32), noise(1e-6)])
def test_digital_silence_is_not_applicable(audio: np.ndarray) -> None:
    with pytest.raises(NotApplicable, match="silent"):
        row(audio)


@pytest.mark.parametrize("told_db", [0.0, 10.0, 20.0, 30.0])
def test_a_known_signal_to_noise_ratio_is_read(told_db: float) -> None:
    """A tone for the first three quarters of the time, noise throughout."""
    tone = 0.2 * np.sin(2 * np.pi * 500 * np.arange(48_000) / 16_000)
    audio = np.concatenate([tone, np.zeros(16_000)]) + noise(0.2 / np.sqrt(2) * 10 ** (-told_db / 20))
    found = speech_quality.snr_db(audio, np.arange(NUM_FRAMES) < 75)
    assert found == pytest.approx(told_db, abs=1.0)


def test_the_ratio_is_bounded_and_defined_without_speech() -> None:
    assert speech_quality.snr_db(np.zeros(64_000), np.zeros(100, bool)) == speech_quality.SNR_LOW_DB
    loud = np.concatenate([np.ones(32_000), np.zeros(32_000)])
    assert speech_quality.snr_db(loud, np.arange(100) < 50) == speech_quality.SNR_HIGH_DB
    assert -10 <= row(noise(0.1), speech_ratio=0.0)["snr_db"] <= 1


def test_clipped_samples_are_counted() -> None:
    voice = syllables(4.0)
    assert row(voice)["clipping_ratio"] == 0
    driven = np.clip(8 * voice, -1, 1)
    assert row(driven)["clipping_ratio"] == pytest.approx(np.mean(np.abs(driven) >= 0.99), abs=1e-6)
    assert row(driven)["clipping_ratio"] > 0.01


@pytest.mark.parametrize("edge_hz", [1000, 3400, 6000])
def test_the_band_s_edge_is_found(edge_hz: int) -> None:
    from scipy.signal import firwin, lfilter

    cut = lfilter(firwin(401, edge_hz, fs=16_000, window=("kaiser", 9.0)), [1.0], noise(0.1))
    assert speech_quality.bandwidth_hz(cut, 16_000) == pytest.approx(edge_hz, abs=200)


def test_full_band_noise_reaches_the_top_and_a_short_sound_is_padded() -> None:
    assert speech_quality.bandwidth_hz(noise(0.1), 16_000) == 8000
    assert speech_quality.bandwidth_hz(np.hanning(100), 16_000) < 2000


def test_noise_lowers_the_score_of_the_background() -> None:
    clean, noisy = row(syllables(4.0)), row(syllables(4.0) + noise(0.1))
    assert noisy["bak_mos"] < clean["bak_mos"] - 0.5
    assert noisy["snr_db"] < clean["snr_db"]
    assert 1 <= noisy["ovrl_mos"] <= 5


def test_a_short_sound_is_repeated_and_a_long_one_cut_into_few_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Network:
        def run(self, _names: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(feed["input_1"][0])
            return [np.array([[3.0, 3.0, 3.0]])]

    monkeypatch.setattr(speech_quality, "_session", Network)
    short = np.arange(50_000, dtype=np.float32)
    scores = speech_quality.dnsmos(short)
    assert scores == pytest.approx((2.912, 3.246, 2.783), abs=1e-3)
    assert np.array_equal(seen[0][50_000:100_000], short)
    seen.clear()
    speech_quality.dnsmos(np.arange(20 * 16_000, dtype=np.float32))
    assert [len(s) for s in seen] == [144_160] * 3
    assert [int(s[0]) for s in seen] == [0, (320_000 - 144_160) // 2, 320_000 - 144_160]


def test_it_is_deterministic() -> None:
    first, second = (digest_of_values(row(syllables(4.0)), None, {}) for _ in range(2))
    assert first == second


def test_a_room_makes_the_voice_die_away_later() -> None:
    voice = syllables(4.0)
    dry = row(voice)["decay_s"]
    wet = [row(in_a_room(voice, rt60_s, 0))["decay_s"] for rt60_s in (0.4, 0.8, 1.2)]
    assert dry < 0.3
    assert dry + 0.05 < wet[0] < wet[1] < wet[2] < 1.2


def test_what_never_falls_has_no_decay() -> None:
    """A tone of one level, and a sound too short for a slope."""
    assert row((0.2 * np.sin(2 * np.pi * 500 * np.arange(64_000) / 16_000)).astype(np.float32))["decay_s"] is None
    assert room_sound.decay_s(noise(0.1, 0.05)) is None


def test_music_is_told_by_partials_that_hold_their_pitch() -> None:
    """Behind a buzz whose pitch glides up and down by a semitone and opens twice a second, as that of speech does."""
    time_s = np.arange(128_000) / 16_000
    turn = 2 * np.pi * np.cumsum(150 * 2 ** (0.1 * np.sin(3 * np.pi * time_s))) / 16_000
    voice = (1 + np.sin(4 * np.pi * time_s)) * sum(0.05 / h * np.sin(h * turn) for h in range(1, 9)) + noise(1e-3, 8.0)
    music = song(8.0, 0)
    behind = voice + 0.1 * music / np.abs(music).max()
    assert room_sound.music_ratio(voice) < 0.1
    assert room_sound.music_ratio(behind) > 0.3
    assert room_sound.music_ratio(noise(0.1)) < 0.05
    assert room_sound.music_ratio(noise(0.1, 0.05)) == 0.0
