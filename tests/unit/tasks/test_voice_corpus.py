from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks import voice_corpus
from tasks.voice_corpus import CODECS, export, room, round_trip, sound_of, treatments
from tests.moving_mouth import syllables

AUDIO_HZ = 16_000


def power_above(audio: np.ndarray, edge_hz: float) -> float:
    power = np.square(np.abs(np.fft.rfft(audio)))
    return float(power[round(edge_hz * len(audio) / AUDIO_HZ) :].sum() / power.sum())


@pytest.mark.parametrize("codec", CODECS)
def test_a_round_trip_keeps_length_and_loudness_but_not_the_waveform(codec: str) -> None:
    audio = 0.3 * syllables(2.0) / np.abs(syllables(2.0)).max()
    again = round_trip(audio, codec)
    assert (again.shape, again.dtype) == (audio.shape, np.float32)
    assert again.std() == pytest.approx(audio.std(), rel=0.3)
    assert not np.allclose(again, audio, atol=1e-3)


def test_treatments_are_named_and_as_long_as_the_voice() -> None:
    voice = np.random.default_rng(0).normal(0, 0.1, 2 * AUDIO_HZ).astype(np.float32)
    made = dict(treatments(voice, np.random.default_rng(0)))
    names = ["clean", "noise", "narrow", "room", *CODECS]
    assert list(made) == [*names, *(f"moved {name}" for name in names)]
    assert {s.dtype for s in made.values()} == {np.dtype(np.float32)}
    assert {len(made[name]) for name in names} == {len(voice)}
    (moved,) = {len(made[f"moved {name}"]) for name in names}
    assert 1.05 < max(moved / len(voice), len(voice) / moved) < 1.26
    assert made["clean"] is voice
    assert power_above(made["narrow"], 7300) < 0.01 < power_above(voice, 7300)
    noise_db = 20 * np.log10(voice.std() / (made["noise"] - voice).std())
    assert voice_corpus.NOISE_DB[0] - 0.5 < noise_db < voice_corpus.NOISE_DB[1] + 0.5


def test_a_moved_voice_has_another_pitch() -> None:
    time_s = np.arange(2 * AUDIO_HZ) / AUDIO_HZ
    tone = np.sin(2 * np.pi * 500 * time_s).astype(np.float32)
    moved = dict(treatments(tone, np.random.default_rng(3)))["moved clean"]
    pitch_hz = float(np.abs(np.fft.rfft(moved)).argmax() * AUDIO_HZ / len(moved))
    assert pitch_hz == pytest.approx(500 * len(tone) / len(moved), abs=1)
    assert abs(pitch_hz - 500) > 25


def test_a_room_is_a_pulse_and_what_dies_away() -> None:
    response = room(np.random.default_rng(0))
    tail_power = float(np.square(response[1:]).sum())
    assert response[0] == pytest.approx(1, abs=0.3)
    assert 10 ** (-voice_corpus.DIRECT_DB[1] / 10) * 0.8 < tail_power < 1.2
    assert np.square(response[-800:]).sum() < 1e-2 * np.square(response[1:801]).sum()


def test_sound_is_read_at_16_khz_mono(tmp_path: Path) -> None:
    stereo = np.stack([syllables(1.0), np.zeros(AUDIO_HZ)], axis=1)
    soundfile.write(tmp_path / "a.wav", np.repeat(stereo, 3, axis=0), 3 * AUDIO_HZ)
    sound = sound_of(str(tmp_path / "a.wav"))
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(AUDIO_HZ, abs=50)


def test_export_names_voices_and_leaves_out_what_is_too_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_corpus, "voiced_part", lambda audio: audio)
    for name, duration_s in (("ann_0", 2.5), ("ann_1", 2.5), ("bob-b_0", 0.5), ("robot_0", 2.5)):
        soundfile.write(tmp_path / f"{name}.wav", syllables(duration_s), AUDIO_HZ)
    real, made = [tmp_path / f"{n}.wav" for n in ("ann_0", "ann_1", "bob-b_0")], [tmp_path / "robot_0.wav"]
    out = tmp_path / "out.npz"
    num_rows = export(real, made, out)
    with np.load(out) as held:
        assert held["texture_RK"].shape == (num_rows, 174)
        assert num_rows >= 3 * 14  # files, treatments
        assert set(held["voice_R"][held["made_R"]]) == {"robot"}
        assert set(held["voice_R"][~held["made_R"]]) == {"ann"}
    with pytest.raises(ValueError, match="no made file holds a second of speech"):
        export(real, [tmp_path / "bob-b_0.wav"], out)
