import numpy as np
import pytest

from tasks.loudness import loudness_lufs


def tone(level_db: float, hz: float, audio_hz: int, duration_s: float = 5.0) -> np.ndarray:
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(round(duration_s * audio_hz)) / audio_hz)


@pytest.mark.parametrize("audio_hz", [16_000, 48_000])
def test_the_standard_s_own_tone(audio_hz: int) -> None:
    """BS.1770: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LUFS."""
    assert loudness_lufs(tone(0, 997, audio_hz), audio_hz) == pytest.approx(-3.01, abs=0.1)
    assert loudness_lufs(tone(-20, 997, audio_hz), audio_hz) == pytest.approx(-23.01, abs=0.1)


def test_low_rumble_counts_less_than_speech() -> None:
    assert loudness_lufs(tone(-20, 25, 16_000), 16_000) < loudness_lufs(tone(-20, 500, 16_000), 16_000) - 8


def test_pauses_are_gated_out() -> None:
    talk = tone(-20, 997, 16_000)
    with_pauses = np.concatenate([talk, np.zeros(80_000)])
    assert loudness_lufs(with_pauses, 16_000) == pytest.approx(loudness_lufs(talk, 16_000), abs=0.3)


@pytest.mark.parametrize("sound", [np.zeros(32_000), np.zeros(0), tone(-90, 997, 16_000)])
def test_near_silence_is_the_floor(sound: np.ndarray) -> None:
    assert loudness_lufs(sound, 16_000) == -70.0


def test_less_than_a_block_is_measured_whole() -> None:
    assert loudness_lufs(tone(-20, 997, 16_000, 0.2), 16_000) == pytest.approx(-23, abs=0.5)
