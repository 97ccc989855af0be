"""Scorecard of speech_quality: does it follow noise of a known level, and read a known ratio, clipping and bandwidth? Does it
tell rooms by their reverberation, and voices with music behind them from those without?

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

from benchmarks.scorecards.made_sounds import in_a_room, song
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command, spearman
from benchmarks.scorecards.voices import AUDIO_HZ, Voice, activity, films, sound_file
from tasks import room_sound
from tasks.digest import declared_row
from tasks.loudness import loudness_lufs
from tasks.media.media import Media
from tasks.signals import speech_quality

RATIOS_DB = (40, 30, 20, 10, 0)
CLEAN_DB = 30.0
ROOMS_S = (0.3, 0.6, 0.9, 1.2)
MUSIC_DB = (5, 10, 15, 20)
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


def rooms(voices: Sequence[Voice]) -> list[Row]:
    """Reverberation: ranks within a clip, and how well a wet voice is told from all dry ones."""
    ranks: dict[str, list[float]] = defaultdict(list)
    wet: dict[float, dict[str, list[tuple[float, bool]]]] = {r: defaultdict(list) for r in ROOMS_S}
    for seed, voice in enumerate(voices):
        assert voice.audio is not None
        dry = room_sound.decay_s(voice.audio)
        read = [room_sound.decay_s(in_a_room(voice.audio, r, seed)) for r in ROOMS_S]
        if dry is None or any(r is None for r in read):
            continue
        ranks[voice.person].append(spearman([0, *ROOMS_S], [dry, *(r or 0.0 for r in read)]))
        for rt60_s, value in zip(ROOMS_S, read, strict=True):
            wet[rt60_s][voice.person] += [(dry, False), (value or 0.0, True)]
    made = [row("decay_s follows RT60 of 0 (as filmed) to 1.2 s", "Spearman within a clip", ranks, goal=0.95)]
    for rt60_s in (0.3, 0.6, 1.2):
        pairs = wet[rt60_s]
        value, low, high = bootstrap_ci(pairs, auc_of_pairs)
        n = sum(len(v) for v in pairs.values())
        made.append(Row("speech_quality", f"decay_s, voices in a room of RT60 {rt60_s} s against all as filmed", "AUC", value, low, high, n, len(pairs), goal=0.9 if rt60_s >= 0.6 else None))  # fmt: skip
    return made


def music(voices: Sequence[Voice]) -> list[Row]:
    """Voices with made music behind them against all as filmed; beside it the signal-to-noise ratio, which music lowers."""
    made, alone = [], defaultdict(list)
    for voice in voices:
        assert voice.audio is not None
        alone[voice.person].append(float(room_sound.music_ratio(voice.audio) >= 0.3))
    for below_db in MUSIC_DB:
        ours: dict[str, list[tuple[float, bool]]] = defaultdict(list)
        ratio: list[tuple[float, bool]] = []
        for seed, voice in enumerate(voices):
            assert voice.audio is not None
            speaks = voice.needs["vad"]["speech_prob"].to_numpy() >= 0.5
            behind = mixed(voice.audio, song(len(voice.audio) / AUDIO_HZ, seed), below_db, speaks)
            ours[voice.person] += [(room_sound.music_ratio(voice.audio), False), (room_sound.music_ratio(behind), True)]
            ratio += [(-speech_quality.snr_db(a, speaks), a is behind) for a in (voice.audio, behind)]
        value, low, high = bootstrap_ci(ours, auc_of_pairs)
        made.append(Row("speech_quality", f"music_ratio, music {below_db} dB below the voice against voices as filmed", "AUC", value, low, high, 2 * len(voices), len(ours), auc_of_pairs(ratio), baseline_name="snr_db", goal=0.95 if below_db <= 10 else None))  # fmt: skip
    made.append(row("music_ratio of at least 0.3 on voices as filmed", "share of clips", alone, better="lower", goal=0.05))  # fmt: skip
    return made


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
        *rooms(voices),
        *music(voices),
        row("cost", "CPU-s per s of clip", gather(voices, cost), better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
