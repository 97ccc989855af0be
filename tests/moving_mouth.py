"""A mesh whose mouth moves as told, and sounds whose nature is known: answers for the signals of speech."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.face_geometry import (
    CHIN,
    LIP_BOTTOM_INNER,
    LIP_BOTTOM_OUTER,
    LIP_TOP_INNER,
    LIP_TOP_OUTER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NUM_POINTS,
    POINT_SCALE,
    STABLE_POINTS,
)

AUDIO_HZ = 16_000
UPPER, LOWER = (LIP_TOP_INNER, 82, 312), (LIP_BOTTOM_INNER, 87, 317)


def landmarks(opening: np.ndarray, *, start_frame: int = 0, every: int = 1) -> pa.Table:
    """The `landmarks` timeline of a still head, eye corners 100 px apart, whose inner lips stand `opening` px apart.

    `every` keeps only one frame in so many.
    """
    points = np.tile(np.random.default_rng(0).uniform(100, 300, (NUM_POINTS, 3)), (len(opening), 1, 1))
    points[:, STABLE_POINTS, 2] = 0
    points[:, 33], points[:, 263] = (150, 150, 0), (250, 150, 0)
    points[:, MOUTH_RIGHT], points[:, MOUTH_LEFT] = (170, 250, 0), (230, 250, 0)
    for index in (*UPPER, LIP_TOP_OUTER):
        points[:, index] = (200, 245 if index in UPPER else 235, 0)
    for index in (*LOWER, LIP_BOTTOM_OUTER, CHIN):
        rest = 245 if index in LOWER else 255 if index == LIP_BOTTOM_OUTER else 300
        points[:, index] = (200, rest, 0)
        points[:, index, 1] += opening
    fixed = np.rint(points * POINT_SCALE).astype(np.int16).reshape(len(opening), -1)
    frames = np.arange(start_frame, start_frame + len(opening))[::every]
    rows = {
        "frame": pa.array(frames, pa.int32()),
        "points": pa.array(list(fixed[::every]), pa.list_(pa.int16())),
    }
    return pa.table(rows)


def vad(num_frames: int, *, speech_ratio: float = 1.0, start_frame: int = 0) -> pa.Table:
    """The `vad` timeline of speech that lasts for the first `speech_ratio` of the time."""
    probs = (np.arange(num_frames) < round(speech_ratio * num_frames)).astype(np.float32)
    return pa.table(
        {
            "frame": pa.array(np.arange(start_frame, start_frame + num_frames), pa.int32()),
            "speech_prob": pa.array(probs, pa.float32()),
            "loudness_db": pa.array(np.where(probs > 0, -20.0, -70.0), pa.float32()),
        }
    )


def syllables(duration_s: float, *, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """Babble of a machine: a buzz with two drifting resonances, opened and closed four times a second, float32."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    num = round(duration_s * AUDIO_HZ)
    time_s = np.arange(num) / AUDIO_HZ
    sound = np.zeros(num)
    edges = np.cumsum(rng.uniform(0.12, 0.4, 10 * int(duration_s + 1)))
    starts = np.concatenate([[0.0], edges[edges < duration_s]])
    for start, end in zip(starts, [*starts[1:], duration_s], strict=True):
        span = slice(round(start * AUDIO_HZ), round(end * AUDIO_HZ))
        buzz = np.sign(np.sin(2 * np.pi * rng.uniform(90, 220) * time_s[span]))
        for centre_hz, width_hz in ((rng.uniform(250, 900), 90.0), (rng.uniform(900, 2500), 140.0)):
            radius = np.exp(-np.pi * width_hz / AUDIO_HZ)
            poles = [1, -2 * radius * np.cos(2 * np.pi * centre_hz / AUDIO_HZ), radius**2]
            buzz = lfilter([1 - radius], poles, buzz)
        sound[span] = buzz * np.hanning(len(buzz)) / max(np.abs(buzz).max(), 1e-9)
    return (level * sound).astype(np.float32)


def delayed(audio: np.ndarray, num_frames: int) -> np.ndarray:
    """The sound, so many frames of 40 ms later (or earlier, if negative); what is missing is silence."""
    shift = num_frames * AUDIO_HZ // 25
    moved = np.zeros_like(audio)
    if shift >= 0:
        moved[shift:] = audio[: len(audio) - shift]
    else:
        moved[:shift] = audio[-shift:]
    return moved
