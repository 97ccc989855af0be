"""How a session does, measured on what it puts out: sums of one size, which add up over sessions of one checkpoint.

A mouth is judged while a voice has been there for some frames: in silence it rests by design, and the gate that lets it
rest would pass for movement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from modeling.idle_motion import SPEECH_DB, loudness_db
from modeling.motion import LIPS_OUTER
from modeling.mouth_crop import SIDE_PX, across_px, crop_affine, cut, placed

SETTLED_FRAMES = 4
"""A voice that has been there for so long; by then the mouth is free to move (serving/speech_motion.py)."""
UNDERRUN_S = 0.12
"""A tick that is so late leaves the page without a picture: it plays so far behind its live edge."""
JAW_OPEN = 0


@dataclass
class Vitals:
    """Sums over what was put out. `x` is loudness in dB, `y` the mouth's opening (jaw_open) and `g` the mean gray level
    of the mouth's pixels, held still by eyes and nose so that the head's sway is not in it, of spoken frames."""

    sessions: int = 0
    frames: int = 0
    busy_s: float = 0.0
    ticks: int = 0
    underruns: int = 0
    first_fragments: int = 0
    first_fragment_s: float = 0.0
    changes: int = 0
    """Pairs of frames that were compared ..."""
    change: float = 0.0
    """... and by how many gray levels, in the mean, their mouths' pixels differ."""
    skews: int = 0
    skew_ms: float = 0.0
    spoken: int = 0
    sum_x: float = 0.0
    sum_y: float = 0.0
    sum_xx: float = 0.0
    sum_yy: float = 0.0
    sum_xy: float = 0.0
    shown: int = 0
    """Of the spoken frames those whose mouth was looked at: all or none."""
    sum_g: float = 0.0
    sum_yg: float = 0.0

    def __iadd__(self, other: Vitals) -> Vitals:
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    def figures(self) -> dict[str, float | None]:
        """What the sums say; None where nothing was measured. `fps` are frames a second that the engine would make,
        `mouth_range` the standard deviation of the mouth's opening while somebody speaks, in normalised units,
        `mouth_loudness` its correlation with the loudness of the speech, 0 for a mouth that does not move, and `mouth_shown`
        what is seen of it in the picture: by how many gray levels (standard deviation) the mouth's pixels follow it."""
        return {
            "frames": float(self.frames),
            "fps": _ratio(self.frames, self.busy_s),
            "first_fragment_s": _ratio(self.first_fragment_s, self.first_fragments),
            "underrun_ratio": _ratio(self.underruns, self.ticks),
            "skew_ms": _ratio(self.skew_ms, self.skews),
            "frame_change": _ratio(self.change, self.changes),
            "mouth_range": self.mouth_range(),
            "mouth_loudness": self.mouth_loudness(),
            "mouth_shown": self.mouth_shown(),
        }

    def mouth_range(self) -> float | None:
        return math.sqrt(max(0.0, _variance(self.spoken, self.sum_y, self.sum_yy))) if self.spoken else None

    def mouth_loudness(self) -> float | None:
        if not self.spoken:
            return None
        x = _variance(self.spoken, self.sum_x, self.sum_xx)
        y = _variance(self.spoken, self.sum_y, self.sum_yy)
        both = self.sum_xy / self.spoken - self.sum_x / self.spoken * self.sum_y / self.spoken
        return both / math.sqrt(x * y) if x > 1e-6 and y > 1e-8 else 0.0

    def mouth_shown(self) -> float | None:
        if not self.shown:
            return None
        y = _variance(self.spoken, self.sum_y, self.sum_yy)
        both = self.sum_yg / self.spoken - self.sum_g / self.spoken * self.sum_y / self.spoken
        return abs(both) / math.sqrt(y) if y > 1e-8 else 0.0


def mouth_box(avatar: Any) -> tuple[int, int, int, int]:
    """Where the mouth is in an avatar's pictures, with some skin: x0, y0, x1, y1."""
    points = avatar.plate.points[list(LIPS_OUTER), :2]
    side = np.array(avatar.plate.picture.shape[1::-1])
    wide = 0.25 * np.ptp(points, axis=0)
    x0, y0 = np.clip(points.min(axis=0) - wide, 0, side - 2).astype(int)
    x1, y1 = np.clip(points.max(axis=0) + wide, [x0 + 2, y0 + 2], side).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


class Watch:
    """Measures one session's frames into `vitals`, which may be changed for others at any time."""

    def __init__(self, avatar: Any) -> None:
        self.vitals = Vitals(sessions=1)
        x0, y0, x1, y1 = mouth_box(avatar)
        self._mouth = np.s_[y0:y1, x0:x1, 1]
        whole = avatar.plate.points
        lips = placed(whole, crop_affine(whole, across_px(whole)))[list(LIPS_OUTER)]
        wide = 0.25 * np.ptp(lips, axis=0)
        x0, y0 = np.clip(lips.min(axis=0) - wide, 0, SIDE_PX - 2).astype(int)
        x1, y1 = np.clip(lips.max(axis=0) + wide, [x0 + 2, y0 + 2], SIDE_PX).astype(int)
        self._lips = np.s_[y0:y1, x0:x1, 1]
        self._before: np.ndarray | None = None
        self._voiced = 0

    def saw(
        self,
        motion_TP: np.ndarray | None,
        frames: Sequence[np.ndarray],
        sound_N: np.ndarray,
        squares: Sequence[np.ndarray] = (),
    ) -> None:
        """One chunk: motion as it was drawn (None where none is made: then nothing is said of the mouth's opening), its frames,
        their sound, int16, and where the mouth's square lies in each."""
        told = self.vitals
        told.frames += len(frames)
        loud = loudness_db(sound_N.astype(np.float32) / 32768)
        for number, (level_db, picture) in enumerate(zip(loud, frames, strict=True)):
            self._voiced = self._voiced + 1 if level_db > SPEECH_DB else 0
            if self._voiced > SETTLED_FRAMES and motion_TP is not None:
                x, y = float(level_db), float(motion_TP[number, JAW_OPEN])
                told.spoken += 1
                told.sum_x, told.sum_y = told.sum_x + x, told.sum_y + y
                told.sum_xx, told.sum_yy, told.sum_xy = told.sum_xx + x * x, told.sum_yy + y * y, told.sum_xy + x * y
                if squares:
                    g = float(cut(picture, squares[number])[self._lips].mean())
                    told.shown, told.sum_g, told.sum_yg = told.shown + 1, told.sum_g + g, told.sum_yg + y * g
            mouth = picture[self._mouth].astype(np.int16)
            if self._before is not None:
                told.changes += 1
                told.change += float(np.abs(mouth - self._before).mean())
            self._before = mouth


def _variance(num: int, total: float, squares: float) -> float:
    return squares / num - (total / num) ** 2


def _ratio(total: float, num: float) -> float | None:
    return total / num if num else None
