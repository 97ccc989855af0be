"""What is said: language, transcript, and the time of each word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tasks.backend import Backend
from tasks.media.media import Media
from tasks.recognise import BEAM_SIZE, CERTAIN, MARGIN_S, MAX_COMPRESSION_RATIO, Heard, Word, recognise, voice_of
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Resources, Signal
from tasks.whisper import RECOGNISER, weights_of

SPEECH_PROB = 0.5
MIN_SPEECH_S = 0.4
"""Less voice than this is a cough or a detector's slip; Whisper would invent words for it."""
MIN_LANGUAGE_PROBABILITY = 0.5
MIN_VOICE_IN_WORD = 0.25
MIN_WORD_S = 0.02

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "language",
            pa.string(),
            "code",
            "nullable: ISO 639-1 code of the language; NULL below a probability of 0.5, and where no word was made out",
        ),
        Column(
            "language_probability",
            pa.float32(),
            "score",
            "of the likeliest language, told or not; not calibrated",
            0,
            1,
            4,
        ),
        Column(
            "transcript", pa.string(), "text", "what is said, in the language itself; empty if nothing was made out"
        ),
        Column(
            "num_words", pa.int32(), "count", "words (in Chinese and Japanese: pieces of one or few signs)", 0, 2000
        ),
        Column("speech_ratio", pa.float32(), "ratio", "share of the frames in which somebody speaks", 0, 1, 4),
        Column("words_per_s", pa.float32(), "per_s", "words in a second of speech", 0, 100, 3),
        Column(
            "mean_word_probability", pa.float32(), "score", "how sure the words are, mean; 0 without words", 0, 1, 4
        ),
        Column(
            "no_speech_prob",
            pa.float32(),
            "score",
            "Whisper's own doubt that there is speech, mean; not calibrated",
            0,
            1,
            4,
        ),
    ),
    timeline=(
        Column("start_s", pa.float32(), "s", "start of the word, from the clip's start", 0, 61, 3),
        Column("end_s", pa.float32(), "s", "end of the word", 0, 61, 3),
        Column("word", pa.string(), "text", "the word with its punctuation"),
        Column("probability", pa.float32(), "score", "mean over the word's tokens", 0, 1, 4),
    ),
    needs=("vad",),
    look=Look(audio=True),
    cost_cpu_s=0.17,
    weights=weights_of(RECOGNISER),
    params={
        "speech_prob": SPEECH_PROB,
        "min_speech_s": MIN_SPEECH_S,
        "margin_s": MARGIN_S,
        "min_language_probability": MIN_LANGUAGE_PROBABILITY,
        "beam_size": BEAM_SIZE,
        "max_compression_ratio": MAX_COMPRESSION_RATIO,
        "min_voice_in_word": MIN_VOICE_IN_WORD,
        "certain": CERTAIN,
        "temperature": 0,
    },
    backend="whisper_base",
    summary="Language with abstention, transcript and word times by Whisper base in int8, guarded by voice activity.",
    source="Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.",
)


BACKENDS = {
    "whisper": Backend(
        run="tasks.backends.whisper:speech",
        model="openai/whisper-large-v3",
        licence="Apache-2.0",
        dtype="float16",
        source="Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.",
        changes={"weights": (), "resources": Resources(gpu_gib=5.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, no speech."""
    return transcribe(media, needs, recognise)


def transcribe(media: Media, needs: Needs, hear: Callable[[np.ndarray], tuple[str, float, Heard]]) -> Output:
    """The row and the words, as `hear` makes them out of the voice. Raises NotApplicable: no audio, no speech."""
    if media.audio is None:
        raise NotApplicable("no audio")
    speech_prob = needs["vad"]["speech_prob"].to_numpy()
    speaks = speech_prob >= SPEECH_PROB
    if speaks.sum() < MIN_SPEECH_S * GRID_FPS:
        raise NotApplicable("no speech")
    voice, first = voice_of(media.audio, speaks)
    language, language_probability, heard = hear(voice)
    words = voiced([placed(w, first / GRID_FPS, media.duration_s) for w in heard.words], speech_prob)
    known = bool(words) and language_probability >= MIN_LANGUAGE_PROBABILITY
    return Output(
        row={
            "language": language if known else None,
            "language_probability": min(1.0, language_probability),
            "transcript": "".join(w.text for w in words).strip(),
            "num_words": len(words),
            "speech_ratio": float(speaks.mean()),
            "words_per_s": len(words) / float(speaks.sum() / GRID_FPS),
            "mean_word_probability": float(np.mean([w.probability for w in words])) if words else 0.0,
            "no_speech_prob": min(1.0, heard.no_speech_prob),
        },
        timeline=_timeline(words, media.start_frame, media.end_frame),
    )


def placed(word: Word, start_s: float, duration_s: float) -> Word:
    """The word on the clip's time, inside the clip."""
    start = min(max(0.0, word.start_s + start_s), duration_s)
    end = min(max(start, word.end_s + start_s), duration_s)
    return Word(start, end, word.text, min(1.0, max(0.0, word.probability)))


def voiced(words: list[Word], speech_prob: np.ndarray) -> list[Word]:
    """Words during which somebody does speak: what Whisper invents lies in silence or music."""
    kept = []
    for word in words:
        first = min(int(word.start_s * GRID_FPS), len(speech_prob) - 1)
        last = max(first + 1, int(np.ceil(max(word.end_s, word.start_s + MIN_WORD_S) * GRID_FPS)))
        if float(speech_prob[first:last].max()) >= MIN_VOICE_IN_WORD:
            kept.append(word)
    return kept


def _timeline(words: list[Word], start_frame: int, end_frame: int) -> pa.Table:
    """`frame` is the one in which the word starts, on the video's grid."""
    words = sorted(words, key=lambda w: w.start_s)
    frames = [min(start_frame + int(w.start_s * GRID_FPS), end_frame - 1) for w in words]
    return pa.table(
        {
            "frame": pa.array(frames, pa.int32()),
            "start_s": pa.array([w.start_s for w in words], pa.float32()),
            "end_s": pa.array([w.end_s for w in words], pa.float32()),
            "word": pa.array([w.text.strip() for w in words], pa.string()),
            "probability": pa.array([w.probability for w in words], pa.float32()),
        }
    )
