"""What stands around a voice, read off its sound: the room's reverberation, and music.

Legend: T windows, F frequency bins. Sound is 16 kHz mono float32.
"""

from __future__ import annotations

import numpy as np

AUDIO_HZ = 16_000
LEVEL_SAMPLES, LEVEL_HOP = 512, 160
FALL_WINDOWS = 10
"""0.1 s: shorter than the pause between two syllables, longer than a pitch period."""
STEEPEST = 0.02
"""The share of falls that is read: speech itself seldom stops at once, and these are where it did."""
RANGE_DB = 35.0
MIN_FALL_DB_PER_S = 10.0
TONE_SAMPLES, TONE_HOP = 2048, 512
TONE_HZ = (80.0, 5000.0)
TONE_DB, TONE_FLOOR_DB = 9.0, 60.0
TONE_WINDOWS = 12
"""0.4 s: a spoken vowel's partials glide away sooner, a note's stay."""
TONES = 2
BACKGROUND_BINS = 25


def decay_s(audio: np.ndarray) -> float | None:
    """Seconds in which the voice would die away by 60 dB, as its steepest falls go; None without a fall.

    The slopes of a line through the level over 0.1 s, begun within 35 dB of the loudest; blind estimates of
    reverberation rest on these free decays (Ratnam et al., JASA 2003). It grows with the room's RT60 and is no RT60: a
    dry voice reads 0.2 s, its own offsets.
    """
    if len(audio) < LEVEL_SAMPLES + FALL_WINDOWS * LEVEL_HOP:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(audio, LEVEL_SAMPLES)[::LEVEL_HOP]
    level_db = 10 * np.log10(np.square(windows, dtype=np.float64).mean(axis=1) + 1e-9)
    pieces = np.lib.stride_tricks.sliding_window_view(level_db, FALL_WINDOWS)
    at = np.arange(FALL_WINDOWS) - (FALL_WINDOWS - 1) / 2
    slopes = (pieces @ at) / np.square(at).sum() * AUDIO_HZ / LEVEL_HOP
    fall = -float(np.quantile(slopes[pieces[:, 0] > level_db.max() - RANGE_DB], STEEPEST))
    return 60.0 / fall if fall >= MIN_FALL_DB_PER_S else None


def music_ratio(audio: np.ndarray) -> float:
    """Share of windows (0 to 1) in which two partials or more hold their pitch, within 8 Hz, for 0.4 s.

    The partials of speech glide; those of instruments and of singing stay (as sinusoidal models of sound use it:
    McAulay and Quatieri, 1986). Mains hum, alarms and drawn-out vowels count too; drums alone do not.
    """
    if len(audio) < TONE_SAMPLES:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(audio, TONE_SAMPLES)[::TONE_HOP]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(TONE_SAMPLES).astype(np.float32)))
    low, high = (round(hz * TONE_SAMPLES / AUDIO_HZ) for hz in TONE_HZ)
    level_TF = (20 * np.log10(spectrum[:, low - 1 : high + 1] + 1e-6)).astype(np.float32)
    inner = level_TF[:, 1:-1]
    peaks_TF = (inner > level_TF[:, :-2]) & (inner >= level_TF[:, 2:]) & (inner > level_TF.max() - TONE_FLOOR_DB)
    peaks_TF &= inner - _background(level_TF)[:, 1:-1] > TONE_DB
    return float(((_held(peaks_TF) >= TONE_WINDOWS).sum(axis=1) >= TONES).mean())


def _background(level_TF: np.ndarray) -> np.ndarray:
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(level_TF, size=(1, BACKGROUND_BINS)))


def _held(peaks_TF: np.ndarray) -> np.ndarray:
    """Of each peak, for how many windows before and after there is one without a gap, a bin aside at most; else 0."""
    near_TF = peaks_TF.copy()
    near_TF[:, 1:] |= peaks_TF[:, :-1]
    near_TF[:, :-1] |= peaks_TF[:, 1:]
    before_TF, after_TF = _runs(near_TF), _runs(near_TF[::-1])[::-1]
    return np.where(peaks_TF, before_TF + after_TF - 1, 0)


def _runs(there_TF: np.ndarray) -> np.ndarray:
    """How long it has been there, this window included."""
    made_TF = np.zeros(there_TF.shape, np.int32)
    run_F = np.zeros(there_TF.shape[1], np.int32)
    for window, there_F in enumerate(there_TF):
        run_F = (run_F + 1) * there_F
        made_TF[window] = run_F
    return made_TF
