"""Rows of background_embedding's scorecard on reference pairs: are two clips of one person in two places told from two
clips of one place, by what tasks/pairs.py holds?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scorecards.people import Frames, faces_of, films, places
from benchmarks.scorecards.score import Row, bootstrap_ci
from tasks import pairs
from tasks.identity import groups_of

NUM_ROOMS = 3
"""Rooms that each person is pasted into, beside their own."""
MAX_FRAMES = 3

Counts = tuple[float, float, float]
"""Pairs that are rightly held, wrongly held, and missed."""


@dataclass(frozen=True)
class Scene:
    """One clip: vectors of length 1, float64 (D,)."""

    person: str
    room: str
    face: np.ndarray
    background: np.ndarray


def scenes(root: Path, *folders: str) -> list[Scene]:
    """Each file's first and last pictures, in the room of its person (whoever recurs in the footage is in one scene all
    the time), and the person before NUM_ROOMS other rooms. Where no face or background is seen, none."""
    from benchmarks.scorecards.background_embedding import pasted, vector

    rooms = places(root)
    made: list[Scene] = []
    for number, (person, frames) in enumerate(films(root, *folders)):
        shown: list[tuple[str, Frames]] = [(person, frames[:MAX_FRAMES]), (person, frames[-MAX_FRAMES:])]
        if person not in {s.person for s in made}:
            for step in range(NUM_ROOMS):
                room = (number + 5 * step) % len(rooms)
                shown.append((f"room {room}", [pasted(f, rooms[room]) for f in frames[:MAX_FRAMES]]))
        for room, pictures in shown:
            face, background = faces_of(pictures), vector(pictures)
            if face is not None and background is not None:
                made.append(Scene(person, room, np.asarray(face.vectors["face"], np.float64), background))
    return made


def counts(told: list[Scene], max_background: float) -> dict[str, list[Counts]]:
    """By person, over all pairs of clips; a pair of two people counts as wrong for the first of them."""
    groups = groups_of(np.stack([s.face for s in told]))
    held = set()
    for group in set(groups.tolist()):
        own = np.flatnonzero(groups == group)
        faces, backgrounds = np.stack([told[i].face for i in own]), np.stack([told[i].background for i in own])
        found = pairs.pairs_of(faces, backgrounds, max_background=max_background)
        held |= {(int(own[i]), int(own[j])) for i, j, _, _ in found}
    made: dict[str, list[Counts]] = {s.person: [] for s in told}
    for j, second in enumerate(told):
        for i, first in enumerate(told[:j]):
            true = first.person == second.person and first.room != second.room
            if true or (i, j) in held:
                is_held = (i, j) in held
                made[first.person].append((float(true and is_held), float(not true), float(not is_held)))
    return made


def same_scene(told: list[Scene]) -> dict[str, list[float]]:
    """By person: of each two clips of one place whether they are refused, as they should be."""
    own: dict[str, list[float]] = {}
    for j, second in enumerate(told):
        for first in told[:j]:
            if (first.person, first.room) == (second.person, second.room):
                background = round(float(first.background @ second.background), 4)
                own.setdefault(first.person, []).append(float(background > pairs.MAX_BACKGROUND))
    return own


def precision(told: list[Counts]) -> float:
    right, wrong, _ = np.sum(told, axis=0) if told else (0.0, 0.0, 0.0)
    return float(right / (right + wrong)) if right + wrong else float("nan")


def recall(told: list[Counts]) -> float:
    right, _, missed = np.sum(told, axis=0) if told else (0.0, 0.0, 0.0)
    return float(right / (right + missed)) if right + missed else float("nan")


def rows(root: Path) -> list[Row]:
    told = scenes(root, "talk", "neg", "dup")
    by_person, alone = counts(told, pairs.MAX_BACKGROUND), counts(told, 1.0)
    flat = [c for listed in alone.values() for c in listed]
    made = []
    for measure, statistic, goal in (("precision", precision, 0.95), ("recall", recall, 0.8)):
        value, low, high = bootstrap_ci(by_person, statistic)
        n = sum(len(v) for v in by_person.values())
        claim = "reference pairs of people in their own room and pasted into others"
        made.append(_row(claim, measure, (value, low, high), n, len(by_person), statistic(flat), goal))
    refused = same_scene(told)
    found = bootstrap_ci(refused, lambda values: float(np.mean(values)) if values else float("nan"))
    n = sum(len(v) for v in refused.values())
    claim = "two clips of one scene, of one file or of several, are no reference pair"
    return [*made, _row(claim, "share refused", found, n, len(refused), 0.0, 0.95)]


def _row(
    claim: str, measure: str, found: tuple[float, float, float], n: int, people: int, naive: float, goal: float
) -> Row:
    return Row("background_embedding", claim, measure, *found, n, people, naive, goal, "higher", "the face alone")
