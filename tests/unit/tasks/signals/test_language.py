from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.digest import declared_row, digest_of_values
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import language
from tests.moving_mouth import syllables, vad

START, NUM_FRAMES = 500, 100


def row(audio: np.ndarray | None, speech_ratio: float = 1.0, num_frames: int = NUM_FRAMES) -> dict[str, Any]:
    media = Media(START, START + num_frames, 64, 64, audio=audio)
    needs = {"vad": vad(num_frames, speech_ratio=speech_ratio, start_frame=START)}
    return declared_row(language.SIGNAL.columns, language.compute(media, needs).row)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is recognised, set by the test; the number of samples heard is appended."""
    answer: list[Any] = [[("fr", 0.8), ("it", 0.15), ("es", 0.05)]]

    def identify(voice: np.ndarray) -> Any:
        answer.append(len(voice))
        return answer[0]

    monkeypatch.setattr(language, "identify", identify)
    return answer


def test_the_likeliest_is_told_and_the_next_beside_it(told: list[Any]) -> None:
    assert row(np.zeros(64_000, np.float32), speech_ratio=0.5) == {
        "language": "fr",
        "probability": pytest.approx(0.8),
        "second_language": "it",
        "second_probability": pytest.approx(0.15),
        "speech_s": 2.0,
    }
    assert told[-1] == 60 * 640  # the speech, and 0.4 s after it


def test_below_one_half_none_is_told(told: list[Any]) -> None:
    told[0] = [("fr", 0.49), ("it", 0.48)]
    found = row(np.zeros(64_000, np.float32))
    assert found["language"] is None
    assert found["probability"] == pytest.approx(0.49)


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        row(None)


def test_hardly_any_speech_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="under 1 s of speech"):
        row(np.zeros(64_000, np.float32), speech_ratio=0.24)


def test_it_is_deterministic() -> None:
    first, second = (digest_of_values(row(syllables(2.0), num_frames=50), None, {}) for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_real_sentences_are_told_in_their_language(real_media: Path) -> None:
    import soundfile
    import soxr

    for name, code in (("deyu", "de"), ("fayu", "fr"), ("japanese", "ja")):
        audio, rate = soundfile.read(real_media / "audio" / f"sadtalker_{name}.wav", dtype="float32", always_2d=True)
        audio = soxr.resample(audio.mean(axis=1), rate, 16_000).astype(np.float32)
        num = len(audio) // 640
        assert row(audio[: num * 640], num_frames=num)["language"] == code
