"""Scorecard of unsafe: false alarms on ordinary footage, whole and spoiled. What it finds is not measured here.

No pornographic picture is at hand, nor wanted in a test; Yahoo reports no public figure either. So these rows say only
that ordinary talking heads, sport, statues and cartoons are let through, at both of Yahoo's thresholds, and that
skin close up, which fools colour rules, does not fool the network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.face_track import skin_ratio
from benchmarks.scorecards.footage import manifest, media_of, read_frames
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.signals import unsafe

SECONDS = 0.1
"""One frame of each file."""
LIKELY_SAFE = 0.2
SKIN_RULE = 0.3
"""Baseline: a frame of which so much is skin by colour is taken for nude (after Chai and Ngan's rule)."""


def warmer(frame: np.ndarray) -> np.ndarray:
    """Skin-coloured light."""
    return np.clip(frame * np.array([1.15, 0.95, 0.8]), 0, 255).astype(np.uint8)


def close_up(frame: np.ndarray) -> np.ndarray:
    """The middle quarter, where the face is."""
    import cv2

    height, width = frame.shape[:2]
    part = frame[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC))


CHANGES = {"as it is": lambda frame: frame, "in warm light": warmer, "the middle, enlarged": close_up}


def run(root: Path) -> list[Row]:
    clips = [
        (e["person"], read_frames(e["path"], 0.2, max_s=SECONDS)[0]) for e in manifest(root, "talk", "neg", "synth")
    ]
    rows = []
    for name, change in CHANGES.items():
        score: dict[str, list[float]] = {}
        naive = []
        for person, frames in clips:
            changed = [change(frame) for frame in frames]
            told = unsafe.compute(media_of(changed, 0.2), {}).row
            score.setdefault(person, []).append(float(told["nsfw_score"]))
            naive.append(skin_ratio(changed) >= SKIN_RULE)
        for threshold, goal in ((unsafe.SURE, 0.0), (LIKELY_SAFE, 0.05)):
            alarms = {p: [s >= threshold for s in v] for p, v in score.items()}
            value, low, high = bootstrap_ci(alarms, np.mean)
            claim, measure = f"ordinary footage, {name}, passes", f"share of clips at {threshold} and above"
            n = sum(len(v) for v in alarms.values())
            baseline = float(np.mean(naive))
            rows.append(
                Row("unsafe", claim, measure, value, low, high, n, len(alarms), baseline, goal, "lower", "skin colour")
            )
    return rows


if __name__ == "__main__":
    command(run)
