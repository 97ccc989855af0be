"""Whisper, loaded once a process from checked weights: the recogniser that signals of speech are read from.

Files go to CTranslate2 in a folder of links, so that the parts of a model may come from several packages: what it is
given from memory it keeps, beside the model that it makes of it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra import weights
from tasks.networks import per_process

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

RECOGNISER = "whisper_base"
ENCODER = "whisper_tiny_en"
ENCODER_HZ = 50
ENCODER_DIM = 384
SAMPLES_PER_STEP = 320
KEPT_WINDOWS = 4
"""3 MB each, enough for a clip of 60 s."""
_KEPT_ENCODING: dict[bytes, np.ndarray] = {}
_CHUNK_STEPS = 8 * ENCODER_HZ
_CONTEXT_STEPS = ENCODER_HZ


def weights_of(model: str) -> tuple[str, ...]:
    """Names in infra/weights.toml of all that decides a model's output."""
    parts = ("", "_config", "_vocabulary") + (("_tokenizer",) if model == RECOGNISER else ())
    return tuple(model + part for part in parts)


@contextmanager
def folder(model: str) -> Iterator[str]:
    """Its files under the names that CTranslate2 looks for."""
    named = {"": "model.bin", "_config": "config.json", "_vocabulary": "vocabulary.txt", "_tokenizer": "tokenizer.json"}
    with tempfile.TemporaryDirectory(prefix="headroom-whisper-") as made:
        for name in weights_of(model):
            (Path(made) / named[name.removeprefix(model)]).symlink_to(weights.path(name).resolve())
        yield made


@per_process
def recogniser() -> WhisperModel:
    """Whisper base, multilingual, in int8 on one thread. Encodings of the last windows are kept: the language and
    the text in several languages are all read from them, and they cost more than the reading."""
    from faster_whisper import WhisperModel

    class Recogniser(WhisperModel):  # type: ignore[misc]
        def encode(self, features: np.ndarray) -> Any:
            key = hashlib.md5(features.tobytes()).digest()
            if key not in kept:
                if len(kept) >= KEPT_WINDOWS:
                    del kept[next(iter(kept))]
                kept[key] = super().encode(features)
            return kept[key]

    kept: dict[bytes, Any] = {}
    with folder(RECOGNISER) as files:
        return Recogniser(files, device="cpu", compute_type="int8", cpu_threads=1)


@per_process
def _encoder() -> tuple[Any, Any]:
    import ctranslate2
    from faster_whisper.feature_extractor import FeatureExtractor

    with folder(ENCODER) as files:
        model = ctranslate2.models.Whisper(files, device="cpu", compute_type="int8", intra_threads=1, inter_threads=1)
    return model, FeatureExtractor()


def encode(audio: np.ndarray) -> np.ndarray:
    """What the encoder of Whisper tiny.en makes of 16 kHz sound: float32 (T, 384), T = samples / 320, 50 a second.

    The sound is not padded to 30 s, which would cost four times as much for a clip; it goes in pieces of 8 s with
    1 s of context on both sides, so that memory stays flat. The last encoding is kept: several signals of one clip
    read it. Callers must not write into it.
    """
    key = hashlib.md5(np.ascontiguousarray(audio).tobytes()).digest()
    if key not in _KEPT_ENCODING:
        _KEPT_ENCODING.clear()
        _KEPT_ENCODING[key] = _encode(audio)
    return _KEPT_ENCODING[key]


def _encode(audio: np.ndarray) -> np.ndarray:
    num_steps = len(audio) // SAMPLES_PER_STEP
    pieces: list[np.ndarray] = [np.zeros((0, ENCODER_DIM), np.float32)]
    for start in range(0, num_steps, _CHUNK_STEPS):
        end = min(num_steps, start + _CHUNK_STEPS)
        low, high = max(0, start - _CONTEXT_STEPS), min(num_steps, end + _CONTEXT_STEPS)
        piece = _encode_piece(audio[low * SAMPLES_PER_STEP : high * SAMPLES_PER_STEP])
        pieces.append(piece[start - low : end - low])
    return np.concatenate(pieces)


def _encode_piece(audio: np.ndarray) -> np.ndarray:
    import ctranslate2

    model, spectrogram = _encoder()
    log_mel = spectrogram(audio.astype(np.float32))
    log_mel = np.ascontiguousarray(log_mel[None, :, : 2 * (len(audio) // SAMPLES_PER_STEP)], dtype=np.float32)
    encoded = np.asarray(model.encode(ctranslate2.StorageView.from_array(log_mel), to_cpu=True), np.float32)
    return np.asarray(encoded[0])
