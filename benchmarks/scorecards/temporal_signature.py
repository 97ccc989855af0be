"""Scorecard of temporal_signature, and of the near-duplicates told by it: copies are joined, other moments are not.

Each file of talk/ gives one or two moments of 3 s, and each moment four copies: coded anew, cropped, mirrored, and
played at another speed from another start. The re-encodes of dup/ come beside them. All pairs of all clips are judged
as tasks/dedup.py judges them: candidates by the cosine of embeddings, copies by the agreement of movements. Its two
bounds were chosen on people of neg/, of whom none is here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.embedding import recoded
from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.dedup import MIN_AGREEMENT, MIN_COSINE
from tasks.media.media import Media
from tasks.signal import GRID_FPS, NotApplicable
from tasks.signals import embedding, faces, landmarks, phash, temporal_signature
from tasks.signals.phash import bits_apart
from tasks.temporal_match import CHANNELS, agreement

SECONDS = 3.0
TWO_MOMENTS_S = 8.0
SPEED, START_S = 1.13, 0.31
CODED_FPS, CODED_START_S = 18, 0.1
CROP = 10
SAME_BITS = 6
UNKNOWN = {frozenset(("talk/retalk__3.mp4", "talk/sad__WDA_AlexandriaOcasioCortez_000.mp4"))}
"""The same recording in two crops; which seconds they share is not told, so their pairs count neither way."""

Frames = list[np.ndarray]


@dataclass(frozen=True)
class Seen:
    """A clip: whose, which moment it shows, how it was changed, and what the signals made of it."""

    person: str
    file: str
    moment: tuple[str, int]
    kind: str
    vector: np.ndarray
    bits: int | None
    signature: np.ndarray | None


@dataclass(frozen=True)
class Pair:
    """Two clips and what is said of them. `same`: whether they show the same moment."""

    one: Seen
    other: Seen
    same: bool
    cosine: float
    agreement: float

    @property
    def joined(self) -> bool:
        return self.cosine >= MIN_COSINE and self.agreement >= MIN_AGREEMENT

    @property
    def alike(self) -> bool:
        """The baseline: perceptual hashes of the mean pictures within 6 bits."""
        bits = self.one.bits, self.other.bits
        return bits[0] is not None and bits[1] is not None and bits_apart(bits[0], bits[1]) <= SAME_BITS


def copies(frames: Frames) -> Iterator[tuple[str, Frames]]:
    times = np.arange(len(frames)) / GRID_FPS
    coded = np.floor((times + CODED_START_S) * CODED_FPS) / CODED_FPS
    yield "original", frames
    yield "coded anew", [recoded(f) for f in _at(frames, coded)]
    yield "cropped", [_cropped(f) for f in frames]
    yield "mirrored", [np.ascontiguousarray(f[:, ::-1]) for f in frames]
    yield "re-timed", _at(frames, START_S + times * SPEED)


def _at(frames: Frames, times_s: np.ndarray) -> Frames:
    numbers = np.rint(times_s * GRID_FPS).astype(int)
    return [frames[n] for n in numbers if n < len(frames)]


def _cropped(frame: np.ndarray) -> np.ndarray:
    """A tenth cut off on each side."""
    height, width = frame.shape[:2]
    part = frame[height // CROP : height - height // CROP, width // CROP : width - width // CROP]
    return np.ascontiguousarray(part[: part.shape[0] // 2 * 2, : part.shape[1] // 2 * 2])


def seen(entry: dict[str, Any], moment: tuple[str, int], kind: str, frames: Frames) -> Seen:
    media, slow = media_of(frames, GRID_FPS), media_of(frames[::GRID_FPS], 1)
    mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
    vector = np.asarray(embedding.compute(slow, {}).vectors["video"])
    signature_TC = signature_of(media, mesh)
    return Seen(entry["person"], entry["file"], moment, kind, vector, phash_of(slow), signature_TC)


def signature_of(media: Media, mesh: pa.Table) -> np.ndarray | None:
    """None where the signal says nothing: such a clip is joined with none."""
    try:
        timeline = temporal_signature.compute(media, {"landmarks": mesh}).timeline
    except NotApplicable:
        return None
    assert timeline is not None
    return np.stack([timeline[c].to_numpy() for c in CHANNELS], axis=1).astype(np.float64)


def phash_of(media: Media) -> int | None:
    try:
        return int(phash.compute(media, {}).row["hash"], 16)
    except NotApplicable:
        return None


def clips(root: Path) -> list[Seen]:
    found = []
    for entry in manifest(root, "talk", "dup"):
        of = entry["file"].replace("dup/", "talk/").replace("_v1.", ".")
        parts = 2 if entry["duration"] >= TWO_MOMENTS_S else 1
        for part in range(parts):
            start_s = part * entry["duration"] / parts
            frames = read_frames(entry["path"], GRID_FPS, max_s=SECONDS, start_s=start_s)[0]
            made = [("re-encode of dup/", frames)] if of != entry["file"] else copies(frames)
            found += [seen(entry, (of, part), kind, shown) for kind, shown in made]
    return found


def pairs(clips: list[Seen]) -> list[Pair]:
    told = []
    for one, other in itertools.combinations(clips, 2):
        same = one.moment == other.moment
        if not same and frozenset((one.moment[0], other.moment[0])) in UNKNOWN:
            continue
        cosine, agreed = float(one.vector @ other.vector), -1.0
        if cosine >= MIN_COSINE and one.signature is not None and other.signature is not None:
            agreed = agreement(one.signature, other.signature)
        told.append(Pair(one, other, same, cosine, agreed))
    return told


Counts = tuple[float, float, float]
"""Pairs that are rightly joined, wrongly joined, and wrongly parted; of two people's pair each has a half."""


def counted(pairs: list[Pair], judged: str) -> dict[str, list[Counts]]:
    told: dict[str, list[Counts]] = {}
    for pair in pairs:
        joined = getattr(pair, judged)
        for person in (pair.one.person, pair.other.person):
            told.setdefault(person, []).append(
                (0.5 * (pair.same and joined), 0.5 * (joined and not pair.same), 0.5 * (pair.same and not joined))
            )
    return told


def f1(counts: list[Counts]) -> float:
    right, wrong, missed = np.sum(counts, axis=0)
    return float(2 * right / (2 * right + wrong + missed)) if right + wrong + missed else float("nan")


def precision(counts: list[Counts]) -> float:
    right, wrong, _ = np.sum(counts, axis=0)
    return float(right / (right + wrong)) if right + wrong else float("nan")


def run(root: Path) -> list[Row]:
    made = pairs(clips(root))
    rows = [_row(made, "near-duplicates of all clips and their copies", "pairwise F1", f1, 0.95)]
    rows.append(_row(made, "of the pairs that are joined, copies", "precision", precision, 0.95))
    for kind in ("coded anew", "cropped", "mirrored", "re-timed", "re-encode of dup/"):
        own = [p for p in made if {p.one.kind, p.other.kind} == {"original", kind}]
        num = sum(p.same for p in own)
        rows.append(_row(own, f"{kind}: {num} copies among all originals", "pairwise F1", f1, 0.95))
    scenes: dict[str, list[tuple[float, bool]]] = {}
    for pair in made:
        if pair.one.person == pair.other.person and pair.agreement > -1:
            scenes.setdefault(pair.one.person, []).append((pair.agreement, pair.same))
    value, low, high = bootstrap_ci(scenes, auc_of_pairs)
    n = sum(len(v) for v in scenes.values())
    claim = "the same moment agrees more than another one of the same person"
    rows.append(Row("temporal_signature", claim, "AUC", value, low, high, n, len(scenes), None, 0.98))
    return rows


def _row(made: list[Pair], claim: str, measure: str, statistic: Any, goal: float) -> Row:
    counts = counted(made, "joined")
    value, low, high = bootstrap_ci(counts, statistic)
    naive = statistic([c for told in counted(made, "alike").values() for c in told])
    n, name = len(made), "hash of the mean picture"
    return Row("temporal_signature", claim, measure, value, low, high, n, len(counts), naive, goal, "higher", name)


if __name__ == "__main__":
    command(run)
