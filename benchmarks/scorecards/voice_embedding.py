"""Scorecard of voice_embedding: is a speaker nearer to himself, later, in noise and by telephone, than to all others?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from benchmarks.scorecards.voices import AUDIO_HZ, SAMPLES_PER_FRAME, activity, films
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import voice_embedding
from tasks.speaker_encoder import mel_power

NOISE_DB = 10.0
PHONE_HZ = (300.0, 3400.0)
MIN_S = 5.0

Vectors = list[tuple[str, np.ndarray, np.ndarray]]
"""Person, vector by the signal, and the baseline's."""


def vectors(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The signal's vector of a sound and the baseline's: the mean logarithmic spectrum, of mean 0 and length 1."""
    media = Media(0, len(audio) // SAMPLES_PER_FRAME, 64, 64, audio=audio)
    try:
        made = voice_embedding.compute(media, {"vad": activity(audio)}).vectors["voice"]
    except NotApplicable:
        return None
    spectrum = np.log(mel_power(audio) + 1e-8).mean(axis=0)
    away = spectrum - spectrum.mean()
    return made.astype(np.float64), away / np.linalg.norm(away)


def noisy(audio: np.ndarray, seed: int) -> np.ndarray:
    """White noise 10 dB below the voice."""
    noise = np.random.default_rng(seed).normal(0, 1, len(audio))
    level = float(np.sqrt(np.mean(audio**2))) * 10 ** (-NOISE_DB / 20)
    return (audio + level * noise).astype(np.float32)


def by_telephone(audio: np.ndarray) -> np.ndarray:
    """Only 300 to 3400 Hz."""
    spectrum = np.fft.rfft(audio)
    hz = np.fft.rfftfreq(len(audio), 1 / AUDIO_HZ)
    return np.fft.irfft(spectrum * ((hz >= PHONE_HZ[0]) & (hz <= PHONE_HZ[1])), len(audio)).astype(np.float32)


def pairs_of(asked: Vectors, gallery: Vectors, which: int) -> dict[str, list[tuple[float, bool]]]:
    """By person: (cosine, is the same) of each asked with its own clip's entry and with those of all other people."""
    told: dict[str, list[tuple[float, bool]]] = {}
    for number, mine in enumerate(asked):
        pairs = told.setdefault(mine[0], [])
        pairs.append((float(mine[which] @ gallery[number][which]), True))
        pairs += [(float(mine[which] @ other[which]), False) for other in gallery if other[0] != mine[0]]
    return told


def run(root: Path) -> list[Row]:
    first: Vectors = []
    asked: dict[str, Vectors] = {"later": [], "noise": [], "phone": []}
    for number, voice in enumerate(films(root, "talk", min_s=MIN_S, faces=False)):
        if voice.audio is None:
            continue
        half = voice.num_frames // 2 * SAMPLES_PER_FRAME
        later = voice.audio[half:]
        told = [vectors(a) for a in (voice.audio[:half], later, noisy(later, number), by_telephone(later))]
        if any(t is None for t in told):
            continue
        own, *changed = [(voice.person, *t) for t in told if t is not None]
        first.append(own)
        for name, made in zip(asked, changed, strict=True):
            asked[name].append(made)
    claims = {
        "later": ("the second half of a clip against all other people", 0.98),
        "noise": (f"the second half in noise at {NOISE_DB:g} dB against all other people", 0.9),
        "phone": ("the second half by telephone (300 to 3400 Hz) against all other people", 0.9),
    }
    rows = []
    for name, (claim, goal) in claims.items():
        pairs = pairs_of(asked[name], first, 1)
        naive = auc_of_pairs([p for told in pairs_of(asked[name], first, 2).values() for p in told])
        value, low, high = bootstrap_ci(pairs, auc_of_pairs)
        n = sum(len(v) for v in pairs.values())
        measure = "AUC of cosine"
        rows.append(
            Row(
                "voice_embedding",
                claim,
                measure,
                value,
                low,
                high,
                n,
                len(pairs),
                naive,
                goal,
                "higher",
                "mean spectrum",
            )
        )
    return rows


if __name__ == "__main__":
    command(run)
