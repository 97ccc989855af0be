"""Scorecard of language: sound files in six languages, talking heads whose language is known, and machines that read.

    python -m benchmarks.scorecards.language

The machines read the first article of the Universal Declaration of Human Rights. Clips in which no language is told
count as abstentions, not as errors. Baseline: always English.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.score import Row, bootstrap_ci, command, expected_calibration_error
from benchmarks.scorecards.speech import TOLD_LANGUAGE
from benchmarks.scorecards.voices import SAMPLES_PER_FRAME, activity, films, sound_file
from modeling import made_voices
from tasks.media.media import Media
from tasks.recognise import identify
from tasks.signals import language

FILES = {"chinese_news": "zh", "deyu": "de", "eluosi": "ru", "fayu": "fr", "japanese": "ja"}
ARTICLE_1 = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
    "and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt "
    "und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di "
    "coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, "
    "devem agir uns para com os outros em espírito de fraternidade.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en "
    "geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i "
    "sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и "
    "должны поступать в отношении друг друга в духе братства.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve birbirlerine "
    "karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter. De har utrustats med förnuft och samvete och "
    "bör handla gentemot varandra i en anda av gemenskap.",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki ja "
    "omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä.",
}
ESPEAK = {"en": "en-us"}
KOKORO = {"en": "en-us", "es": "es", "fr": "fr", "it": "it", "pt": "pt-br"}


def read_aloud() -> Iterator[tuple[str, str, np.ndarray]]:
    """(machine, language, sound)."""
    for code, text in ARTICLE_1.items():
        yield "espeak-ng", code, made_voices.espeak(text, ESPEAK.get(code, code), rate_wpm=150)
    yield "piper", "en", made_voices.piper(ARTICLE_1["en"])
    for i, (code, voice) in enumerate(KOKORO.items()):
        yield "kokoro", code, made_voices.kokoro(ARTICLE_1[code], made_voices.KOKORO_VOICES[i], language=voice)


def told(audio: np.ndarray) -> tuple[str | None, list[tuple[str, float]]]:
    """The language told, and the two likeliest with their probabilities."""
    whole = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    media = Media(0, len(whole) // SAMPLES_PER_FRAME, 64, 64, audio=whole)
    likeliest: list[tuple[str, float]] = []

    def languages(voice: np.ndarray) -> Sequence[tuple[str, float]]:
        found = identify(voice)
        likeliest.extend(found[:2])
        return found

    row = language.of_voice(media, {"vad": activity(whole)}, languages).row
    return row["language"], likeliest


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def row(
    claim: str,
    measure: str,
    values: Mapping[str, Sequence[Any]],
    statistic: Callable[[list[Any]], float] = mean,
    **more: Any,
) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    people = sum(1 for v in values.values() if len(v))
    return Row("language", claim, measure, value, low, high, sum(map(len, values.values())), people, **more)


def run(root: Path) -> list[Row]:
    right: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    answered: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    sure: dict[str, list[tuple[float, float]]] = defaultdict(list)
    english: dict[str, list[float]] = defaultdict(list)

    def judge(kind: str, person: str, truth: str, audio: np.ndarray) -> None:
        began = time.process_time()
        found, likeliest = told(audio)
        sure[person] += [(min(1.0, p), float(code == truth)) for code, p in likeliest]
        costs[person].append((time.process_time() - began) / (len(audio) / 16_000))
        answered[person].append(float(found is not None))
        english[kind].append(float(truth == "en"))
        if found is not None:
            right[kind][person].append(float(found == truth))

    for voice in films(root, "talk", min_s=0.0, faces=False):
        if voice.audio is not None and TOLD_LANGUAGE.match(voice.entry["language"] or "") and voice.speech_ratio > 0:
            judge("people", voice.person, voice.entry["language"], voice.audio)
    for name, code in FILES.items():
        judge("people", name, code, sound_file(root / "audio" / f"sadtalker_{name}.wav"))
    judge("people", "conversation", "en", sound_file(root / "audio" / "pyannote_sample.wav"))
    for machine, code, audio in read_aloud():
        judge(machine, f"{machine} {code}", code, audio)
    neural = {**right["piper"], **right["kokoro"]}
    foreign = {name: right["people"][name] for name in FILES}
    base = {"baseline_name": "always English"}
    return [
        row("people, where a language is told", "accuracy", right["people"], goal=0.9, baseline=mean(english["people"]), **base),
        row("of these, the five who don't speak English", "accuracy", foreign, goal=0.9, baseline=0.0, **base),
        row("neural voices that read, five languages, where one is told", "accuracy", neural, goal=0.9, baseline=mean(english["piper"] + english["kokoro"]), **base),
        row("espeak-ng, twelve languages, where one is told", "accuracy", right["espeak-ng"], goal=0.9, baseline=mean(english["espeak-ng"]), **base),
        row("a language is told", "share of sounds", answered, goal=0.9),
        row("probability and second_probability are calibrated", "ECE", sure, expected_calibration_error, goal=0.1, better="lower"),
        row("cost, without what `speech` shares", "CPU-s per s of sound", costs, better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
