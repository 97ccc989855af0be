"""Scorecard of caption_embedding: does a sentence in other words find the clips it means?"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.scorecards.caption_clips import labelled
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.minilm import embed
from tasks.signals import caption

QUERIES: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "There is not a single human being in the picture.": ("short", lambda e: e["people"] == 0),
    "Someone is talking.": ("short", lambda e: e["file"].startswith("talk/")),
    "A portrait of somebody who keeps quiet.": ("short", lambda e: e["people"] == 1 and "digital_silence" in e["tags"]),
    "Words are written on the image.": (
        "medium",
        lambda e: any("text" in t for t in e["tags"]) or "slides" in e["tags"],
    ),
}
"""Each with the shortest caption that could tell it, and the labelled clips it means. None has a content word of the
templates."""


def shared_words(query: str, text: str) -> float:
    """Baseline: share of the query's words that the caption has."""
    told = set(re.findall(r"\w+", text.lower()))
    words = re.findall(r"\w+", query.lower())
    return sum(w in told for w in words) / len(words)


def run(root: Path) -> list[Row]:
    clips = [(entry, dict(caption.compute(media, needs).row)) for entry, media, needs in labelled(root)]
    rows = []
    for query, (shortest, means) in QUERIES.items():
        for length in dict.fromkeys((shortest, "long")):
            vector = embed(query)
            found: dict[str, list[tuple[float, bool]]] = {}
            naive = []
            for entry, row in clips:
                found.setdefault(entry["person"], []).append((float(embed(row[length]) @ vector), means(entry)))
                naive.append((shared_words(query, row[length]), means(entry)))
            value, low, high = bootstrap_ci(found, auc_of_pairs, rounds=400)
            claim = f'"{query}" finds its clips by the {length} caption'
            goal = 0.8 if length == shortest else None
            rows.append(
                Row("caption_embedding", claim, "AUC", value, low, high, len(clips), len(found), auc_of_pairs(naive), goal,
                    "higher", "shared words")
            )  # fmt: skip
    return rows


if __name__ == "__main__":
    command(run)
