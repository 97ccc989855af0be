import numpy as np
import pytest

from tasks import whisper
from tests.moving_mouth import syllables


def test_a_second_gives_fifty_steps_and_twice_the_same() -> None:
    audio = syllables(3.0)
    first, second = whisper.encode(audio), whisper._encode(audio)
    assert first.shape == (150, 384)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)


def test_the_same_sound_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.zeros(640, np.float32), np.ones(640, np.float32)
    encoded: list[float] = []

    def encode(audio: np.ndarray) -> np.ndarray:
        encoded.append(float(audio[0]))
        return audio

    monkeypatch.setattr(whisper, "_encode", encode)
    for audio in (first, first, second, second, first):
        assert np.array_equal(whisper.encode(audio.copy()), audio)
    assert encoded == [0, 1, 0]


def test_pieces_of_a_long_sound_are_joined_without_a_gap() -> None:
    audio = syllables(12.0)
    assert whisper.encode(audio).shape == (600, 384)
    assert np.array_equal(whisper.encode(audio)[:400], whisper.encode(audio[: 9 * 16_000])[:400])


def test_no_sound_gives_no_steps() -> None:
    assert whisper.encode(np.zeros(100, np.float32)).shape == (0, 384)


def test_a_window_is_encoded_once_for_language_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from faster_whisper import WhisperModel

    encoded: list[float] = []

    def encode(_self: object, features: np.ndarray) -> float:
        encoded.append(float(features[0, 0]))
        return encoded[-1]

    monkeypatch.setattr(WhisperModel, "encode", encode)
    model = whisper.recogniser()
    windows = [np.full((80, 3000), 1000.0 + i, np.float32) for i in range(whisper.KEPT_WINDOWS + 1)]
    assert [model.encode(windows[i]) for i in (0, 0, 1, 0, 2, 3, 4, 0)] == [
        1000,
        1000,
        1001,
        1000,
        1002,
        1003,
        1004,
        1000,
    ]
    assert encoded == [1000, 1001, 1002, 1003, 1004, 1000]


def test_the_names_of_all_parts_are_told_for_the_fingerprint() -> None:
    assert whisper.weights_of(whisper.ENCODER) == (
        "whisper_tiny_en",
        "whisper_tiny_en_config",
        "whisper_tiny_en_vocabulary",
    )
    assert "whisper_base_tokenizer" in whisper.weights_of(whisper.RECOGNISER)
