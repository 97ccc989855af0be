"""Mel-frequency cepstral coefficients as SyncNet learnt from them: 13 coefficients, 100 a second.

Source: Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition", TASSP 1980, with
the values that SyncNet was trained on: no window, 26 filters, a lifter of 22, the frame's energy as the first coefficient.

Legend: T rows of 10 ms, N samples.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

SAMPLE_HZ, WINDOW, STEP, FFT = 16_000, 400, 160, 512
NUM_FILTERS, NUM_COEFFICIENTS, LIFTER = 26, 13, 22
PREEMPHASIS = 0.97


def mfcc(sound_N: np.ndarray) -> np.ndarray:
    """Float64 (T, 13) of 16 kHz mono between -1 and 1; T is 4 a video frame, less one. SyncNet heard sound in steps of 16 bits,
    on which the first coefficient depends, so that it is rounded to those."""
    steps = np.clip(np.rint(np.asarray(sound_N, np.float64) * 32768), -32768, 32767)
    sharp = np.append(steps[:1], steps[1:] - PREEMPHASIS * steps[:-1])
    num = 1 + max(0, -(-(len(sharp) - WINDOW) // STEP))
    padded = np.pad(sharp, (0, max(0, (num - 1) * STEP + WINDOW - len(sharp))))
    rows = padded[np.arange(num)[:, None] * STEP + np.arange(WINDOW)]
    power = np.abs(np.fft.rfft(rows, FFT)) ** 2 / FFT
    energy, bands = power.sum(axis=1), power @ filters().T
    told = dct(_log(bands), type=2, axis=1, norm="ortho")[:, :NUM_COEFFICIENTS]
    told *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(NUM_COEFFICIENTS) / LIFTER)
    told[:, 0] = _log(energy)
    return np.asarray(told)


def _log(power: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.where(power == 0, np.finfo(float).eps, power)))


def filters() -> np.ndarray:
    """Triangles over the bins of the spectrum, evenly spread in mel from 0 to 8 kHz, (26, 257)."""
    top = 2595 * np.log10(1 + SAMPLE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top, NUM_FILTERS + 2) / 2595) - 1)
    edges = np.floor((FFT + 1) * edges_hz / SAMPLE_HZ)
    low, mid, high = (edges[k : k + NUM_FILTERS, None] for k in range(3))
    bins = np.arange(FFT // 2 + 1)
    rise, fall = (bins - low) / (mid - low), (high - bins) / (high - mid)
    return np.where((low <= bins) & (bins < mid), rise, np.where((mid <= bins) & (bins < high), fall, 0.0))
