"""Cuts: the first frame of every new shot, and the extent of gradual ones. Before smart clipping, as hard walls.

Two stages. Differences between frames of 48 x 27 pixels give candidates at little cost, and the sudden and lasting
ones are cuts. The uncertain (flashes, fast motion, weak cuts, dissolves, fades) are decided by TransNetV2 on the 60
frames around them; jump cuts, to which it is nearly blind, by what optical flow leaves unexplained.

Everything about a candidate is decided by the frames within 50 of the cut, so the same cut is found wherever the
borders of blocks fall; the block that holds `frame` reports it. Rows that overlap tell of one long transition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.jump_cut import is_jump
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Resources, Signal
from tasks.transnet import HEIGHT_PX, WIDTH_PX, transitions

# Shapes: T frames, H 27, W 48, C the channels Y, U, V. A difference is the sum over the channels of the mean
# absolute differences of 8-bit values. Spliced scenes have differences from 51, at least 11 times their
# neighbours'; talking heads without a cut at most 27 and 3 times, or 14 and 8 times.
SURE_DIFFERENCE, SURE_RATIO = 40.0, 6.0
DOUBTFUL = ((15.0, 3.0), (30.0, 1.8))
"""(difference, ratio): either is enough to ask TransNetV2."""
JUMP_DIFFERENCE, JUMP_RATIO = 4.0, 2.0
"""Enough to look for a jump cut."""
NEIGHBOUR_FRAMES = 5
APART_FRAMES = 4
"""A hard candidate has the largest difference within so many frames."""
RETURN_FRAMES, RETURN_SHARE = 6, 0.35
"""After a flash the picture soon differs from the one before it by no more than this share of the change."""
TWIN_SHARE = 0.4
"""The difference next to a cut's, relative to it, that tells of a blended frame between two shots."""

BLEND_REACH_FRAMES, BLEND_DIFFERENCE, BLEND_ERROR, BLEND_STEP = 6, 20.0, 0.6, 0.33
"""A gradual candidate: frames 12 apart differ, the one between is their mean but for 60 % of that, and no single
step makes more than a third of it."""
EXTENT_FRAMES = 20
"""Candidates are at least so far apart, and a gradual cut reaches at most so far from its candidate."""
PEAK_FRAMES = 10
"""The network must be surest within so many frames of a gradual candidate: what is farther is another cut."""

WINDOW_REACH_FRAMES = 30
TRANSNET_CUT = 0.5
TRANSNET_HOT = 0.15
"""Above it a frame belongs to the transition: then both ends are within 2 frames for 95 % of 80 made dissolves."""

SIGNAL = Signal(
    grain="video",
    version=4,
    timeline=(
        Column(
            "end_frame",
            pa.int32(),
            "frame",
            "first frame that is all of the new shot; frame itself for a hard cut",
            low=0,
        ),
        Column("score", pa.float32(), "score", "how sure the deciding method is", low=0.0, high=1.0, decimals=3),
        Column("method", pa.string(), "name", "what decided: content (differences and flow) or transnetv2"),
    ),
    look=Look(frames_fps=25, context_frames=50),
    resources=Resources(cpu=1.0),
    cost_cpu_s=0.011,
    weights=("transnetv2",),
    summary="shot boundaries, hard and gradual: content differences first, TransNetV2 where they are unsure",
    source="Soucek and Lokoc, TransNet V2, arXiv 2008.04838, 2020",
)


@dataclass(frozen=True)
class Cut:
    frame: int
    end_frame: int
    score: float
    method: str


def compute(media: Media, needs: Needs) -> Output:
    """One row per cut whose first frame lies in the span."""
    small_THWC = _small_frames(media)
    difference, ratio = _differences(small_THWC)
    cuts = [*_hard_cuts(media, small_THWC, difference, ratio), *_gradual_cuts(media, small_THWC, difference)]
    longest: dict[int, Cut] = {}
    for cut in cuts:
        mine = media.start_frame <= cut.frame < media.end_frame
        if mine and (cut.frame not in longest or cut.end_frame > longest[cut.frame].end_frame):
            longest[cut.frame] = cut
    rows = [longest[frame] for frame in sorted(longest)]
    table = {
        "frame": pa.array([c.frame for c in rows], pa.int32()),
        "end_frame": pa.array([c.end_frame for c in rows], pa.int32()),
        "score": pa.array([c.score for c in rows], pa.float32()),
        "method": pa.array([c.method for c in rows], pa.string()),
    }
    return Output(timeline=pa.table(table))


def _small_frames(media: Media) -> np.ndarray:
    """uint8 (T, 27, 48, 3) Y, U, V of every frame, from the planes: no full-size colour image is made for it."""
    height, width = media.height_px, media.width_px
    small_THWC = np.empty((len(media.planes), HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for t, plane in enumerate(media.planes):
        chroma = plane[height:].reshape(2, height // 2, width // 2)
        for c, channel in enumerate((plane[:height], *chroma)):
            small_THWC[t, :, :, c] = _shrunk(channel)
    return small_THWC


def _shrunk(channel_HW: np.ndarray) -> np.ndarray:
    """By area to 48 x 27: halved while twice that is left, because halving is many times faster than other ratios."""
    import cv2

    while channel_HW.shape[0] >= 4 * HEIGHT_PX and channel_HW.shape[1] >= 4 * WIDTH_PX:
        half = (channel_HW.shape[1] // 2, channel_HW.shape[0] // 2)
        even = channel_HW[: 2 * half[1], : 2 * half[0]]
        channel_HW = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(channel_HW, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA))


def _near_span(media: Media, reach_frames: int) -> range:
    """Indices into the frames given, of those in the span or within `reach_frames` of it."""
    if not len(media.frames):
        return range(0)
    first = media.frames[0]
    return range(
        max(0, media.start_frame - reach_frames - first),
        min(len(media.frames), media.end_frame + reach_frames - first),
    )


def _distance(a_HWC: np.ndarray, b_HWC: np.ndarray) -> float:
    import cv2

    return cv2.norm(a_HWC, b_HWC, cv2.NORM_L1) / (HEIGHT_PX * WIDTH_PX)


def _differences(small_THWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per frame: its difference from the frame before, and that over the mean of its neighbours' (plus noise)."""
    count = len(small_THWC)
    difference = np.array(
        [0.0] * min(1, count) + [_distance(small_THWC[t - 1], small_THWC[t]) for t in range(1, count)]
    )
    at = np.arange(count)
    first, last = np.maximum(at - NEIGHBOUR_FRAMES, 1), np.minimum(at + NEIGHBOUR_FRAMES + 1, count)
    sums = np.concatenate([[0.0], np.cumsum(difference)])
    neighbours = np.maximum(last - first - 1, 0)
    mean = (sums[last] - sums[first] - difference) / np.maximum(neighbours, 1)
    ratio = np.where(at > 0, difference / (np.where(neighbours > 0, mean, 0.0) + 0.5), 0.0)
    for t in np.flatnonzero(difference >= SURE_DIFFERENCE):
        around = np.r_[difference[first[t] : t], difference[t + 1 : last[t]]]
        beside = difference[max(1, t - 1) : t + 2]
        if len(around) > 2 and np.sort(beside)[-2] > TWIN_SHARE * difference[t]:
            # The other half of a cut with a blended frame is no neighbour.
            ratio[t] = difference[t] / (np.sort(around)[:-1].mean() + 0.5)
    return difference, ratio


def _is_peak(values_T: np.ndarray, t: int, reach: int) -> bool:
    """The largest within reach; the first of equals."""
    before, after = values_T[max(0, t - reach) : t], values_T[t + 1 : t + 1 + reach]
    return bool((before < values_T[t]).all() and (after <= values_T[t]).all())


def _hard_cuts(media: Media, small_THWC: np.ndarray, difference: np.ndarray, ratio: np.ndarray) -> list[Cut]:
    found = []
    for t in _near_span(media, APART_FRAMES):
        if difference[t] >= JUMP_DIFFERENCE and _is_peak(difference, t, APART_FRAMES):
            found.append(_decide_hard(media, small_THWC, t, difference, float(ratio[t])))
    return [cut for cut in found if cut is not None]


def _decide_hard(media: Media, small_THWC: np.ndarray, t: int, difference: np.ndarray, ratio: float) -> Cut | None:
    frame = media.frames[t]
    sudden_score = 1 - 1 / max(1.0, ratio)
    if _returns(small_THWC, t, difference[t]):
        return None
    if difference[t] >= SURE_DIFFERENCE and ratio >= SURE_RATIO:
        # Video that was resampled often has one frame that blends two shots: two large differences in a row.
        blended_before = t > 1 and difference[t - 1] > TWIN_SHARE * difference[t]
        blended_after = t + 1 < len(difference) and difference[t + 1] > TWIN_SHARE * difference[t]
        return Cut(frame - int(blended_before), frame + int(blended_after), sudden_score, "content")
    asked = None
    if any(difference[t] >= least and ratio >= times for least, times in DOUBTFUL):
        asked = _ask_transnet(media, small_THWC, t, APART_FRAMES, APART_FRAMES)
    if asked is None and ratio >= JUMP_RATIO and is_jump(media, frame):
        return Cut(frame, frame, sudden_score, "content")
    return asked


def _returns(small_THWC: np.ndarray, t: int, change: float) -> bool:
    """A flash, or a few foreign frames: soon the picture is what it was, at the change or around it."""
    after = [_distance(small_THWC[t - 1], f) for f in small_THWC[t + 1 : t + 1 + RETURN_FRAMES]]
    before = [_distance(f, small_THWC[t]) for f in small_THWC[max(0, t - 1 - RETURN_FRAMES) : t - 1]]
    return min([*after, *before], default=change) < RETURN_SHARE * change


def _gradual_cuts(media: Media, small_THWC: np.ndarray, difference: np.ndarray) -> list[Cut]:
    """Dissolves and fades: two frames differ, and the one between is about their mean; in motion it is not. And no
    single step makes much of the change, as it does in hard cuts and flashes."""
    reach = BLEND_REACH_FRAMES
    strength = np.zeros(len(small_THWC))
    for t in range(reach, len(small_THWC) - reach):
        apart = _distance(small_THWC[t - reach], small_THWC[t + reach])
        if apart >= BLEND_DIFFERENCE and difference[t - reach + 1 : t + reach + 1].max() <= BLEND_STEP * apart:
            early, middle, late = (small_THWC[i].astype(np.float32) for i in (t - reach, t, t + reach))
            error = 2 * float(np.abs(middle - (early + late) / 2).mean((0, 1)).sum())
            strength[t] = apart if error <= BLEND_ERROR * apart else 0.0
    found = []
    for t in _near_span(media, EXTENT_FRAMES):
        if strength[t] and _is_peak(strength, t, EXTENT_FRAMES):
            found.append(_ask_transnet(media, small_THWC, t, PEAK_FRAMES, EXTENT_FRAMES))
    return [cut for cut in found if cut is not None]


def _ask_transnet(media: Media, small_THWC: np.ndarray, t: int, peak_frames: int, extent_frames: int) -> Cut | None:
    """The cut that TransNetV2 sees within `peak_frames` of `t`, or None. The video's ends are repeated."""
    window = np.arange(t - WINDOW_REACH_FRAMES, t + WINDOW_REACH_FRAMES)
    one_hot_T, many_hot_T = transitions(small_THWC[np.clip(window, 0, len(small_THWC) - 1)])
    surest_T = np.maximum(one_hot_T, many_hot_T)
    low, high = WINDOW_REACH_FRAMES - extent_frames, WINDOW_REACH_FRAMES + extent_frames
    nearest = WINDOW_REACH_FRAMES - peak_frames
    first = last = peak = nearest + int(np.argmax(surest_T[nearest : WINDOW_REACH_FRAMES + peak_frames]))
    if surest_T[peak] < TRANSNET_CUT:
        return None
    while first > low and many_hot_T[first - 1] > TRANSNET_HOT:
        first -= 1
    while last < high - 1 and many_hot_T[last + 1] > TRANSNET_HOT:
        last += 1
    zero = media.frames[0] + t - WINDOW_REACH_FRAMES
    if last - first < 2:  # a hard cut: the network marks the last frame of the old shot
        first = last = peak + 1
        return Cut(zero + first, zero + last, float(surest_T[peak]), "transnetv2")
    return Cut(max(1, zero + first), zero + last + 1, float(surest_T[peak]), "transnetv2")
