"""FVD: how far apart two sets of short videos are, as Gaussians over a video network's features.

Source: Unterthiner et al., "Towards Accurate Generative Models of Video: A New Metric & Challenges", 2018; features of VideoMAE
instead of I3D after Ge et al., "On the Content Bias in Frechet Video Distance", CVPR 2024.

Legend: N, M videos of 16 frames, D features, T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FRAMES = 16
LEAST_VIDEOS, LEAST_PEOPLE = 16, 2
USUAL_VIDEOS = 2048
"""What published figures are made of."""
NUM_RESAMPLES = 500


def frechet_distance(
    a_ND: np.ndarray, b_MD: np.ndarray, count_a_N: np.ndarray | None = None, count_b_M: np.ndarray | None = None
) -> float:
    """Squared: |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2), at least 0. `count` says how often each row counts.

    The root's trace is the sum of the singular values of a product of factors of both covariances, which is exact for fewer
    videos than features, where a matrix square root of their product is not stable.
    """
    mean_a, root_a = _factor(a_ND, count_a_N)
    mean_b, root_b = _factor(b_MD, count_b_M)
    apart = float(np.square(mean_a - mean_b).sum())
    spread = float(np.square(root_a).sum() + np.square(root_b).sum())
    shared = float(np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum())
    return max(0.0, apart + spread - 2 * shared)


def _factor(rows_ND: np.ndarray, count_N: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,), and R of at most D rows with R'R the unbiased covariance."""
    count = np.ones(len(rows_ND)) if count_N is None else np.asarray(count_N, np.float64)
    rows, count = np.asarray(rows_ND, np.float64)[count > 0], count[count > 0]
    num = count.sum()
    mean = count @ rows / num
    root = np.sqrt(count / max(num - 1, 1))[:, None] * (rows - mean)
    return mean, np.asarray(np.linalg.qr(root, mode="r")) if len(root) > root.shape[1] else root


def videos_of(frames_T: np.ndarray) -> list[slice]:
    """Rows of each 16 frames that follow each other, none of them twice."""
    found, row = [], 0
    while row + FRAMES <= len(frames_T):
        if frames_T[row + FRAMES - 1] - frames_T[row] == FRAMES - 1:
            found.append(slice(row, row + FRAMES))
            row += FRAMES
        else:
            row += 1
    return found


def refusal(num_videos: int, num_people: int) -> str:
    """Why there is no FVD; empty where there is."""
    if num_videos >= LEAST_VIDEOS and num_people >= LEAST_PEOPLE:
        return ""
    return (
        f"FVD needs {LEAST_VIDEOS} videos of {FRAMES} frames of {LEAST_PEOPLE} people, here are {num_videos} of {num_people}; "
        "give a larger snapshot"
    )


def caution(num_videos: int) -> str:
    """What is to be said of a figure; empty where it has as many videos as published ones."""
    if num_videos >= USUAL_VIDEOS:
        return ""
    return (
        f"FVD of {num_videos} videos of {FRAMES} frames: published figures take {USUAL_VIDEOS}; of fewer it comes out larger, and "
        "its interval tells how it varies with people, not by how much. Compare it within this evaluation alone."
    )


def fvd(
    features: Sequence[Mapping[str, np.ndarray]], people: Sequence[str], ours: str, true: str, seed: int = 0
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """(FVD to `true` by who, by how much ours is ahead of whom), each a figure with a 95 % interval of a bootstrap over people
    and n, the number of videos. `features` has of each clip, by who, those (N, D) of its videos."""
    whos = [who for who in features[0] if who != true]
    owner = np.concatenate([[p] * len(f[true]) for f, p in zip(features, people, strict=True)])
    rows = {who: np.concatenate([f[who] for f in features]) for who in features[0]}
    names, place = np.unique(owner, return_inverse=True)
    draw = np.random.default_rng(seed)
    once = np.ones(len(owner))
    counts = [once] + [
        np.bincount(draw.integers(0, len(names), len(names)), minlength=len(names))[place] for _ in range(NUM_RESAMPLES)
    ]
    told = {who: np.array([frechet_distance(rows[who], rows[true], c, c) for c in counts]) for who in whos}
    measures = {who: _figure(values, len(owner)) for who, values in told.items()}
    for of in measures.values():
        of["low"] = max(0.0, of["low"])
    ahead = {who: _figure(values - told[ours], len(owner)) for who, values in told.items() if who != ours}
    return measures, ahead


def _figure(values: np.ndarray, num: int) -> dict[str, Any]:
    """The first is of the whole set, the others of the resampled ones. These lie higher, as people who are drawn twice narrow a
    set: their spread is told about the first, and not where they lie."""
    low, high = np.quantile(values[1:] - values[1:].mean(), [0.025, 0.975]) + values[0]
    return {"value": round(float(values[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": num}
