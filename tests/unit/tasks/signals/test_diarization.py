from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.signal import lfilter

from tasks.digest import declared_row, declared_table, digest_of_values
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import diarization
from tests.moving_mouth import vad

START = 300
LOW = (105.0, (500.0, 1100.0, 2400.0))
HIGH = (230.0, (850.0, 1900.0, 3300.0))


def buzz(voice: tuple[float, tuple[float, ...]], num_frames: int, seed: int) -> np.ndarray:
    """A voice of a pitch and formants: glottal pulses with jitter through resonances, in syllables."""
    pitch_hz, formants_hz = voice
    rng = np.random.default_rng(seed)
    num = num_frames * 640
    periods = 16_000 / (pitch_hz * (1 + 0.04 * rng.normal(size=num // 40)))
    pulses = np.zeros(num)
    pulses[np.cumsum(periods).astype(int)[np.cumsum(periods) < num]] = 1
    sound = pulses + 0.002 * rng.normal(size=num)
    for formant_hz in formants_hz:
        radius, angle = 0.97, 2 * np.pi * formant_hz / 16_000
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(num) / 16_000 + seed)
    sound = sound * syllables
    return np.asarray(0.1 * sound / sound.std(), np.float32)


def found(audio: np.ndarray | None, rows: pa.Table | None = None) -> tuple[dict[str, Any], pa.Table]:
    num = 100 if audio is None else len(audio) // 640
    media = Media(START, START + num, 64, 64, audio=audio)
    made = diarization.compute(media, {"vad": vad(num, start_frame=START) if rows is None else rows})
    assert made.timeline is not None
    row = declared_row(diarization.SIGNAL.columns, made.row)
    return row, declared_table(diarization.SIGNAL.timeline, made.timeline)


def test_one_voice_is_one_speaker_with_one_turn() -> None:
    row, turns = found(buzz(LOW, 200, 0))
    assert (row["num_speakers"], row["num_turns"], row["main_speaker_ratio"]) == (1, 1, 1.0)
    assert row["likeness"] >= 0.7
    assert turns.to_pydict() == {"frame": [START], "start_s": [0.0], "end_s": [8.0], "speaker": [0]}


def test_two_voices_take_turns_where_they_do() -> None:
    parts = [(HIGH, 100), (LOW, 75), (HIGH, 50)]
    row, turns = found(np.concatenate([buzz(v, n, i) for i, (v, n) in enumerate(parts)]))
    assert (row["num_speakers"], row["num_turns"]) == (2, 3)
    assert row["likeness"] < 0.7
    assert row["main_speaker_ratio"] == pytest.approx(150 / 225, abs=0.05)
    assert turns["speaker"].to_pylist() == [0, 1, 0]
    assert np.allclose(turns["start_s"].to_numpy(), [0, 4, 7], atol=0.3)
    assert np.allclose(turns["end_s"].to_numpy(), [4, 7, 9], atol=0.3)


def test_a_pause_ends_a_turn_when_it_is_long() -> None:
    rows = vad(200, start_frame=START)
    for pause_frames, num_turns in ((5, 1), (25, 2)):
        speaks = np.ones(200, np.float32)
        speaks[100 : 100 + pause_frames] = 0
        row, turns = found(buzz(LOW, 200, 0), rows.set_column(1, "speech_prob", pa.array(speaks)))
        assert row["num_turns"] == turns.num_rows == num_turns
        assert row["speech_s"] == pytest.approx((200 - pause_frames) / 25)
    assert turns["frame"].to_pylist() == [START, START + 125]


def test_it_is_deterministic() -> None:
    audio = np.concatenate([buzz(HIGH, 60, 0), buzz(LOW, 60, 1)])
    first, second = (digest_of_values(*found(audio), {}) for _ in range(2))
    assert first == second


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        found(None)


def test_hardly_any_speech_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="under 1 s of speech"):
        found(buzz(LOW, 100, 0), vad(100, speech_ratio=0.24, start_frame=START))


@pytest.mark.slow
def test_two_people_who_talk_are_told_apart(real_media: Path) -> None:
    import soundfile

    from tasks.signals import vad as activity

    audio, _ = soundfile.read(real_media / "audio" / "pyannote_sample.wav", dtype="float32")
    media = Media(0, len(audio) // 640, 64, 64, audio=audio[: len(audio) // 640 * 640])
    row = diarization.compute(media, {"vad": activity.compute(media, {}).timeline}).row
    assert row["num_speakers"] == 2
    assert row["num_turns"] >= 6
