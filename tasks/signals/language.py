"""Which language is spoken, without writing down what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from tasks.backend import Backend
from tasks.media.media import Media
from tasks.recognise import BEAM_SIZE, CERTAIN, MARGIN_S, MAX_COMPRESSION_RATIO, identify, voice_of
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Resources, Signal
from tasks.whisper import RECOGNISER, weights_of

SPEECH_PROB = 0.5
MIN_SPEECH_S = 1.0
MIN_PROBABILITY = 0.5

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "language", pa.string(), "code", "nullable: ISO 639-1 code; NULL, no language told, below a probability of 0.5"
        ),
        Column("probability", pa.float32(), "score", "of the likeliest language, told or not; not calibrated", 0, 1, 4),
        Column("second_language", pa.string(), "code", "the next likeliest; what is mixed up most, or mixed in"),
        Column("second_probability", pa.float32(), "score", "of the next likeliest; not calibrated", 0, 1, 4),
        Column("speech_s", pa.float32(), "s", "length of speech in the clip; the first 30 s from its start are heard", 0, 60.1, 2),
    ),
    needs=("vad",),
    look=Look(audio=True),
    cost_cpu_s=0.17,
    weights=weights_of(RECOGNISER),
    params={
        "speech_prob": SPEECH_PROB,
        "min_speech_s": MIN_SPEECH_S,
        "min_probability": MIN_PROBABILITY,
        "margin_s": MARGIN_S,
        "certain": CERTAIN,
        "beam_size": BEAM_SIZE,
        "max_compression_ratio": MAX_COMPRESSION_RATIO,
    },
    backend="whisper_base",
    summary="Language by Whisper base in int8; a guess below 0.9 is weighed against the text it leads to. "
    "Beside `speech` it costs nothing: sound is encoded and decoded once for both.",
    source="Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.",
)  # fmt: skip


BACKENDS = {
    "whisper": Backend(
        run="tasks.backends.whisper:language",
        model="openai/whisper-large-v3",
        licence="Apache-2.0",
        dtype="float16",
        source="Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.",
        changes={"weights": (), "resources": Resources(gpu_gib=5.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, under 1 s of speech."""
    return of_voice(media, needs, identify)


def of_voice(media: Media, needs: Needs, languages: Callable[[np.ndarray], Sequence[tuple[str, float]]]) -> Output:
    """The row, from what `languages` makes of the voice: (code, probability), the likeliest first.

    Raises NotApplicable: no audio, under 1 s of speech, a model of one language.
    """
    if media.audio is None:
        raise NotApplicable("no audio")
    speaks = needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB
    if speaks.sum() < MIN_SPEECH_S * GRID_FPS:
        raise NotApplicable("under 1 s of speech")
    told = languages(voice_of(media.audio, speaks)[0])
    if len(told) < 2:
        raise NotApplicable("the model knows one language only, so it can't tell it from others")
    (language, probability), (second, second_probability), *_ = told
    return Output(
        row={
            "language": language if probability >= MIN_PROBABILITY else None,
            "probability": min(1.0, probability),
            "second_language": second,
            "second_probability": min(1.0, max(0.0, second_probability)),
            "speech_s": float(speaks.sum() / GRID_FPS),
        }
    )
