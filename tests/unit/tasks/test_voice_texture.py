from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasks.voice_texture import AUDIO_HZ, ENVELOPE_EDGES_HZ, _analytic_bands, texture

NUM_FEATURES = 234
RESIDUAL = slice(169, 174)
MODULATION = slice(174, 214)
PITCH = slice(214, 234)


def buzz(pitch_hz: float, duration_s: float) -> np.ndarray:
    """Pulses at the pitch, in a little noise."""
    num = round(duration_s * AUDIO_HZ)
    sound = np.random.default_rng(0).normal(0, 1e-3, num)
    sound[:: round(AUDIO_HZ / pitch_hz)] += 1
    return sound.astype(np.float32)


def test_a_row_for_each_window_and_short_sound_is_repeated() -> None:
    voice = buzz(100, 7.0)
    assert texture(voice).shape == (3, NUM_FEATURES)
    assert texture(voice, hop_s=1.0).shape == (6, NUM_FEATURES)
    assert texture(voice[: AUDIO_HZ // 2]).shape == (1, NUM_FEATURES)
    assert np.isfinite(texture(np.zeros(AUDIO_HZ, np.float32))).all()
    with pytest.raises(ValueError, match="no sound"):
        texture(voice[:0])


def test_loudness_plays_no_part() -> None:
    voice = buzz(120, 2.0)
    np.testing.assert_allclose(texture(voice), texture(voice * np.float32(0.1)), rtol=1e-3, atol=1e-3)


def test_envelopes_hold_what_lies_in_their_band() -> None:
    time_s = np.arange(2 * AUDIO_HZ) / AUDIO_HZ
    for i, (low, high) in enumerate(pairwise(ENVELOPE_EDGES_HZ)):
        tone = 0.5 * np.sin(2 * np.pi * (low + high) / 2 * time_s)
        envelopes = np.abs(_analytic_bands(tone))
        assert envelopes.shape == (6, len(tone))
        assert envelopes[i][1000:-1000] == pytest.approx(0.5, abs=0.01)
        assert np.delete(envelopes, i, axis=0)[:, 1000:-1000].max() < 0.01


def test_pulses_are_told_from_the_same_spectrum_with_phases_made_up() -> None:
    """What a vocoder loses: the pulse that all bands share."""
    voice = buzz(100, 2.0)
    spectrum = np.fft.rfft(voice)
    phases = np.exp(2j * np.pi * np.random.default_rng(1).random(len(spectrum)))
    blurred = np.fft.irfft(spectrum * phases, len(voice)).astype(np.float32)
    peaked, kurtosis = 128, RESIDUAL.start  # the first band's spread; the residual's mean kurtosis
    sharp, flat = texture(voice)[0], texture(blurred)[0]
    assert sharp[peaked] > 2 * flat[peaked]
    assert sharp[kurtosis] > 3 * flat[kurtosis]
    alike = slice(RESIDUAL.start - 5, RESIDUAL.start)
    assert sharp[alike].min() > flat[alike].max()


def swaying(rate_hz: float) -> np.ndarray:
    """Noise whose level goes up and down so many times a second, by 10 dB, as a logarithm evenly."""
    time_s = np.arange(2 * AUDIO_HZ) / AUDIO_HZ
    noise = np.random.default_rng(0).normal(0, 0.1, len(time_s))
    return (noise * 10 ** (np.sin(2 * np.pi * rate_hz * time_s) / 2)).astype(np.float32)


@pytest.mark.parametrize(("octave", "rate_hz"), [(0, 3), (1, 6), (2, 12), (3, 24)])
def test_modulation_tells_how_quickly_a_level_changes(octave: int, rate_hz: float) -> None:
    shares = texture(swaying(rate_hz))[0][MODULATION].reshape(5, 8)
    assert (shares.argmax(axis=0) == octave).all()
    assert np.exp(shares).sum(axis=0) == pytest.approx(1, abs=1e-3)


def test_steady_pulses_are_told_from_jittered_ones_and_from_noise() -> None:
    rng = np.random.default_rng(0)
    jittered = np.zeros(2 * AUDIO_HZ, np.float32)
    jittered[np.cumsum(rng.normal(160, 5, 195)).astype(int)] = 1
    jittered += rng.normal(0, 1e-3, len(jittered)).astype(np.float32)
    steady, shaky = (texture(sound)[0][PITCH] for sound in (buzz(100, 2.0), jittered))
    assert steady[0] > 0.9
    assert steady[2] < shaky[2] - 1  # the step of the pitch, as a logarithm
    alike = slice(8, 20, 2)
    assert (steady[alike] > shaky[alike] + 0.1).all()
    hiss = rng.normal(0, 0.1, 2 * AUDIO_HZ).astype(np.float32)
    assert not texture(hiss)[0][PITCH].any()
