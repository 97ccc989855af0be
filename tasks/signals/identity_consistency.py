"""Whether one person stays the same person through the clip, as avatar training needs it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Signal

SAME_COSINE = 0.363
"""The threshold that SFace's authors publish for the same person."""
EMBEDDING_SCALE = 10_000

SIGNAL = Signal(
    grain="clip",
    version=1,
    columns=(
        Column(
            "change_cosine",
            pa.float32(),
            "score",
            "cosine of the mean face before and after the moment where they differ most; under 0.36 it is somebody else",
            -1,
            1,
            4,
        ),
        Column("mean_cosine", pa.float32(), "score", "of two sampled faces of the clip, mean over all pairs", -1, 1, 4),
        Column("min_cosine", pa.float32(), "score", "of the two faces that differ most: pose and blur too", -1, 1, 4),
        Column(
            "drift",
            pa.float32(),
            "ratio",
            "how much less alike faces are with time between them: mean cosine of neighbours minus that of faces at "
            "least half the clip apart; near 0 is steady",
            -2,
            2,
            4,
        ),
        Column("num_people", pa.int16(), "count", "people whom the main faces show", 1, 16),
        Column("main_ratio", pa.float32(), "ratio", "share of the sampled faces that show the first of them", 0, 1, 4),
    ),
    needs=("face_embedding",),
    cost_cpu_s=0.0002,
    params={"same_cosine": SAME_COSINE, "people": "average linkage"},
    backend="sface_cosine",
    summary="How alike the main face is from start to end of the clip: change, drift, and number of people, by SFace.",
    source="Threshold: Zhong et al., SFace, TIP 2021, as published in OpenCV Zoo.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable when a single face was looked at."""
    faces_ND = np.array(needs["face_embedding.timeline"]["embedding"].to_pylist(), np.float64) / EMBEDDING_SCALE
    if len(faces_ND) < 2:
        raise NotApplicable("one face only")
    cosine_NN = np.clip(faces_ND @ faces_ND.T, -1, 1)
    above = np.triu_indices(len(faces_ND), 1)
    sizes = np.unique(people(cosine_NN), return_counts=True)[1]
    return Output(
        row={
            "change_cosine": change_cosine(faces_ND),
            "mean_cosine": float(cosine_NN[above].mean()),
            "min_cosine": float(cosine_NN[above].min()),
            "drift": drift(cosine_NN),
            "num_people": len(sizes),
            "main_ratio": float(sizes.max() / sizes.sum()),
        }
    )


def change_cosine(faces_ND: np.ndarray) -> float:
    """The least cosine, over all cuts of the sequence in two, between the means of both parts."""
    sums = np.cumsum(faces_ND, axis=0)
    before, after = sums[:-1], sums[-1] - sums[:-1]
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return float(np.clip(((before * after).sum(axis=1) / np.maximum(lengths, 1e-9)).min(), -1, 1))


def drift(cosine_NN: np.ndarray) -> float:
    """Mean cosine of neighbours in time minus that of faces at least half the sequence apart; 0 for two faces."""
    num = len(cosine_NN)
    apart = np.abs(np.subtract.outer(np.arange(num), np.arange(num)))
    return float(cosine_NN[apart == 1].mean() - cosine_NN[apart >= max(1, num // 2)].mean())


def people(cosine_NN: np.ndarray) -> np.ndarray:
    """Number of the person (N,) of each face: groups are joined while their mean cosine is at least SAME_COSINE.

    Average linkage: one odd face that resembles two people does not make them one.
    """
    groups = [[i] for i in range(len(cosine_NN))]
    while len(groups) > 1:
        pairs = [(a, b) for b in range(len(groups)) for a in range(b)]
        means = [float(cosine_NN[np.ix_(groups[a], groups[b])].mean()) for a, b in pairs]
        best = int(np.argmax(means))
        if means[best] < SAME_COSINE:
            break
        a, b = pairs[best]
        groups[a] += groups.pop(b)
    numbers = np.empty(len(cosine_NN), int)
    for number, members in enumerate(groups):
        numbers[members] = number
    return numbers
