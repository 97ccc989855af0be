"""What smart clipping reads: a video's timelines brought to units of 5 frames that no cut divides.

The bounds of the units are the multiples of 5 frames, the frame of every cut, and the end of every gradual one; so
spans made of whole units reach the exact first and last frame of a shot, and the units beside a cut may be
shorter than 5 frames. A unit takes the nearest sample of its own shot: what was measured beyond a cut never counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

UNIT_FRAMES = 5
"""0.2 s: the step of the faces and flow timelines."""

FLOW_REACH_FRAMES = 5
"""A flow row compares its frame with the one this much later, so before a cut it looks across it."""

FACE_SCORE_MIN = 0.85
"""Surer than the detector's own bound: talking heads score 0.90 or more, a cat and traffic up to 0.80."""


@dataclass(frozen=True)
class Timelines:
    """Values per unit. `bounds` has one entry more than the rest: unit i holds frames [bounds[i], bounds[i + 1])."""

    num_frames: int
    bounds: np.ndarray
    shot: np.ndarray
    """Number of the unit's shot, from 0; -1 where the unit belongs to none (a gradual cut, or nothing measured)."""
    quality: np.ndarray
    motion: np.ndarray
    """Of the subject, percent of frame height per second."""
    camera_motion: np.ndarray
    face_height_px: np.ndarray
    """Of the largest face, in pixels of the proxy; 0 without a face."""
    speech: np.ndarray
    """1 where somebody speaks, else 0; 0 throughout when the video has no sound."""

    def __post_init__(self) -> None:
        if self.bounds[0] != 0 or self.bounds[-1] != self.num_frames or (np.diff(self.bounds) <= 0).any():
            raise ValueError(f"unit bounds must rise from 0 to {self.num_frames}, not {self.bounds.tolist()[:8]} ...")
        for name in ("shot", "quality", "motion", "camera_motion", "face_height_px", "speech"):
            values = getattr(self, name)
            if len(values) != len(self.bounds) - 1 or not np.isfinite(values).all():
                raise ValueError(
                    f"timeline {name}: {len(values)} values for {len(self.bounds) - 1} units, "
                    f"{int((~np.isfinite(values)).sum())} of them not finite; give one finite value per unit"
                )


def timelines_from(
    num_frames: int,
    faces: pa.Table,
    flow: pa.Table,
    keyframes: pa.Table,
    cuts: pa.Table,
    vad: pa.Table | None = None,
    *,
    first_frame: int = 0,
    speech_prob_min: float = 0.5,
) -> Timelines:
    """The video's timelines on units that no cut divides. `vad` is None when the video has no sound.

    Frames before `first_frame` repeat the first picture until it starts: like a gradual cut, they are in no shot.
    Raises ValueError when the video has no frames.
    """
    if num_frames < 1:
        raise ValueError(f"video of {num_frames} frames; clipping needs at least one")
    edges = [(int(a), int(b)) for a, b in zip(_column(cuts, "frame"), _column(cuts, "end_frame"), strict=True)]
    if first_frame:
        edges = [(0, first_frame), *edges]
    bounds = unit_bounds(num_frames, edges)
    shot = shot_numbers(bounds, edges)
    face_frames, face_heights = _largest_faces(num_frames, faces)
    flow_frames = _column(flow, "frame")
    within = _within_a_shot(flow_frames, edges)
    key_frames = _column(keyframes, "frame")
    measured, unmeasured = {}, np.zeros(len(shot), bool)
    for name, frames, values in (
        ("face_height_px", face_frames, face_heights),
        ("motion", flow_frames[within], _column(flow, "subject")[within]),
        ("camera_motion", flow_frames[within], _column(flow, "camera")[within]),
        ("quality", key_frames, _column(keyframes, "quality")),
    ):
        measured[name], missing = _nearest_in_shot(bounds, shot, edges, frames, values)
        unmeasured |= missing
    return Timelines(
        num_frames=num_frames,
        bounds=bounds,
        shot=np.where(unmeasured, -1, shot),
        speech=_speech(bounds, vad, speech_prob_min),
        **measured,
    )


def unit_bounds(num_frames: int, cuts: Sequence[tuple[int, int]]) -> np.ndarray:
    """The frames at which a clip may start or end, ascending, from 0 to `num_frames`. A cut is (frame, end_frame)."""
    inside = [f for cut in cuts for f in cut if 0 < f < num_frames]
    return np.array(sorted({*range(0, num_frames, UNIT_FRAMES), *inside, num_frames}), np.int64)


def shot_numbers(bounds: np.ndarray, cuts: Sequence[tuple[int, int]]) -> np.ndarray:
    """Each unit's shot: the number of cuts that begin at or before it, and -1 inside a gradual cut."""
    starts = bounds[:-1]
    shot: np.ndarray = np.searchsorted(np.sort([a for a, _ in cuts]), starts, side="right")
    for first, end in cuts:
        shot[(starts >= first) & (starts < end)] = -1
    return shot


def _column(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy())


def _largest_faces(num_frames: int, faces: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The sampled frames and the height of the largest sure face of each; frames without a row have no face."""
    frames = np.arange(0, num_frames, UNIT_FRAMES)
    heights = np.zeros(len(frames))
    sure = _column(faces, "score") >= FACE_SCORE_MIN
    height = _column(faces, "y1") - _column(faces, "y0")
    np.maximum.at(heights, _column(faces, "frame")[sure] // UNIT_FRAMES, height[sure])
    return frames, heights


def _within_a_shot(frames: np.ndarray, cuts: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which flow rows compare two frames of one shot."""
    clear = np.ones(len(frames), bool)
    for first, end in cuts:
        clear &= (frames + FLOW_REACH_FRAMES < first) | (frames >= end)
    return clear


def _nearest_in_shot(
    bounds: np.ndarray, shot: np.ndarray, cuts: Sequence[tuple[int, int]], frames: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Per unit the value of the sample nearest to its first frame, of the same shot; and where there is none."""
    found = np.zeros(len(shot))
    missing = np.ones(len(shot), bool)
    unit_of_sample = np.searchsorted(bounds, frames, side="right") - 1
    inside = (unit_of_sample >= 0) & (unit_of_sample < len(shot))
    shot_of_sample = np.where(inside, shot[np.clip(unit_of_sample, 0, len(shot) - 1)], -1)
    for number in np.unique(shot[shot >= 0]):
        at, have = np.flatnonzero(shot == number), np.flatnonzero(shot_of_sample == number)
        if len(have):
            after = np.clip(np.searchsorted(frames[have], bounds[at]), 0, len(have) - 1)
            before = np.maximum(after - 1, 0)
            nearer_before = np.abs(frames[have[before]] - bounds[at]) <= np.abs(frames[have[after]] - bounds[at])
            found[at] = values[have[np.where(nearer_before, before, after)]]
            missing[at] = False
    return found, missing


def _speech(bounds: np.ndarray, vad: pa.Table | None, speech_prob_min: float) -> np.ndarray:
    if vad is None or not vad.num_rows:
        return np.zeros(len(bounds) - 1)
    frames, spoken = _column(vad, "frame"), (_column(vad, "speech_prob") >= speech_prob_min).astype(np.float64)
    nearest = np.clip(np.searchsorted(frames, bounds[:-1]), 0, len(frames) - 1)
    return spoken[nearest]
