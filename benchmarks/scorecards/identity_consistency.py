"""Scorecard of identity_consistency: does it see that somebody else goes on, and not that the light or the room changes?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.footage import media_of
from benchmarks.scorecards.people import FPS, Frames, before_another_background, faces_of, films, places, relit
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signals import identity_consistency

NUM_OTHERS = 12
"""Other people whose half is spliced to each person's."""


def consistency(first: pa.Table, second: pa.Table, frames: Frames) -> dict[str, float]:
    """The signal's row of a clip made of two parts. A face is embedded frame by frame, so joining the timelines of
    two parts is what the spliced video gives."""
    timeline = pa.concat_tables([first, second])
    needs = {"face_embedding": {}, "face_embedding.timeline": timeline}
    row = identity_consistency.compute(media_of(frames, FPS), needs).row
    return {name: float(value) for name, value in row.items()}


def colours(frames: Frames) -> np.ndarray:
    """Baseline: colour histogram of 8 x 8 x 8 bins, rooted, of length 1."""
    import cv2

    counts = sum(cv2.calcHist([f], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel() / f[..., 0].size for f in frames)
    rooted = np.sqrt(np.asarray(counts))
    return np.asarray(rooted / np.linalg.norm(rooted))


def balanced(told: Sequence[tuple[bool, bool]]) -> float:
    """Mean over both truths of the share that is right, of (right, one person) pairs."""
    parts = [[right for right, one in told if one is truth] for truth in (True, False)]
    return float(np.mean([np.mean(p) for p in parts])) if all(parts) else float("nan")


def run(root: Path) -> list[Row]:
    people = list(films(root, "talk", "neg"))
    rooms = places(root)
    halves: list[tuple[str, Frames, pa.Table, pa.Table]] = []
    same: dict[str, list[float]] = {}
    num_people: dict[str, list[tuple[bool, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    for number, (person, frames) in enumerate(people):
        half = len(frames) // 2
        one, two = frames[:half], frames[half:]
        elsewhere = before_another_background(two, rooms[number % len(rooms)])
        made = [faces_of(part) for part in (one, two, relit(two), elsewhere)]
        lines = [m.timeline for m in made if m is not None and m.timeline is not None]
        if len(lines) < len(made):
            continue
        halves.append((person, frames, lines[0], lines[1]))
        for other, shown in zip(lines[1:], (two, relit(two), elsewhere), strict=True):
            row = consistency(lines[0], other, frames)
            same.setdefault(person, []).append(row["change_cosine"])
            num_people.setdefault(person, []).append((row["num_people"] == 1, True))
            naive.append((float(colours(one) @ colours(shown)), True))
    pairs = {person: [(value, True) for value in values] for person, values in same.items()}
    for number, (person, frames, first, _) in enumerate(halves):
        strangers = [h for h in halves if h[0] != person]
        for step in range(NUM_OTHERS):
            _, other, _, second = strangers[(number * 7 + step * 5) % len(strangers)]
            row = consistency(first, second, frames)
            pairs[person].append((row["change_cosine"], False))
            num_people[person].append((row["num_people"] == 2, False))
            naive.append((float(colours(frames[: len(frames) // 2]) @ colours(other[len(other) // 2 :])), False))
    claims = (
        (
            "one person, also relit and before another background, against a clip spliced of two",
            "AUC of change_cosine",
            pairs,
            auc_of_pairs,
            0.98,
            auc_of_pairs(naive),
            "colours of both halves",
        ),
        ("number of people, one or two", "balanced accuracy", num_people, balanced, 0.95, 0.5, "always one"),
    )
    rows = []
    for claim, measure, values, statistic, goal, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)  # type: ignore[arg-type]
        n = sum(len(v) for v in values.values())
        rows.append(
            Row(
                "identity_consistency",
                claim,
                measure,
                value,
                low,
                high,
                n,
                len(values),
                baseline,
                goal,
                "higher",
                baseline_name,
            )
        )
    return rows


if __name__ == "__main__":
    command(run)
