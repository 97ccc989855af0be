"""Scorecard of embedding: does a re-encode, crop or other part of a video find its own among all others?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signals import embedding

FPS = 1
SECONDS = 2.0

Frames = list[np.ndarray]


def vector(frames: Frames) -> np.ndarray:
    return np.asarray(embedding.compute(media_of(frames, FPS), {}).vectors["video"])


def histogram(frames: Frames) -> np.ndarray:
    """Baseline: colour histogram of 8 x 8 x 8 bins, rooted, of length 1."""
    import cv2

    counts = sum(cv2.calcHist([f], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel() / f[..., 0].size for f in frames)
    rooted = np.sqrt(np.asarray(counts))
    return np.asarray(rooted / np.linalg.norm(rooted))


def recoded(frame: np.ndarray) -> np.ndarray:
    """Half size, JPEG 25."""
    import cv2

    small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    small = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))


def cropped(frame: np.ndarray) -> np.ndarray:
    """A tenth cut off the left and the top."""
    height, width = frame.shape[:2]
    part = frame[height // 10 :, width // 10 :]
    return np.ascontiguousarray(part[: part.shape[0] // 2 * 2, : part.shape[1] // 2 * 2])


def graded(frame: np.ndarray) -> np.ndarray:
    """Brighter by 15 % and warmer."""
    return np.asarray(np.clip(frame * np.array([1.25, 1.15, 1.0]), 0, 255), np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half size and JPEG 25": recoded,
    "a crop of 90 %": cropped,
    "other colours": graded,
}


def run(root: Path) -> list[Row]:
    entries = manifest(root, "talk", "neg")
    originals = [(e["person"], read_frames(e["path"], FPS, max_s=SECONDS)[0]) for e in entries]
    copies = [(e["person"], read_frames(e["path"], FPS, max_s=SECONDS)[0]) for e in manifest(root, "dup")]
    people = [person for person, _ in originals]
    queries = {name: [(p, [change(f) for f in frames]) for p, frames in originals] for name, change in CHANGES.items()}
    queries["the re-encodes of dup/"] = copies
    rows = []
    for claim, asked in queries.items():
        hits, pairs = _retrieve(vector, originals, people, asked)
        naive_hits, naive_pairs = _retrieve(histogram, originals, people, asked)
        n = sum(len(v) for v in hits.values())
        naive = float(np.mean([h for v in naive_hits.values() for h in v]))
        value, low, high = bootstrap_ci(hits, np.mean)
        rows.append(
            Row(
                "embedding",
                f"{claim}: finds its own first",
                "recall at 1",
                value,
                low,
                high,
                n,
                len(hits),
                naive,
                0.9,
                baseline_name="colour histogram",
            )
        )
        value, low, high = bootstrap_ci(pairs, auc_of_pairs)
        rows.append(
            Row(
                "embedding",
                f"{claim}: nearer than any other",
                "AUC of cosine",
                value,
                low,
                high,
                n,
                len(hits),
                auc_of_pairs([pair for told in naive_pairs.values() for pair in told]),
                0.95,
                baseline_name="colour histogram",
            )
        )
    return rows


def _retrieve(
    embed: Callable[[Frames], np.ndarray],
    originals: list[tuple[str, Frames]],
    people: list[str],
    asked: list[tuple[str, Frames]],
) -> tuple[dict[str, list[float]], dict[str, list[tuple[float, bool]]]]:
    """By person: whether the nearest original shows the same person's scene, and (cosine, is own) of own and others."""
    gallery = np.stack([embed(frames) for _, frames in originals])
    hits: dict[str, list[float]] = {}
    pairs: dict[str, list[tuple[float, bool]]] = {}
    own_mask = np.array(people)
    for person, frames in asked:
        cosine = gallery @ embed(frames)
        own = own_mask == person
        hits.setdefault(person, []).append(float(own[int(np.argmax(cosine))]))
        told = pairs.setdefault(person, [])
        told.append((float(cosine[own].max()), True))
        told.append((float(cosine[~own].max()), False))
    return hits, pairs


if __name__ == "__main__":
    command(run)
