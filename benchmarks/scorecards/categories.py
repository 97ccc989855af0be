"""Scorecard of categories: each dimension that is told, against labels made by eye or against a known change.

Labels are the manifest's tags (closeup, frontal, three_quarter, plain_bg, hands ...). Where there are too few, the
answer is made: a picture set smaller on a wall, turned light, a camera that is moved. `emotion` has no labels here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.face_geometry import box_of
from tasks.media.media import Media
from tasks.signals import body, categories, faces, flow, hands, landmarks

SECONDS = 1.9
ZOOMS = (1.0, 0.5, 0.25)
SHIFT_SHARE = (0.0, 0.015)
"""Of the frame's width, between frames at 25 fps: a tripod, a pan of a third of the width a second."""


def row_of(frames: list[np.ndarray], sound: bool = False) -> dict[str, Any]:
    """All of it, through the signals it needs, from frames at 25 fps."""
    media: Media = media_of(frames, 25.0)
    if sound:
        media.audio = np.random.default_rng(0).normal(0, 0.05, len(frames) * 640).astype(np.float32)
    found = timeline_of(faces.compute, media)
    needs = {
        "faces": found,
        "landmarks": timeline_of(landmarks.compute, media, {"faces": found}),
        "flow": timeline_of(flow.compute, media),
        "hands": timeline_of(hands.compute, media, {"body": timeline_of(body.compute, media)}),
    }
    return dict(categories.compute(media, needs).row)


def smaller(frame: np.ndarray, zoom: float) -> np.ndarray:
    """The picture at a share of its size, its borders drawn out to the frame's."""
    import cv2

    height, width = frame.shape[:2]
    move = np.array([[zoom, 0, width * (1 - zoom) / 2], [0, zoom, height * (1 - zoom) / 2]])
    return np.asarray(
        cv2.warpAffine(frame, move, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    )


def panned(frames: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    import cv2

    height, width = frames[0].shape[:2]
    moves = [np.array([[1.0, 0, share * width * i], [0, 1, 0]]) for i in range(len(frames))]
    return [np.asarray(cv2.warpAffine(frames[0], m, (width, height), borderMode=cv2.BORDER_REFLECT)) for m in moves]


def lit(frame: np.ndarray, box: Any, kind: str) -> np.ndarray:
    """The frame in another light: dark, or with a bright ground behind a dimmed subject, or lit from one side."""
    height, width = frame.shape[:2]
    if kind == "dark":
        return (frame * 0.2).astype(np.uint8)
    middle, half = (box.x0 + box.x1) / 2, max(1.0, (box.x1 - box.x0) / 2)
    across = (np.arange(width) - middle) / half
    if kind == "side_lit":
        gain = 0.6 + 0.55 * np.tanh(across * 2)
        return np.clip(frame * gain[None, :, None], 0, 255).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    inside = (np.abs(x - middle) < 1.15 * half) & (y > box.y0 - 0.3 * (box.y1 - box.y0))
    return np.where(inside[..., None], frame * 0.45, 235).astype(np.uint8)


def run(root: Path) -> list[Row]:
    told: dict[str, dict[str, list[bool]]] = {}
    naive: dict[str, list[bool]] = {}

    def count(claim: str, person: str, right: bool, guess: bool) -> None:
        told.setdefault(claim, {}).setdefault(person, []).append(right)
        naive.setdefault(claim, []).append(guess)

    for number, entry in enumerate(e for e in manifest(root, "talk", "neg") if e["people"] == 1):
        _labelled(entry, count)
        if entry["file"].startswith("talk/") and number % 3 == 0:
            _changed(entry, count)
    rows = []
    for claim, values in told.items():
        value, low, high = bootstrap_ci(values, np.mean)
        n, people = sum(len(v) for v in values.values()), len(values)
        baseline = float(np.mean(naive[claim]))
        rows.append(
            Row(
                "categories",
                claim,
                "accuracy",
                value,
                low,
                high,
                n,
                people,
                baseline,
                0.9,
                "higher",
                "always the commonest",
            )
        )
    return rows


Count = Callable[[str, str, bool, bool], None]


def _labelled(entry: dict[str, Any], count: Count) -> None:
    """Against the manifest's tags."""
    tags, person = set(entry["tags"]), entry["person"]
    if not tags & {"closeup", "full_body_seated", "frontal", "three_quarter", "profile", "plain_bg", "hands", "dance"}:
        return
    row = row_of(read_frames(entry["path"], 25.0, max_s=SECONDS)[0])
    if tags & {"closeup", "full_body_seated", "dance"}:
        near = "closeup" in tags
        right = (row["shot_size"] in ("close_up", "extreme_close_up")) == near
        count("close-up or from afar, by label", person, right, near)
    if tags & {"frontal", "three_quarter", "profile"}:
        wanted = next(v for v in ("profile", "three_quarter", "frontal") if v in tags)
        count("frontal or three-quarter, by label", person, row["view"] == wanted, wanted == "frontal")
    if "plain_bg" in tags or "green_bg" in tags:
        count("a plain background, by label", person, row["background"] in ("plain", "keyed"), False)
    if "talking_head" in tags and entry["file"].startswith("talk/"):
        count("hands where labelled, none in close-ups", person, *_hands(row, tags))
    count("one person, by label", person, row["people_count"] == 1, True)


def _hands(row: dict[str, Any], tags: set[str]) -> tuple[bool, bool]:
    wanted = "hands" in tags
    return (row["hands_visible"] != "none") == wanted, not wanted


def _changed(entry: dict[str, Any], count: Count) -> None:
    """Against changes made here, on the first second."""
    person = entry["person"]
    frames = read_frames(entry["path"], 25.0, max_s=0.9)[0]
    found = timeline_of(faces.compute, media_of(frames, 25.0)).to_pylist()
    if not found:
        return
    box = box_of(found[0])
    own = (box.y1 - box.y0) / frames[0].shape[0]
    for zoom in ZOOMS:
        made = row_of([smaller(f, zoom) for f in frames[:6]])["shot_size"]
        wanted = next((name for limit, name in categories.SHOTS if own * zoom >= limit), "long")
        count("shot size after a known change of size", person, made == wanted, wanted == "medium_close_up")
    for share in SHIFT_SHARE:
        motion = row_of(panned(frames, share))["camera_motion"]
        count("camera panned or not", person, (motion == "moving") == (share > 0), share > 0)
    for kind in ("dark", "backlit", "side_lit"):
        light = row_of([lit(f, box, kind) for f in frames[:6]])["lighting"]
        count("light changed in a known way", person, light == kind, kind == "dark")
    still = row_of([frames[0]] * len(frames), sound=True)["speaking_style"]
    count("a frozen face does not speak, whatever is heard", person, still == "not_speaking", False)


if __name__ == "__main__":
    command(run)
