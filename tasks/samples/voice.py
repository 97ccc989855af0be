"""How a mouth moves to a voice: three curves from the sound alone, one value a video frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

VOICE_BAND_HZ = (300.0, 3400.0)
WINDOW_S, HOP_S = 0.025, 0.005
SYLLABLE_S = 0.025
"""Standard deviation of the smoothing: passes the syllable rate (3 to 5 Hz), not single glottal pulses."""
SHUT_LEVEL = 0.16
"""Share of the loud level (of the 0.3rd power: 27 dB down) under which the mouth is shut: breaths, room tone."""


@dataclass(frozen=True)
class Mouthing:
    """One value a frame: `jaw` 0 shut to 1 widest, `width` -1 rounded to 1 spread, `loudness` 0 to 1, slow."""

    jaw: np.ndarray
    width: np.ndarray
    loudness: np.ndarray


def read_speech(wav: Path, start_s: float, duration_s: float, gain: float = 1.0) -> tuple[np.ndarray, int]:
    """Mono float32 and its rate. `gain` lifts a quiet recording; nothing is clipped unless it must be."""
    import soundfile

    with soundfile.SoundFile(wav) as handle:
        handle.seek(round(start_s * handle.samplerate))
        sound = handle.read(round(duration_s * handle.samplerate), dtype="float32", always_2d=True).mean(axis=1)
        return np.clip(sound * gain, -1, 1).astype(np.float32), int(handle.samplerate)


def mouthing(sound: np.ndarray, rate_hz: int, fps: float) -> Mouthing:
    """The jaw follows the loudness of the voice band; the lips spread for sounds with a high second formant.

    Smoothing is symmetric in time and a frame shows the mouth of the instant at which it appears: offset 0.
    """
    power_FT, freq_F = _power(sound, rate_hz)
    voice = _band(power_FT, freq_F, *VOICE_BAND_HZ)
    level = _smooth(voice**0.3, SYLLABLE_S)  # loudness grows with about the 0.3rd power of energy (Stevens)
    level /= np.percentile(level, 97)
    jaw = np.clip((level - SHUT_LEVEL) / (1 - SHUT_LEVEL), 0, 1.1) / 1.1
    low, high = _band(power_FT, freq_F, 300, 900), _band(power_FT, freq_F, 1800, 3400)
    tilt = _smooth(np.log((high + 1e-9) / (low + 1e-9)), 2 * SYLLABLE_S)
    voiced = jaw > 0.1
    spread = (
        np.tanh((tilt - np.median(tilt[voiced])) / max(float(np.std(tilt[voiced])), 1e-6)) if voiced.any() else tilt
    )
    width = _smooth(spread * np.clip(jaw * 3, 0, 1), SYLLABLE_S)
    num_frames = int(len(sound) / rate_hz * fps)
    at_frames = (np.arange(num_frames) / fps - WINDOW_S / 2) / HOP_S
    hops = np.arange(len(jaw))
    return Mouthing(*(np.interp(at_frames, hops, curve) for curve in (jaw, width, _smooth(jaw, 0.4))))


def _power(sound: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Power spectrogram (F, T), column t around the time t * HOP_S + WINDOW_S / 2; and its frequencies."""
    size, hop = round(WINDOW_S * rate_hz), round(HOP_S * rate_hz)
    frames_TN = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), size)[::hop]
    return np.abs(np.fft.rfft(frames_TN * np.hanning(size))).T ** 2, np.fft.rfftfreq(size, 1 / rate_hz)


def _band(power_FT: np.ndarray, freq_F: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    return np.asarray(power_FT[(freq_F >= low_hz) & (freq_F < high_hz)].sum(axis=0))


def _smooth(curve: np.ndarray, sigma_s: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(curve, sigma_s / HOP_S))
