"""Rooms and music made by a formula, at 16 kHz: what voices are put into for the scorecards of sound."""

from __future__ import annotations

import numpy as np

AUDIO_HZ = 16_000
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16))
"""Of the progression I IV V vi, in semitones above the root."""


def in_a_room(audio: np.ndarray, rt60_s: float, seed: int) -> np.ndarray:
    """The sound in a room: noise that falls by 60 dB in `rt60_s` seconds, as strong as the direct sound (Polack's model)."""
    from scipy.signal import fftconvolve

    rng = np.random.default_rng(seed)
    time_s = np.arange(round(1.2 * rt60_s * AUDIO_HZ)) / AUDIO_HZ
    tail = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    tail[time_s < 0.002] = 0
    response = tail / np.sqrt(np.square(tail).sum())
    response[0] = 1.0
    wet = fftconvolve(audio, response)[: len(audio)]
    return np.asarray(wet / max(1.0, float(np.abs(wet).max())), np.float32)


def song(duration_s: float, seed: int) -> np.ndarray:
    """Chords of six partials that die away, a drum of noise between them; tempo, key, order and timbre by the seed."""
    rng = np.random.default_rng(seed)
    made = np.zeros(round(duration_s * AUDIO_HZ))
    beat_s, root, timbre = 60 / rng.uniform(70, 140), int(rng.integers(45, 57)), rng.uniform(0.3, 0.9)
    order = rng.permutation(len(CHORDS))
    for bar, start in enumerate(np.arange(0, duration_s, 2 * beat_s)):
        first = round(start * AUDIO_HZ)
        time_s = np.arange(min(round(2 * beat_s * AUDIO_HZ), len(made) - first)) / AUDIO_HZ
        for semitones in CHORDS[order[bar % len(CHORDS)]]:
            hz = 440 * 2 ** ((root + semitones - 69) / 12)
            partials = [h for h in range(1, 7) if hz * h < 7000]
            note = sum(timbre**h * np.sin(2 * np.pi * hz * h * time_s + rng.uniform(0, 6)) for h in partials)
            made[first : first + len(time_s)] += (
                note * np.minimum(1, time_s / 0.01) * np.exp(-time_s * rng.uniform(0.3, 2))
            )
        for half_beat in range(4):
            at = round((start + half_beat * beat_s / 2) * AUDIO_HZ)
            hit_s = np.arange(max(0, min(1280, len(made) - at))) / AUDIO_HZ
            made[at : at + len(hit_s)] += rng.normal(size=len(hit_s)) * np.exp(-60 * hit_s) * rng.uniform(0.2, 1.2)
    return made
