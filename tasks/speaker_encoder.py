"""Who a voice sounds like: the GE2E speaker encoder, on weights that are checked and read once a process.

Run by numpy, which spares a worker torch. Read by what asks whether two voices are one person's. Its version is the
weights' sha256; raise the versions of the signals that use it when anything here changes.

N windows, T steps of 10 ms, M mel bands, D embedding, G gates.
Source: Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018; weights by Resemble AI.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from infra import weights
from tasks import checkpoint_file
from tasks.networks import per_process

WEIGHTS = "ge2e"
EMBEDDING_DIM = 256
AUDIO_HZ = 16_000
STEP_SAMPLES = 160
WINDOW_STEPS = 160
WINDOW_S = 1.6
"""The length of sound that the encoder was trained on."""
SAMPLES_PER_FRAME = 640
FFT_SAMPLES, NUM_MELS, NUM_LAYERS = 400, 40, 3
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
    w, embedded = _weights(), []
    for start in range(0, len(mel_NTM), BATCH):
        x_TND = np.ascontiguousarray(mel_NTM[start : start + BATCH].swapaxes(0, 1), np.float32)
        for layer in range(NUM_LAYERS):
            x_TND = _lstm(x_TND, w, layer)
        raw = np.maximum(x_TND[-1] @ w["linear.weight"] + w["linear.bias"], 0)
        embedded.append(raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9))
    return np.concatenate(embedded)


def _lstm(x_TND: np.ndarray, w: dict[str, np.ndarray], layer: int) -> np.ndarray:
    """Outputs float32 (T, N, 256) of one layer.

    The four gates lie side by side and take one hyperbolic tangent: a sigmoid is that of half its input, which the
    weights are scaled for (`_weights`), moved to [0, 1].
    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al. 2000.
    """
    num_steps, num, _ = x_TND.shape
    given = x_TND.reshape(num_steps * num, -1) @ w[f"lstm.weight_ih_l{layer}"]
    given_TNG = (given + (w[f"lstm.bias_ih_l{layer}"] + w[f"lstm.bias_hh_l{layer}"])).reshape(num_steps, num, -1)
    back = w[f"lstm.weight_hh_l{layer}"]
    hidden_ND = cell_ND = np.zeros((num, len(back)), np.float32)
    made_TND = np.empty((num_steps, num, len(back)), np.float32)
    for given_NG, made_ND in zip(given_TNG, made_TND, strict=True):
        gates_NG = np.tanh(given_NG + hidden_ND @ back)
        entering, kept, new, shown = np.split(gates_NG, 4, axis=1)
        cell_ND = (0.5 + 0.5 * kept) * cell_ND + (0.5 + 0.5 * entering) * new
        hidden_ND = np.multiply(0.5 + 0.5 * shown, np.tanh(cell_ND), out=made_ND)
    return made_TND


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


@per_process
def _weights() -> dict[str, np.ndarray]:
    """By name; matrices stand as `x @ w` multiplies them, in memory too: a transposed view costs ten times as much."""
    told = checkpoint_file.load(weights.path(WEIGHTS))["model_state"]
    half = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), EMBEDDING_DIM)  # gates: entering, kept, new, shown
    made = {k: np.ascontiguousarray(v.T) for k, v in told.items() if k.startswith(("lstm.", "linear."))}
    return {k: v * half if k.startswith("lstm.") else v for k, v in made.items()}
