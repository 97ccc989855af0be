"""A voice made again from what a source-filter vocoder keeps of it: a smooth spectrum, a pitch, pulses and noise.

The classical vocoder, as in Dudley, "The Vocoder", Bell Labs Record 1939, with a smooth spectrum by the cepstrum
(Oppenheim, "Speech Analysis-Synthesis System Based on Homomorphic Filtering", JASA 1969) of least phase. A kind of made
speech to fit `synthetic_audio` on and to judge it by.

T frames of 5 ms, F bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AUDIO_HZ = 16_000
HOP, FRAME, FFT = 80, 640, 1024
PITCH_HZ = (70.0, 400.0)
VOICED = 0.35
"""Of the autocorrelation of a frame of 40 ms, which falls with the lag: of two pulses and one, one wins."""
FLOOR = 1e-7


@dataclass(frozen=True)
class Source:
    """`num_cepstra` say how smooth the spectrum is; above `noisy_hz` voiced sounds are noise."""

    num_cepstra: int = 48
    noisy_hz: float = 4500.0


def source_filter(audio: np.ndarray, source: Source | None = None, *, seed: int = 0) -> np.ndarray:
    """16 kHz mono float32 of the same length and power."""
    source = source or Source()
    rng = np.random.default_rng(seed)
    padded = np.pad(np.asarray(audio, np.float64), FRAME // 2)
    frames_TN = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[:-1:HOP]
    filters_TF = least_phase(frames_TN, source.num_cepstra)
    period_T = periods(frames_TN)
    voiced_F = np.fft.rfftfreq(FFT, 1 / AUDIO_HZ) < source.noisy_hz
    made: np.ndarray = np.zeros(len(audio) + 2 * FFT)
    at = 0.0
    while at < len(audio):
        t = min(int(at) // HOP, len(period_T) - 1)
        if period_T[t] > 0:
            pulse = np.fft.irfft(filters_TF[t] * voiced_F) * np.sqrt(period_T[t])
            made[int(at) : int(at) + FFT] += pulse
        at += period_T[t] or HOP
    window = np.hanning(2 * HOP + 1)[:-1]
    for t, filter_F in enumerate(filters_TF):
        kept_F = ~voiced_F if period_T[t] > 0 else np.ones_like(voiced_F)
        part = np.fft.irfft(np.fft.rfft(rng.normal(size=2 * HOP) * window, FFT) * filter_F * kept_F)
        made[t * HOP : t * HOP + FFT] += part
    made = made[: len(audio)]
    power = float(np.square(audio).mean()) / max(float(np.square(made).mean()), 1e-12)
    return np.asarray(np.clip(made * np.sqrt(power), -1, 1), np.float32)


def least_phase(frames_TN: np.ndarray, num_cepstra: int) -> np.ndarray:
    """(T, F) complex: filters with the frames' smooth spectra whose energy comes as early as it can."""
    level_TF = np.abs(np.fft.rfft(frames_TN * np.hanning(FRAME), FFT, axis=1)) + FLOOR
    cepstra = np.fft.irfft(np.log(level_TF), axis=1)
    folded = np.zeros_like(cepstra)
    folded[:, 0] = cepstra[:, 0]
    folded[:, 1:num_cepstra] = 2 * cepstra[:, 1:num_cepstra]
    return np.asarray(np.exp(np.fft.rfft(folded, axis=1)))


def periods(frames_TN: np.ndarray) -> np.ndarray:
    """(T,) samples from pulse to pulse, 0 where nothing is voiced; a median of five frames."""
    centred = frames_TN - frames_TN.mean(axis=1, keepdims=True)
    power = np.square(np.abs(np.fft.rfft(centred, 2 * FRAME, axis=1)))
    shortest, longest = round(AUDIO_HZ / PITCH_HZ[1]), round(AUDIO_HZ / PITCH_HZ[0])
    correlation = np.fft.irfft(power, axis=1)[:, : longest + 1]
    correlation /= np.maximum(correlation[:, :1], 1e-9)
    part = correlation[:, shortest:]
    found = np.where(part.max(axis=1) >= VOICED, part.argmax(axis=1) + shortest, 0).astype(float)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(found, 2, mode="edge"), 5)
    return np.asarray(np.median(around, axis=1))
