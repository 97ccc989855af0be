"""Whose voice it is, as a vector: for identities, and for whether two clips have one speaker."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Signal
from tasks.speaker_encoder import (
    AUDIO_HZ,
    EMBEDDING_DIM,
    WEIGHTS,
    WINDOW_S,
    WINDOW_STEPS,
    encode,
    levelled,
    mel_power,
    spoken,
)

SPEECH_PROB = 0.5
MIN_SPEECH_S = 1.0
"""Speech shorter than a window of 1.6 s is repeated until it fills one."""
MAX_WINDOWS = 16
"""Of 1.6 s, evenly over the speech; half-overlapping windows, as the package has them, cost twice as much and rank
halves of 32 talking heads alike (AUC 0.999 both)."""

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column("num_windows", pa.int16(), "count", "windows of 1.6 s of speech that were averaged", 1, MAX_WINDOWS),
        Column("speech_s", pa.float32(), "s", "length of speech in the clip", 0, 60.1, 2),
        Column(
            "spread",
            pa.float32(),
            "ratio",
            "1 - mean cosine of a window to the vector; 0.05 to 0.13 is one clean speaker, more hints at several or noise",
            0,
            1,
            4,
        ),
    ),
    vectors={"voice": EMBEDDING_DIM},
    needs=("vad",),
    look=Look(audio=True),
    cost_cpu_s=0.008,
    weights=(WEIGHTS,),
    params={
        "speech_prob": SPEECH_PROB,
        "min_speech_s": MIN_SPEECH_S,
        "max_windows": MAX_WINDOWS,
    },
    backend="ge2e_resemblyzer",
    summary="GE2E speaker embedding of the clip's speech, averaged over windows of 1.6 s, of length 1.",
    source="Wan et al., Generalized End-to-End Loss for Speaker Verification, ICASSP 2018; weights by Resemblyzer.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, too little speech."""
    if media.audio is None:
        raise NotApplicable("no audio")
    speech = spoken(media.audio, needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB)
    if len(speech) < MIN_SPEECH_S * AUDIO_HZ:
        raise NotApplicable(f"under {MIN_SPEECH_S:g} s of speech")
    filled = np.resize(speech, max(len(speech), round(WINDOW_S * AUDIO_HZ)))
    windows_ND = encode(windows(mel_power(levelled(filled)))).astype(np.float64)
    mean = windows_ND.mean(axis=0)
    voice = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return Output(
        row={
            "num_windows": len(windows_ND),
            "speech_s": len(speech) / AUDIO_HZ,
            "spread": min(max(1 - float((windows_ND @ voice).mean()), 0.0), 1.0),
        },
        vectors={"voice": voice.astype(np.float32)},
    )


def windows(mel_TM: np.ndarray) -> np.ndarray:
    """Float32 (N, 160, 40): windows of 1.6 s, evenly from the start to the end, side by side until MAX_WINDOWS."""
    last = len(mel_TM) - WINDOW_STEPS
    num = min(MAX_WINDOWS, 1 + round(last / WINDOW_STEPS))
    starts = np.linspace(0, last, num).round().astype(int)
    return np.stack([mel_TM[s : s + WINDOW_STEPS] for s in starts])
