"""Who a voice sounds like: the GE2E speaker encoder, loaded once a process from checked weights.

Read by what asks whether two voices are one person's. Its version is the weights' sha256; raise the versions of the
signals that use it when anything here changes.

N windows, T steps of 10 ms, M mel bands, D embedding.
Source: Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018; weights by Resemble AI.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from infra import weights

WEIGHTS = "ge2e"
EMBEDDING_DIM = 256
AUDIO_HZ = 16_000
STEP_SAMPLES = 160
WINDOW_STEPS = 160
WINDOW_S = 1.6
"""The length of sound that the encoder was trained on."""
SAMPLES_PER_FRAME = 640
FFT_SAMPLES, NUM_MELS = 400, 40
SPEECH_RMS = 10 ** (-30 / 20)
"""-30 dBFS, the loudness of the encoder's training; its input is power, not a logarithm."""
BATCH = 32


def embed(voice: np.ndarray, hop_s: float = 0.8) -> np.ndarray:
    """The voice as a whole: mean of its windows' embeddings, float32 (256,) of length 1.

    `voice` is 16 kHz mono speech, best without its pauses (`spoken`). Two voices are compared by the dot product.
    """
    mean_D = embed_windows(voice, hop_s).mean(axis=0)
    return np.asarray(mean_D / np.linalg.norm(mean_D), np.float32)


def embed_windows(voice: np.ndarray, hop_s: float) -> np.ndarray:
    """Embeddings of windows of 1.6 s that begin every `hop_s`, float32 (N, 256), each of length 1.

    Window n covers [n hop_s, n hop_s + 1.6); the last one ends within a hop of the end of the sound. Shorter sound is
    repeated. 0.007 CPU-seconds a window, twice that alone. Raises ValueError for an empty sound.
    """
    if len(voice) == 0:
        raise ValueError("embed_windows: no sound; check before asking")
    num_samples = WINDOW_STEPS * STEP_SAMPLES
    if len(voice) < num_samples:
        voice = np.tile(voice, -(-num_samples // len(voice)))[:num_samples]
    mel_TM = mel_power(levelled(voice))
    hop_steps = round(hop_s * AUDIO_HZ / STEP_SAMPLES)
    starts = np.arange(0, len(mel_TM) - WINDOW_STEPS + 1, hop_steps)
    return encode(np.stack([mel_TM[s : s + WINDOW_STEPS] for s in starts]))


def encode(mel_NTM: np.ndarray) -> np.ndarray:
    """float32 (N, 256), each of length 1 and without negative values, of mel spectrograms (N, T, 40)."""
    import torch

    network, embedded = _network(), []
    with torch.inference_mode():
        for start in range(0, len(mel_NTM), BATCH):
            _, (hidden, _) = network["lstm"](torch.from_numpy(mel_NTM[start : start + BATCH]))
            raw = torch.relu(network["linear"](hidden[-1]))
            embedded.append((raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-9)).numpy())
    return np.concatenate(embedded)


def spoken(audio: np.ndarray, speaks: np.ndarray) -> np.ndarray:
    """The sound of those frames of 40 ms in which somebody speaks, one after another."""
    num = min(len(audio) // SAMPLES_PER_FRAME, len(speaks))
    frames = audio[: num * SAMPLES_PER_FRAME].reshape(num, SAMPLES_PER_FRAME)
    return np.asarray(frames[speaks[:num]].reshape(-1), np.float32)


def levelled(voice: np.ndarray) -> np.ndarray:
    """The voice at the encoder's loudness; digital silence stays as it is."""
    rms = float(np.sqrt(np.square(voice, dtype=np.float64).mean()))
    return np.asarray(voice * (SPEECH_RMS / max(rms, 1e-6)), np.float32)


def mel_power(voice: np.ndarray) -> np.ndarray:
    """Mel power spectrogram float32 (T, 40), T = 1 + samples / 160; step t is centred on sample 160 t."""
    padded = np.pad(voice, FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::STEP_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)
    power = np.square(np.abs(np.fft.rfft(frames * hann, axis=1)))
    return np.asarray(power @ _mel_filters().T, np.float32)


@cache
def _mel_filters() -> np.ndarray:
    """(40, 201): triangles on Slaney's mel scale, 0 to 8000 Hz, each of area 1, as librosa's default."""
    log_step = np.log(6.4) / 27  # linear up to 1000 Hz = 15 mel, 27 mel for each factor of 6.4 above

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(log_step * (np.maximum(mel, 15) - 15)))

    top_mel = 15 + np.log(AUDIO_HZ / 2 / 1000) / log_step
    edges_hz = hertz(np.linspace(0, top_mel, NUM_MELS + 2))
    bins_hz = np.arange(FFT_SAMPLES // 2 + 1) * AUDIO_HZ / FFT_SAMPLES
    widths = np.diff(edges_hz)[:, None]
    ramps = edges_hz[:, None] - bins_hz
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    areas = 2 / (edges_hz[2:] - edges_hz[:-2])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * areas[:, None])


@cache
def _network() -> Any:
    import torch

    told = torch.load(weights.path(WEIGHTS), map_location="cpu", weights_only=True)["model_state"]
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):  # layers draw first weights when they are made
        network = torch.nn.ModuleDict(
            {
                "lstm": torch.nn.LSTM(NUM_MELS, EMBEDDING_DIM, num_layers=3, batch_first=True),
                "linear": torch.nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM),
            }
        )
    network.load_state_dict({k: v for k, v in told.items() if k.startswith(("lstm.", "linear."))})
    return network.eval()
