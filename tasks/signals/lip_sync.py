"""Whether lips and voice belong together: their offset, and how sure it is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from infra.lag import best_lag, lag_correlation, overlap_of
from tasks.lip_features import lip_motion, lip_shape
from tasks.lip_prediction import AXES, WEIGHTS, common_axes, predicted_lips
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Signal
from tasks.whisper import ENCODER, weights_of

MAX_LAG = 15
MIN_DURATION_S = 4.0
SPEECH_PROB = 0.5
MIN_SPEECH_RATIO = 0.3
MIN_FACE_RATIO = 0.7
MIN_MOUTH_MOTION = 0.012
WINDOW_HOP_FRAMES = GRID_FPS
WINDOW_FRAMES = 3 * GRID_FPS
IN_SYNC_FRAMES = 1
FRAME_MS = 1000 / GRID_FPS

SIGNAL = Signal(
    grain="clip",
    version=3,
    columns=(
        Column(
            "offset_ms",
            pa.float32(),
            "ms",
            "by how much the sound comes after the lips, below one frame by a parabola; the search is +-600",
            -620,
            620,
            0,
        ),
        Column("offset_frames", pa.int16(), "frames", "the same in whole frames of 40 ms", -MAX_LAG, MAX_LAG),
        Column(
            "confidence",
            pa.float32(),
            "score",
            "correlation, weighed by the share of the clip that overlaps, at the offset minus its median over all lags; "
            "hardly any of other people's voices reach 0.3",
            0,
            2,
            4,
        ),
        Column("correlation", pa.float32(), "score", "of lips and predicted lips at the offset", -1, 1, 4),
        Column(
            "in_sync_ratio",
            pa.float32(),
            "ratio",
            "share of the 3 s windows of lips with speech whose own offset, in the sound around them, is within one "
            "frame of 0",
            0,
            1,
            4,
        ),
        Column("speech_s", pa.float32(), "s", "length of speech in the clip", 0, 60.1, 2),
        Column(
            "mouth_motion",
            pa.float32(),
            "ratio",
            "standard deviation of the inner lips' gap, in distances between the eyes' outer corners",
            0,
            10,
            4,
        ),
    ),
    needs=("landmarks", "vad"),
    look=Look(audio=True),
    cost_cpu_s=0.007,
    weights=(WEIGHTS, AXES, *weights_of(ENCODER)),
    params={
        "max_lag": MAX_LAG,
        "min_duration_s": MIN_DURATION_S,
        "speech_prob": SPEECH_PROB,
        "min_speech_ratio": MIN_SPEECH_RATIO,
        "min_face_ratio": MIN_FACE_RATIO,
        "min_mouth_motion": MIN_MOUTH_MOTION,
        "window_frames": WINDOW_FRAMES,
    },
    backend="whisper_ridge",
    summary="Offset of the voice against the lips, by a linear map from speech-encoder features to lip geometry, and by "
    "what is common to both along canonical axes.",
    source="Offset and confidence as in Chung and Zisserman, Out of Time, ACCV-W 2016; Hotelling, Relations Between Two "
    "Sets of Variates, Biometrika 1936; the map is our own ridge.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, short clip, little speech, no face in most frames, a mouth at rest."""
    if media.audio is None:
        raise NotApplicable("no audio")
    if media.duration_s < MIN_DURATION_S:
        raise NotApplicable("shorter than 4 s")
    speech = needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB
    num_frames = media.end_frame - media.start_frame
    if speech.sum() < MIN_SPEECH_RATIO * num_frames:
        raise NotApplicable("speech in under 30 % of the time")
    if needs["landmarks"].num_rows < MIN_FACE_RATIO * num_frames:
        raise NotApplicable("no face in most frames")
    shape_TD = lip_shape(needs["landmarks"], media.start_frame, media.end_frame)
    mouth_motion = float(shape_TD[:, 0].std())
    if mouth_motion < MIN_MOUTH_MOTION:
        raise NotApplicable("the mouth does not move")
    heard_TC, lips_TC, weights_C = compared(media.audio, shape_TD)
    curve = lag_curve(heard_TC, lips_TC, weights_C)
    lag, fraction, confidence = best_lag(curve)
    return Output(
        row={
            "offset_ms": fraction * FRAME_MS,
            "offset_frames": lag,
            "confidence": confidence,
            "correlation": float(lag_correlation(heard_TC, lips_TC, weights_C, MAX_LAG)[MAX_LAG + lag]),
            "in_sync_ratio": in_sync_ratio(heard_TC, lips_TC, weights_C, speech),
            "speech_s": float(speech.sum() / GRID_FPS),
            "mouth_motion": mouth_motion,
        }
    )


def compared(audio: np.ndarray, shape_TD: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lips as the voice leads to expect them (T, C), lips as they are seen (T, C), and the weight (C,) of each axis."""
    heard_DC, lips_DC, weights_C = common_axes()
    return predicted_lips(audio)[0] @ heard_DC, lip_motion(shape_TD) @ lips_DC, weights_C


def lag_curve(
    heard_TC: np.ndarray, lips_TC: np.ndarray, weights_C: np.ndarray, span: tuple[int, int] | None = None
) -> np.ndarray:
    """`lag_correlation` weighed by the share of the rows that overlap at each lag: the biased estimate, whose error is
    smaller where little overlaps. Without it, a window of 2 s is led astray by the 1.4 s left at its farthest lags."""
    num = min(len(heard_TC), len(lips_TC))
    start, end = span or (0, num)
    ends = [overlap_of(lag, num, start, end) for lag in range(-MAX_LAG, MAX_LAG + 1)]
    overlap = np.array([last - first for first, last in ends]) / (end - start)
    return np.asarray(lag_correlation(heard_TC, lips_TC, weights_C, MAX_LAG, span) * overlap)


def in_sync_ratio(heard_TC: np.ndarray, lips_TC: np.ndarray, weights_C: np.ndarray, speech: np.ndarray) -> float:
    """Share of windows of 3 s of lips, one a second, with speech in at least 30 % of each, that are within one frame of
    0. Where no window has so much speech, the one with the most stands for all."""
    num = min(len(heard_TC), len(lips_TC), len(speech))
    starts = range(0, num - WINDOW_FRAMES + 1, WINDOW_HOP_FRAMES)
    spoken = [float(speech[s : s + WINDOW_FRAMES].mean()) for s in starts]
    enough = min(MIN_SPEECH_RATIO, max(spoken))
    lags = []
    for start in (s for s, ratio in zip(starts, spoken, strict=True) if ratio >= enough):
        lags.append(best_lag(lag_curve(heard_TC, lips_TC, weights_C, (start, start + WINDOW_FRAMES)))[0])
    return float(np.mean([abs(lag) <= IN_SYNC_FRAMES for lag in lags]))
