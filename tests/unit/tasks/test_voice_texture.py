from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasks.voice_texture import AUDIO_HZ, ENVELOPE_EDGES_HZ, _band_envelopes, texture

NUM_FEATURES = 174


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
        envelopes = _band_envelopes(tone)
        assert envelopes.shape == (6, len(tone))
        assert envelopes[i][1000:-1000] == pytest.approx(0.5, abs=0.01)
        assert np.delete(envelopes, i, axis=0)[:, 1000:-1000].max() < 0.01


def test_pulses_are_told_from_the_same_spectrum_with_phases_made_up() -> None:
    """What a vocoder loses: the pulse that all bands share."""
    voice = buzz(100, 2.0)
    spectrum = np.fft.rfft(voice)
    phases = np.exp(2j * np.pi * np.random.default_rng(1).random(len(spectrum)))
    blurred = np.fft.irfft(spectrum * phases, len(voice)).astype(np.float32)
    peaked, kurtosis = 128, NUM_FEATURES - 5  # the first band's spread; the residual's mean kurtosis
    sharp, flat = texture(voice)[0], texture(blurred)[0]
    assert sharp[peaked] > 2 * flat[peaked]
    assert sharp[kurtosis] > 3 * flat[kurtosis]
    assert sharp[NUM_FEATURES - 10 : NUM_FEATURES - 5].min() > flat[NUM_FEATURES - 10 : NUM_FEATURES - 5].max()
