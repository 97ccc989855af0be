"""Scorecard of diarization: a recorded conversation, people spliced to take turns, and people alone.

    python -m benchmarks.scorecards.diarization

DER has no collar and counts overlap; the truth of spliced turns is who was cut in, where voice activity found speech in
the uncut clips. Baseline: always one speaker. The threshold was chosen on the same footage, on other splices.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.score import Row, bootstrap_ci, command
from benchmarks.scorecards.voices import SAMPLES_PER_FRAME, Voice, activity, films, sound_file
from tasks.media.media import Media
from tasks.signals import diarization

MIN_SPEECH_FRAMES = 75
TURN_FRAMES = (40, 90)
NUM_PAIRS, NUM_TRIPLES = 2, 12
BASE: dict[str, Any] = {"better": "lower", "baseline_name": "always one speaker"}
Counts = tuple[float, float]
"""(wrong frames, frames of speech, each speaker's counted)"""


def turns_found(audio: np.ndarray, rows: Any) -> tuple[np.ndarray, int]:
    """bool (K, T) of who speaks when, and how many speakers."""
    num = len(audio) // SAMPLES_PER_FRAME
    made = diarization.compute(Media(0, num, 64, 64, audio=audio), {"vad": rows})
    assert made.timeline is not None
    speaks = np.zeros((made.row["num_speakers"], num), bool)
    for start_s, end_s, speaker in zip(*(made.timeline[c].to_pylist() for c in ("start_s", "end_s", "speaker")), strict=True):  # fmt: skip
        speaks[speaker, round(start_s * 25) : round(end_s * 25)] = True
    return speaks, made.row["num_speakers"]


def errors(truth_KT: np.ndarray, found_MT: np.ndarray) -> Counts:
    """Missed, false and confused speech, under the best naming of the speakers found."""
    (total,) = errors_by_piece(truth_KT, found_MT, max(1, truth_KT.shape[1]))
    return total


def errors_by_piece(truth_KT: np.ndarray, found_MT: np.ndarray, piece_frames: int) -> list[Counts]:
    """Of each piece of time, under the best naming of the speakers over all of it."""
    from scipy.optimize import linear_sum_assignment

    together_KMT = truth_KT[:, None] & found_MT[None]
    truly, named = linear_sum_assignment(-together_KMT.sum(axis=-1))
    right_T = together_KMT[truly, named].sum(axis=0)
    spoken_T = truth_KT.sum(axis=0)
    wrong_T = np.maximum(spoken_T, found_MT.sum(axis=0)) - right_T
    starts = range(0, len(wrong_T), piece_frames)
    return [(float(wrong_T[s : s + piece_frames].sum()), float(spoken_T[s : s + piece_frames].sum())) for s in starts]


def error_rate(values: list[Counts]) -> float:
    return sum(w for w, _ in values) / max(1.0, sum(n for _, n in values))


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def spliced(voices: Sequence[Voice], rng: np.random.Generator, rounds: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(sound, truth (K, T)) of people who take turns, until one has nothing left; None if one says too little."""
    pieces, spans, at = [], [], dict.fromkeys(range(len(voices)), 0)
    for turn in range(rounds * len(voices)):
        k = turn % len(voices)
        start, end = at[k], at[k] + int(rng.integers(*TURN_FRAMES))
        if end > voices[k].num_frames:
            break
        at[k] = end
        pieces.append(voices[k].audio[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME])
        spans.append((k, speaks(voices[k])[start:end]))
    truth = np.concatenate([np.outer(np.arange(len(voices)) == k, spoken) for k, spoken in spans], axis=1) if spans else np.zeros((len(voices), 0))  # fmt: skip
    return (np.concatenate(pieces), truth) if truth.sum(axis=1).min() >= TURN_FRAMES[0] else None


def speaks(voice: Voice) -> np.ndarray:
    return np.asarray(voice.needs["vad"]["speech_prob"].to_numpy() >= 0.5)


def conversation(root: Path) -> tuple[list[Counts], list[Counts]]:
    """Errors, and errors of the baseline, of each second of the recorded conversation, in frames."""
    audio = sound_file(root / "audio" / "pyannote_sample.wav")
    turns = [line.split() for line in (root / "truth" / "pyannote_sample.rttm").read_text().splitlines()]
    names = sorted({t[7] for t in turns})
    truth = np.zeros((len(names), len(audio) // SAMPLES_PER_FRAME), bool)
    for turn in turns:
        truth[names.index(turn[7]), round(float(turn[3]) * 25) : round((float(turn[3]) + float(turn[4])) * 25)] = True
    found, _ = turns_found(audio, activity(audio))
    return errors_by_piece(truth, found, 25), errors_by_piece(truth, found.any(axis=0)[None], 25)


def row(claim: str, measure: str, values: Mapping[str, Sequence[Any]], statistic: Any, **more: Any) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    return Row("diarization", claim, measure, value, low, high, sum(map(len, values.values())), len(values), **more)


def recorded(root: Path) -> Row:
    """The one recording with its turns: its interval is over its seconds, as no other stands for other people."""
    ours, as_one = conversation(root)
    by_second = {f"{i:03}": [counts] for i, counts in enumerate(ours)}
    claim = "the one recorded conversation at hand, two people, 30 s (interval by second)"
    made = row(claim, "DER", by_second, error_rate, goal=0.25, baseline=error_rate(as_one), **BASE)
    return replace(made, people=2)


def run(root: Path) -> list[Row]:
    voices = [v for v in films(root, "talk", min_s=0.0, faces=False) if v.audio is not None]
    voices = [v for v in voices if speaks(v).sum() >= MIN_SPEECH_FRAMES]
    rng = np.random.default_rng(0)
    alone: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    wrong: dict[int, dict[str, list[Counts]]] = {2: defaultdict(list), 3: defaultdict(list)}
    as_one: dict[int, list[Counts]] = {2: [], 3: []}
    counted: dict[int, dict[str, list[float]]] = {2: defaultdict(list), 3: defaultdict(list)}
    for voice in voices:
        assert voice.audio is not None
        began = time.process_time()
        alone[voice.person].append(float(turns_found(voice.audio, voice.needs["vad"])[1] == 1))
        costs[voice.person].append((time.process_time() - began) / (voice.num_frames / 25))
    for num, rounds, wanted in ((2, 20, NUM_PAIRS * len(voices)), (3, 2, NUM_TRIPLES)):
        for i in range(wanted):
            others = [v for v in voices if v.person != voices[i % len(voices)].person]
            chosen = [voices[i % len(voices)], *(others[k] for k in rng.choice(len(others), num - 1, replace=False))]
            made = spliced(chosen, rng, rounds)
            if made is None or len({v.person for v in chosen}) < num:
                continue
            audio, truth = made
            found, told = turns_found(audio, activity(audio))
            wrong[num][chosen[0].person].append(errors(truth, found))
            as_one[num].append(errors(truth, found.any(axis=0)[None]))
            counted[num][chosen[0].person].append(float(told == num))
    singles_and_pairs = {
        person: alone.get(person, []) + counted[2].get(person, []) for person in sorted({*alone, *counted[2]})
    }
    one = sum(len(v) for v in alone.values()) / sum(len(v) for v in singles_and_pairs.values())
    return [
        recorded(root),
        row("pairs spliced to take turns of 1.6 to 3.6 s", "DER", wrong[2], error_rate, goal=0.25, baseline=error_rate(as_one[2]), **BASE),
        row("three people spliced, two turns each", "DER", wrong[3], error_rate, baseline=error_rate(as_one[3]), **BASE),
        row("number of speakers, alone and in pairs", "share right", singles_and_pairs, mean, goal=0.9, baseline=one, baseline_name="always one speaker"),
        row("one person alone is one speaker", "share right", alone, mean),
        row("pairs are two speakers", "share right", counted[2], mean),
        row("three people are three speakers", "share right", counted[3], mean),
        row("cost", "CPU-s per s of clip", costs, mean, better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
