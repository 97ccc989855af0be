"""Who speaks when, from embeddings of the voice: how many speakers there are, and the turns of each.

N windows, D embedding, K speakers, T frames of 40 ms.
Clustering follows Garcia-Romero et al., "Speaker Diarization Using Deep Neural Network Embeddings", ICASSP 2017;
the second pass is a Viterbi search, as in resegmentation with an HMM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME_VOICE = 0.70
"""Mean cosine across two groups of windows from which on they are one person's: halves of one person's voice, chosen
as unlike as can be, keep 0.72 and more; two people's stay below 0.69 (24 clips of 23 people, 47 spliced
pairs and a conversation; windows of 1.6 s)."""
MIXTURE = 0.79
"""Cosine with a mixture of two others: below 0.785 for 99 % of third voices, 0.80 and more for mixed windows."""
MIN_SPEAKER_WINDOWS = 2
"""A speaker has at least so many windows; fewer are a cough, or two voices at once."""
NUM_ROUNDS = 20


@dataclass(frozen=True)
class Turn:
    """Frames [start, end) in which `speaker` (0 for who speaks first) speaks."""

    start: int
    end: int
    speaker: int


def clusters(embedded_ND: np.ndarray, apart: int) -> tuple[np.ndarray, float]:
    """The speaker (int, from 0 in order of appearance) of each window: split in two as long as the two are two people;
    and the likeness across the first split, which decides between one speaker and several.

    Windows closer than `apart` in time share sound; they are alike whoever speaks, and say nothing about a split.
    """
    labels = np.zeros(len(embedded_ND), int)
    waiting, first_likeness = [np.arange(len(embedded_ND))], 1.0
    while waiting:
        members = waiting.pop()
        side = bisected(embedded_ND[members])
        likeness = 1.0 if side is None else likeness_across(embedded_ND[members], members, side, apart)
        first_likeness = likeness if len(members) == len(labels) else first_likeness
        if side is not None and likeness < SAME_VOICE:
            labels[members[side]] = labels.max() + 1
            waiting += [members[~side], members[side]]
    return in_order(without_mixtures(embedded_ND, labels)), first_likeness


def without_mixtures(embedded_ND: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """Labels without groups that are two others' voices mixed: windows astride a change of speaker."""
    while labels_N.max() >= 2:
        centres_KD = centroids(embedded_ND, labels_N, labels_N.max() + 1)
        mixed = [likeness_to_mixture(centres_KD, k) for k in range(len(centres_KD))]
        worst = int(np.argmax(mixed))
        if mixed[worst] < MIXTURE:
            break
        kept = np.delete(np.arange(len(centres_KD)), worst)
        nearest = (embedded_ND @ centres_KD[kept].T).argmax(axis=1)
        labels_N = np.where(labels_N == worst, nearest, np.searchsorted(kept, labels_N))
    return labels_N


def likeness_to_mixture(centres_KD: np.ndarray, k: int) -> float:
    """Cosine of one centre with the closest mixture of two others, in positive shares."""
    others = np.delete(centres_KD, k, axis=0)
    best = 0.0
    for i, j in zip(*np.triu_indices(len(others), 1), strict=True):
        pair_2D = others[[i, j]]
        shares = np.linalg.lstsq(pair_2D.T, centres_KD[k], rcond=None)[0].clip(0)
        mixture = shares @ pair_2D
        best = max(best, float(mixture @ centres_KD[k] / max(float(np.linalg.norm(mixture)), 1e-9)))
    return best


def bisected(embedded_ND: np.ndarray) -> np.ndarray | None:
    """True for one of the two groups of windows, by spherical 2-means from three beginnings, the closest fit taken;
    None where no split leaves both groups MIN_SPEAKER_WINDOWS."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(embedded_ND) < 2 * MIN_SPEAKER_WINDOWS:
        return None
    first_axis = np.linalg.svd(embedded_ND - embedded_ND.mean(axis=0), full_matrices=False)[0][:, 0] > 0
    trees = (linkage(embedded_ND, method) for method in ("average", "ward"))
    best: np.ndarray | None = None
    best_fit = -np.inf
    for side in (first_axis, *(fcluster(tree, 2, "maxclust") == 1 for tree in trees)):
        for _ in range(NUM_ROUNDS):
            closeness = embedded_ND @ centroids(embedded_ND, side.astype(int), 2).T
            moved = closeness[:, 1] > closeness[:, 0]
            if np.array_equal(moved, side):
                break
            side = moved
        if min(side.sum(), (~side).sum()) >= MIN_SPEAKER_WINDOWS and closeness.max(axis=1).sum() > best_fit:
            best, best_fit = side, float(closeness.max(axis=1).sum())
    return best


def likeness_across(embedded_ND: np.ndarray, times_N: np.ndarray, side_N: np.ndarray, apart: int) -> float:
    """Mean cosine of the pairs with one window on each side that are at least `apart` in time; 1 without any."""
    pairs = (embedded_ND @ embedded_ND.T)[side_N][:, ~side_N]
    far = np.abs(times_N[side_N][:, None] - times_N[~side_N]) >= apart
    return float(pairs[far].mean()) if far.any() else 1.0


def centroids(embedded_ND: np.ndarray, labels_N: np.ndarray, num: int) -> np.ndarray:
    """(K, D), each of length 1: mean of the windows of each label."""
    sums = np.stack([embedded_ND[labels_N == k].sum(axis=0) for k in range(num)])
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))


def in_order(labels: np.ndarray) -> np.ndarray:
    """Labels renamed 0, 1, ... in order of first appearance."""
    _, first = np.unique(labels, return_index=True)
    order = {label: k for k, label in enumerate(labels[np.sort(first)])}
    return np.array([order[label] for label in labels], int)


def decoded(scores_TK: np.ndarray, switch_cost: float) -> np.ndarray:
    """The speaker of each step by Viterbi: the path of the highest summed score, less `switch_cost` at each change."""
    best = scores_TK[0].astype(np.float64)
    came_from = np.zeros(scores_TK.shape, int)
    for t in range(1, len(scores_TK)):
        leader = int(best.argmax())
        stay = best >= best[leader] - switch_cost
        came_from[t] = np.where(stay, np.arange(len(best)), leader)
        best = np.where(stay, best, best[leader] - switch_cost) + scores_TK[t]
    path = np.empty(len(scores_TK), int)
    path[-1] = int(best.argmax())
    for t in range(len(path) - 1, 0, -1):
        path[t - 1] = came_from[t][path[t]]
    return path


def turns_of(speaker_T: np.ndarray, max_pause: int) -> list[Turn]:
    """Turns from one label a frame (-1: nobody); pauses of a speaker of up to `max_pause` frames are bridged."""
    edges = np.flatnonzero(np.diff(speaker_T)) + 1
    turns: list[Turn] = []
    for start, end in zip([0, *edges], [*edges, len(speaker_T)], strict=True):
        speaker = int(speaker_T[start]) if end > start else -1
        if speaker < 0:
            continue
        if turns and turns[-1].speaker == speaker and start - turns[-1].end <= max_pause:
            turns[-1] = Turn(turns[-1].start, int(end), speaker)
        else:
            turns.append(Turn(int(start), int(end), speaker))
    return turns
