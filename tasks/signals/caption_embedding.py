"""What a clip's captions mean, as vectors: for search by a sentence, and for balance by topic."""

from __future__ import annotations

import pyarrow as pa

from tasks.media.media import Media
from tasks.minilm import DIMENSION, MAX_TOKENS, WEIGHTS, embed, tokens
from tasks.signal import Column, Needs, Output, Signal

LENGTHS = ("short", "medium", "long")

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "num_tokens",
            pa.int32(),
            "count",
            f"WordPiece tokens of the long caption, cut at {MAX_TOKENS}",
            2,
            MAX_TOKENS,
        ),
        Column("cut", pa.bool_(), "flag", "whether the long caption was longer than that"),
        Column("short_long_cosine", pa.float32(), "score", "cosine of the short and the long caption", -1, 1, 4),
    ),
    vectors=dict.fromkeys(LENGTHS, DIMENSION),
    needs=("caption",),
    cost_cpu_s=0.016,
    weights=WEIGHTS,
    params={"lengths": LENGTHS, "max_tokens": MAX_TOKENS},
    backend="minilm_l6_v2",
    summary="Sentence embeddings (MiniLM, 384 dimensions, length 1) of the three captions.",
    source="Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019; all-MiniLM-L6-v2.",
)


def compute(media: Media, needs: Needs) -> Output:
    vectors = {length: embed(needs["caption"][length]) for length in LENGTHS}
    num = len(tokens(needs["caption"]["long"]))
    cosine = float(vectors["short"] @ vectors["long"])
    return Output(
        row={"num_tokens": num, "cut": num == MAX_TOKENS, "short_long_cosine": min(max(cosine, -1.0), 1.0)},
        vectors=vectors,
    )
