"""Whether the face in view says what is heard, or a voice from elsewhere does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from infra.lag import lag_correlation
from tasks.lip_features import lip_motion, lip_shape
from tasks.lip_prediction import WEIGHTS, predicted_lips
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Signal
from tasks.whisper import ENCODER, weights_of

SPEECH_PROB = 0.5
MIN_SPEECH_FRAMES = 10
MIN_RUN_FRAMES = 2 * GRID_FPS
"""Of a face in view without a break; less motion says nothing."""
MAX_GAP_FRAMES = 5
MAX_LAG, MAX_OFFSET = 15, 8
"""Frames searched, and those of them that can be a speaker's: footage is seldom more than 7 frames out of sync."""
CHANCE_QUANTILE = 0.9
MIN_MOUTH_MOTION = 0.012
WINDOW_FRAMES, HOP_FRAMES = 3 * GRID_FPS, GRID_FPS
EVEN_MARGIN, MARGIN_SCALE = 0.12, 0.0125
"""Margins at which the score is 0.5, and by which its odds rise e-fold: a logistic fit to 4 s of 23 speaking faces under
their own voice, under others', and 14 silent faces under these, own and other alike likely. Its scorecard fits the two
numbers again without the person judged."""

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column(
            "speaking_score",
            pa.float32(),
            "score",
            "that the face in view says what is heard; from 0.5 it is taken to",
            0,
            1,
            4,
        ),
        Column(
            "margin",
            pa.float32(),
            "score",
            "of lips against predicted lips: correlation at the best lag of up to 320 ms, less the upper decile over "
            "all lags; 0 without speech, face or motion",
            -1,
            2,
            4,
        ),
        Column(
            "on_screen_ratio",
            pa.float32(),
            "ratio",
            "share of the clip in which the face in view speaks, by windows of 3 s",
            0,
            1,
            4,
        ),
        Column(
            "off_screen_ratio",
            pa.float32(),
            "ratio",
            "share of the clip in which somebody speaks, but not the face in view",
            0,
            1,
            4,
        ),
        Column(
            "voice_over_ratio",
            pa.float32(),
            "ratio",
            "share of the clip in which somebody speaks and no face is in view",
            0,
            1,
            4,
        ),
        Column(
            "silent_face_ratio",
            pa.float32(),
            "ratio",
            "share of the clip in which a face is in view and nobody speaks",
            0,
            1,
            4,
        ),
        Column(
            "kind",
            pa.string(),
            "word",
            "what most of the speech is: on_screen, off_screen or voice_over; silent without speech",
        ),
    ),
    needs=("landmarks", "vad"),
    look=Look(audio=True),
    cost_cpu_s=0.007,
    weights=(WEIGHTS, *weights_of(ENCODER)),
    params={
        "speech_prob": SPEECH_PROB,
        "min_speech_frames": MIN_SPEECH_FRAMES,
        "min_run_frames": MIN_RUN_FRAMES,
        "max_gap_frames": MAX_GAP_FRAMES,
        "max_lag": MAX_LAG,
        "max_offset": MAX_OFFSET,
        "chance_quantile": CHANCE_QUANTILE,
        "min_mouth_motion": MIN_MOUTH_MOTION,
        "window_frames": WINDOW_FRAMES,
        "margin": (EVEN_MARGIN, MARGIN_SCALE),
    },
    backend="whisper_ridge",
    summary="Speech by the face in view, from off screen or over a picture without a face, by lips against predicted lips.",
    source="The task: Roth et al., AVA-ActiveSpeaker, ICASSP 2020; the method is our own, on lip_sync's map.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio; a face in view, but under 2 s at a time, while somebody speaks."""
    if media.audio is None:
        raise NotApplicable("no audio")
    num_frames = media.end_frame - media.start_frame
    speaks = needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB
    if speaks.sum() < MIN_SPEECH_FRAMES:
        speaks = np.zeros(num_frames, bool)
    in_view = face_in_view(needs["landmarks"]["frame"].to_numpy() - media.start_frame, num_frames)
    start, end = longest_run(in_view)
    if speaks.any() and in_view.any() and end - start < MIN_RUN_FRAMES:
        raise NotApplicable("a face in view for under 2 s at a time")
    margin, on_screen = 0.0, np.zeros(num_frames, bool)
    if speaks.any() and in_view.any():
        margin, on_screen = compared(media, needs["landmarks"], start, end, speaks & in_view)
    shares = {
        "on_screen": float((speaks & in_view & on_screen).mean()),
        "off_screen": float((speaks & in_view & ~on_screen).mean()),
        "voice_over": float((speaks & ~in_view).mean()),
    }
    return Output(
        row={
            "speaking_score": score_of(margin) if speaks.any() and in_view.any() else 0.0,
            "margin": margin,
            **{f"{name}_ratio": share for name, share in shares.items()},
            "silent_face_ratio": float((in_view & ~speaks).mean()),
            "kind": max(shares, key=lambda name: shares[name]) if speaks.any() else "silent",
        }
    )


def compared(media: Media, mesh: pa.Table, start: int, end: int, told: np.ndarray) -> tuple[float, np.ndarray]:
    """The margin over the frames [start, end) of the clip, and bool (T,) whether the face speaks, by windows of 3 s.

    `told` (T,) are the frames in which somebody speaks and a face is in view; windows without such frames don't count.
    A frame takes the mean margin of the windows around it, all at the lag that fits the whole.
    """
    assert media.audio is not None
    shape_TD = lip_shape(mesh, media.start_frame, media.end_frame)
    on_screen = np.zeros(len(shape_TD), bool)
    if shape_TD[start:end, 0].std() < MIN_MOUTH_MOTION:
        return 0.0, on_screen
    lips_TD, (heard_TD, weights_D) = lip_motion(shape_TD), predicted_lips(media.audio)
    curve = lag_correlation(heard_TD[start:end], lips_TD[start:end], weights_D, MAX_LAG)
    lags = np.arange(-MAX_OFFSET, MAX_OFFSET + 1)
    lag = int(lags[np.argmax(curve[lags + MAX_LAG])])
    sums, counts = np.zeros(len(shape_TD)), np.zeros(len(shape_TD))
    length = min(WINDOW_FRAMES, end - start)
    for first in sorted({*range(start, end - length + 1, HOP_FRAMES), end - length}):
        window = slice(first, first + length)
        if told[window].any():
            part = lag_correlation(heard_TD[window], lips_TD[window], weights_D, MAX_LAG)
            sums[window] += margin_at(part, lag)
            counts[window] += 1
    on_screen[counts > 0] = sums[counts > 0] / counts[counts > 0] >= EVEN_MARGIN
    return margin_at(curve, lag), on_screen


def margin_at(curve: np.ndarray, lag: int) -> float:
    """Correlation at the lag, or one frame beside it, above what chance gives the best tenth of lags."""
    near = curve[MAX_LAG + lag - 1 : MAX_LAG + lag + 2]
    return float(near.max() - np.quantile(curve, CHANCE_QUANTILE))


def score_of(margin: float) -> float:
    return float(1 / (1 + np.exp(-(margin - EVEN_MARGIN) / MARGIN_SCALE)))


def face_in_view(frames: np.ndarray, num_frames: int) -> np.ndarray:
    """bool (T,): a mesh on the frame, or on both sides of it with a gap of at most MAX_GAP_FRAMES."""
    in_view = np.zeros(num_frames, bool)
    in_view[frames] = True
    for before, after in pairwise(frames):
        if after - before <= MAX_GAP_FRAMES + 1:
            in_view[before:after] = True
    return in_view


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """[start, end) of the longest run of True, the first of equals; (0, 0) without one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    runs = [(int(end - start), -int(start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    length, start = max(runs, default=(0, 0))
    return -start, length - start
