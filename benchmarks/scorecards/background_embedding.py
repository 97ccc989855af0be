"""Scorecard of background_embedding: does it know the room whoever is in it, and not the person wherever he is?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards import reference_pairs
from benchmarks.scorecards.footage import media_of, timeline_of
from benchmarks.scorecards.people import FPS, Frames, films, places
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.person_mask import person_mask
from tasks.signal import NotApplicable
from tasks.signals import background_embedding, embedding, faces

SHAPE = (360, 480)
NUM_ROOMS = 3
"""Rooms that each person is pasted into."""


def vector(frames: Frames) -> np.ndarray | None:
    media = media_of(frames, FPS)
    try:
        made = background_embedding.compute(media, {"faces": timeline_of(faces.compute, media)})
    except NotApplicable:
        return None
    return np.asarray(made.vectors["background"], np.float64)


def whole(frames: Frames) -> np.ndarray:
    """Baseline: the video embedding, which sees the person too."""
    return np.asarray(embedding.compute(media_of(frames, FPS), {}).vectors["video"], np.float64)


def pasted(frame: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The person, cut out by the segmenter, before another room; both are cut to 4:3."""
    import cv2

    size = SHAPE[::-1]
    person = cv2.resize(_cut(frame), size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(person_mask(person), size, interpolation=cv2.INTER_LINEAR)[..., None]
    other = cv2.resize(_cut(room), size, interpolation=cv2.INTER_AREA)
    return np.asarray(share * person + (1 - share) * other).astype(np.uint8)


def _cut(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    wide, high = min(width, height * 4 // 3), min(height, width * 3 // 4)
    x0, y0 = (width - wide) // 2, (height - high) // 2
    return image[y0 : y0 + high, x0 : x0 + wide]


def run(root: Path) -> list[Row]:
    people = list(films(root, "talk", "neg"))
    rooms = places(root)
    rows = []
    for claim, measure, (told, naive), goal in (
        (
            "two people in one room against one person in two rooms",
            "AUC of cosine",
            _pasted_pairs(people, rooms),
            0.95,
        ),
        ("the second half of a clip against all other rooms", "AUC of cosine", _halves(people), 0.95),
    ):
        value, low, high = bootstrap_ci(told, auc_of_pairs)
        n = sum(len(v) for v in told.values())
        base, name = auc_of_pairs(naive), "video embedding"
        rows.append(
            Row("background_embedding", claim, measure, value, low, high, n, len(told), base, goal, "higher", name)
        )
    return [*rows, *reference_pairs.rows(root)]


Pairs = tuple[dict[str, list[tuple[float, bool]]], list[tuple[float, bool]]]
"""By person (cosine, same room) of the signal; and of the baseline."""


def _pasted_pairs(people: list[tuple[str, Frames]], rooms: Frames) -> Pairs:
    shown = []
    for number, (person, frames) in enumerate(people):
        for step in range(NUM_ROOMS):
            room = (number + 5 * step) % len(rooms)
            scene = [pasted(frames[0], rooms[room])]
            if (made := vector(scene)) is not None:
                shown.append((person, room, made, whole(scene)))
    told: dict[str, list[tuple[float, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    for i, (person, room, mine, mine_whole) in enumerate(shown):
        for other, there, theirs, theirs_whole in shown[:i]:
            if (person == other) is not (room == there):
                told.setdefault(person, []).append((float(mine @ theirs), room == there))
                naive.append((float(mine_whole @ theirs_whole), room == there))
    return told, naive


def _halves(people: list[tuple[str, Frames]]) -> Pairs:
    """Rooms of the same series (the GRID studio, one streamer's wall) are told apart by their files' names nowhere, so
    people of such a series count as strangers: what they share lowers the figure."""
    shown = []
    for person, frames in people:
        half = len(frames) // 2
        first, second = vector(frames[:half]), vector(frames[half:])
        if first is not None and second is not None:
            shown.append((person, first, second, whole(frames[:half]), whole(frames[half:])))
    told: dict[str, list[tuple[float, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    for i, (person, _, second, _, second_whole) in enumerate(shown):
        for k, (other, first, _, first_whole, _) in enumerate(shown):
            if i == k or person != other:
                told.setdefault(person, []).append((float(second @ first), i == k))
                naive.append((float(second_whole @ first_whole), i == k))
    return told, naive


if __name__ == "__main__":
    command(run)
