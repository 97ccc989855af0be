"""Log-mel and the network: what is heard when, and that a stream gives what the whole sound gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modeling.audio_to_motion import MotionNet
from modeling.log_mel import LOOKAHEAD_SAMPLES, SILENCE, filters, log_mel, mel_windows
from modeling.recipes.audio_to_motion import AudioToMotion, recipe
from modeling.training import predict

KINDS = pytest.mark.parametrize("kind", ["gru", "transformer"])


def net_of(kind: str, **values: object) -> MotionNet:
    torch.manual_seed(3)
    return MotionNet(recipe("audio_to_motion_tiny", kind=kind, num_layers=2, window_frames=12, **values)).eval()


def noise(num_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_frames * 640).astype(np.float32)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(6400) / 16_000)[None] * 0.3
    mel = log_mel(tone, 40)
    assert mel.shape == (1, 40, 40)
    centre_hz = (filters(40) * torch.arange(257)[:, None] * 31.25).sum(0)
    assert abs(float(centre_hz[mel[0, 20].argmax()]) - 1000) < 80
    assert torch.all(filters(80).sum(0) > 0.999), "no band is empty"
    assert log_mel(torch.zeros(1, 640), 40).max() == pytest.approx(SILENCE, abs=1e-5)
    with pytest.raises(ValueError, match="650 samples are no whole frames"):
        log_mel(torch.zeros(1, 650), 40)


@KINDS
def test_nothing_beyond_60_ms_is_heard(kind: str) -> None:
    assert LOOKAHEAD_SAMPLES / 16 <= 60
    net, sound = net_of(kind), noise(30)
    later = sound.copy()
    later[20 * 640 + LOOKAHEAD_SAMPLES :] = noise(30, 1)[20 * 640 + LOOKAHEAD_SAMPLES :]
    assert np.array_equal(predict(net, sound)[:21], predict(net, later)[:21])
    assert not np.allclose(predict(net, sound)[21], predict(net, later)[21])


@KINDS
def test_chunks_give_what_the_whole_gives(kind: str) -> None:
    net, sound = net_of(kind), noise(60)
    whole = predict(net, sound)
    heard = torch.from_numpy(np.pad(sound, (0, 240)))[None]
    state, made, at = net.start(1), [], 0
    with torch.no_grad():
        for num in (1, 1, 7, 20, 3, 28):
            mel = mel_windows(heard[:, at * 640 : (at + num) * 640 + 240], net.recipe.num_mels)
            rows, *state = net(mel, *state)
            made.append(rows[0].numpy())
            at += num
    assert at == 60
    assert np.abs(np.concatenate(made) - whole).max() < 2e-5


def test_a_transformer_forgets_what_is_out_of_its_window() -> None:
    net = net_of("transformer", dropout=0.0)
    sound = noise(80)
    other = np.concatenate([noise(20, 5), sound[20 * 640 :]])
    reach = 2 * 12 + 3  # two layers of 12 frames each, and the front's 80 ms
    assert np.allclose(predict(net, sound)[20 + reach :], predict(net, other)[20 + reach :], atol=1e-5)


def test_recipes_refuse_what_they_do_not_have() -> None:
    assert recipe("audio_to_motion", num_steps="7").num_steps == 7
    with pytest.raises(ValueError, match="recipe 'x' is none of audio_to_motion"):
        recipe("x")
    with pytest.raises(ValueError, match="has no value 'colour'"):
        recipe("audio_to_motion", colour=1)
    with pytest.raises(ValueError, match="num_steps='many' is no int"):
        recipe("audio_to_motion", num_steps="many")
    with pytest.raises(ValueError, match="kind 'rnn' is none of gru, transformer"):
        recipe("audio_to_motion", kind="rnn")
    assert AudioToMotion().kind == "gru"
