from typing import Any

import numpy as np
import pytest

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
