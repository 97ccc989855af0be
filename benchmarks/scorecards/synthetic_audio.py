"""Scorecard of synthetic_audio: people against machines that read, and against their own speech resynthesised.

    python -m benchmarks.scorecards.synthetic_audio

No voice judged here was fitted on: people are the talking heads without GRID's, and a recorded conversation; of
espeak-ng and Kokoro the voices held back; and Piper and hibari, of which nothing was seen in the fit. Both sides are
judged as they are, after lossy codecs, and in noise, rooms, music and over a telephone; what the signal leaves NULL is
in no AUC and counts as not taken for made. Needs
`pip install 'headroom[voices]'`. Baseline: level above 4 kHz, the less the more made.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.made_sounds import in_a_room, song
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from benchmarks.scorecards.speech_quality import mixed, noises
from benchmarks.scorecards.voices import AUDIO_HZ, SAMPLES_PER_FRAME, activity, films, sound_file
from modeling import made_voices
from modeling.source_filter import source_filter
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import synthetic_audio
from tasks.voice_corpus import CODECS, round_trip, telephone

TEXT = (
    "We are going to look at three examples today, and then I will answer any questions that you may have.",
    "I never thought that the old bridge would hold, but there it was, standing in the morning sun.",
    "Please remember to bring your passport, two photographs, and a copy of the letter we sent you.",
    "The doctor told him to rest for a week, but he was back at his desk the very next morning.",
    "Turn left after the second bridge, and you will see the station on the other side of the road.",
    "Nobody in the room had expected that the youngest of them would be the first to speak.",
)
NUM_TEXT = 3
"""Read by each of several voices; an engine with one voice reads all."""
GOOD_RATES = {"mp3": 96, "aac": 64, "opus": 48}
"""kbit/s; people are also judged after these."""
MAX_S = 10.0
GRID = "lipnet__"
"""Names of the files whose voices the model was fitted on begin so."""
KINDS = ("espeak-ng", "Griffin-Lim", "Kokoro", "Piper", "hibari", "source-filter")
UNSEEN = ("Piper", "hibari")
NETWORKS = ("Kokoro", "Piper", "hibari")
"""What speaks like people, and is judged beside them in noise."""
NOISE_DB, ROOMS_S, MUSIC_DB = (20, 10, 5), (0.3, 0.6), 10
PLACES = (
    *(f"in {kind} at {', '.join(map(str, NOISE_DB[:-1]))} and {NOISE_DB[-1]} dB" for kind in ("babble", "white noise")),
    f"in rooms of RT60 {ROOMS_S[0]} and {ROOMS_S[1]} s",
    "over a telephone line of 8 kHz",
    f"with music {MUSIC_DB} dB below",
)


@dataclass(frozen=True)
class Judged:
    score: float
    windows: float
    """Share of the windows taken for made."""
    level: float
    """The baseline's: of the power below 4 kHz over that above, in dB."""
    made: bool
    told: bool = True
    """Whether the signal judges it; else the score and the windows are 0."""


def judged(audio: np.ndarray, made: bool) -> Judged | None:
    """None without a second of speech."""
    whole = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    media = Media(0, len(whole) // SAMPLES_PER_FRAME, 64, 64, audio=whole)
    told = True
    try:
        row = synthetic_audio.compute(media, {"vad": activity(whole)}).row
    except NotApplicable as reason:
        if str(reason) != synthetic_audio.NO_HIGH_VOICE:
            return None
        told, row = False, {"synthetic_score": 0.0, "synthetic_ratio": 0.0}
    power = np.square(np.abs(np.fft.rfft(whole)))
    middle = len(power) // 2
    level = 10 * np.log10((power[:middle].sum() + 1e-9) / (power[middle:].sum() + 1e-9))
    return Judged(row["synthetic_score"], row["synthetic_ratio"], float(level), made, told)


def in_places(audio: np.ndarray, seed: int, behind: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """(one of PLACES, the sound there); nothing of a sound without speech."""
    whole = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    speaks = activity(whole)["speech_prob"].to_numpy() >= synthetic_audio.SPEECH_PROB
    if not speaks.any():
        return
    for place, kind in zip(PLACES, ("babble", "white noise"), strict=False):
        for ratio_db in NOISE_DB:
            yield place, mixed(whole, behind[kind], ratio_db, speaks)
    for rt60_s in ROOMS_S:
        yield PLACES[2], in_a_room(whole, rt60_s, seed)
    yield PLACES[3], telephone(whole).astype(np.float32)
    yield PLACES[4], mixed(whole, song(len(whole) / AUDIO_HZ, seed), MUSIC_DB, speaks)


def people(root: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(person, sound) of those who were not fitted on, where it is known that they are real."""
    for voice in films(root, "talk", min_s=0.0, faces=False):
        known = not Path(voice.file).name.startswith(GRID) and "real?" not in voice.entry["tags"]
        if known and voice.audio is not None:
            yield voice.person, voice.audio[: round(MAX_S * 16_000)]
    yield "conversation", sound_file(root / "audio" / "pyannote_sample.wav")


def machines() -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, voice, sound) of the voices held back."""
    for i, variant in enumerate(made_voices.HELD_BACK_ESPEAK):
        for j, text in enumerate(TEXT[:NUM_TEXT]):
            voice = made_voices.ENGLISH[(i + j) % len(made_voices.ENGLISH)] + variant
            yield (
                "espeak-ng",
                f"espeak{variant}",
                made_voices.espeak(text, voice, rate_wpm=150 + 10 * j, pitch=35 + 15 * j),
            )
    for j, text in enumerate(TEXT):
        yield "Piper", "joe", made_voices.piper(text, speed=(1.0, 0.9, 1.1)[j % 3])
        yield "hibari", "heart", made_voices.hibari(text, speed=(1.0, 0.9, 1.1)[j % 3], seed=j)
    for i, voice in enumerate(made_voices.kokoro_styles()):
        if voice in made_voices.HELD_BACK_KOKORO:
            yield "Kokoro", voice, made_voices.kokoro(TEXT[i % NUM_TEXT], voice)


Values = dict[str, list[Judged]]


def add(values: Values, voice: str, audio: np.ndarray, made: bool) -> None:
    if (found := judged(audio, made)) is not None:
        values[voice].append(found)


def by_score(values: list[Judged]) -> float:
    return auc_of_pairs([(v.score, v.made) for v in values])


def by_level(values: list[Judged]) -> float:
    return auc_of_pairs([(v.level, v.made) for v in values])


def told(values: list[Judged]) -> float:
    return float(np.mean([v.told for v in values]))


def taken(values: list[Judged]) -> float:
    """Of all of them; what is not told is not taken."""
    return float(np.mean([v.score >= 0.5 for v in values]))


def windows_taken(values: list[Judged]) -> float:
    return float(np.mean([v.windows for v in values]))


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def of_told(values: Values) -> Values:
    return {voice: [v for v in those if v.told] for voice, those in values.items()}


def often_told(*sides: Values) -> bool:
    """Whether of each side at least half is told: of what few are left the AUC says nothing."""
    return all(told([v for those in side.values() for v in those]) >= 0.5 for side in sides)


def joined(*parts: Values) -> Values:
    found: Values = defaultdict(list)
    for part in parts:
        for voice, values in part.items():
            found[voice] += values
    return found


def row(claim: str, measure: str, values: Mapping[str, Sequence[Any]], statistic: Any, **more: Any) -> Row:
    value, low, high = bootstrap_ci(values, statistic)
    people = sum(1 for v in values.values() if len(v))
    return Row("synthetic_audio", claim, measure, value, low, high, sum(map(len, values.values())), people, **more)


def against(claim: str, real: Values, made: Values, goal: float | None = 0.9) -> Row:
    both = joined(of_told(real), of_told(made))
    base = by_level([v for vs in both.values() for v in vs])
    return row(claim, "AUC", both, by_score, goal=goal, baseline=base, baseline_name="little above 4 kHz")


def run(root: Path) -> list[Row]:
    real: Values = defaultdict(list)
    coded: dict[str, Values] = {codec: defaultdict(list) for codec in CODECS}
    better_coded: Values = defaultdict(list)
    made: dict[str, Values] = {kind: defaultdict(list) for kind in KINDS}
    made_coded: dict[str, Values] = {codec: defaultdict(list) for codec in CODECS}
    costs: dict[str, list[float]] = defaultdict(list)
    there: dict[str, Values] = {place: defaultdict(list) for place in PLACES}
    made_there: dict[str, Values] = {place: defaultdict(list) for place in PLACES}
    behind = noises(root)
    sounds: list[tuple[str, str, np.ndarray]] = []
    for seed, (person, audio) in enumerate(people(root)):
        add(real, person, audio, False)
        for place, sound in in_places(audio, seed, behind):
            add(there[place], person, sound, False)
        for codec, values in coded.items():
            add(values, person, round_trip(audio, codec), False)
            add(better_coded, person, round_trip(audio, codec, GOOD_RATES[codec] * 1000), False)
        costs[person].append(cost(audio))
        sounds.append(("Griffin-Lim", person, made_voices.griffin_lim(audio)))
        sounds.append(("source-filter", person, source_filter(audio)))
    for seed, (kind, voice, audio) in enumerate((*sounds, *machines())):
        add(made[kind], voice, audio, True)
        for place, sound in in_places(audio, seed, behind) if kind in NETWORKS else ():
            add(made_there[place], voice, sound, True)
        if kind != "source-filter":
            for codec, values in made_coded.items():
                add(values, voice, round_trip(audio, codec), True)
    every_codec, all_made = joined(*coded.values()), joined(*made.values())
    everything = joined(real, every_codec, better_coded)
    return [
        *(against(f"people, as they are and after codecs, against {kind}{', not in the fit' if kind in UNSEEN else ''}", everything, made[kind]) for kind in KINDS),
        *(against(f"both after {codec.upper()} at {CODECS[codec][2] // 1000} kbit/s, source-filter apart", coded[codec], made_coded[codec]) for codec in CODECS),
        row("people as they are are taken for made (score >= 0.5)", "share of clips", real, taken, goal=0.05, better="lower"),
        row("people after AAC, MP3 and Opus at 24 to 96 kbit/s are taken for made", "share of clips", joined(every_codec, better_coded), taken, goal=0.05, better="lower"),
        *(row(f"people {place} are taken for made (NULL is not)", "share of clips", there[place], taken, goal=0.05, better="lower") for place in PLACES),
        row("people as they are are judged at all (else NULL: too little of the voice above 4 kHz)", "share of clips", real, told),
        *(row(f"people {place} are judged at all", "share of clips", there[place], told) for place in PLACES),
        *(against(f"both {place}: people against {', '.join(NETWORKS)}", there[place], made_there[place]) for place in PLACES if often_told(there[place], made_there[place])),
        *(row(f"{kind} is taken for made", "share of clips", made[kind], taken, goal=0.9) for kind in KINDS),
        row("windows of people, of 2 s, taken for made", "share of windows", of_told(real), windows_taken, better="lower"),
        row("windows of machines, of 2 s, taken for made", "share of windows", of_told(all_made), windows_taken),
        row("cost", "CPU-s per s of clip", costs, mean, better="lower"),
    ]  # fmt: skip


def cost(audio: np.ndarray) -> float:
    rows = activity(audio)
    media = Media(0, rows.num_rows, 64, 64, audio=audio)
    began = time.process_time()
    try:
        synthetic_audio.compute(media, {"vad": rows})
    except NotApplicable:
        return 0.0
    return (time.process_time() - began) / media.duration_s


if __name__ == "__main__":
    command(run)
