"""How a voice is textured, whatever it says: what real speech is told from made speech by.

One row of features for each window of 2 s of speech; every feature is free of loudness. Raise the version of
`synthetic_audio` when anything here changes.

W windows, T steps of 10 ms, F bins, B bands of 250 Hz, E bands of ENVELOPE_EDGES_HZ, N samples, K features.
"""

from __future__ import annotations

from functools import cache
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
MODULATION_HZ = (2, 4, 8, 16, 32, 50)
VOICED = 0.5
"""Of the autocorrelation at the pulse: from here a frame is voiced."""
MIN_VOICED_FRAMES = 10
MAX_PITCH_STEP = 0.1
"""As a logarithm, from one frame to the next; more is a mistake by an octave, or another syllable."""
NUM_STEADY = 6
FLOOR = 1e-12
MIN_HIGH_SPREAD = 1.2
"""Nepers of power: of the levels over time in the bands of HIGH_BANDS. Of voices in rooms, babble, music and after codecs
almost all are above; white noise from 20 dB on and a telephone line leave 0 to 1.3."""
HIGH_BANDS = slice(16, 30)
"""4 to 7.5 kHz."""


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
    (log_TB, apart_TB), analytic_EN = _levels(sound), _analytic_bands(sound)
    return np.concatenate(
        [
            _bands(log_TB, apart_TB),
            *_envelopes(np.abs(analytic_EN)),
            _residual(sound),
            _modulation(log_TB),
            _pitch(sound, np.real(analytic_EN)),
        ]
    )


def holds_high_voice(texture_WK: np.ndarray) -> bool:
    """Whether the voice is heard above 4 kHz: its levels there move, which a cut-off and steady noise do not let them."""
    spreads_WB = texture_WK[:, NUM_BANDS : 2 * NUM_BANDS]
    return float(spreads_WB[:, HIGH_BANDS].mean()) >= MIN_HIGH_SPREAD


def _levels(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, B) of each 10 ms and band of 250 Hz: mean of the log power of its bins, and how far they stand apart."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FFT)[::STEP]
    power_TF = np.square(np.abs(np.fft.rfft(frames * np.hanning(FFT), axis=1)))[:, 1:]
    log_TBF = np.log(power_TF + 1e-6).reshape(len(frames), NUM_BANDS, -1)
    return log_TBF.mean(axis=2), log_TBF.std(axis=2)


def _bands(log_TB: np.ndarray, apart_TB: np.ndarray) -> np.ndarray:
    """Of each band of 250 Hz: mean level against the whole, spread and change over time, and how far its bins stand
    apart (harmonics and peaks against noise)."""
    level_B = log_TB.mean(axis=0)
    change_B = np.abs(np.diff(log_TB, axis=0)).mean(axis=0)
    return np.concatenate([level_B - level_B.mean(), log_TB.std(axis=0), change_B, apart_TB.mean(axis=0)])


def _modulation(log_TB: np.ndarray) -> np.ndarray:
    """Of bands of 1 kHz: the share, as a logarithm, of each octave of modulation from 2 to 50 Hz in how the level
    changes. What a network makes of a spectrum is smoother than what a mouth does; no filter changes these shares."""
    log_TG = log_TB.reshape(len(log_TB), -1, 4).mean(axis=2)
    centred = (log_TG - log_TG.mean(axis=0)) * np.hanning(len(log_TG))[:, None]
    power_MG = np.square(np.abs(np.fft.rfft(centred, axis=0)))
    rates_hz = np.fft.rfftfreq(len(log_TG), STEP / AUDIO_HZ)
    octaves = [power_MG[(rates_hz >= low) & (rates_hz < high)].sum(axis=0) for low, high in pairwise(MODULATION_HZ)]
    shares = np.array(octaves) / np.maximum(np.sum(octaves, axis=0), FLOOR)
    return np.asarray(np.log(shares + 1e-6).ravel())


def _pitch(sound: np.ndarray, waves_EN: np.ndarray) -> np.ndarray:
    """How steady the voice's pulses are: share of voiced frames; mean and spread of the harmonic share, step of the
    pitch from frame to frame and of that step (jitter), step of the level (shimmer); and, of each band, how alike the
    wave is one pulse later. Where nothing is voiced, zeros."""
    starts = np.arange(0, len(sound) - 2 * FRAME, FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2 * FRAME)[starts]
    frames = frames - frames.mean(axis=1, keepdims=True)
    shortest, longest = round(AUDIO_HZ / PITCH_HZ[1]), round(AUDIO_HZ / PITCH_HZ[0])
    correlation = _autocorrelation(frames, longest + 2)
    part = correlation[:, shortest : longest + 1]
    best = part.argmax(axis=1) + shortest
    rows = np.arange(len(frames))
    before, here, after = (correlation[rows, best + d] for d in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-6)
    lag = best + np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    voiced = here >= VOICED
    if voiced.sum() < MIN_VOICED_FRAMES:
        return np.zeros(2 + NUM_STEADY + 2 * (len(ENVELOPE_EDGES_HZ) - 1))
    pitch, level = np.log(lag), np.log(np.square(frames).mean(axis=1) + 1e-9)
    together = voiced[1:] & voiced[:-1] & (np.abs(np.diff(pitch)) < MAX_PITCH_STEP)
    steps = np.abs(np.diff(pitch))[together]
    twice = together[1:] & together[:-1]
    bends = np.abs(np.diff(pitch, 2))[twice]
    shimmer = np.abs(np.diff(level, 2))[twice]
    steady = [f(np.log(v + 1e-4)) if len(v) else 0.0 for v in (steps, bends, shimmer) for f in (np.mean, np.std)]
    alike = []
    for wave_N in waves_EN:
        pulses = np.lib.stride_tricks.sliding_window_view(wave_N, FRAME)
        now, later = pulses[starts[voiced]], pulses[starts[voiced] + best[voiced]]
        power = np.sqrt(np.square(now).sum(axis=1) * np.square(later).sum(axis=1))
        at_pulse = (now * later).sum(axis=1) / np.maximum(power, FLOOR)
        alike += [at_pulse.mean(), at_pulse.std()]
    return np.array([voiced.mean(), here[voiced].mean(), *steady, *alike])


def _autocorrelation(frames: np.ndarray, num_lags: int) -> np.ndarray:
    """(frames, lags) of each frame, 1 at lag 0, freed of its shrinking overlap."""
    length = frames.shape[1]
    power = np.square(np.abs(np.fft.rfft(frames, 2 * length, axis=1)))
    found = np.fft.irfft(power, axis=1)[:, : num_lags + 1] * (length / (length - np.arange(num_lags + 1)))
    return np.asarray(found / np.maximum(found[:, :1], FLOOR))


def _envelopes(envelopes_EN: np.ndarray) -> list[np.ndarray]:
    """Of the envelopes of six bands: how peaked they are within 40 ms, and how periodic; and how alike neighbours are.
    Voices of flesh have a sharp pulse in every band at once, phases made up by a vocoder blur it."""
    peaked, periodic, centred_all = [], [], []
    num = envelopes_EN.shape[1] // FRAME
    for envelope_N in envelopes_EN:
        envelope = envelope_N[: num * FRAME].reshape(num, FRAME)
        envelope = envelope / np.maximum(envelope.mean(axis=1, keepdims=True), 1e-9)
        centred = envelope - 1
        centred_all.append(centred.ravel())
        peaked.append([np.square(centred).mean(), (np.square(centred) * centred).mean(), np.quantile(envelope, 0.95)])
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


def _analytic_bands(sound: np.ndarray) -> np.ndarray:
    """(6, N) complex: the sound of each band; edges fall off over 100 Hz, by a raised cosine."""
    spectrum = np.fft.fft(sound)
    spectrum[len(sound) // 2 :] = 0  # no negative frequencies: what is left is the analytic signal
    return np.asarray(2 * np.fft.ifft(spectrum * _band_gains(len(sound)), axis=1))


@cache
def _band_gains(num_samples: int) -> np.ndarray:
    bins_hz = np.abs(np.fft.fftfreq(num_samples, 1 / AUDIO_HZ))

    def above(edge_hz: float) -> np.ndarray:
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip((bins_hz - edge_hz) / EDGE_WIDTH_HZ + 0.5, 0, 1)))

    return np.stack([above(low) - above(high) for low, high in pairwise(ENVELOPE_EDGES_HZ)])


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
    kurtosis = np.minimum(np.square(np.square(left)).mean(axis=1) / np.maximum(power**2, FLOOR), 50.0)
    gain_db = 10 * np.log10((np.square(frames).mean(axis=1) + 1e-9) / (power + 1e-9))
    return np.array([kurtosis.mean(), kurtosis.std(), np.quantile(kurtosis, 0.9), gain_db.mean(), gain_db.std()])
