"""Scorecard of speech: words, word times, languages, and how sure it is of them.

    python -m benchmarks.scorecards.speech

Words are compared in lower case without punctuation, digits spelled out, letters and digits apart ("F2" is "f two").
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.score import Row, bootstrap_ci, command, expected_calibration_error
from benchmarks.scorecards.voices import activity, films, sound_file
from infra import weights
from modeling import made_voices
from tasks import whisper
from tasks.media.media import Media
from tasks.networks import per_process
from tasks.signal import NotApplicable, Output
from tasks.signals import speech

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALIGN_HZ = 25_000
READ = (
    "The harbour was quiet when the last boat came in, and the old man folded his nets without a word.",
    "She opened the window, looked at the grey street, and decided to walk to the station after all.",
    "Nobody had told the children that the circus would leave before the end of the week.",
    "We measured the bridge twice, wrote the numbers down, and sent the drawing to the engineer.",
)
"""Sentences of our own, for the machines that read."""
TOLD_LANGUAGE = re.compile(r"^[a-z]{2}$")


def words_of(text: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z\d])", " ", text.lower())
    cleaned = re.sub(r"[^\w\s']", " ", apart)
    return [DIGITS[int(w)] if w.isdigit() and len(w) == 1 else w for w in cleaned.split()]


def aligned(truth: Sequence[str], found: Sequence[str]) -> tuple[int, list[tuple[int, int]]]:
    """(edit distance in words, pairs of equal words as indices), by the fewest substitutions, insertions, deletions."""
    cost = np.zeros((len(truth) + 1, len(found) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(truth) + 1), np.arange(len(found) + 1)
    for i, a in enumerate(truth):
        for j, b in enumerate(found):
            cost[i + 1, j + 1] = min(cost[i, j] + (a != b), cost[i, j + 1] + 1, cost[i + 1, j] + 1)
    pairs, i, j = [], len(truth), len(found)
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + (truth[i - 1] != found[j - 1]):
            i, j = i - 1, j - 1
            if truth[i] == found[j]:
                pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return int(cost[-1, -1]), pairs[::-1]


def word_error_rate(values: list[tuple[int, int]]) -> float:
    """Of (errors, words in the truth)."""
    return sum(e for e, _ in values) / max(1, sum(n for _, n in values))


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def hear(audio: np.ndarray) -> Output | None:
    media = Media(0, len(audio) // 640, 64, 64, audio=audio)
    try:
        return speech.compute(media, {"vad": activity(audio)})
    except NotApplicable:
        return None


@per_process
def _tiny() -> Any:
    from faster_whisper import WhisperModel

    with whisper.folder(whisper.ENCODER) as folder:
        (Path(folder) / "tokenizer.json").symlink_to(weights.path("whisper_tiny_en_tokenizer").resolve())
        return WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)


def by_tiny(audio: np.ndarray) -> list[str]:
    """The words that Whisper tiny.en writes down: what a smaller model of the same kind gives."""
    parts, _ = _tiny().transcribe(audio, language="en", beam_size=speech.BEAM_SIZE, temperature=0.0)
    return words_of("".join(part.text for part in parts))


def aligned_by_hand(align: Path) -> list[tuple[str, float]]:
    """(word, start in s) of a GRID sentence."""
    spoken = [line.split() for line in align.read_text().splitlines()]
    return [(w[2], int(w[0]) / ALIGN_HZ) for w in spoken if w[2] != "sil"]


def word_times(truth: Sequence[tuple[str, float]], output: Output) -> list[tuple[float, float]]:
    """(start found, start true) in seconds of each word that was recognised."""
    assert output.timeline is not None
    found, starts = [], []
    for word, start_s, end_s in zip(
        *(output.timeline[c].to_pylist() for c in ("word", "start_s", "end_s")), strict=True
    ):
        parts = words_of(word)
        for i, part in enumerate(parts):  # "P2" is two words: the second begins on the way
            found.append(part)
            starts.append(start_s + i / len(parts) * (end_s - start_s))
    _, pairs = aligned([word for word, _ in truth], found)
    return [(starts[j], truth[i][1]) for i, j in pairs]


def words_judged(truth: Sequence[str], output: Output) -> list[tuple[float, float]]:
    """(probability, is it right) of each word written down."""
    assert output.timeline is not None
    told = zip(*(output.timeline[c].to_pylist() for c in ("word", "probability")), strict=True)
    found = [(part, probability) for word, probability in told for part in words_of(word)]
    right = {j for _, j in aligned(truth, [word for word, _ in found])[1]}
    return [(probability, float(j in right)) for j, (_, probability) in enumerate(found)]


def judge_words(
    words: dict[str, list[tuple[float, float]]],
    clips: dict[str, list[tuple[float, float]]],
    person: str,
    truth: Sequence[str],
    output: Output | None,
) -> None:
    """Adds the words of one clip, and how sure it is of them on the whole."""
    judged = words_judged(truth, output) if output else []
    words[person] += judged
    if output and judged:
        clips[person].append((output.row["mean_word_probability"], mean([r for _, r in judged])))


def word_rows(words: Mapping[str, Sequence[Any]], clips: Mapping[str, Sequence[Any]]) -> list[Row]:
    told: dict[str, Any] = {"measure": "ECE", "statistic": expected_calibration_error, "goal": 0.1, "better": "lower"}
    return [
        row("probability of a word that it is right: GRID and the machines", values=words, **told),
        row("mean_word_probability is the share of words right, by clip: GRID and the machines", values=clips, **told),
    ]


def read_speech() -> Iterator[tuple[str, str, np.ndarray, list[tuple[int, float]]]]:
    """(machine, sentence, sound, where each word begins in text and seconds; none where the machine doesn't say)."""
    for i, text in enumerate(READ):
        audio, words = made_voices.espeak_timed(text, ("en-us", "en")[i % 2], rate_wpm=150)
        yield "espeak-ng", text, audio, words
        yield "piper joe", text, made_voices.piper(text), []
        voice = made_voices.KOKORO_VOICES[i]
        yield f"kokoro {voice}", text, made_voices.kokoro(text, voice), []


def starts_told(text: str, words: list[tuple[int, float]]) -> list[tuple[str, float]]:
    """(word, start in s) of each word of the sentence."""
    return [(words_of(text[position:])[0], start_s) for position, start_s in words]


def evenly(truth: Sequence[tuple[str, float]], speech_prob: np.ndarray) -> list[float]:
    """Errors of words spread evenly over the speech that voice activity found: the baseline."""
    speaks = np.flatnonzero(speech_prob >= 0.5) / 25
    guess = np.linspace(speaks[0], speaks[-1], len(truth) + 1)[:-1]
    return [float(e) for e in np.abs(guess - [start_s for _, start_s in truth])]


def median(values: list[float]) -> float:
    return float(np.median(values))


def row(claim: str, measure: str, values: Mapping[str, Sequence[Any]], statistic: Any, **more: Any) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    return Row("speech", claim, measure, value, low, high, sum(map(len, values.values())), len(values), **more)


def run(root: Path) -> list[Row]:
    talk = list(films(root, "talk", min_s=0.0, faces=False))
    sentences = dict(line.split("\t") for line in (root / "truth" / "transcripts.tsv").read_text().splitlines())
    errors: dict[str, list[tuple[int, int]]] = defaultdict(list)
    tiny: dict[str, list[tuple[int, int]]] = {"GRID": [], "read": []}
    read: dict[str, list[tuple[int, int]]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    spread: list[float] = []
    right: dict[str, list[float]] = defaultdict(list)
    told: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    english: list[float] = []
    sure_of_words: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sure_of_clips: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def judge_language(person: str, truth: str, output: Output | None) -> None:
        found = output.row["language"] if output else None
        told[person].append(float(found is not None))
        english.append(float(truth == "en"))
        if found is not None:
            right[person].append(float(found == truth))

    def timed(person: str, truth: Sequence[tuple[str, float]], output: Output, rows: Any) -> None:
        times[person] += [abs(a - b) for a, b in word_times(truth, output)]
        spread.extend(evenly(truth, rows["speech_prob"].to_numpy()))

    for machine, text, audio, words in read_speech():
        output = hear(audio)
        truth = words_of(text)
        judge_words(sure_of_words, sure_of_clips, machine, truth, output)
        found = words_of(output.row["transcript"]) if output else []
        read[machine].append((aligned(truth, found)[0], len(truth)))
        tiny["read"].append((aligned(truth, by_tiny(audio))[0], len(truth)))
        if words and output is not None:
            timed(machine, starts_told(text, words), output, activity(audio[: len(audio) // 640 * 640]))
    for voice in talk:
        if voice.audio is None:
            continue
        began = time.process_time()
        output = hear(voice.audio)
        costs[voice.person].append((time.process_time() - began) / (voice.num_frames / 25))
        name = Path(voice.file).name
        if name in sentences:
            truth = words_of(sentences[name])
            found = words_of(output.row["transcript"]) if output else []
            judge_words(sure_of_words, sure_of_clips, voice.person, truth, output)
            errors[voice.person].append((aligned(truth, found)[0], len(truth)))
            tiny["GRID"].append((aligned(truth, by_tiny(voice.audio))[0], len(truth)))
        align = root / "truth" / f"{Path(name).stem}.align"
        if align.exists() and output is not None:
            timed(voice.person, aligned_by_hand(align), output, voice.needs["vad"])
        if TOLD_LANGUAGE.match(voice.entry["language"] or ""):
            judge_language(voice.person, voice.entry["language"], output)
    for language, name in (
        ("zh", "chinese_news"),
        ("de", "deyu"),
        ("ru", "eluosi"),
        ("fr", "fayu"),
        ("ja", "japanese"),
    ):
        judge_language(name, language, hear(sound_file(root / "audio" / f"sadtalker_{name}.wav")))
    return [
        row("GRID sentences", "WER", errors, word_error_rate, better="lower", baseline=word_error_rate(tiny["GRID"]), baseline_name="Whisper tiny.en"),
        row("sentences read by machines (espeak-ng, Piper, Kokoro)", "WER", read, word_error_rate, better="lower", baseline=word_error_rate(tiny["read"]), baseline_name="Whisper tiny.en"),
        row("starts of recognised words, one GRID sentence and espeak-ng's", "median error, s", times, median, better="lower", goal=0.1, baseline=median(spread), baseline_name="words spread evenly"),
        row("language, where one is told", "accuracy", right, mean, goal=0.9, baseline=mean(english), baseline_name="always English"),
        row("a language is told", "share of clips", told, mean, goal=0.9),
        *word_rows(sure_of_words, sure_of_clips),
        row("cost", "CPU-s per s of clip", costs, mean, better="lower"),
    ]  # fmt: skip


if __name__ == "__main__":
    command(run)
