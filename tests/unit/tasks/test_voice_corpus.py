from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks import voice_corpus
from tasks.voice_corpus import CODECS, export, room, round_trip, sound_of, treatments
from tests.moving_mouth import syllables

AUDIO_HZ = 16_000


@pytest.mark.parametrize("codec", CODECS)
def test_a_round_trip_keeps_length_and_loudness_but_not_the_waveform(codec: str) -> None:
    audio = 0.3 * syllables(2.0) / np.abs(syllables(2.0)).max()
    again = round_trip(audio, codec)
    assert (again.shape, again.dtype) == (audio.shape, np.float32)
    assert again.std() == pytest.approx(audio.std(), rel=0.3)
    assert not np.allclose(again, audio, atol=1e-3)


def test_ways_are_drawn_by_lot_and_the_same_lot_again() -> None:
    voice = np.random.default_rng(0).normal(0, 0.1, 2 * AUDIO_HZ).astype(np.float32)
    made, again = (list(treatments(voice, [voice], 6, np.random.default_rng(0))) for _ in range(2))
    assert [name for name, _ in made] == [name for name, _ in again]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(made, again, strict=True))
    assert made[0][0] == "clean"
    assert made[0][1] is voice
    assert len(made) == 1 + 6
    for name, sound in made[1:]:
        assert set(name.split()[1:]) <= set(CODECS)
        assert sound.dtype == np.float32
        assert 1 / 1.26 < len(sound) / len(voice) < 1.26
        assert not np.array_equal(sound, voice)


def test_every_codec_and_moved_pitch_come_up() -> None:
    voice = 0.1 * np.sin(2 * np.pi * 500 * np.arange(AUDIO_HZ) / AUDIO_HZ).astype(np.float32)
    rng = np.random.default_rng(1)
    ways = [voice_corpus.on_its_way(voice, [voice], rng) for _ in range(30)]
    assert {name for _, codecs in ways for name in codecs} == set(CODECS)
    assert {len(codecs) for _, codecs in ways} == {0, 1, 2}
    lengths = np.array([len(sound) / len(voice) for sound, _ in ways])
    assert 0.2 < (lengths == 1).mean() < 0.7
    moved = np.maximum(lengths, 1 / lengths)[lengths != 1]
    assert 1.05 < moved.min() <= moved.max() < 1.26
    for sound, _ in ways:
        pitch_hz = float(np.abs(np.fft.rfft(sound)).argmax() * AUDIO_HZ / len(sound))
        assert pitch_hz == pytest.approx(500 * len(voice) / len(sound), abs=6)


def test_a_telephone_line_keeps_the_middle_of_the_voice_and_rounds_it() -> None:
    time_s = np.arange(2 * AUDIO_HZ) / AUDIO_HZ
    sound = sum(0.2 * np.sin(2 * np.pi * hz * time_s) for hz in (100, 1000, 5000))
    heard = voice_corpus.telephone(sound)
    assert heard.shape == sound.shape
    level = np.abs(np.fft.rfft(heard)) / np.abs(np.fft.rfft(sound)).max()
    assert level[2 * 1000] == pytest.approx(1, abs=0.1)
    assert max(level[2 * 100], level[2 * 5000]) < 0.05
    near = np.delete(level[2 * 400 : 2 * 3000], range(2 * 600 - 40, 2 * 600 + 40))
    assert 1e-4 < near.max() < 0.05, "companding to 8 bits is heard, a little"


def test_babble_is_of_several_voices_at_unit_power() -> None:
    tones = [np.sin(2 * np.pi * hz * np.arange(AUDIO_HZ) / AUDIO_HZ) for hz in (300, 700, 1100)]
    made = voice_corpus.babble(2 * AUDIO_HZ, tones, np.random.default_rng(0))
    assert (len(made), made.std()) == (2 * AUDIO_HZ, pytest.approx(1, abs=1e-6))
    level = np.abs(np.fft.rfft(made))[[600, 1400, 2200]]
    assert (level > 0.1 * level.max()).sum() >= 2


def test_noise_has_unit_power_and_a_slope() -> None:
    spectra = [np.abs(np.fft.rfft(voice_corpus.noise(AUDIO_HZ, np.random.default_rng(s)))) for s in range(8)]
    tilts = [float(np.log(s[100:1000].mean() / s[4000:7000].mean())) for s in spectra]
    assert min(tilts) > -0.1
    assert max(tilts) > 1
    assert voice_corpus.noise(AUDIO_HZ, np.random.default_rng(0)).std() == pytest.approx(1, abs=1e-6)


def test_an_equaliser_bends_by_its_decibels() -> None:
    gains_db = 20 * np.log10(np.abs(np.fft.rfft(voice_corpus.equaliser(np.random.default_rng(0)), 1024)))
    assert np.ptp(gains_db) > 3
    assert np.abs(gains_db).max() < voice_corpus.EQUALISER_DB + 1


def test_a_rate_of_its_own_changes_the_round_trip() -> None:
    audio = 0.3 * syllables(2.0) / np.abs(syllables(2.0)).max()
    errors = [float(np.square(round_trip(audio, "mp3", kbit * 1000) - audio).mean()) for kbit in (24, 48, 96)]
    assert errors[0] > errors[2]
    assert np.array_equal(round_trip(audio, "mp3"), round_trip(audio, "mp3", 48_000))


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
    monkeypatch.setattr(voice_corpus, "NUM_WAYS", {"real": 2, "made": 1})
    monkeypatch.setattr(voice_corpus, "holds_high_voice", lambda _texture: True)
    for name, duration_s in (("ann_0", 2.5), ("ann_1", 2.5), ("bob-b_0", 0.5), ("robot_0", 2.5)):
        soundfile.write(tmp_path / f"{name}.wav", syllables(duration_s), AUDIO_HZ)
    real, made = [tmp_path / f"{n}.wav" for n in ("ann_0", "ann_1", "bob-b_0")], [tmp_path / "robot_0.wav"]
    out = tmp_path / "out.npz"
    num_rows = export(real, made, out)
    with np.load(out) as held:
        assert held["texture_RK"].shape == (num_rows, 234)
        assert {str(t).split()[0] for t in held["treatment_R"][held["made_R"]]} == {"clean", "0"}
        assert {str(t).split()[0] for t in held["treatment_R"][~held["made_R"]]} == {"clean", "0", "1"}
        assert set(held["voice_R"][held["made_R"]]) == {"robot"}
        assert set(held["voice_R"][~held["made_R"]]) == {"ann"}
    with pytest.raises(ValueError, match="no made file holds a second of speech"):
        export(real, [tmp_path / "bob-b_0.wav"], out)


def test_what_no_voice_is_heard_in_above_4_khz_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_corpus, "voiced_part", lambda audio: audio)
    monkeypatch.setattr(voice_corpus, "NUM_WAYS", {"real": 1, "made": 1})
    monkeypatch.setattr(voice_corpus, "on_its_way", lambda voice, *_: (voice_corpus.telephone(voice), []))
    bursts = np.random.default_rng(0).normal(0, 0.1, 2 * AUDIO_HZ) * (np.arange(2 * AUDIO_HZ) % 4000 < 2000)
    files = [tmp_path / f"{name}_0.wav" for name in ("ann", "robot")]
    for file in files:
        soundfile.write(file, bursts, AUDIO_HZ)
    export(files[:1], files[1:], tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as held:
        assert held["treatment_R"].tolist() == ["clean", "clean"]
