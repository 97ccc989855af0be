"""MiniLM sentence embeddings: BERT with 6 layers of width 384, in numpy (torch alone would cost 200 MB and seconds).

N tokens, D width, H heads. Source: Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from infra import weights

WEIGHTS = ("minilm_l6_v2", "minilm_l6_v2_tokenizer")
DIMENSION = 384
LAYERS, HEADS = 6, 12
MAX_TOKENS = 256
"""What the sentence encoder was trained with; longer texts are cut."""
EPS = 1e-12


def tokens(text: str) -> list[int]:
    """WordPiece ids with [CLS] and [SEP], at most 256."""
    return list(_tokenizer().encode(text).ids)


def embed(text: str) -> np.ndarray:
    """Float32 (384,) of length 1: the mean over the tokens of the last layer."""
    w = _weights()
    ids = tokens(text)
    x_ND = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x_ND = _norm(x_ND + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        x_ND = _norm(x_ND + _attention(x_ND, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
        wide = _gelu(_linear(x_ND, f"{name}.intermediate.dense"))
        x_ND = _norm(x_ND + _linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x_ND.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), EPS), np.float32)


def _attention(x_ND: np.ndarray, name: str) -> np.ndarray:
    parts = (_linear(x_ND, f"{name}.self.{part}") for part in ("query", "key", "value"))
    q_HNK, k_HNK, v_HNK = (part.reshape(len(x_ND), HEADS, -1).transpose(1, 0, 2) for part in parts)
    scores_HNN = q_HNK @ k_HNK.transpose(0, 2, 1) / math.sqrt(q_HNK.shape[-1])
    shares_HNN = np.exp(scores_HNN - scores_HNN.max(axis=-1, keepdims=True))
    shares_HNN /= shares_HNN.sum(axis=-1, keepdims=True)
    return _linear((shares_HNN @ v_HNK).transpose(1, 0, 2).reshape(len(x_ND), -1), f"{name}.output.dense")


def _linear(x_ND: np.ndarray, name: str) -> np.ndarray:
    w = _weights()
    return np.asarray(x_ND @ w[f"{name}.weight"].T + w[f"{name}.bias"])


def _norm(x_ND: np.ndarray, name: str) -> np.ndarray:
    w = _weights()
    centred = x_ND - x_ND.mean(axis=-1, keepdims=True)
    return np.asarray(
        centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + EPS) * w[f"{name}.weight"]
        + w[f"{name}.bias"]
    )


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return np.asarray(x * 0.5 * (1 + erf(x / math.sqrt(2))))


@cache
def _weights() -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return dict(load_file(str(weights.path(WEIGHTS[0]))))


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    made = Tokenizer.from_buffer(weights.path(WEIGHTS[1]).read_bytes())
    made.no_padding()
    made.enable_truncation(MAX_TOKENS)
    return made
