"""What sound does not decide: blinks, and how the head wanders. Drawn from a seed, frame by frame, in a stream or at once.

Blinks come after waits that are log-normally long; the head sways as noise through two equal low-passes, more while
somebody speaks. Its numbers are fitted to the training clips; where those say too little, published ones stand.

Legend: T frames at 25 fps; the columns of what is given are the two lids, then pitch, yaw and roll, normalised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling.motion import BLINKS, HEAD
from store.media import GRID_FPS

if TYPE_CHECKING:
    from modeling.motion_set import MotionClip  # it brings torch, which a gateway does without

BLINK_SHAPE = (0.45, 1.0, 1.0, 0.75, 0.45, 0.2)
"""Share of the way shut on each frame: closing takes a third of a blink of 0.25 s (Stern et al., 1984)."""
BLINK_FROM = 0.35
"""A lid that is shut further than this, and was not before, begins a blink."""
RATE_PER_MIN, RATE_LEAST_BLINKS = 26.0, 20
"""In conversation (Bentivoglio et al., 1997); taken when the training clips show fewer blinks than the second."""
WAIT_SPREAD = 0.6
"""Of the logarithm of the wait between two blinks; chosen so that few waits are under 1 s or over 8 s."""
SILENT_SHARE = 0.5
"""The head sways half as far when nobody speaks; chosen."""
SPEECH_DB, SPEECH_SLOPE_DB, SPEECH_TAU_S = -42.0, 4.0, 0.4
"""From loudness to being spoken: half at the first, and how fast it follows."""
FIT_LAG = 5
"""Autocorrelation is read at 0.2 s: from one frame to the next most of a still head's change is the mesh's jitter."""

SKIP_FRAMES = 1000


@dataclass(frozen=True)
class Idle:
    """The numbers of the draw, all in normalised units."""

    blinks_per_min: float
    blink_depth: float
    sway: tuple[float, float, float]
    """Standard deviation of pitch, yaw and roll while somebody speaks."""
    pole: tuple[float, float, float]
    """Of both low-passes, per frame."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def idle_from(told: Mapping[str, Any]) -> Idle:
    """From what `to_dict` gave."""
    return Idle(told["blinks_per_min"], told["blink_depth"], tuple(told["sway"]), tuple(told["pole"]))


def fit_idle(clips: Sequence[MotionClip], told_TP: Sequence[np.ndarray]) -> Idle:
    """Fits the numbers to clips. `told_TP` is what the network says of each clip's head, (T, 3): the rest is swayed."""
    number, seconds, depths = 0, 0.0, []
    for clip in clips:
        lids = clip.motion.values[:, BLINKS].mean(axis=1)
        if clip.motion.seen[:, BLINKS].mean() > 0.5:
            begins = np.flatnonzero((lids[1:] >= BLINK_FROM) & (lids[:-1] < BLINK_FROM))
            number, seconds = number + len(begins), seconds + len(lids) / GRID_FPS
            depths += [float(lids[b + 1 : b + 6].max()) for b in begins]
    enough = number >= RATE_LEAST_BLINKS
    rate = 60 * number / seconds if enough else RATE_PER_MIN
    rest = [c.motion.values[:, HEAD] - t for c, t in zip(clips, told_TP, strict=True) if len(c) > 3 * FIT_LAG]
    rest = [r - r.mean(axis=0) for r in rest]
    spread = np.sqrt(np.mean(np.concatenate([np.square(r) for r in rest]), axis=0))
    lagged = np.mean(np.concatenate([r[FIT_LAG:] * r[:-FIT_LAG] for r in rest]), axis=0)
    poles = tuple(_pole(float(c / max(s * s, 1e-12))) for c, s in zip(lagged, spread, strict=True))
    depth = float(np.median(depths)) if enough else 0.8
    return Idle(round(rate, 2), round(depth, 3), tuple(np.round(spread, 4).tolist()), poles)  # type: ignore[arg-type]


class IdleMotion:
    """The draw for one stream. The same seed and sound give the same motion, however the sound is cut."""

    def __init__(self, idle: Idle, seed: int) -> None:
        self.idle = idle
        self._draw = np.random.default_rng(seed)
        self._wait = -1.0
        self._in_blink = len(BLINK_SHAPE)
        self._low = np.zeros((2, 3))
        self._spoken = 0.0
        self._begun = False

    def step(self, loudness_db_T: np.ndarray) -> np.ndarray:
        """Float32 (T, 5) for frames of this loudness (RMS against full scale)."""
        made = np.zeros((len(loudness_db_T), 5), np.float32)
        pole = np.array(self.idle.pole)
        # Two low-passes in a row of unit noise have this variance (of an AR(2) with a double pole).
        gain = np.array(self.idle.sway) / np.sqrt((1 + pole**2) / (1 - pole**2) ** 3)
        for t, (level_db, noise) in enumerate(
            zip(loudness_db_T, self._draw.standard_normal((len(made), 4)), strict=True)
        ):
            if not self._begun:  # it begins in the usual pose, with open eyes
                self._begun, self._wait = True, self._next_wait(noise[0])
            spoken = 1 / (1 + math.exp(-(min(max(float(level_db), -100.0), 0.0) - SPEECH_DB) / SPEECH_SLOPE_DB))
            self._spoken += (spoken - self._spoken) / (SPEECH_TAU_S * GRID_FPS)
            self._low[0] = pole * self._low[0] + noise[1:]
            self._low[1] = pole * self._low[1] + self._low[0]
            made[t, 2:] = gain * self._low[1] * (SILENT_SHARE + (1 - SILENT_SHARE) * self._spoken)
            made[t, :2] = self._lid(noise[0])
        return made

    def skip(self, num_frames: int) -> None:
        """Goes on by so many frames of silence: blinks and the sway's noise do not depend on what is said."""
        for at in range(0, num_frames, SKIP_FRAMES):
            self.step(np.full(min(SKIP_FRAMES, num_frames - at), -100.0))

    def _lid(self, noise: float) -> float:
        if self._in_blink < len(BLINK_SHAPE):
            self._in_blink += 1
            return self.idle.blink_depth * BLINK_SHAPE[self._in_blink - 1]
        self._wait -= 1
        if self._wait <= 0:
            self._wait, self._in_blink = self._next_wait(noise), 0
        return 0.0

    def _next_wait(self, noise: float) -> float:
        """Frames until the next blink; log-normal, so that with the blink itself the mean rate is the fitted one."""
        mean = max(60 * GRID_FPS / self.idle.blinks_per_min - len(BLINK_SHAPE) - 1, 5.0)
        return float(mean * math.exp(WAIT_SPREAD * float(noise) - WAIT_SPREAD**2 / 2))


def loudness_db(sound_N: np.ndarray) -> np.ndarray:
    """RMS of each frame's 40 ms against full scale, (T,); digital silence is -100."""
    frames = sound_N[: len(sound_N) // 640 * 640].reshape(-1, 640).astype(np.float64)
    return np.asarray(20 * np.log10(np.maximum(np.sqrt(np.square(frames).mean(axis=1)), 1e-5)))


def _pole(correlation: float) -> float:
    """The double pole whose motion is so alike after FIT_LAG frames, by bisection; 0.5 to 0.99."""

    def alike(a: float) -> float:
        return (1 + FIT_LAG * (1 - a * a) / (1 + a * a)) * float(a**FIT_LAG)

    low, high = 0.5, 0.99
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if alike(middle) < correlation else (low, middle)
    return round((low + high) / 2, 4)
