"""Scorecard of phash: is a re-encoded, scaled, graded or cropped copy nearer to its original than any other video is?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.embedding import CHANGES, Frames
from benchmarks.scorecards.footage import manifest, media_of, read_frames
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signal import NotApplicable
from tasks.signals import phash

FPS = 1
SECONDS = 5.0
SAME_BITS = 6


def hash_of(frames: Frames) -> int | None:
    try:
        return int(phash.compute(media_of(frames, FPS), {}).row["hash"], 16)
    except NotApplicable:
        return None


def grey(frames: Frames) -> float:
    """Baseline: the mean gray level."""
    return float(np.mean([f.mean() for f in frames]))


Told = tuple[str, int, float]
"""Person, hash, and mean gray."""


def told_of(person: str, frames: Frames) -> list[Told]:
    """Empty for a flat picture."""
    made = hash_of(frames)
    return [] if made is None else [(person, made, grey(frames))]


def run(root: Path) -> list[Row]:
    kept: list[Told] = []
    asked: dict[str, list[Told]] = {name: [] for name in CHANGES}
    for entry in manifest(root, "talk", "neg"):
        frames = read_frames(entry["path"], FPS, max_s=SECONDS)[0]
        if not frames or not (own := told_of(entry["person"], frames)):
            continue
        kept += own
        for name, change in CHANGES.items():
            asked[name] += told_of(entry["person"], [change(f) for f in frames])
    asked["the re-encodes of dup/"] = [
        told
        for entry in manifest(root, "dup")
        for told in told_of(entry["person"], read_frames(entry["path"], FPS, max_s=SECONDS)[0])
    ]
    goals = {"half size and JPEG 25": 0.98, "other colours": 0.95, "the re-encodes of dup/": 0.95}
    rows = []
    for name, copies in asked.items():
        pairs, naive = _pairs(copies, kept)
        value, low, high = bootstrap_ci(pairs, auc_of_pairs)
        n = sum(len(v) for v in pairs.values())
        claim = f"{name}: nearer than any other video"
        base, goal = auc_of_pairs(naive), goals.get(name)
        rows.append(
            Row("phash", claim, "AUC of bits", value, low, high, n, len(pairs), base, goal, "higher", "mean gray")
        )
    coded, _ = _pairs(asked["half size and JPEG 25"], kept)
    for truth, claim, goal, better in (
        (True, f"half size and JPEG 25: within {SAME_BITS} bits", 0.95, "higher"),
        (False, f"the nearest other video: within {SAME_BITS} bits", 0.02, "lower"),
    ):
        shares = {p: [float(-bits <= SAME_BITS) for bits, own in told if own is truth] for p, told in coded.items()}
        value, low, high = bootstrap_ci(shares, np.mean)  # type: ignore[arg-type]
        n = sum(len(v) for v in shares.values())
        rows.append(Row("phash", claim, "share", value, low, high, n, len(shares), None, goal, better))  # type: ignore[arg-type]
    return rows


def _pairs(
    copies: list[Told], originals: list[Told]
) -> tuple[dict[str, list[tuple[float, bool]]], list[tuple[float, bool]]]:
    """By person: (minus bits, is own) of the nearest original of the same person and of the nearest other one; and the
    same by mean gray, for all."""
    told: dict[str, list[tuple[float, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    for person, made, gray in copies:
        for own in (True, False):
            others = [(h, g) for p, h, g in originals if (p == person) is own]
            told.setdefault(person, []).append((-float(min(phash.bits_apart(made, h) for h, _ in others)), own))
            naive.append((-min(abs(gray - g) for _, g in others), own))
    return told, naive


if __name__ == "__main__":
    command(run)
