"""Scorecard of active_speaker: a speaking face under its own voice, under another's, and silent faces under a voice.

    python -m benchmarks.scorecards.active_speaker

Voices and faces are held against each other over their first 4 s, so that all are alike long and a voice is encoded
once. The judged people are not those the map was fitted on. The score's middle and slope were fitted on the same footage,
so as a probability each person is judged by the two numbers that the others give.
Baseline: the same comparison of the gap between the lips with the sound's loudness.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.scorecards.lip_sync import loudness, shape_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from benchmarks.scorecards.voices import SAMPLES_PER_FRAME, Voice, films
from infra.lag import lag_correlation
from tasks.media.media import Media
from tasks.signals import active_speaker

MIN_S = 4.0
MIN_SPEECH_RATIO = 0.3
SILENT_FACES = frozenset({"face", "portrait", "closeup"})
NUM_BINS = 10
SPAN_FRAMES = 100


@dataclass(frozen=True)
class Judged:
    score: float
    margin: float
    loudness: float
    """The baseline's margin."""
    speaks: bool


def judged(face: Voice, sound: Voice, speaks: bool) -> Judged:
    """The first 4 s of the face under the first 4 s of the sound."""
    assert sound.audio is not None
    num = SPAN_FRAMES
    media = Media(0, num, 64, 64, audio=sound.audio[: num * SAMPLES_PER_FRAME])
    needs = {"landmarks": cut(face.needs["landmarks"], num), "vad": cut(sound.needs["vad"], num)}
    row = active_speaker.compute(media, needs).row
    gap = shape_of(face)[:num, :1]
    curve = lag_correlation(loudness(media.audio), gap, np.ones(1), active_speaker.MAX_LAG)  # type: ignore[arg-type]
    near = curve[
        active_speaker.MAX_LAG - active_speaker.MAX_OFFSET : active_speaker.MAX_LAG + active_speaker.MAX_OFFSET + 1
    ]
    loud = float(near.max() - np.quantile(curve, active_speaker.CHANCE_QUANTILE))
    return Judged(row["speaking_score"], row["margin"], loud, speaks)


def cut(timeline: pa.Table, num_frames: int) -> pa.Table:
    return timeline.filter(pc.less(timeline["frame"], num_frames))


def half_another_s(face: Voice, other: Voice) -> float:
    """Share of spoken frames rightly told on or off screen, where the second half of the sound is another's."""
    assert face.audio is not None
    assert other.audio is not None
    num = min(face.num_frames, other.num_frames)
    middle = num // 2
    audio = face.audio[: num * SAMPLES_PER_FRAME].copy()
    audio[middle * SAMPLES_PER_FRAME :] = other.audio[middle * SAMPLES_PER_FRAME : num * SAMPLES_PER_FRAME]
    probs = [v.needs["vad"]["speech_prob"].to_numpy() for v in (face, other)]
    speaks = np.concatenate([probs[0][:middle], probs[1][middle:num]]) >= active_speaker.SPEECH_PROB
    media = Media(0, num, 64, 64, audio=audio)
    mesh = cut(face.needs["landmarks"], num)
    in_view = active_speaker.face_in_view(mesh["frame"].to_numpy(), num)
    start, end = active_speaker.longest_run(in_view)
    _, on_screen = active_speaker.compared(media, mesh, start, end, speaks & in_view)
    right = on_screen == (np.arange(num) < middle)
    return float(right[speaks & in_view].mean())


def silent_faces(root: Path) -> list[Voice]:
    """Faces in view most of the time that say nothing, at rest or moving."""
    return [
        v
        for v in films(root, "neg", min_s=MIN_S, faces=True, tags=SILENT_FACES)
        if v.needs["landmarks"].num_rows >= 0.7 * v.num_frames and v.speech_ratio < 0.1
    ]


def calibration_error(values: list[Judged]) -> float:
    """Expected calibration error in ten bins, both classes weighted alike."""
    score, speaks = np.array([v.score for v in values]), np.array([v.speaks for v in values])
    if speaks.all() or not speaks.any():
        return float("nan")
    weight = alike(speaks)
    bins = np.minimum((score * NUM_BINS).astype(int), NUM_BINS - 1)
    inside = [bins == b for b in range(NUM_BINS)]
    return float(sum(abs(((score - speaks) * weight)[i].sum()) for i in inside))


def alike(speaks: np.ndarray) -> np.ndarray:
    """Weights with which both outcomes are alike likely."""
    return np.asarray(np.where(speaks, 0.5 / speaks.sum(), 0.5 / (~speaks).sum()))


def logistic(values: Sequence[Judged]) -> tuple[float, float]:
    """(middle, slope) of the score's margins, of greatest likelihood, both outcomes alike likely."""
    from scipy.optimize import minimize

    margin, sign = np.array([v.margin for v in values]), np.array([1.0 if v.speaks else -1.0 for v in values])
    weight = alike(sign > 0)

    def surprise(told: np.ndarray) -> float:
        return float(weight @ np.logaddexp(0, -sign * (margin - told[0]) / np.exp(told[1])))

    middle, log_slope = minimize(surprise, (0.15, np.log(0.03)), method="Nelder-Mead").x
    return float(middle), float(np.exp(log_slope))


def judged_by_others(values: Mapping[str, Sequence[Judged]]) -> dict[str, list[Judged]]:
    """Each person's scores, by the middle and slope that the other people's margins give."""
    found = {}
    for person, own in values.items():
        middle, slope = logistic([v for p, vs in values.items() if p != person for v in vs])
        found[person] = [replace(v, score=float(1 / (1 + np.exp(-(v.margin - middle) / slope)))) for v in own]
    return found


def by_score(values: list[Judged]) -> float:
    return auc_of_pairs([(v.score, v.speaks) for v in values])


def by_loudness(values: list[Judged]) -> float:
    return auc_of_pairs([(v.loudness, v.speaks) for v in values])


def taken(values: list[Judged]) -> float:
    return float(np.mean([v.score >= 0.5 for v in values]))


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def row(claim: str, measure: str, values: Mapping[str, Sequence[Any]], statistic: Any, **more: Any) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    return Row("active_speaker", claim, measure, value, low, high, sum(map(len, values.values())), len(values), **more)


def run(root: Path) -> list[Row]:
    talk = [v for v in films(root, "talk", min_s=MIN_S, faces=True) if v.speech_ratio >= MIN_SPEECH_RATIO]
    dumb = silent_faces(root)
    own: dict[str, list[Judged]] = defaultdict(list)
    foreign: dict[str, list[Judged]] = defaultdict(list)
    silent: dict[str, list[Judged]] = defaultdict(list)
    halves: dict[str, list[float]] = defaultdict(list)
    unseen: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    for sound in talk:
        began = time.process_time()
        own[sound.person].append(judged(sound, sound, True))
        costs[sound.person].append((time.process_time() - began) / (SPAN_FRAMES / 25))
        for face in (v for v in talk if v.person != sound.person):
            foreign[face.person].append(judged(face, sound, False))
        for face in dumb:
            silent[face.person].append(judged(face, sound, False))
        other = next(v for v in talk[talk.index(sound) :] + talk if v.person != sound.person)
        halves[sound.person].append(half_another_s(sound, other))
        away = replace(sound, needs={**sound.needs, "landmarks": sound.needs["landmarks"][:0]})
        told = active_speaker.compute(away.media(), away.needs).row["kind"]
        unseen[sound.person].append(float(told == "voice_over"))
    against_voices = {p: [*own[p], *foreign.get(p, [])] for p in own}
    against_silence = {p: [*own.get(p, []), *silent.get(p, [])] for p in sorted({*own, *silent})}
    every = {p: [*against_voices.get(p, []), *silent.get(p, [])] for p in against_silence}

    def pooled(values: Mapping[str, Sequence[Judged]]) -> float:
        return by_loudness([v for vs in values.values() for v in vs])

    base = {"baseline_name": "mouth gap against loudness"}
    return [
        row("a speaking face against the same face under another's voice", "AUC", against_voices, by_score, goal=0.9, baseline=pooled(against_voices), **base),
        row("a speaking face against silent faces under somebody's voice", "AUC", against_silence, by_score, goal=0.95, baseline=pooled(against_silence), **base),
        row("own voice is taken for the face's", "share of clips", own, taken),
        row("another's voice is taken for the face's", "share of pairs", foreign, taken, better="lower"),
        row("a voice is taken for a silent face's", "share of pairs", silent, taken, better="lower"),
        row("the second half of the sound is another's: on or off screen, frame by frame", "share of spoken frames", halves, mean, baseline=0.5, baseline_name="always on screen"),
        row("a voice without a face is told a voice-over", "share of clips", unseen, mean),
        row("speaking_score as a probability, both outcomes alike likely, middle and slope of the other people", "ECE", judged_by_others(every), calibration_error, goal=0.1, better="lower"),
        row("cost", "CPU-s per s of clip", costs, mean, better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
