"""Scorecard of hands: found where they are shown and only there; their points and their side follow known transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.pose import HANDS, PARTLY, changed, skin_ratio, transforms
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.body_geometry import hands_of
from tasks.signals import body, hands

SECONDS = 3.1
KINDS = ("shifted", "scaled", "rotated", "mirrored")
LARGE = 0.06
"""Of the frame's longer side, that a palm must have to be followed."""
FOLLOWED = 2
"""Frames with hands of each file that are changed."""

Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def found_on(frame: np.ndarray) -> Found:
    """Points (N, 21, 2), presence (N,), left_score (N,), the largest first."""
    media = media_of([frame], 1.0)
    table = timeline_of(hands.compute, media, {"body": timeline_of(body.compute, media)})
    return hands_of(table)[1][:, :, :2], table["presence"].to_numpy(), table["left_score"].to_numpy()


def palm_px(points: np.ndarray) -> float:
    return float(np.hypot(*(points[9] - points[0])))


def followed(frame: np.ndarray, before: Found, kind: str) -> tuple[list[float], list[tuple[bool, bool]]]:
    """Percent of its palm by which the largest hand's nearest look-alike misses each known transform, 100 when it is
    lost; and, where it is found, whether it was a left hand and whether it is one now."""
    points, left = before[0][0], bool(before[2][0] >= 0.5)
    missed, sides = [], []
    for transform in transforms(frame)[kind]:
        expected = points @ transform[:, :2].T + transform[:, 2]
        after, _, lefts = found_on(changed(frame, transform))
        away = [float(np.hypot(*(p - expected).T).mean()) / palm_px(expected) * 100 for p in after]
        missed.append(min([100.0, *away]))
        if away and missed[-1] < 50:
            sides.append((left, bool(lefts[int(np.argmin(away))] >= 0.5)))
    return missed, sides


def stay(frame: np.ndarray, points: np.ndarray, kind: str) -> list[float]:
    moved = [points @ t[:, :2].T + t[:, 2] for t in transforms(frame)[kind]]
    return [min(100.0, float(np.hypot(*(points - m).T).mean()) / palm_px(m) * 100) for m in moved]


def run(root: Path) -> list[Row]:
    either: dict[str, list[tuple[float, bool]]] = {}
    skin: list[tuple[float, bool]] = []
    alarms: dict[str, list[bool]] = {}
    missed: dict[str, dict[str, list[float]]] = {k: {} for k in KINDS}
    unmoved: dict[str, list[float]] = {k: [] for k in KINDS}
    flipped: dict[str, list[bool]] = {}
    kept: dict[str, list[bool]] = {}
    for entry in manifest(root, "talk", "neg", "synth"):
        file, person = entry["file"], entry["person"]
        shown = file in HANDS
        if not (shown or file.startswith("talk/")) or file in PARTLY:
            continue
        num_followed = 0
        for frame in read_frames(entry["path"], 1.0, max_s=SECONDS if shown else 1.1)[0]:
            found = found_on(frame)
            either.setdefault(person, []).append((float(max(found[1], default=0.0)), shown))
            skin.append((skin_ratio([frame]), shown))
            if not shown:
                alarms.setdefault(person, []).append(len(found[0]) > 0)
            large = len(found[0]) and palm_px(found[0][0]) >= LARGE * max(frame.shape[:2])
            if not shown or not large or num_followed == FOLLOWED:
                continue
            num_followed += 1
            for kind in KINDS:
                off, sides = followed(frame, found, kind)
                missed[kind].setdefault(person, []).extend(off)
                unmoved[kind] += stay(frame, found[0][0], kind)
                (flipped if kind == "mirrored" else kept).setdefault(person, []).extend(
                    (a != b) == (kind == "mirrored") for a, b in sides
                )
    claims: list[tuple[Any, ...]] = [
        ("frames of files that show hands most of the time against frames that show none", "AUC of the surest presence", either, auc_of_pairs, 0.9, "higher", auc_of_pairs(skin), "skin colour"),
        ("a hand where none is shown", "share of frames", alarms, np.mean, 0.05, "lower", 1.0, "always a hand"),
        *((f"the 21 points follow a frame {k}", "median miss, % of the palm", v, np.median, 15.0, "lower", float(np.median(unmoved[k])), "do not move") for k, v in missed.items()),
        ("a hand stays left or right in a frame shifted, scaled, rotated", "share of hands", kept, np.mean, 0.95, "higher", 0.5, "chance"),
        ("a left hand is a right one in the mirror, and the reverse", "share of hands", flipped, np.mean, 0.9, "higher", 0.0, "always left"),
    ]  # fmt: skip
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(Row("hands", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name))
    return rows


if __name__ == "__main__":
    command(run)
