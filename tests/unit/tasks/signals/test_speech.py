from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks import recognise
from tasks.digest import declared_row, declared_table, digest_of_values
from tasks.media.media import Media
from tasks.recognise import Heard, Word
from tasks.signal import NotApplicable
from tasks.signals import speech
from tasks.signals import vad as activity
from tests.moving_mouth import syllables, vad

START, NUM_FRAMES = 500, 100


def said(
    audio: np.ndarray | None, rows: pa.Table | None = None, num_frames: int = NUM_FRAMES
) -> tuple[dict[str, Any], pa.Table]:
    media = Media(START, START + num_frames, 64, 64, audio=audio)
    made = speech.compute(media, {"vad": rows if rows is not None else vad(num_frames, start_frame=START)})
    assert made.timeline is not None
    return declared_row(speech.SIGNAL.columns, made.row), declared_table(speech.SIGNAL.timeline, made.timeline)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the recogniser hears, set by the test: language, probability, words. The sound it got is appended."""
    answer: list[Any] = ["en", 0.9, (Word(0.1, 0.5, " Hello", 0.9), Word(0.5, 0.9, " you.", 0.7))]

    def heard(voice: np.ndarray) -> tuple[str, float, Heard]:
        answer.append(len(voice))
        return answer[0], answer[1], Heard(answer[2], -3.0, 0.05, False)

    monkeypatch.setattr(speech, "recognise", heard)
    return answer


def test_words_are_placed_on_the_video_s_grid(told: list[Any]) -> None:
    rows = vad(NUM_FRAMES, start_frame=START)
    late = np.where(np.arange(NUM_FRAMES) >= 50, 1.0, 0.0).astype(np.float32)
    rows = rows.set_column(1, "speech_prob", pa.array(late))
    row, words = said(np.zeros(64_000, np.float32), rows)
    assert told[-1] == 60 * 640  # from 0.4 s before the first speech on
    assert words["word"].to_pylist() == ["Hello", "you."]
    assert np.allclose(words["start_s"].to_numpy(), [1.7, 2.1])
    assert words["frame"].to_pylist() == [START + 42, START + 52]
    assert row == {
        "language": "en",
        "language_probability": pytest.approx(0.9),
        "transcript": "Hello you.",
        "num_words": 2,
        "speech_ratio": 0.5,
        "words_per_s": 1.0,
        "mean_word_probability": pytest.approx(0.8),
        "no_speech_prob": pytest.approx(0.05),
    }


def test_words_in_silence_are_inventions(told: list[Any]) -> None:
    told[2] = (Word(0.1, 0.5, " Hello", 0.9), Word(3.2, 3.8, " Thanks for watching!", 0.9))
    row, words = said(np.zeros(64_000, np.float32), vad(NUM_FRAMES, speech_ratio=0.4, start_frame=START))
    assert row["transcript"] == "Hello"
    assert words.num_rows == 1


def test_the_language_is_withheld_below_one_half_and_without_words(told: list[Any]) -> None:
    told[1] = 0.49
    row, _ = said(np.zeros(64_000, np.float32))
    assert row["language"] is None
    assert row["language_probability"] == pytest.approx(0.49)
    told[1:3] = [0.95, ()]
    row, words = said(np.zeros(64_000, np.float32))
    assert (row["language"], row["transcript"], row["num_words"], row["mean_word_probability"]) == (None, "", 0, 0)
    assert words.num_rows == 0


def test_a_word_never_leaves_the_clip() -> None:
    assert speech.placed(Word(3.0, 9.0, " x", 1.2), 2.0, 4.0) == Word(4.0, 4.0, " x", 1.0)
    rows = speech._timeline([Word(4.0, 4.0, " x", 1.0)], START, START + NUM_FRAMES)
    assert rows["frame"].to_pylist() == [START + NUM_FRAMES - 1]


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        said(None)


def test_hardly_any_voice_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no speech"):
        said(np.zeros(64_000, np.float32), vad(NUM_FRAMES, speech_ratio=0.09, start_frame=START))


def test_a_span_without_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody speaks"):
        recognise.spoken_span(np.zeros(10, bool))


def test_the_recogniser_is_deterministic() -> None:
    audio = syllables(2.0)
    first, second = (digest_of_values(*said(audio, num_frames=50), {}) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
def test_what_is_no_voice_never_reaches_the_recogniser(kind: str) -> None:
    """Whisper makes words out of anything; voice activity is what keeps it from doing so."""
    audio = {
        "silence": np.zeros(64_000),
        "noise": np.random.default_rng(0).normal(0, 0.05, 64_000),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000),
    }[kind].astype(np.float32)
    media = Media(START, START + NUM_FRAMES, 64, 64, audio=audio)
    with pytest.raises(NotApplicable, match="no speech"):
        speech.compute(media, {"vad": activity.compute(media, {}).timeline})


def test_a_voice_is_decoded_once_in_each_language(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def decode(_voice: np.ndarray, language: str) -> Heard:
        decoded.append(language)
        return Heard((), -1.0, 0.0, False)

    monkeypatch.setattr(recognise, "decode", decode)
    monkeypatch.setattr(recognise, "_KEPT", {})
    voices = [np.full(8, i, np.float32) for i in range(recognise.KEPT_DECODINGS)]
    for voice, language in ((voices[0], "en"), (voices[0], "en"), (voices[0], "de")):
        recognise.heard_in(voice, language)
    assert decoded == ["en", "de"]
    for voice in voices[1:]:
        recognise.heard_in(voice, "en")
    recognise.heard_in(voices[0], "en")  # the oldest has made room
    assert decoded == ["en", "de", "en", "en", "en", "en"]


def test_the_other_languages_share_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def feature_extractor(self, voice: np.ndarray) -> np.ndarray:
            return voice[None]

        def detect_language(self, features: np.ndarray) -> tuple[str, float, list[tuple[str, float]]]:
            return "cy", 0.6, [("cy", 0.6), ("en", 0.3), ("de", 0.1)]

    likelihood = {"cy": -30.0, "en": -3.0}
    word = Word(0, 1, " x", 0.5)
    monkeypatch.setattr(recognise, "recogniser", Model)
    monkeypatch.setattr(recognise, "heard_in", lambda _voice, name: Heard((word,), likelihood[name], 0.0, False))
    (first, second, third) = recognise.identify(np.zeros(8, np.float32))
    assert first == ("en", pytest.approx(0.9))
    assert second == ("cy", pytest.approx(0.1 * 6 / 7))
    assert third == ("de", pytest.approx(0.1 / 7))


def test_a_text_in_circles_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Segment:
        def __init__(self, compression_ratio: float, text: str) -> None:
            self.no_speech_prob, self.avg_logprob, self.tokens = 0.2, -0.5, [1, 2, 3]
            self.compression_ratio = compression_ratio
            self.words = [type("W", (), {"start": 0.0, "end": 0.4, "word": text, "probability": 0.5})()]

    class Model:
        def transcribe(self, _voice: np.ndarray, **_options: Any) -> tuple[list[Segment], None]:
            return [Segment(6.5, " la la la la"), Segment(1.2, " Yes."), Segment(1.1, "  ")], None

    monkeypatch.setattr(recognise, "recogniser", Model)
    found = recognise.decode(np.zeros(16_000, np.float32), "en")
    assert [w.text for w in found.words] == [" Yes."]
    assert found.log_likelihood == pytest.approx(-6.0)
    assert not found.repeats


@pytest.mark.slow
def test_real_sentences_are_heard_in_their_language(real_media: Path) -> None:
    import soundfile
    import soxr

    for name, language, word in (("deyu", "de", "Homepage"), ("fayu", "fr", "navigateur")):
        audio, rate = soundfile.read(real_media / "audio" / f"sadtalker_{name}.wav", dtype="float32", always_2d=True)
        audio = soxr.resample(audio.mean(axis=1), rate, 16_000).astype(np.float32)
        num = len(audio) // 640
        row, words = said(audio[: num * 640], vad(num, start_frame=START), num)
        assert row["language"] == language
        assert word in row["transcript"]
        assert row["num_words"] == words.num_rows
        assert (np.diff(words["start_s"].to_numpy()) >= 0).all()
