import numpy as np
import pytest

from modeling.source_filter import AUDIO_HZ, FFT, FRAME, Source, least_phase, periods, source_filter
from tests.moving_mouth import syllables


def buzz(pitch_hz: float, duration_s: float = 1.0) -> np.ndarray:
    sound = np.random.default_rng(0).normal(0, 1e-3, round(duration_s * AUDIO_HZ))
    sound[:: round(AUDIO_HZ / pitch_hz)] += 0.5
    return sound.astype(np.float32)


def level_db(audio: np.ndarray) -> np.ndarray:
    """Of bands of 500 Hz."""
    power = np.square(np.abs(np.fft.rfft(audio)))
    return np.asarray(10 * np.log10(power[: len(power) // 16 * 16].reshape(16, -1).sum(axis=1) + 1e-9))


def test_it_keeps_length_power_and_spectrum_and_loses_the_waveform() -> None:
    audio = syllables(2.0) * np.float32(0.3)
    made = source_filter(audio)
    assert (made.shape, made.dtype) == (audio.shape, np.float32)
    assert made.std() == pytest.approx(audio.std(), rel=0.1)
    assert np.corrcoef(level_db(audio), level_db(made))[0, 1] > 0.9
    assert abs(np.corrcoef(audio, made)[0, 1]) < 0.9
    assert np.array_equal(made, source_filter(audio))
    assert not np.array_equal(made, source_filter(audio, seed=1))


@pytest.mark.parametrize("pitch_hz", [100, 200, 320])
def test_the_pitch_is_kept(pitch_hz: float) -> None:
    def frames(audio: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(np.asarray(audio, np.float64), FRAME)[::80]

    for audio in (buzz(pitch_hz), source_filter(buzz(pitch_hz), Source(noisy_hz=8001))):
        found = periods(frames(audio))
        assert np.median(found) == pytest.approx(AUDIO_HZ / pitch_hz, rel=0.03)
    hiss = np.random.default_rng(0).normal(size=AUDIO_HZ)
    assert (periods(frames(hiss)) > 0).mean() < 0.05


def test_filters_have_their_energy_early() -> None:
    """So a pulse stays a pulse."""
    frames = np.random.default_rng(0).normal(size=(3, FRAME))
    responses = np.fft.irfft(least_phase(frames, 48), axis=1)
    assert (np.square(responses[:, : FFT // 8]).sum(axis=1) > 0.95 * np.square(responses).sum(axis=1)).all()
