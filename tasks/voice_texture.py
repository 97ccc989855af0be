"""How a voice is textured, whatever it says: what real speech is told from made speech by.

One row of features for each window of 2 s of speech; every feature is free of loudness. Raise the version of
`synthetic_audio` when anything here changes.

W windows, T steps of 10 ms, F bins, B bands, K features.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

AUDIO_HZ = 16_000
WINDOW_S = 2.0
FFT, STEP = 512, 160
NUM_BANDS = 32
"""Of 250 Hz each: artefacts of vocoders lie evenly over the frequencies, not on a mel scale (Sahidullah et al. 2015)."""
ENVELOPE_EDGES_HZ = (300, 1000, 2000, 3000, 4500, 6000, 7600)
EDGE_WIDTH_HZ = 100
PITCH_HZ = (70.0, 350.0)
FRAME = 640
FLOOR = 1e-12


def texture(voice: np.ndarray, hop_s: float = WINDOW_S) -> np.ndarray:
    """Features (W, K) float64 of 16 kHz speech without its pauses, of a window every `hop_s`; shorter sound than 2 s
    is repeated. 0.03 CPU-seconds a window.

    Raises ValueError for an empty sound.
    """
    if len(voice) == 0:
        raise ValueError("texture: no sound; check before asking")
    length, hop = round(WINDOW_S * AUDIO_HZ), round(hop_s * AUDIO_HZ)
    if len(voice) < length:
        voice = np.tile(voice, -(-length // len(voice)))[:length]
    starts = range(0, len(voice) - length + 1, hop)
    return np.stack([window_texture(voice[s : s + length].astype(np.float64)) for s in starts])


def window_texture(sound: np.ndarray) -> np.ndarray:
    sound = sound / max(float(np.sqrt(np.square(sound).mean())), 1e-9)
    return np.concatenate([_bands(sound), *_envelopes(sound), _residual(sound)])


def _bands(sound: np.ndarray) -> np.ndarray:
    """Of each band of 250 Hz: mean level against the whole, spread and change over time, and how far its bins stand
    apart (harmonics and peaks against noise)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT)[::STEP]
    power_TF = np.square(np.abs(np.fft.rfft(frames * np.hanning(FFT), axis=1)))[:, 1:]
    log_TF = np.log(power_TF + 1e-6)
    log_TB = log_TF.reshape(len(log_TF), NUM_BANDS, -1).mean(axis=2)
    apart_TB = log_TF.reshape(len(log_TF), NUM_BANDS, -1).std(axis=2)
    level_B = log_TB.mean(axis=0)
    change_B = np.abs(np.diff(log_TB, axis=0)).mean(axis=0)
    return np.concatenate([level_B - level_B.mean(), log_TB.std(axis=0), change_B, apart_TB.mean(axis=0)])


def _envelopes(sound: np.ndarray) -> list[np.ndarray]:
    """Of the envelopes of six bands: how peaked they are within 40 ms, and how periodic; and how alike neighbours are.
    Voices of flesh have a sharp pulse in every band at once, phases made up by a vocoder blur it."""
    peaked, periodic, centred_all = [], [], []
    num = len(sound) // FRAME
    for envelope_N in _band_envelopes(sound):
        envelope = envelope_N[: num * FRAME].reshape(num, FRAME)
        envelope = envelope / np.maximum(envelope.mean(axis=1, keepdims=True), 1e-9)
        centred = envelope - 1
        centred_all.append(centred.ravel())
        peaked.append([np.square(centred).mean(), (centred**3).mean(), np.quantile(envelope, 0.95)])
        spectrum = np.square(np.abs(np.fft.rfft(centred, 2 * FRAME, axis=1)))
        correlation = np.fft.irfft(spectrum, axis=1)[:, :FRAME]
        correlation /= np.maximum(correlation[:, :1], FLOOR)
        lags = slice(round(AUDIO_HZ / PITCH_HZ[1]), round(AUDIO_HZ / PITCH_HZ[0]))
        best = correlation[:, lags].max(axis=1)
        periodic.append([best.mean(), best.std(), np.quantile(best, 0.9)])
    together = [
        float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)) for a, b in pairwise(centred_all)
    ]
    return [np.ravel(peaked), np.ravel(periodic), np.array(together)]


def _band_envelopes(sound: np.ndarray) -> np.ndarray:
    """(6, N): of each band the magnitude of its analytic signal; edges fall off over 100 Hz, by a raised cosine."""
    spectrum = np.fft.fft(sound)
    bins_hz = np.abs(np.fft.fftfreq(len(sound), 1 / AUDIO_HZ))
    spectrum[len(sound) // 2 :] = 0  # no negative frequencies: what is left is the analytic signal

    def above(edge_hz: float) -> np.ndarray:
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip((bins_hz - edge_hz) / EDGE_WIDTH_HZ + 0.5, 0, 1)))

    gains = np.stack([above(low) - above(high) for low, high in pairwise(ENVELOPE_EDGES_HZ)])
    return np.asarray(2 * np.abs(np.fft.ifft(spectrum * gains, axis=1)))


def _residual(sound: np.ndarray, order: int = 16) -> np.ndarray:
    """Of what linear prediction leaves in frames of 40 ms: kurtosis (mean, spread, upper decile), and its gain in dB."""
    num = len(sound) // FRAME
    frames = sound[: num * FRAME].reshape(num, FRAME) * np.hanning(FRAME)
    correlation = np.fft.irfft(np.square(np.abs(np.fft.rfft(frames, 2 * FRAME, axis=1))), axis=1)[:, : order + 1]
    lags = np.abs(np.arange(order)[:, None] - np.arange(order))
    matrices = correlation[:, lags] + (1e-3 * correlation[:, :1, None] + 1e-9) * np.eye(order)
    taps = np.linalg.solve(matrices, correlation[:, 1:, None])[..., 0]
    history = np.lib.stride_tricks.sliding_window_view(frames, order, axis=1)[:, :-1, ::-1]
    left = frames[:, order:] - np.einsum("nto,no->nt", history, taps)
    power = np.square(left).mean(axis=1)
    kurtosis = np.minimum((left**4).mean(axis=1) / np.maximum(power**2, FLOOR), 50.0)
    gain_db = 10 * np.log10((np.square(frames).mean(axis=1) + 1e-9) / (power + 1e-9))
    return np.array([kurtosis.mean(), kurtosis.std(), np.quantile(kurtosis, 0.9), gain_db.mean(), gain_db.std()])
