import numpy as np
import pytest

from infra import weights
from tasks import speaker_encoder
from tests.moving_mouth import syllables


def test_the_spectrogram_is_that_of_a_known_tone() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    mel_TM = speaker_encoder.mel_power(tone)
    assert mel_TM.shape == (101, 40)
    assert mel_TM.dtype == np.float32
    # A Hann window of 400 samples gives a sine of amplitude 1 the power 100^2; the main lobe falls into one or two bands.
    filters = speaker_encoder._mel_filters()
    line = np.array([50.0, 100.0, 50.0]) ** 2 @ filters[:, 24:27].T
    assert np.allclose(mel_TM[50], line, rtol=1e-3, atol=1e-3)


def test_the_filters_are_slaney_s() -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    assert np.allclose(speaker_encoder._mel_filters(), FeatureExtractor.get_mel_filters(16_000, 400, 40), atol=1e-6)


def test_windows_lie_where_they_are_told_to() -> None:
    voice = syllables(4.0)
    windows = speaker_encoder.embed_windows(voice, 0.8)
    assert windows.shape == (4, 256)  # at 0, 0.8, 1.6 and 2.4 s
    assert np.allclose(np.linalg.norm(windows, axis=1), 1, atol=1e-5)
    alone = speaker_encoder.embed_windows(voice[round(1.6 * 16_000) : round(3.2 * 16_000)], 0.8)
    assert float(windows[2] @ alone[0]) > 0.97
    assert float(windows[2] @ windows[0]) < float(windows[2] @ alone[0])


def test_a_voice_is_one_whatever_its_loudness() -> None:
    voice = syllables(3.0)
    first, quiet = speaker_encoder.embed(voice), speaker_encoder.embed(0.05 * voice)
    assert first.shape == (256,)
    assert float(first @ quiet) > 0.999
    assert np.array_equal(first, speaker_encoder.embed(voice))


def test_short_sound_is_repeated_and_none_is_refused() -> None:
    assert speaker_encoder.embed_windows(syllables(0.5), 0.8).shape == (1, 256)
    with pytest.raises(ValueError, match="no sound"):
        speaker_encoder.embed_windows(np.zeros(0, np.float32), 0.8)


def test_digital_silence_has_an_embedding_without_nan() -> None:
    assert np.isfinite(speaker_encoder.embed(np.zeros(32_000, np.float32))).all()


def test_pauses_are_cut_out() -> None:
    audio = np.repeat(np.arange(4, dtype=np.float32), 640)
    assert np.array_equal(
        speaker_encoder.spoken(audio, np.array([False, True, False, True])), np.repeat([1.0, 3.0], 640)
    )


def test_it_is_the_published_network() -> None:
    """Beside torch's own LSTM on the same weights."""
    import torch

    told = torch.load(weights.path("ge2e"), map_location="cpu", weights_only=True)["model_state"]
    network = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(40, 256, num_layers=3, batch_first=True), "linear": torch.nn.Linear(256, 256)}
    )
    network.load_state_dict({k: v for k, v in told.items() if k.startswith(("lstm.", "linear."))})
    mel_TM = speaker_encoder.mel_power(speaker_encoder.levelled(syllables(4.0)))
    mel_NTM = np.stack([mel_TM[s : s + 160] for s in range(0, 240, 60)])
    with torch.inference_mode():
        _, (hidden, _) = network["lstm"](torch.from_numpy(mel_NTM))
        expected = torch.nn.functional.normalize(torch.relu(network["linear"](hidden[-1])), dim=1).numpy()
    assert np.abs(speaker_encoder.encode(mel_NTM) - expected).max() < 1e-5
