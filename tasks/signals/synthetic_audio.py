"""Whether a voice was made by a machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.backend import Backend
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Resources, Signal
from tasks.speaker_encoder import spoken
from tasks.voice_texture import WINDOW_S, texture

WEIGHTS = "synthetic_audio"
SPEECH_PROB = 0.5
MIN_SPEECH_S = 1.0

SIGNAL = Signal(
    grain="clip",
    version=3,
    columns=(
        Column(
            "synthetic_score",
            pa.float32(),
            "score",
            "that the voice was made by a machine; from 0.5 it is taken to be. A low score is no proof of a real voice: "
            "of kinds of synthesis that it was not fitted on it may know nothing",
            0,
            1,
            4,
        ),
        Column("synthetic_ratio", pa.float32(), "ratio", "share of the windows of speech scored 0.5 and more", 0, 1, 4),
        Column("speech_s", pa.float32(), "s", "length of speech in the clip", 0, 60.1, 2),
    ),
    timeline=(
        Column("start_s", pa.float32(), "s", "start of a window of speech, from the clip's start", 0, 61, 3),
        Column("end_s", pa.float32(), "s", "its end; pauses within it are not heard", 0, 61, 3),
        Column("window_score", pa.float32(), "score", "that the voice in it was made by a machine", 0, 1, 4),
    ),
    needs=("vad",),
    look=Look(audio=True),
    cost_cpu_s=0.012,
    weights=(WEIGHTS,),
    params={"speech_prob": SPEECH_PROB, "min_speech_s": MIN_SPEECH_S},
    backend="voice_texture",
    summary="Real against made voices: a linear model on the fine structure of spectra, envelopes, modulation and pitch.",
    source="Linear-frequency bands after Sahidullah et al., A Comparison of Features for Synthetic Speech Detection, "
    "Interspeech 2015; the model is our own.",
)

BACKENDS = {
    "wav2vec2": Backend(
        run="tasks.backends.wav2vec2:synthetic_audio",
        model="garystafford/wav2vec2-deepfake-voice-detector",
        licence="Apache-2.0",
        dtype="float32",
        source="Tak et al., Automatic Speaker Verification Spoofing and Deepfake Detection Using wav2vec 2.0, Odyssey 2022.",
        changes={"weights": (), "resources": Resources(gpu_gib=1.5)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, under 1 s of speech."""
    return judge(media, needs, lambda voice: logits_of(texture(voice)), WINDOW_S)


def judge(media: Media, needs: Needs, hear: Callable[[np.ndarray], np.ndarray], window_s: float) -> Output:
    """The row and the windows, of what `hear` makes of the speech without its pauses: logits (W,) of windows of
    `window_s`, one after another (the last may begin earlier, to end with the sound), > 0 for made ones.

    Raises NotApplicable: no audio, under 1 s of speech.
    """
    if media.audio is None:
        raise NotApplicable("no audio")
    speaks = needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB
    voice = spoken(media.audio, speaks)
    if len(voice) < MIN_SPEECH_S * media.audio_hz:
        raise NotApplicable(f"under {MIN_SPEECH_S:g} s of speech")
    logits_W = hear(voice)
    return Output(
        row={
            "synthetic_score": float(1 / (1 + np.exp(-logits_W.mean()))),
            "synthetic_ratio": float((logits_W >= 0).mean()),
            "speech_s": len(voice) / media.audio_hz,
        },
        timeline=_windows(logits_W, np.flatnonzero(speaks), round(window_s * GRID_FPS), media.start_frame),
    )


def _windows(logits_W: np.ndarray, spoken_frames: np.ndarray, length: int, start_frame: int) -> pa.Table:
    """A row for each window: from its first frame of speech to its last."""
    first = np.minimum(np.arange(len(logits_W)) * length, max(0, len(spoken_frames) - length))
    last = np.minimum(first + length, len(spoken_frames)) - 1
    start, end = spoken_frames[first], spoken_frames[last] + 1
    return pa.table(
        {
            "frame": pa.array(start_frame + start, pa.int32()),
            "start_s": pa.array(start / GRID_FPS, pa.float32()),
            "end_s": pa.array(end / GRID_FPS, pa.float32()),
            "window_score": pa.array(1 / (1 + np.exp(-logits_W)), pa.float32()),
        }
    )


def logits_of(texture_WK: np.ndarray) -> np.ndarray:
    """Logits (W,) of the shipped model, within -30 and 30."""
    model = _model()
    standard_WK = np.clip((texture_WK - model["mean_K"]) / model["scale_K"], -model["clip"], model["clip"])
    return np.asarray(np.clip(standard_WK @ model["weights_K"] + model["bias"], -30, 30))


@cache
def _model() -> dict[str, np.ndarray]:
    with np.load(weights.path(WEIGHTS)) as held:
        return {name: held[name].astype(np.float64) for name in held.files}
