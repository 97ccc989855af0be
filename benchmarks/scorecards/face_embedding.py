"""Scorecard of face_embedding: is a person nearer to himself, later, relit and elsewhere, than to anybody else, and are
people told apart by it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.people import Frames, before_another_background, faces_of, films, meshes, places, relit
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.face_geometry import points_of
from tasks.identity import groups_of
from tasks.signals.face_embedding import SAME_COSINE, aligned, five_points

GOAL = 0.98

Vectors = dict[str, list[np.ndarray]]


def vector(frames: Frames) -> np.ndarray | None:
    made = faces_of(frames)
    return None if made is None else np.asarray(made.vectors["face"], np.float64)


def pixels(frames: Frames) -> np.ndarray | None:
    """Baseline: the aligned face's own pixels, grey, at 16 x 16, of mean 0 and length 1, averaged over frames."""
    import cv2

    table = meshes(frames)
    if table.num_rows == 0:
        return None
    shown = zip(table["frame"].to_pylist(), five_points(points_of(table)), strict=True)
    faces = [cv2.cvtColor(aligned(frames[f // 25], p), cv2.COLOR_RGB2GRAY) for f, p in shown]
    small = np.mean([cv2.resize(f, (16, 16), interpolation=cv2.INTER_AREA) for f in faces], axis=0).ravel()
    return np.asarray((small - small.mean()) / max(float(np.linalg.norm(small - small.mean())), 1e-9))


def pairs_of(asked: Vectors, gallery: Vectors) -> dict[str, list[tuple[float, bool]]]:
    """By person: (cosine, is the same) of each of his vectors in `asked` with all of `gallery`.

    The n-th vector asked is compared with the n-th of the same person only: it shows the same clip."""
    told: dict[str, list[tuple[float, bool]]] = {}
    for person, vectors in asked.items():
        for mine, own in zip(vectors, gallery[person], strict=True):
            told.setdefault(person, []).append((float(mine @ own), True))
            others = [v for p, listed in gallery.items() if p != person for v in listed]
            told[person] += [(float(mine @ v), False) for v in others]
    return told


def across(clips: Vectors) -> dict[str, list[tuple[float, bool]]]:
    """The same over different files of a person."""
    told: dict[str, list[tuple[float, bool]]] = {}
    for person, vectors in clips.items():
        if len(vectors) < 2:
            continue
        others = [v for p, listed in clips.items() if p != person for v in listed]
        for i, mine in enumerate(vectors):
            told.setdefault(person, []).extend((float(mine @ v), True) for v in vectors[:i])
            told[person] += [(float(mine @ v), False) for v in others]
    return told


def accuracy(pairs: list[tuple[float, bool]]) -> float:
    """Mean of the shares of same and of different pairs that the published threshold tells apart."""
    same = [c >= SAME_COSINE for c, is_same in pairs if is_same]
    different = [c < SAME_COSINE for c, is_same in pairs if not is_same]
    return float((np.mean(same) + np.mean(different)) / 2) if same and different else float("nan")


Counts = tuple[float, float, float]
"""Pairs of clips that are rightly joined, wrongly joined, and wrongly parted."""


def pair_counts(clips: Vectors, groups: np.ndarray) -> dict[str, list[Counts]]:
    """By person, over pairs of his clips; a wrong join of two people counts by half for each. `groups` may be longer
    than the clips: what comes after them is nobody's."""
    owners = np.array([person for person, vectors in clips.items() for _ in vectors])
    joined = groups[: len(owners), None] == groups[None, : len(owners)]
    same = owners[:, None] == owners[None]
    above = np.triu(np.ones_like(same), 1)
    told = {}
    for person in clips:
        own = owners == person
        within, across = np.outer(own, own) & above, np.outer(own, ~own)
        wrong = float((joined & across).sum()) / 2
        told[person] = [(float((joined & within).sum()), wrong, float((~joined & within).sum()))]
    return told


def pairwise_f1(counts: list[Counts]) -> float:
    right, wrong, missed = np.sum(counts, axis=0)
    return float(2 * right / (2 * right + wrong + missed)) if right + wrong + missed else float("nan")


def identities(clips: Vectors) -> list[Row]:
    """Pairwise F1 of the people told apart; the baseline joins whatever a link of the same threshold connects."""
    vectors = np.stack([v for listed in clips.values() for v in listed])
    people = list(clips.values())
    mixed = [a[0] + b[0] for a, b in zip(people, people[1:] + people[:1], strict=True)]
    bridges = np.stack([m / np.linalg.norm(m) for m in mixed])
    rows = []
    for claim, shown, goal in (
        ("identities of all clips and their copies", vectors, 0.95),
        ("the same with a face halfway between any two people in a row", np.concatenate([vectors, bridges]), 0.9),
    ):
        counts = pair_counts(clips, groups_of(shown))
        plain = pair_counts(clips, groups_of(shown, join=-1.0))
        naive = pairwise_f1([c for told in plain.values() for c in told])
        value, low, high = bootstrap_ci(counts, pairwise_f1)
        n, name = len(vectors), "connected components"
        rows.append(
            Row("face_embedding", claim, "pairwise F1", value, low, high, n, len(clips), naive, goal, "higher", name)
        )
    return rows


def run(root: Path) -> list[Row]:
    people = list(films(root, "talk", "neg"))
    rooms = places(root)
    changes = {name: (Vectors(), Vectors(), Vectors(), Vectors()) for name in ("halves", "relit", "background")}
    clips, copies = Vectors(), Vectors()
    for number, (person, frames) in enumerate(people):
        half = len(frames) // 2
        elsewhere = before_another_background(frames, rooms[number % len(rooms)])
        versions = {"halves": (frames[:half], frames[half:]), "relit": (frames, relit(frames))}
        versions["background"] = (frames, elsewhere)
        for name, (one, two) in versions.items():
            made = (vector(one), vector(two), pixels(one), pixels(two))
            if any(m is None for m in made):
                continue
            for kept, value in zip(changes[name], made, strict=True):
                kept.setdefault(person, []).append(value)
            copies.setdefault(person, []).extend(made[:2] if name == "halves" else made[1:2])
            if name == "relit":
                clips.setdefault(person, []).append(made[0])
    claims = {
        "halves": "the second half of a clip against all other people",
        "relit": "a relit copy against all other people",
        "background": "a copy before another background against all other people",
    }
    rows = []
    everything: dict[str, list[tuple[float, bool]]] = {}
    for name, (first, second, naive_first, naive_second) in changes.items():
        pairs = pairs_of(second, first)
        naive = [p for told in pairs_of(naive_second, naive_first).values() for p in told]
        rows.append(_row(claims[name], "AUC of cosine", pairs, GOAL, auc_of_pairs(naive), "aligned pixels"))
        for person, told in pairs.items():
            everything.setdefault(person, []).extend(told)
    rows.append(_row("another file of the same person", "AUC of cosine", across(clips), GOAL, 0.5, "chance"))
    value, low, high = bootstrap_ci(everything, accuracy)
    n = sum(len(v) for v in everything.values())
    claim, measure = "the published threshold of 0.363", "balanced accuracy of all pairs above"
    rows.append(
        Row("face_embedding", claim, measure, value, low, high, n, len(everything), 0.5, 0.95, "higher", "chance")
    )
    return [*rows, *identities(copies)]


def _row(
    claim: str, measure: str, pairs: dict[str, list[tuple[float, bool]]], goal: float, naive: float, naive_name: str
) -> Row:
    value, low, high = bootstrap_ci(pairs, auc_of_pairs)
    n = sum(len(v) for v in pairs.values())
    return Row("face_embedding", claim, measure, value, low, high, n, len(pairs), naive, goal, "higher", naive_name)


if __name__ == "__main__":
    command(run)
