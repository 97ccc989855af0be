"""Scorecard of caption: does it state what the labels of the footage say, and does it say nothing where it can't?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.caption_clips import labelled
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.caption_facts import LANGUAGES
from tasks.caption_text import claims
from tasks.signals import caption

Clip = tuple[dict[str, Any], dict[str, str]]
Judge = Callable[[Clip], bool | None]

SILENT = {"digital_silence", "no_audio", "silent_audio", "near_silent", "not_speaking"}


def stated(root: Path) -> list[Clip]:
    """(entry of the manifest, claims read from the long caption), for every labelled clip."""
    return [(entry, claims(str(caption.compute(media, needs).row["long"]))) for entry, media, needs in labelled(root)]


def people(clip: Clip) -> bool | None:
    entry, told = clip
    return int(told.get("people", "-1")) == int(entry["people"])


def language(clip: Clip) -> bool | None:
    """None where the label or the caption tells none."""
    entry, told = clip
    label = LANGUAGES.get(str(entry["language"]).rstrip("?"))
    return None if label is None or "language" not in told else told["language"] == label


def speech(clip: Clip) -> bool | None:
    """Talking heads speak; clips labelled as silent don't."""
    entry, told = clip
    if entry["file"].startswith("talk/") and "music?" not in entry["tags"]:
        return told.get("speech") == "yes"
    return told.get("speech", "no") == "no" if SILENT & set(entry["tags"]) else None


def shot(clip: Clip) -> bool | None:
    entry, told = clip
    tags = set(entry["tags"])
    if "closeup" in tags:
        return told.get("shot") == "close"
    if tags & {"waist_up", "full_body_seated", "full_body"}:
        return told.get("shot") in ("medium", "long")
    return None


def turned(clip: Clip) -> bool | None:
    entry, told = clip
    tags = set(entry["tags"])
    if not tags & {"frontal", "three_quarter"} or not entry["people"]:
        return None
    return told.get("facing") == ("away" if "three_quarter" in tags else "camera")


def text(clip: Clip) -> bool | None:
    entry, told = clip
    named = any("text" in tag for tag in entry["tags"]) or "slides" in entry["tags"]
    return told.get("text", "no") != "no" if named else None


CLAIMS: tuple[tuple[str, Judge, float | None, Callable[[dict[str, Any]], bool], str], ...] = (
    ("the number of people is the labelled one", people, 0.9, lambda e: e["people"] == 1, "always one"),
    ("the language, where one is told, is the labelled one", language, 0.9, lambda e: e["language"][:2] == "en", "always English"),
    ("speech where people talk, none where it is silent", speech, 0.9, lambda e: e["file"].startswith("talk/"), "always speech"),
    ("the shot is as near as labelled", shot, None, lambda e: "closeup" in e["tags"], "always close"),
    ("frontal heads face the camera, three-quarter ones don't", turned, None, lambda e: "frontal" in e["tags"], "always camera"),
    ("labelled text is told", text, 0.9, lambda e: False, "never"),
)  # fmt: skip


def run(root: Path) -> list[Row]:
    clips = stated(root)
    rows = []
    for claim, judge, goal, baseline, name in CLAIMS:
        found: dict[str, list[float]] = {}
        naive = []
        for clip in clips:
            right = judge(clip)
            if right is not None:
                found.setdefault(clip[0]["person"], []).append(float(right))
                naive.append(baseline(clip[0]))
        value, low, high = bootstrap_ci(found, np.mean)
        n = sum(len(v) for v in found.values())
        rows.append(
            Row(
                "caption",
                claim,
                "share right",
                value,
                low,
                high,
                n,
                len(found),
                float(np.mean(naive)),
                goal,
                "higher",
                name,
            )
        )
    return rows


if __name__ == "__main__":
    command(run)
