"""Scorecard of lip_sync: known shifts of the sound, other people's sound, silent faces.

    python -m benchmarks.scorecards.lip_sync

The judged people are not those the map was fitted on. Footage is seldom quite in sync, so a shift is measured against
the clip's own offset; one that lies beyond the search together with that is not asked for. Baseline: the gap between the lips against the sound's loudness, by the same search.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from benchmarks.scorecards.speech_quality import mixed, noises
from benchmarks.scorecards.voices import SAMPLES_PER_FRAME, Voice, delayed, films
from infra.lag import best_lag
from tasks.lip_features import lip_motion, lip_shape
from tasks.signal import NotApplicable
from tasks.signals import lip_sync

SHIFTS = range(-10, 11)
SHIFTS_IN_BABBLE = (-8, -3, 3, 8)
BABBLE_DB = 5.0
SHORT_FRAMES = 2 * 25
FAR_FRAMES = 5
CONFIDENT = 0.3
SILENT_FACES = frozenset({"face", "portrait", "closeup"})


@dataclass(frozen=True)
class Method:
    """`hear` makes a track (T, D) of a sound, `see` one of the mouth's shape; `weights` (D,) say what counts."""

    hear: Callable[[np.ndarray], np.ndarray]
    see: Callable[[np.ndarray], np.ndarray]
    weights: np.ndarray

    def curve(self, heard_TD: np.ndarray, seen_TD: np.ndarray, span: tuple[int, int] | None = None) -> np.ndarray:
        return lip_sync.lag_curve(heard_TD, seen_TD, self.weights, span)


def loudness(audio: np.ndarray) -> np.ndarray:
    num = len(audio) // SAMPLES_PER_FRAME
    power = np.square(audio[: num * SAMPLES_PER_FRAME].reshape(num, -1)).mean(axis=1)
    return np.asarray(10 * np.log10(power + 1e-9)[:, None])


def methods() -> dict[str, Method]:
    heard_DC, lips_DC, weights_C = lip_sync.common_axes()
    return {
        "map": Method(
            lambda audio: lip_sync.predicted_lips(audio)[0] @ heard_DC, lambda s: lip_motion(s) @ lips_DC, weights_C
        ),
        "loudness": Method(loudness, lambda shape_TD: shape_TD[:, :1], np.ones(1)),
    }


@dataclass(frozen=True)
class Pair:
    """One clip as one method hears and sees it: two tracks (T, D)."""

    voice: Voice
    heard: np.ndarray
    seen: np.ndarray
    own: int
    confidence: float


def pair(voice: Voice, method: Method) -> Pair:
    assert voice.audio is not None
    heard_TD, seen_TD = method.hear(voice.audio), method.see(shape_of(voice))
    own, _, confidence = best_lag(method.curve(heard_TD, seen_TD))
    return Pair(voice, heard_TD, seen_TD, own, confidence)


def applicable(voice: Voice) -> bool:
    try:
        lip_sync.compute(voice.media(), voice.needs)
    except NotApplicable:
        return False
    return True


def shape_of(voice: Voice) -> np.ndarray:
    return lip_shape(voice.needs["landmarks"], 0, voice.num_frames)


def heard_late(method: Method, audio: np.ndarray, own: int, shifts: Iterable[int]) -> dict[int, np.ndarray]:
    """The track of the sound by the frames that it is made late by, as far as these can be found in a clip whose own
    offset is `own`."""
    return {k: method.hear(delayed(audio, k)) for k in shifts if k and abs(own + k) <= lip_sync.MAX_LAG}


def known_shifts(clip: Pair, method: Method, late: Mapping[int, np.ndarray]) -> list[bool]:
    """Of each shift of the sound: is the offset found within one frame of the clip's own plus the shift?"""
    return [abs(best_lag(method.curve(heard, clip.seen))[0] - clip.own - k) <= 1 for k, heard in late.items()]


def lags_apart(clip: Pair, method: Method) -> list[tuple[float, bool]]:
    """(correlation, is in sync) of windows of 3 s at the whole clip's offset and at all lags five frames and more
    away from it. A window's own best lag plays no part, or it would be right by definition."""
    own = clip.own + lip_sync.MAX_LAG
    values = []
    for part in parts(clip):
        curve = method.curve(clip.heard[part], clip.seen[part])
        values += [(float(v), i == own) for i, v in enumerate(curve) if i == own or abs(i - own) >= FAR_FRAMES]
    return values


def in_babble(voice: Voice, babble: np.ndarray) -> np.ndarray:
    assert voice.audio is not None
    return mixed(voice.audio, babble, BABBLE_DB, voice.needs["vad"]["speech_prob"].to_numpy() >= lip_sync.SPEECH_PROB)


def with_babble(clip: Pair, babble: np.ndarray, method: Method) -> Pair:
    """The clip in babble; its own offset stays the one found without."""
    heard_TD = method.hear(in_babble(clip.voice, babble))
    return replace(clip, heard=heard_TD, confidence=best_lag(method.curve(heard_TD, clip.seen))[2])


def parts(clip: Pair, length: int = lip_sync.WINDOW_FRAMES) -> list[slice]:
    """Windows, one a second, of 3 s unless told."""
    last = len(clip.seen) - length
    return [slice(start, start + length) for start in range(0, last + 1, lip_sync.WINDOW_HOP_FRAMES)]


def foreign(face: Pair, others: Sequence[Pair], method: Method) -> list[float]:
    """Confidences of the face under each other person's sound, both cut to the shorter."""
    found = []
    for other in others:
        num = min(len(face.seen), len(other.heard))
        if other.voice.person != face.voice.person and num >= lip_sync.MIN_DURATION_S * 25:
            found.append(best_lag(method.curve(other.heard[:num], face.seen[:num]))[2])
    return found


def windows(
    clip: Pair, method: Method, length: int, *, late: Mapping[int, np.ndarray] | None = None, around: bool = True
) -> list[bool]:
    """Of each window of lips with speech in 30 % of it: is its offset, by each of the tracks of `late` (the clip's own
    sound unless told), within a frame of the whole clip's plus the shift? `around`: in all the sound there is; else the
    sound is cut to the window, too."""
    found = []
    for shift, heard in ({0: clip.heard} if late is None else late).items():
        speaks = moved(clip.voice.needs["vad"]["speech_prob"].to_numpy() >= lip_sync.SPEECH_PROB, shift)
        for part in parts(clip, length):
            if part.stop > len(heard) or speaks[part].mean() < lip_sync.MIN_SPEECH_RATIO:
                continue
            if around:
                curve = method.curve(heard, clip.seen, (part.start, part.stop))
            else:
                curve = method.curve(heard[part], clip.seen[part])
            found.append(abs(best_lag(curve)[0] - clip.own - shift) <= 1)
    return found


def moved(speaks: np.ndarray, shift: int) -> np.ndarray:
    """Speech of a sound that is so many frames late; what is missing is silence."""
    late = np.zeros_like(speaks)
    late[max(0, shift) : len(speaks) + min(0, shift)] = speaks[max(0, -shift) : len(speaks) - max(0, shift)]
    return late


def row(
    claim: str,
    measure: str,
    values: Mapping[str, Sequence[Any]],
    statistic: Callable[[list[Any]], float],
    baseline: Mapping[str, Sequence[Any]] | None = None,
    **more: Any,
) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    told = None if baseline is None else statistic([v for vs in baseline.values() for v in vs])
    n = sum(len(v) for v in values.values())
    people = sum(1 for v in values.values() if len(v))
    name = "mouth gap against loudness" if baseline is not None else ""
    return Row("lip_sync", claim, measure, value, low, high, n, people, told, baseline_name=name, **more)


def share(values: list[Any]) -> float:
    return float(np.mean(values)) if values else float("nan")


def per_person(items: Iterable[Any], of: Callable[[Any], Sequence[Any]]) -> dict[str, list[Any]]:
    """What `of` gives of each pair or voice, gathered by person."""
    found: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        found[(item.voice if isinstance(item, Pair) else item).person] += of(item)
    return dict(found)


def silent_faces(root: Path) -> list[Voice]:
    """Faces in view whose mouths move without speech."""
    films_found = films(root, "neg", min_s=lip_sync.MIN_DURATION_S, faces=True, tags=SILENT_FACES)
    return [
        v
        for v in films_found
        if v.needs["landmarks"].num_rows >= lip_sync.MIN_FACE_RATIO * v.num_frames
        and v.speech_ratio < lip_sync.MIN_SPEECH_RATIO
        and shape_of(v)[:, 0].std() >= lip_sync.MIN_MOUTH_MOTION
    ]


def run(root: Path) -> list[Row]:
    talk = films(root, "talk", min_s=lip_sync.MIN_DURATION_S, faces=True)
    spoken = [v for v in talk if v.speech_ratio >= lip_sync.MIN_SPEECH_RATIO]
    clips = [v for v in spoken if applicable(v)]
    babble = noises(root)["babble"]
    found: dict[str, dict[str, dict[str, list[Any]]]] = defaultdict(dict)
    for name, method in methods().items():
        pairs = [pair(v, method) for v in clips]
        late = {p.voice.file: heard_late(method, p.voice.media().audio, p.own, SHIFTS) for p in pairs}
        shifts = {p.voice.file: known_shifts(p, method, late[p.voice.file]) for p in pairs}
        strange = {p.voice.file: foreign(p, pairs, method) for p in pairs}
        noisy = [with_babble(p, babble, method) for p in pairs]
        found["shifts"][name] = per_person(pairs, lambda p, s=shifts: s[p.voice.file])
        found["clips"][name] = per_person(pairs, lambda p, s=shifts: [share(s[p.voice.file]) >= 0.9])
        found["apart"][name] = per_person(pairs, lambda p, m=method: lags_apart(p, m))
        found["told"][name] = per_person(
            pairs, lambda p, s=strange: [(p.confidence, True), *((c, False) for c in s[p.voice.file])]
        )
        found["apart noisy"][name] = per_person(noisy, lambda p, m=method: lags_apart(p, m))
        found["told noisy"][name] = per_person(
            noisy, lambda p, o=noisy, m=method: [(p.confidence, True), *((c, False) for c in foreign(p, o, m))]
        )
        found["windows"][name] = per_person(pairs, lambda p, m=method: windows(p, m, lip_sync.WINDOW_FRAMES))
        for around, kind in ((True, "lips"), (False, "both")):
            found[f"short {kind}"][name] = per_person(
                pairs, lambda p, m=method, a=around: windows(p, m, SHORT_FRAMES, around=a)
            )
            found[f"short late {kind}"][name] = per_person(
                pairs, lambda p, m=method, a=around, s=late: windows(p, m, SHORT_FRAMES, late=s[p.voice.file], around=a)
            )
        found["babble"][name] = per_person(
            pairs,
            lambda p, m=method: known_shifts(p, m, heard_late(m, in_babble(p.voice, babble), p.own, SHIFTS_IN_BABBLE)),
        )
        if name == "map":
            sure = per_person(pairs, lambda p: [p.confidence >= CONFIDENT])
            misled = per_person(pairs, lambda p, s=strange: [c >= CONFIDENT for c in s[p.voice.file]])
            dumb = [Pair(v, np.zeros((0, 1)), method.see(shape_of(v)), 0, 0.0) for v in silent_faces(root)]
            dubbed = per_person(dumb, lambda p, m=method, o=pairs: [c >= CONFIDENT for c in foreign(p, o, m)])

    def beside(claim: str, measure: str, key: str, statistic: Callable[[list[Any]], float], goal: float | None) -> Row:
        return row(claim, measure, found[key]["map"], statistic, found[key]["loudness"], goal=goal)

    return [
        row("applies to talking heads of 4 s with speech", "share of clips", per_person(spoken, lambda v: [applicable(v)]), share, goal=0.9),
        beside("sound shifted by -10 to 10 frames is found within 1 frame", "share of shifts", "shifts", share, 0.95),
        beside("nine of ten shifts are found within 1 frame", "share of clips", "clips", share, 0.9),
        beside("windows of 3 s in sync against shifted by 5 frames and more, by correlation", "AUC", "apart", auc_of_pairs, 0.98),
        beside("own sound against another person's, by confidence", "AUC", "told", auc_of_pairs, 0.98),
        beside("3 s of lips in the sound around them agree with the whole clip within 1 frame", "share of windows", "windows", share, 0.9),
        beside("2 s of lips in the sound around them agree with the whole clip within 1 frame", "share of windows", "short lips", share, 0.95),
        beside("2 s of lips in sound shifted by -10 to 10 frames tell the shift within 1 frame", "share of windows and shifts", "short late lips", share, 0.95),
        beside("2 s of lips and of sound agree with the whole clip within 1 frame", "share of windows", "short both", share, 0.95),
        beside("2 s of lips and of sound shifted by -10 to 10 frames tell the shift within 1 frame", "share of windows and shifts", "short late both", share, 0.95),
        beside("shifts of 3 and 8 frames are found within 1 frame in babble at 5 dB", "share of shifts", "babble", share, 0.9),
        beside("the same windows in sync against shifted, in babble at 5 dB", "AUC", "apart noisy", auc_of_pairs, 0.97),
        beside("own sound against another person's, both in babble at 5 dB", "AUC", "told noisy", auc_of_pairs, 0.9),
        row(f"own sound reaches confidence {CONFIDENT}", "share of clips", sure, share),
        row(f"another person's sound reaches confidence {CONFIDENT}", "share of pairs", misled, share, goal=0.05, better="lower"),
        row(f"a silent, moving mouth under somebody's speech reaches {CONFIDENT}", "share of pairs", dubbed, share, goal=0.02, better="lower"),
        row("cost", "CPU-s per s of clip", per_person(clips, lambda v: [cost(v)]), share, better="lower"),
    ]  # fmt: skip


def cost(voice: Voice) -> float:
    began = time.process_time()
    lip_sync.compute(voice.media(), voice.needs)
    return (time.process_time() - began) / (voice.num_frames / 25)


if __name__ == "__main__":
    command(run)
