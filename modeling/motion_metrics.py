"""How well a predicted mouth moves: distances, correlation and lag beside the baselines, and what it does in silence.

Everything is in normalised units: one standard deviation of the person's own motion, 0 their rest. Intervals are those of
a bootstrap over people, each with all of their clips; with one clip a person that is over clips, and so it is where only time
is held out.

Legend: T frames at 25 fps, P parameters, K the four of the mouth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from infra.lag import best_lag, lag_correlation
from modeling.log_mel import SAMPLES_PER_FRAME
from modeling.motion import MOUTH, PARAMETERS
from modeling.motion_set import MotionClip
from store.media import GRID_FPS

Predict = Callable[[np.ndarray], np.ndarray]
"""From a sound of 640 T samples to its motion, (T, 4 or more): the mouth's parameters first."""

MAX_LAG = 8
"""Frames, 320 ms."""
NUM_RESAMPLES = 2000
CONTEXT_FRAMES = 10
"""How far back the RMS baseline looks: 0.4 s."""
SILENT_PROB, SILENT_FRAMES = 0.3, 8
"""Silence begins once nobody speaks, by VAD, for 0.32 s."""
SILENCE_S, AFTER_VOICE_S, SETTLE_S = 4.0, 2, 0.5
QUIET_DB = -62.0
"""Of the noise of a room, in the test sound that has no voice."""


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % interval, and over how many clips."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def evaluate(
    predictors: Mapping[str, Predict], clips: Sequence[MotionClip], *, ours: str = "ours", seed: int = 0,
    over_clips: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """For each predictor its measures over the clips, and how far the others are behind `ours`, clip by clip.

    {"num_clips", "num_people", "seconds", "measures": {name: {measure: figure}}, "ahead": {baseline: {measure: figure}},
    "lag": {parameter: figure}, "silence": {measure: figure}}. In "ahead" a figure above 0 means that ours is better. Intervals
    are over people, or `over_clips`. Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("evaluate: no clip is held out; give a larger tier")
    rows = {name: [clip_measures(predict(c.sound)[:, MOUTH], c) for c in clips] for name, predict in predictors.items()}
    num_people = len({c.who for c in clips})
    if over_clips:
        clips = [replace(c, who=f"{c.who} {c.clip_id} {c.first_frame}") for c in clips]
    people = [c.who for c in clips]
    names = list(rows[ours][0])
    measures = {
        name: {m: figure([r[m] for r in mine], people, seed).to_dict() for m in names} for name, mine in rows.items()
    }
    ahead = {}
    for name, theirs in rows.items():
        if name != ours:
            better = {m: (1 if "correlation" in m else -1) for m in names}
            ahead[name] = {
                m: figure(
                    [better[m] * (a[m] - b[m]) for a, b in zip(rows[ours], theirs, strict=True)], people, seed
                ).to_dict()
                for m in names
            }
    mouths = [predictors[ours](c.sound)[:, MOUTH] for c in clips]
    return {
        "num_clips": len(clips),
        "num_people": num_people,
        "seconds": round(sum(len(c) for c in clips) / GRID_FPS, 2),
        "measures": measures,
        "ahead": ahead,
        "lag": _lags(mouths, clips, seed),
        "silence": silence(predictors[ours], clips, seed),
    }


def clip_measures(made_TK: np.ndarray, clip: MotionClip) -> dict[str, float]:
    """Of one clip: lip motion distance in position (standard deviations) and velocity (those a second), the mean over
    frames of the distance over the mouth's four parameters; correlation of each parameter, and their mean.
    A prediction that does not move has correlation 0."""
    true, seen = clip.motion.values[:, MOUTH].astype(np.float64), clip.motion.seen[:, 0]
    wrong = made_TK.astype(np.float64) - true
    both = seen[1:] & seen[:-1]
    found = {
        "lip_distance": float(np.linalg.norm(wrong[seen], axis=1).mean()),
        "lip_velocity_distance": float(np.linalg.norm(np.diff(wrong, axis=0)[both], axis=1).mean() * GRID_FPS),
    }
    each = [_correlation(made_TK[seen, k], true[seen, k]) for k in range(MOUTH.stop)]
    found |= {f"correlation_{n}": c for n, c in zip(PARAMETERS[MOUTH], each, strict=True)}
    return {**found, "correlation": float(np.mean(each))}


def figure(values: Sequence[float], people: Sequence[str], seed: int = 0, digits: int = 4) -> Figure:
    """Mean over clips, with a percentile interval of a bootstrap over people, rounded to so many decimals."""
    by_person: dict[str, list[float]] = {}
    for value, person in zip(values, people, strict=True):
        by_person.setdefault(person, []).append(value)
    sums = np.array([sum(v) for v in by_person.values()])
    counts = np.array([len(v) for v in by_person.values()], np.float64)
    picks = np.random.default_rng(seed).integers(0, len(sums), (NUM_RESAMPLES, len(sums)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    value, low, high = (round(float(v), digits) for v in (np.mean(values), low, high))
    return Figure(value, low, high, len(values))


# Baselines


@dataclass(frozen=True)
class MeanMotion:
    """The mean of the training clips on every frame, (K,)."""

    mean: Sequence[float]

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        return np.tile(np.array(self.mean), (len(sound) // SAMPLES_PER_FRAME, 1))


@dataclass(frozen=True)
class RmsToMouth:
    """All four parameters from loudness: its decibels in each 10 ms, from 0.4 s before a frame to its end. Far more than
    the usual gain on the jaw, so that beating it means something. `map` is (I + 1, K), its last row the constant."""

    centre: Sequence[float]
    spread: Sequence[float]
    map: Sequence[Sequence[float]]

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        rows = (_loudness(sound) - np.array(self.centre)) / np.array(self.spread)
        return np.asarray(np.concatenate([rows, np.ones((len(rows), 1))], axis=1) @ np.array(self.map))


def mean_motion(train: Sequence[MotionClip]) -> MeanMotion:
    return MeanMotion(np.concatenate([_mouth(c) for c in train]).mean(axis=0).tolist())


def rms_to_mouth(train: Sequence[MotionClip], penalty: float = 1e-2) -> RmsToMouth:
    """By ridge regression over the training clips."""
    inputs = np.concatenate([_loudness(c.sound)[c.motion.seen[:, 0]] for c in train])
    targets = np.concatenate([_mouth(c) for c in train])
    centre, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    scaled = np.concatenate([(inputs - centre) / spread, np.ones((len(inputs), 1))], axis=1)
    gram = scaled.T @ scaled + penalty * len(scaled) * np.eye(scaled.shape[1])
    map_IK = np.linalg.solve(gram, scaled.T @ targets)
    return RmsToMouth(*(np.round(v, 6).tolist() for v in (centre, spread, map_IK)))


def baselines(train: Sequence[MotionClip]) -> dict[str, Predict]:
    return {"mean_motion": mean_motion(train), "rms_to_mouth": rms_to_mouth(train)}


def baselines_to_dict(made: Mapping[str, Predict]) -> dict[str, Any]:
    """For the checkpoint: another snapshot is judged beside the same baselines."""
    return {name: asdict(predict) for name, predict in made.items()}  # type: ignore[call-overload]


def baselines_from(told: Mapping[str, Any]) -> dict[str, Predict]:
    return {"mean_motion": MeanMotion(**told["mean_motion"]), "rms_to_mouth": RmsToMouth(**told["rms_to_mouth"])}


def _mouth(clip: MotionClip) -> np.ndarray:
    found: np.ndarray = clip.motion.values[clip.motion.seen[:, 0]][:, MOUTH].astype(np.float64)
    return found


def _loudness(sound_N: np.ndarray) -> np.ndarray:
    """(T, 4 * (CONTEXT_FRAMES + 1)) decibels of 10 ms each, the newest last."""
    pieces = sound_N.reshape(-1, 160).astype(np.float64)
    level = 10 * np.log10(np.square(pieces).mean(axis=1) + 1e-8)
    padded = np.concatenate([np.full(4 * CONTEXT_FRAMES, -80.0), level])
    num = len(sound_N) // SAMPLES_PER_FRAME
    return np.stack([padded[4 * t : 4 * t + 4 * (CONTEXT_FRAMES + 1)] for t in range(num)])


# Silence


def silence(predict: Predict, clips: Sequence[MotionClip], seed: int = 0) -> dict[str, Any]:
    """What the mouth does when nobody speaks: how far open it stands (jaw_open, standard deviations from closed) and how
    it quivers (speed of the mouth's four parameters, standard deviations a second).

    "pauses": in the clips' own, beside the person's; "after_voice": in silence put after each clip, from 0.5 s on;
    "nothing": when there never was a voice, digital silence and the noise of a room.
    """
    people = [c.who for c in clips]
    found: dict[str, Any] = {}
    pauses = [(c, p) for c in clips if (p := pauses_of(c)).any()]
    if pauses:
        names = [c.who for c, _ in pauses]
        made = [predict(c.sound)[:, MOUTH] for c, _ in pauses]
        true = [c.motion.values[:, MOUTH] for c, _ in pauses]
        for who, mouths in (("", made), ("person_", true)):
            rows = [still(m, p) for m, (_, p) in zip(mouths, pauses, strict=True)]
            found[f"pauses_{who}open"] = figure([o for o, _ in rows], names, seed).to_dict()
            found[f"pauses_{who}quiver"] = figure([q for _, q in rows], names, seed).to_dict()
    rows = [after_voice(predict, c.sound) for c in clips]
    found["after_voice_open"] = figure([o for o, _ in rows], people, seed).to_dict()
    found["after_voice_quiver"] = figure([q for _, q in rows], people, seed).to_dict()
    for name, level in (("digital", 0.0), ("room", 10 ** (QUIET_DB / 20))):
        sound = np.random.default_rng(seed).normal(0, 1, round(SILENCE_S * 16_000)).astype(np.float32) * np.float32(
            level
        )
        opened, quiver = still(predict(sound)[:, MOUTH], settled(round(SILENCE_S * GRID_FPS)))
        found[f"nothing_{name}_open"], found[f"nothing_{name}_quiver"] = round(opened, 4), round(quiver, 4)
    return found


def after_voice(predict: Predict, sound_N: np.ndarray) -> tuple[float, float]:
    """(open, quiver) in 2 s of a room's noise that follow the sound, once the mouth had 0.5 s to close."""
    made = predict(np.concatenate([sound_N, quiet_room(AFTER_VOICE_S)]))[-AFTER_VOICE_S * GRID_FPS :, MOUTH]
    return still(made, settled(len(made)))


def quiet_room(seconds: int) -> np.ndarray:
    """The noise of a room in which nobody speaks, float32 at 16 kHz; always the same."""
    return np.random.default_rng(0).normal(0, 10 ** (QUIET_DB / 20), seconds * 16_000).astype(np.float32)


def still(mouth_TK: np.ndarray, where_T: np.ndarray) -> tuple[float, float]:
    """(open, quiver): mean of jaw_open, and mean speed of the mouth a second, over these frames."""
    both = where_T[1:] & where_T[:-1]
    speed = np.linalg.norm(np.diff(mouth_TK, axis=0), axis=1) * GRID_FPS
    return float(mouth_TK[where_T, 0].mean()), float(speed[both].mean()) if both.any() else 0.0


def pauses_of(clip: MotionClip) -> np.ndarray:
    """Frames of which, and of the SILENT_FRAMES before which, none has speech; bool (T,)."""
    spoken = np.concatenate([np.ones(SILENT_FRAMES, bool), clip.speech >= SILENT_PROB])
    recent = np.convolve(spoken, np.ones(SILENT_FRAMES + 1), "valid") > 0
    return np.asarray(~recent & clip.motion.seen[:, 0])


def settled(num: int) -> np.ndarray:
    """Of frames without a voice those that come once the mouth had time to close, bool (T,)."""
    return np.arange(num) >= round(SETTLE_S * GRID_FPS)


def _lags(mouths: Sequence[np.ndarray], clips: Sequence[MotionClip], seed: int) -> dict[str, Any]:
    """By parameter, how many milliseconds the prediction is late (> 0) where it fits best, of clips of 1.6 s and more."""
    found = {}
    for k, name in enumerate(PARAMETERS[MOUTH]):
        lags, people = [], []
        for made, clip in zip(mouths, clips, strict=True):
            if len(clip) >= 5 * MAX_LAG and made[:, k].std() > 1e-6:
                curve = lag_correlation(made[:, k : k + 1], clip.motion.values[:, k : k + 1], np.ones(1), MAX_LAG)
                lags.append(best_lag(curve)[1] * 1000 / GRID_FPS)
                people.append(clip.who)
        if lags:
            found[name] = {**figure(lags, people, seed).to_dict(), "median": round(float(np.median(lags)), 1)}
    return found


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / power) if power > 1e-9 else 0.0
