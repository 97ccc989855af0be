"""Log-mel energies at 100 Hz, four to a video frame, none of which looks more than 55 ms beyond the frame's own time.

Window m covers samples [160 m, 160 m + 400) of 16 kHz; frame t has the windows 4 t to 4 t + 3, so its last one ends at
640 t + 880: 55 ms after the frame. Nothing is centred and nothing is normalised over time, so a stream gives the same.

Legend: B batch, N samples, M windows, C mel bands.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

HOP, WINDOW, NUM_FFT, SAMPLE_HZ = 160, 400, 512, 16_000
WINDOWS_PER_FRAME, SAMPLES_PER_FRAME = 4, 640
LOOKAHEAD_SAMPLES = (WINDOWS_PER_FRAME - 1) * HOP + WINDOW
"""From a frame's time to the last sample it hears: 880, or 55 ms."""
LOW_HZ, HIGH_HZ = 60.0, 7600.0
FLOOR = 1e-6
"""Of the energy, about that of noise at -75 dBFS: what is softer is silence."""
CENTRE, SPREAD = -6.0, 4.0
"""Speech at a usual level lies around 0 with a spread of 1."""
SILENCE = (float(np.log(FLOOR)) - CENTRE) / SPREAD


def log_mel(audio_BN: Tensor, num_mels: int) -> Tensor:
    """(B, M, C) with M = N / 160 windows; beyond the end of the sound lies silence.

    Raises ValueError for a sound that is not whole frames of 640 samples.
    """
    if audio_BN.shape[1] % SAMPLES_PER_FRAME:
        raise ValueError(
            f"log_mel: {audio_BN.shape[1]} samples are no whole frames of {SAMPLES_PER_FRAME}; pad the sound"
        )
    padded = torch.nn.functional.pad(audio_BN, (0, WINDOW - HOP))
    return mel_windows(padded, num_mels)


def mel_windows(audio_BN: Tensor, num_mels: int) -> Tensor:
    """(B, M, C) of all whole windows of the sound, (N - 400) / 160 + 1 of them."""
    windows_BMW = audio_BN.unfold(1, WINDOW, HOP) * torch.hann_window(WINDOW, periodic=True)
    power = torch.fft.rfft(windows_BMW, NUM_FFT).abs().square() / WINDOW
    energy = power @ filters(num_mels)
    return (torch.log(torch.clamp(energy, min=FLOOR)) - CENTRE) / SPREAD


@cache
def filters(num_mels: int) -> Tensor:
    """Triangles (257, C) on the mel scale of O'Shaughnessy, each of sum 1, so that a band's width does not count."""

    def mel(hz: np.ndarray) -> np.ndarray:
        return np.asarray(2595 * np.log10(1 + hz / 700))

    low, high = mel(np.array([LOW_HZ, HIGH_HZ]))
    edges = 700 * (10 ** (np.linspace(low, high, num_mels + 2) / 2595) - 1)
    bins = np.arange(NUM_FFT // 2 + 1) * SAMPLE_HZ / NUM_FFT
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    # A band narrower than a bin may miss all bins: it takes the nearest.
    for band in np.flatnonzero(triangles.sum(0) == 0):
        triangles[np.argmin(np.abs(bins - edges[band + 1])), band] = 1
    return torch.from_numpy((triangles / triangles.sum(0)).astype(np.float32))
