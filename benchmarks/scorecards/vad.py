"""Scorecard of vad: who is silent when, in talk of two people, in sentences amid noise, and where nobody speaks.

    python -m benchmarks.scorecards.vad

Machines read the sentences, so that their pauses are known: a frame is speech where the clean voice is within 35 dB of
its loudest frame, or was 80 ms ago or will be. Frames count one by one; the intervals draw seconds of the talk, voices
and files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.caption_clips import sound
from benchmarks.scorecards.footage import manifest
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command, expected_calibration_error
from benchmarks.scorecards.speech import READ
from benchmarks.scorecards.voices import SAMPLES_PER_FRAME, activity, sound_file
from modeling import made_voices

SNRS_DB = (20.0, 10.0, 5.0)
NOISE_DB = -40.0
"""Of full scale, of the noise that all sentences lie in."""
PAUSE_FRAMES = 30
LOUD_DB, NEAR_FRAMES = -35.0, 2
SPEECH_PROB = 0.5
MAX_S = 20.0
SPOKEN = "neg/autoed__example.mp4"
"""Nobody is seen and no language is labelled, but somebody speaks."""

Frames = list[tuple[float, float, bool]]
"""Of each frame: speech_prob, loudness in dB, does somebody speak."""


def told(audio: np.ndarray, speaks: np.ndarray) -> Frames:
    rows = activity(audio)
    columns = (rows["speech_prob"].to_pylist(), rows["loudness_db"].to_pylist(), [bool(s) for s in speaks])
    return list(zip(*columns, strict=True))


def turns(file: Path, num_frames: int) -> np.ndarray:
    """Does anybody speak, (frames,), by an RTTM file."""
    speaks = np.zeros(num_frames, bool)
    for turn in (line.split() for line in file.read_text().splitlines()):
        speaks[round(float(turn[3]) * 25) : round((float(turn[3]) + float(turn[4])) * 25)] = True
    return speaks


def voiced(clean: np.ndarray) -> np.ndarray:
    """Where a clean voice speaks, (frames,)."""
    power = np.square(clean.reshape(-1, SAMPLES_PER_FRAME), dtype=np.float64).mean(axis=1)
    loud = power >= power.max() * 10 ** (LOUD_DB / 10)
    return np.convolve(loud, np.ones(2 * NEAR_FRAMES + 1), "same") > 0


def amid_noise(voice: np.ndarray, snr_db: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(sound, does the voice speak (frames,)): a pause, the voice so much above the noise, a pause."""
    whole = voice[: len(voice) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    clean = np.pad(whole, PAUSE_FRAMES * SAMPLES_PER_FRAME)
    speaks = voiced(clean)
    power = np.square(clean.reshape(-1, SAMPLES_PER_FRAME)[speaks], dtype=np.float64).mean()
    noise = np.random.default_rng(seed).normal(0, 10 ** (NOISE_DB / 20), len(clean))
    gain = 10 ** ((NOISE_DB + snr_db) / 20) / np.sqrt(power)
    return (clean * gain + noise).astype(np.float32), speaks


def sentences() -> dict[str, Frames]:
    found: dict[str, Frames] = {}
    for i, text in enumerate(READ):
        kokoro = made_voices.KOKORO_VOICES[i]
        voices = {
            f"espeak-ng {i % 2}": made_voices.espeak(text, ("en-us", "en")[i % 2], rate_wpm=150),
            "piper joe": made_voices.piper(text),
            f"kokoro {kokoro}": made_voices.kokoro(text, kokoro),
        }
        for name, voice in voices.items():
            for snr_db in SNRS_DB:
                found.setdefault(name, []).extend(told(*amid_noise(voice, snr_db, i)))
    return found


def nobody(root: Path) -> dict[str, Frames]:
    """Music, tones, animals, near silence: files without people, whose sound has no language."""
    found: dict[str, Frames] = {}
    for entry in manifest(root, "neg"):
        if entry["people"] or not entry["audio"] or entry["language"] or "broken_audio" in entry["tags"]:
            continue
        if entry["file"] == SPOKEN:
            continue
        num_frames = int(min(entry["duration"], MAX_S) * 25)
        audio = sound(entry["path"], num_frames)
        assert audio is not None
        found[entry["file"]] = told(audio, np.zeros(num_frames, bool))
    return found


def accuracy(values: Frames) -> float:
    return float(np.mean([(p >= SPEECH_PROB) == s for p, _, s in values]))


def by_loudness(values: Frames) -> float:
    """Accuracy of the frames that are louder than the median."""
    middle = np.median([db for _, db, _ in values])
    return float(np.mean([(db > middle) == s for _, db, s in values]))


def auc(values: Frames) -> float:
    return auc_of_pairs([(p, s) for p, _, s in values])


def auc_of_loudness(values: Frames) -> float:
    return auc_of_pairs([(db, s) for _, db, s in values])


def alarms(values: Frames) -> float:
    return float(np.mean([p >= SPEECH_PROB for p, _, _ in values]))


def calibration_error(values: Frames) -> float:
    return expected_calibration_error([(p, s) for p, _, s in values])


def row(
    claim: str, measure: str, values: Mapping[str, Frames], statistic: Callable[[Frames], float], **more: Any
) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    return Row("vad", claim, measure, value, low, high, sum(map(len, values.values())), len(values), **more)


def pooled(values: Mapping[str, Frames]) -> Frames:
    return [frame for frames in values.values() for frame in frames]


def run(root: Path) -> list[Row]:
    audio = sound_file(root / "audio" / "pyannote_sample.wav")
    talk = told(audio, turns(root / "truth" / "pyannote_sample.rttm", len(audio) // SAMPLES_PER_FRAME))
    seconds = {f"second {s // 25:02}": talk[s : s + 25] for s in range(0, len(talk) - 24, 25)}
    read, silent = sentences(), nobody(root)
    every = {**seconds, **read, **silent}
    return [
        row("two people in talk: somebody speaks or nobody", "accuracy by frame", seconds, accuracy, goal=0.9, baseline=by_loudness(talk), baseline_name="louder than the median"),
        row("sentences read by machines in noise at 20, 10 and 5 dB, and the pauses", "AUC of speech_prob by frame", read, auc, goal=0.95, baseline=auc_of_loudness(pooled(read)), baseline_name="loudness_db"),
        row("music, tones, animals and near silence are taken for speech", "share of frames", silent, alarms, goal=0.05, better="lower", baseline=0.5, baseline_name="louder than the median"),
        row("speech_prob is calibrated, on all of these", "ECE", every, calibration_error, goal=0.1, better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
