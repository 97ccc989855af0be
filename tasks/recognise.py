"""From a voice to words: the language weighed, the text decoded once, the inventions left out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.signal import GRID_FPS
from tasks.whisper import recogniser

AUDIO_HZ = 16_000
BEAM_SIZE = 5
MAX_COMPRESSION_RATIO = 2.4
"""Radford et al. 2022: above it the text repeats itself, as invented text does."""
CERTAIN = 0.9
"""From this probability on the language is taken as told; below it two languages are tried."""
MIN_CANDIDATE = 0.05
TOKENS_AT_LEAST, TOKENS_PER_S = 24, 12
"""Bounds a decoder that runs in a circle; the fastest speech measured took 9 tokens a second (Chinese)."""


KEPT_DECODINGS = 4
MARGIN_S = 0.4
"""Kept around the voice: words begin softly, before a voice detector is sure."""
SAMPLES_PER_FRAME = AUDIO_HZ // GRID_FPS


@dataclass(frozen=True)
class Word:
    """Times in seconds from the start of the voice; `text` has its leading space where the language writes one."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True)
class Heard:
    """What one decoding in one language gave. `log_likelihood` is of the whole text, natural logarithm."""

    words: tuple[Word, ...]
    log_likelihood: float
    no_speech_prob: float
    repeats: bool


def recognise(voice: np.ndarray) -> tuple[str, float, Heard]:
    """(language, its probability, what was heard) of 16 kHz mono float32 speech; deterministic."""
    (language, probability), *_ = identify(voice)
    return language, probability, heard_in(voice, language)


def identify(voice: np.ndarray) -> list[tuple[str, float]]:
    """Languages with their probabilities, likeliest first. The text is decoded only where the sound leaves a doubt."""
    model = recogniser()
    # The last step of the spectrogram is padding; cut as transcribe() cuts it, the window is encoded only once.
    _, _, ranked = model.detect_language(features=model.feature_extractor(voice)[..., :-1])
    language, probability, _ = weigh(ranked, lambda name: heard_in(voice, name))
    others = [(name, p) for name, p in ranked if name != language]
    left = (1 - probability) / max(sum(p for _, p in others), 1e-9)
    return [(language, probability), *((name, p * left) for name, p in others)]


def heard_in(voice: np.ndarray, language: str) -> Heard:
    """What is heard in one language; the last decodings are kept, as `language` and `speech` ask for the same."""
    key = (hashlib.md5(voice.tobytes()).digest(), language)
    if key not in _KEPT:
        if len(_KEPT) >= KEPT_DECODINGS:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = decode(voice, language)
    return _KEPT[key]


def spoken_span(speaks: np.ndarray) -> tuple[int, int]:
    """First frame and one past the last of all speech, with a margin. Raises ValueError when nobody speaks."""
    spoken = np.flatnonzero(speaks)
    if len(spoken) == 0:
        raise ValueError("spoken_span: nobody speaks; check before asking")
    margin = round(MARGIN_S * GRID_FPS)
    return max(0, int(spoken[0]) - margin), min(len(speaks), int(spoken[-1]) + 1 + margin)


def voice_of(audio: np.ndarray, speaks: np.ndarray) -> tuple[np.ndarray, int]:
    """The sound from the first speech to the last, and the frame of 40 ms in which it begins."""
    first, last = spoken_span(speaks)
    return np.ascontiguousarray(audio[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME], np.float32), first


def weigh(ranked: Sequence[tuple[str, float]], heard_as: Callable[[str], Heard]) -> tuple[str, float, Heard]:
    """The language among the two likeliest that explains the sound best, its probability, and what was heard.

    Whisper's guess from the sound alone takes noisy British English for Welsh, half of the time with p > 0.5. So a
    guess below 0.9 is weighed by Bayes' rule against the text it leads to: p(language) times the likelihood of the
    best text in that language, shared out over what the two had together. Text that runs in circles has no weight.
    """
    (first, first_p), *others = ranked
    candidates = [(first, first_p)]
    if first_p < CERTAIN:
        candidates += [(name, p) for name, p in others[:1] if p >= MIN_CANDIDATE]
    heard = {name: heard_as(name) for name, _ in candidates}
    sound = [(name, p) for name, p in candidates if heard[name].words and not heard[name].repeats]
    if not sound:
        return first, first_p, heard[first]
    best = max(math.log(p) + heard[name].log_likelihood for name, p in sound)
    weights = {name: math.exp(math.log(p) + heard[name].log_likelihood - best) for name, p in sound}
    language = max(weights, key=lambda name: weights[name])
    share = weights[language] / sum(weights.values())
    return language, share * sum(p for _, p in candidates), heard[language]


def decode(voice: np.ndarray, language: str) -> Heard:
    """Words by beam search at temperature 0, each segment on its own; segments that repeat themselves lose theirs."""
    segments, _ = recogniser().transcribe(
        voice,
        language=language,
        beam_size=BEAM_SIZE,
        temperature=0.0,
        condition_on_previous_text=False,
        word_timestamps=True,
        compression_ratio_threshold=MAX_COMPRESSION_RATIO,
        max_new_tokens=min(220, TOKENS_AT_LEAST + round(TOKENS_PER_S * len(voice) / AUDIO_HZ)),
    )
    words: list[Word] = []
    log_likelihood, doubts, num_repeating = 0.0, [], 0
    for segment in segments:
        doubts.append(segment.no_speech_prob)
        log_likelihood += segment.avg_logprob * (len(segment.tokens) + 1)
        if segment.compression_ratio > MAX_COMPRESSION_RATIO:
            num_repeating += 1
            continue
        words += [Word(w.start, w.end, w.word, float(w.probability)) for w in segment.words or () if w.word.strip()]
    doubt = float(np.mean(doubts)) if doubts else 1.0
    return Heard(tuple(words), log_likelihood, doubt, repeats=num_repeating * 2 > len(doubts))


_KEPT: dict[tuple[bytes, str], Heard] = {}
