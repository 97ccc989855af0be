"""Smart clipping: which spans of a video become clips, as an exact optimisation on its timelines.

Stands after the video signals (faces, flow, keyframes, cuts) and before every clip signal. The choice is: disjoint
spans of largest total duration such that each span holds no cut, lasts min_s to max_s, and keeps its mean and
minimum quality, mean motion and face-presence ratio within bounds. Values are fixed-point integers here, so a bound
met exactly is met, and equal inputs give equal clips on every machine.

Method: cuts and units of too low quality are walls; between two walls, dynamic programming over the unit bounds
(weighted interval scheduling: Kleinberg and Tardos, "Algorithm Design", 2005, section 6.1) with prefix sums, so
that a span costs O(1) to check; O(units x longest clip) in time, one bit of truth per (unit, length) in memory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from tasks.clip_timelines import UNIT_FRAMES, Timelines
from tasks.signal import GRID_FPS

Span = tuple[int, int]
"""[start_frame, end_frame) on the proxy's 25 fps grid."""

VERSION = 1
"""Rises when the same timelines and parameters may give other clips."""

_SCALE = 10_000
"""Values are counted in 1/10,000, finer than any timeline declares."""


@dataclass(frozen=True)
class ClipParams:
    """The bounds of a clip. Quality is 1 to 5; motion is in percent of frame height per second; ratios are 0 to 1.

    The defaults only keep out what can't be a talking head; tiers are stricter. Whole takes of 37 talking heads
    have mean quality 2.1 to 4.8, mean motion 0.5 to 16, camera motion up to 7, a face of 83 px or more on every
    sampled frame; slides and photos that stand still reach a mean motion of 0.09 over 2 s.
    """

    min_s: float = 2.0
    max_s: float = 60.0
    quality_mean_min: float = 1.8
    quality_min_min: float = 1.2
    motion_min: float = 0.15
    motion_max: float = 40.0
    camera_motion_max: float = 20.0
    face_ratio_min: float = 0.95
    face_height_min_px: float = 24.0
    """A face of the proxy (longest side 640 px) that is smaller than this counts as none."""
    speech_ratio_min: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; give a finite number")
        if not 0 < self.min_s <= self.max_s:
            raise ValueError(f"clip length is {self.min_s} to {self.max_s} s; give 0 < min_s <= max_s")
        for name in ("face_ratio_min", "speech_ratio_min"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        if self.motion_min > self.motion_max:
            raise ValueError(f"motion_min {self.motion_min} is above motion_max {self.motion_max}; no clip can be")

    @property
    def fingerprint(self) -> str:
        """Hash of the parameters and of the method's version: 16 hexadecimal digits."""
        told = {"version": VERSION, **asdict(self)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def length_frames(self) -> tuple[int, int]:
        """Least and largest length in frames, both allowed."""
        # Rounded first: 2.2 x 25 is 55.00000000000001.
        return math.ceil(round(self.min_s * GRID_FPS, 6)), math.floor(round(self.max_s * GRID_FPS, 6))


@dataclass(frozen=True)
class Clipping:
    """The clips chosen, in order. Without one, `reason` says why in a sentence and `binding` names the constraints."""

    spans: tuple[Span, ...]
    reason: str | None = None
    binding: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Constraint:
    """A bound on the mean ("mean") or the least ("least") of one value over a span."""

    name: str
    over: Literal["mean", "least"]
    values: np.ndarray
    """int64 per unit, in 1/_SCALE, turned so that larger is better."""
    bound: int
    sign: int
    """-1 where the values were turned: the bound is an upper one."""


def clip_id(video_id: str, start_frame: int, end_frame: int) -> str:
    """The clip's name, 16 hexadecimal digits: of the span alone, whatever chose it."""
    return hashlib.sha256(f"{video_id}:{start_frame}:{end_frame}".encode()).hexdigest()[:16]


def solve(timelines: Timelines, params: ClipParams = ClipParams()) -> Clipping:
    """The disjoint spans of largest total duration that meet every bound of `params`; exact.

    Spans begin and end on multiples of 5 frames or on the first and last frame of a shot. Of equally long
    solutions it is the one with fewest clips; of those, the one whose first clip starts earliest and then is
    longest, and so on for the next clips.
    """
    constraints = _constraints(timelines, params)
    spans: list[Span] = []
    for bounds, kept in _stretches(timelines, constraints):
        spans += _best_spans(bounds, _validity(bounds, kept, params))
    if spans:
        return Clipping(tuple(spans))
    return _explain(timelines, constraints, params)


def _constraints(timelines: Timelines, params: ClipParams) -> list[_Constraint]:
    def at_least(name: str, values: np.ndarray, bound: float, over: Literal["mean", "least"] = "mean") -> _Constraint:
        return _Constraint(name, over, np.rint(values * _SCALE).astype(np.int64), round(bound * _SCALE), 1)

    def at_most(name: str, values: np.ndarray, bound: float) -> _Constraint:
        return _Constraint(name, "mean", -np.rint(values * _SCALE).astype(np.int64), -round(bound * _SCALE), -1)

    face_present = (timelines.face_height_px >= params.face_height_min_px) & (timelines.face_height_px > 0)
    return [
        at_least("quality_min", timelines.quality, params.quality_min_min, "least"),
        at_least("quality_mean", timelines.quality, params.quality_mean_min),
        at_least("motion_min", timelines.motion, params.motion_min),
        at_most("motion_max", timelines.motion, params.motion_max),
        at_most("camera_motion_max", timelines.camera_motion, params.camera_motion_max),
        at_least("face_ratio", face_present.astype(np.float64), params.face_ratio_min),
        at_least("speech_ratio", timelines.speech, params.speech_ratio_min),
    ]


def _stretches(
    timelines: Timelines, constraints: Sequence[_Constraint]
) -> Iterator[tuple[np.ndarray, list[_Constraint]]]:
    """The runs of units between walls: their bounds, and the constraints on means cut to them."""
    wall = timelines.shot < 0
    for constraint in constraints:
        if constraint.over == "least":
            wall = wall | (constraint.values < constraint.bound)
    means = [c for c in constraints if c.over == "mean"]
    run = np.where(wall, -1, timelines.shot)
    edges = np.flatnonzero(np.diff(run)) + 1
    for first, last in zip([0, *edges], [*edges, len(run)], strict=True):
        if run[first] >= 0:
            kept = [replace(c, values=c.values[first:last]) for c in means]
            yield timelines.bounds[first : last + 1].astype(np.int64), kept


def _by_length(bounds: np.ndarray, params: ClipParams) -> Iterator[tuple[int, np.ndarray]]:
    """For each length in units: which starts give a span whose length in frames is allowed."""
    least, largest = params.length_frames
    # Only the first and the last unit of a shot may be shorter than UNIT_FRAMES.
    longest_units = min(len(bounds) - 1, largest // UNIT_FRAMES + 2)
    for units in range(1, longest_units + 1):
        frames = bounds[units:] - bounds[:-units]
        yield units, (frames >= least) & (frames <= largest)


def _surplus(bounds: np.ndarray, constraint: _Constraint) -> np.ndarray:
    """Prefix sums of value above the bound, weighted by frames: a span's mean is met where its sum is >= 0."""
    above = (constraint.values - constraint.bound) * np.diff(bounds)
    return np.concatenate([[0], np.cumsum(above)])


def _validity(bounds: np.ndarray, constraints: Sequence[_Constraint], params: ClipParams) -> np.ndarray:
    """bool (units, lengths): whether the span from a unit over length + 1 units meets everything."""
    prefixes = [_surplus(bounds, c) for c in constraints]
    rows = []
    for units, allowed in _by_length(bounds, params):
        row = np.zeros(len(bounds) - 1, bool)
        for prefix in prefixes:
            allowed &= prefix[units:] >= prefix[:-units]
        row[: len(allowed)] = allowed
        rows.append(row)
    return np.ascontiguousarray(np.stack(rows, axis=1))


def _best_spans(bounds: np.ndarray, valid: np.ndarray) -> list[Span]:
    """Weighted interval scheduling from the right; a score is frames x weight - clips, so that frames come first."""
    num_units, num_lengths = valid.shape
    weight = num_units + 1
    score = np.zeros(num_units + 1, np.int64)
    chosen_end = np.zeros(num_units, np.int64)
    for start in range(num_units - 1, -1, -1):
        score[start] = score[start + 1]
        lengths = np.flatnonzero(valid[start, : min(num_lengths, num_units - start)])
        if not len(lengths):
            continue
        ends = start + 1 + lengths[::-1]  # the longest first: argmax takes the first of equals
        gains = (bounds[ends] - bounds[start]) * weight - 1 + score[ends]
        best = int(np.argmax(gains))
        if gains[best] >= score[start]:  # equal: the earlier start wins
            score[start], chosen_end[start] = gains[best], ends[best]
    spans, unit = [], 0
    while unit < num_units:
        if chosen_end[unit]:
            spans.append((int(bounds[unit]), int(bounds[chosen_end[unit]])))
            unit = int(chosen_end[unit])
        else:
            unit += 1
    return spans


def _feasible(timelines: Timelines, constraints: Sequence[_Constraint], params: ClipParams) -> bool:
    return any(_validity(bounds, kept, params).any() for bounds, kept in _stretches(timelines, constraints))


def _explain(timelines: Timelines, constraints: Sequence[_Constraint], params: ClipParams) -> Clipping:
    """Which constraints leave no span: those that alone would free one if dropped, else those no span meets even
    by themselves, else a smallest set that can't be met together."""
    if not _feasible(timelines, [], params):
        longest_s = max((int(np.ptp(b)) for b, _ in _stretches(timelines, [])), default=0) / GRID_FPS
        told = (
            f"no span of {params.min_s:g} to {params.max_s:g} s lies between cuts: the longest shot is {longest_s:g} s"
        )
        return Clipping((), told, ("length",))

    def without(constraint: _Constraint) -> list[_Constraint]:
        return [c for c in constraints if c is not constraint]

    freeing = [c for c in constraints if _feasible(timelines, without(c), params)]
    if freeing:
        told = "; or ".join(_sentence(timelines, c, without(c), params) for c in freeing)
        return Clipping((), told, tuple(c.name for c in freeing))
    hopeless = [c for c in constraints if not _feasible(timelines, [c], params)]
    if hopeless:
        told = "; and ".join(_sentence(timelines, c, [], params) for c in hopeless)
        return Clipping((), told, tuple(c.name for c in hopeless))
    clashing = list(constraints)
    for constraint in constraints:
        fewer = [c for c in clashing if c is not constraint]
        if not _feasible(timelines, fewer, params):
            clashing = fewer
    bounds_told = " and ".join(_bound_told(c) for c in clashing)
    told = f"no span of {params.min_s:g} s meets {bounds_told} together"
    return Clipping((), told, tuple(c.name for c in clashing))


def _sentence(timelines: Timelines, missed: _Constraint, rest: Sequence[_Constraint], params: ClipParams) -> str:
    best = _best_value(timelines, missed, rest, params) * missed.sign / _SCALE
    among = " that meets the rest" if rest else ""
    return f"no span of {params.min_s:g} s{among} has {_bound_told(missed)}: the best has {best:.4g}"


def _bound_told(constraint: _Constraint) -> str:
    relation = ">=" if constraint.sign > 0 else "<="
    return f"{constraint.name} {relation} {constraint.bound * constraint.sign / _SCALE:g}"


def _best_value(timelines: Timelines, missed: _Constraint, rest: Sequence[_Constraint], params: ClipParams) -> float:
    """The largest mean (or least value) of `missed` over all spans that meet `rest`, in 1/_SCALE."""
    best = -np.inf
    for bounds, kept in _stretches(timelines, rest):
        first = int(np.searchsorted(timelines.bounds, bounds[0]))
        values = missed.values[first : first + len(bounds) - 1]
        total = np.concatenate([[0], np.cumsum(values * np.diff(bounds))])
        valid = _validity(bounds, kept, params)
        least = values
        for units in range(1, valid.shape[1] + 1):
            if units > 1:
                least = np.minimum(least[:-1], values[units - 1 :])
            allowed = valid[: len(bounds) - units, units - 1]
            if allowed.any():
                mean = (total[units:] - total[:-units]) / (bounds[units:] - bounds[:-units])
                best = max(best, float((least if missed.over == "least" else mean)[allowed].max()))
    return best


@dataclass(frozen=True)
class Comparison:
    """What a new clipping does to an old one. `moved` holds (old, new, IoU), IoU from 0.5 to below 1."""

    kept: tuple[Span, ...]
    moved: tuple[tuple[Span, Span, float], ...]
    lost: tuple[Span, ...]
    added: tuple[Span, ...]

    @property
    def inherited(self) -> tuple[tuple[Span, Span], ...]:
        """(old, new) whose labels pass on: IoU of at least 0.9."""
        return (*((s, s) for s in self.kept), *((old, new) for old, new, iou in self.moved if iou >= 0.9))


def compare(old: Sequence[Span], new: Sequence[Span]) -> Comparison:
    """Old spans beside new ones of the same video; each list holds disjoint spans, so a match is nearly unique."""
    kept = sorted(set(old) & set(new))
    left, right = sorted(set(old) - set(kept)), sorted(set(new) - set(kept))
    overlaps = sorted((-_iou(a, b), a, b) for a in left for b in right if _iou(a, b) >= 0.5)
    moved: dict[Span, tuple[Span, float]] = {}
    for minus_iou, a, b in overlaps:
        if a not in moved and b not in {m for m, _ in moved.values()}:
            moved[a] = (b, -minus_iou)
    taken = {b for b, _ in moved.values()}
    return Comparison(
        kept=tuple(kept),
        moved=tuple((a, *moved[a]) for a in sorted(moved)),
        lost=tuple(a for a in left if a not in moved),
        added=tuple(b for b in right if b not in taken),
    )


def _iou(a: Span, b: Span) -> float:
    overlap = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return overlap / (a[1] - a[0] + b[1] - b[0] - overlap)
