from pathlib import Path

import numpy as np
import pytest

from tasks.digest import declared_table, digest_of_table
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import vad


def rows(audio: np.ndarray, start_frame: int = 0) -> tuple[np.ndarray, np.ndarray]:
    media = Media(start_frame, start_frame + len(audio) // 640, 64, 64, audio=audio.astype(np.float32))
    timeline = vad.compute(media, {}).timeline
    assert timeline is not None
    assert timeline["frame"].to_pylist() == list(range(media.start_frame, media.end_frame))
    checked = declared_table(vad.SIGNAL.timeline, timeline)
    return checked["speech_prob"].to_numpy(), checked["loudness_db"].to_numpy()


def test_no_sound_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="no audio"):
        vad.compute(Media(0, 25, 64, 64), {})


def test_silence_is_no_speech_and_stays_finite() -> None:
    speech, loudness = rows(np.zeros(25 * 640))
    assert speech.max() < 0.1
    assert set(loudness.tolist()) == {-100.0}


@pytest.mark.parametrize("pitch_hz", [120, 440, 1000])
def test_a_pure_tone_is_no_speech(pitch_hz: int) -> None:
    tone = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(50 * 640) / 16_000)
    assert np.median(rows(tone)[0]) < 0.2


def test_loudness_is_rms_against_full_scale() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(25 * 640) / 16_000)
    tone[10 * 640 :] *= 0.1
    loudness = rows(tone, 1500)[1]
    assert np.allclose(loudness[:10], -3.01, atol=0.05)
    assert np.allclose(loudness[10:], -23.01, atol=0.05)


def test_steps_of_32_ms_fall_onto_frames_of_40_ms_by_overlap() -> None:
    probs = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], np.float32)
    frames = vad._per_frame(probs, 8)
    assert np.allclose(frames, [1, 1, 1, 1, 0, 0, 0, 0])
    assert vad._per_frame(np.array([0, 1, 0, 0, 0], np.float32), 4)[0] == pytest.approx(128 / 640)


def test_it_is_deterministic() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, 50 * 640).astype(np.float32)
    first, second = (vad.compute(Media(0, 50, 64, 64, audio=audio), {}).timeline for _ in range(2))
    assert first is not None
    assert second is not None
    assert digest_of_table(first) == digest_of_table(second)


def test_real_speech_is_speech(real_media: Path) -> None:
    import soundfile

    audio, _ = soundfile.read(real_media / "audio" / "pyannote_sample.wav", dtype="float32")
    speech, _ = rows(audio)
    turns = [line.split() for line in (real_media / "truth" / "pyannote_sample.rttm").read_text().splitlines()]
    spoken = np.zeros(len(speech), bool)
    for turn in turns:
        spoken[round(float(turn[3]) * 25) : round((float(turn[3]) + float(turn[4])) * 25)] = True
    assert np.mean((speech >= 0.5) == spoken) > 0.85
