"""Scorecard of speech_quality: does it follow noise of a known level, and read a known ratio, clipping and bandwidth?

    python -m benchmarks.scorecards.speech_quality

Noise is added at 0 to 40 dB below the speech and the mix is brought back to the loudness of the clean clip, so that
loudness (the baseline) gives nothing away. Only clips that are clean to begin with (30 dB and more as read) take part
in what is read off absolutely; ranks are taken within a clip.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.score import Row, bootstrap_ci, command, spearman
from benchmarks.scorecards.voices import AUDIO_HZ, Voice, activity, films, sound_file
from tasks.digest import declared_row
from tasks.loudness import loudness_lufs
from tasks.media.media import Media
from tasks.signals import speech_quality

RATIOS_DB = (40, 30, 20, 10, 0)
CLEAN_DB = 30.0
MEASURES = ("ovrl_mos", "bak_mos", "snr_db")


def measured(audio: np.ndarray) -> dict[str, float]:
    media = Media(0, len(audio) // 640, 64, 64, audio=audio)
    made = speech_quality.compute(media, {"vad": activity(audio)}).row
    row = declared_row(speech_quality.SIGNAL.columns, made)
    return {k: float(v) for k, v in row.items()}


def mixed(audio: np.ndarray, noise: np.ndarray, ratio_db: float, speaks: np.ndarray) -> np.ndarray:
    """Speech and noise at the ratio of their mean powers while somebody speaks, as loud as the speech was."""
    power = np.square(audio[: len(speaks) * 640].reshape(-1, 640)).mean(axis=1)[speaks].mean()
    noise = np.resize(noise, len(audio)).astype(np.float64)
    noise *= np.sqrt(power / 10 ** (ratio_db / 10) / np.square(noise).mean())
    mix = audio + noise
    gain_db = loudness_lufs(audio, AUDIO_HZ) - loudness_lufs(mix, AUDIO_HZ)
    mix = mix * 10 ** (gain_db / 20)
    return np.asarray(mix / max(1.0, float(np.abs(mix).max())), np.float32)


def noises(root: Path) -> dict[str, np.ndarray]:
    """Ten seconds each of white noise and of babble: all the voices of the sound files at once."""
    rng = np.random.default_rng(0)
    voices = [sound_file(p)[: 10 * AUDIO_HZ] for p in sorted((root / "audio").glob("*.wav"))]
    babble = np.sum([np.resize(v / max(float(v.std()), 1e-9), 10 * AUDIO_HZ) for v in voices], axis=0)
    return {"white noise": rng.normal(size=10 * AUDIO_HZ), "babble": babble}


def row(
    claim: str,
    measure: str,
    values: Mapping[str, Sequence[float]],
    baseline: Sequence[float] | None = None,
    **more: Any,
) -> Row:
    value, low, high = bootstrap_ci(values, mean)
    n = sum(len(v) for v in values.values())
    told = None if baseline is None else mean(list(baseline))
    return Row("speech_quality", claim, measure, value, low, high, n, len(values), told, **more)


def mean(values: list[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def gather(voices: Sequence[Voice], of: Callable[[Voice], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for voice in voices:
        found[voice.person].append(of(voice))
    return dict(found)


def narrow(audio: np.ndarray, edge_hz: float) -> np.ndarray:
    from scipy.signal import firwin, lfilter

    return np.asarray(lfilter(firwin(401, edge_hz, fs=AUDIO_HZ, window=("kaiser", 9.0)), [1.0], audio), np.float32)


def cost(voice: Voice) -> float:
    began = time.process_time()
    speech_quality.compute(voice.media(), voice.needs)
    return (time.process_time() - began) / (voice.num_frames / 25)


def run(root: Path) -> list[Row]:
    voices = [v for v in films(root, "talk", min_s=0.0, faces=False) if v.audio is not None and v.speech_ratio >= 0.3]
    speaks = {v.file: v.needs["vad"]["speech_prob"].to_numpy() >= 0.5 for v in voices}
    clean = {v.file: measured(v.audio) for v in voices if v.audio is not None}
    rows, near = [], defaultdict(list)
    for name, noise in noises(root).items():
        ranks: dict[str, dict[str, list[float]]] = {m: defaultdict(list) for m in (*MEASURES, "loudness_lufs")}
        for voice in voices:
            assert voice.audio is not None
            found = [measured(mixed(voice.audio, noise, r, speaks[voice.file])) for r in RATIOS_DB]
            for measure, per_person in ranks.items():
                per_person[voice.person].append(spearman(RATIOS_DB, [f[measure] for f in found]))
            if clean[voice.file]["snr_db"] >= CLEAN_DB and name == "white noise":
                near[voice.person] += [abs(f["snr_db"] - r) for f, r in zip(found, RATIOS_DB, strict=True) if r <= 20]
        loudness = [0.0 if np.isnan(v) else v for vs in ranks["loudness_lufs"].values() for v in vs]
        for measure in MEASURES:
            goal = 0.95 if measure == "snr_db" else 0.9 if measure == "ovrl_mos" or name == "white noise" else None
            rows.append(row(f"{measure} follows {name} at 0 to 40 dB", "Spearman within a clip", ranks[measure], loudness, baseline_name="loudness", goal=goal))  # fmt: skip

    def clipping_seen(voice: Voice) -> float:
        assert voice.audio is not None
        driven = np.clip(voice.audio * (4.0 / max(float(np.abs(voice.audio).max()), 1e-6)), -1, 1)
        return float(measured(driven)["clipping_ratio"] > 0.001 >= clean[voice.file]["clipping_ratio"])

    def band_error(voice: Voice) -> float:
        assert voice.audio is not None
        return abs(measured(narrow(voice.audio, 3400))["bandwidth_hz"] - 3400)

    full_band = [abs(clean[v.file]["bandwidth_hz"] - 3400) for v in voices]
    return [
        *rows,
        row("snr_db against the known ratio, 0 to 20 dB of white noise", "mean error, dB", near, better="lower", goal=3.0),
        row("overdriven fourfold is told from clean by clipping_ratio > 0.001", "share of clips", gather(voices, clipping_seen), goal=0.9),
        row("bandwidth_hz of speech cut at 3400 Hz", "mean error, Hz", gather(voices, band_error), full_band, better="lower", goal=400, baseline_name="of the uncut clip"),
        row("cost", "CPU-s per s of clip", gather(voices, cost), better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
