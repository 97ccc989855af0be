from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest

from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import synthetic_audio
from tasks.signals.synthetic_audio import judge, logits_of
from tests.moving_mouth import syllables, vad

NUM_FEATURES = 234


def clip(audio: np.ndarray) -> Media:
    return Media(0, len(audio) // 640, 64, 64, audio=audio)


def test_columns_of_the_shipped_model() -> None:
    media = clip(syllables(6.0))
    made = synthetic_audio.compute(media, {"vad": vad(150)})
    assert set(made.row) == {c.name for c in synthetic_audio.SIGNAL.columns}
    assert 0 <= made.row["synthetic_score"] <= 1
    assert made.row == synthetic_audio.compute(media, {"vad": vad(150)}).row


def test_the_score_is_of_the_mean_window_and_only_speech_is_heard() -> None:
    heard = []

    def hear(voice: np.ndarray) -> np.ndarray:
        heard.append(voice)
        return np.array([-1.0, 0.0, 4.0])

    audio = np.arange(64_000, dtype=np.float32)
    row = judge(clip(audio), {"vad": vad(100, speech_ratio=0.5)}, hear, 0.6).row
    assert np.array_equal(heard[0], audio[:32_000])
    assert row == {
        "synthetic_score": pytest.approx(1 / (1 + np.exp(-1))),
        "synthetic_ratio": pytest.approx(2 / 3),
        "speech_s": 2.0,
    }


def test_windows_of_speech_are_told_at_their_time_in_the_clip() -> None:
    """Three seconds of speech around a pause of one: windows of 2 s run on across it, the last ends with the sound."""
    speech = vad(100)
    silent = pa.array([25 <= f < 50 for f in range(100)])
    prob = pa.compute.if_else(silent, 0.0, 1.0).cast(speech["speech_prob"].type)
    speech = speech.set_column(speech.column_names.index("speech_prob"), "speech_prob", prob)
    media = Media(500, 600, 64, 64, audio=np.zeros(64_000, np.float32))
    made = judge(media, {"vad": speech}, lambda _voice: np.array([0.0, -2.0]), 2.0).timeline
    assert made is not None
    assert made.to_pylist() == [
        {"frame": 500, "start_s": 0.0, "end_s": 3.0, "window_score": 0.5},
        {"frame": 550, "start_s": 2.0, "end_s": 4.0, "window_score": pytest.approx(0.1192, abs=1e-4)},
    ]


def test_no_feature_counts_beyond_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    far = 1e6 * np.sign(rng.normal(size=(1, NUM_FEATURES)))
    assert np.array_equal(logits_of(far), logits_of(1000 * far))
    assert np.abs(logits_of(far)) <= 30


def test_a_voice_of_espeak_is_told() -> None:
    """A voice that the fit held back."""
    pytest.importorskip("espeakng_loader", reason="needs pip install 'headroom[voices]'")
    from modeling.made_voices import HELD_BACK_ESPEAK, espeak

    told = "They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood."
    voice = espeak(told, "en-us" + HELD_BACK_ESPEAK[0])
    voice = voice[: len(voice) // 640 * 640]
    row = synthetic_audio.compute(clip(voice), {"vad": vad(len(voice) // 640)}).row
    assert row["synthetic_score"] > 0.9


def test_no_audio() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        synthetic_audio.compute(Media(0, 50, 64, 64), {})


def test_too_little_speech() -> None:
    media = Media(0, 100, 64, 64, audio=np.zeros(64_000, np.float32))
    with pytest.raises(NotApplicable, match="under 1 s of speech"):
        synthetic_audio.compute(media, {"vad": vad(100, speech_ratio=0.24)})
