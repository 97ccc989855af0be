"""Scorecard of overlay_text: captions of known words burned into real frames, against the same frames without; text
over the face and beside it; a channel's name that stays, against one that goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signals import faces, overlay_text

CAPTIONS = (
    "breaking news live from the city council meeting",
    "watch more weekly stories about science and travel",
    "interview with the mayor part 3 of episode 17",
    "weather and traffic update for the year 2024",
    "subscribe now to our channel for music and food",
)
HEIGHTS = (0.035, 0.05, 0.08)
"""Of the letters, as a share of the frame's height."""


def burned(frame: np.ndarray, text: str, height: float, style: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """The frame with a line of text, and as much of the text as fits: 0 white with a black rim,
    1 white on a dark bar, 2 yellow, 3 faint white."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(frame).convert("RGBA")
    layer = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(layer)
    font = ImageFont.load_default(max(8.0, height * frame.shape[0] * 1.3))
    while pen.textlength(text, font) > 0.94 * image.width and " " in text:
        text = text.rsplit(" ", 1)[0]
    width = pen.textlength(text, font)
    size = height * frame.shape[0] * 1.6
    x = float(rng.uniform(0.02, 1) * max(1.0, image.width * 0.98 - width))
    y = float(rng.choice([0.03, 0.75, 0.85]) * image.height)
    colour = {0: (255, 255, 255, 255), 1: (255, 255, 255, 255), 2: (255, 230, 40, 255), 3: (255, 255, 255, 130)}[style]
    if style == 1:
        pen.rectangle((x - 6, y - 2, x + width + 6, y + size), fill=(10, 20, 60, 200))
    rim = max(1, round(size / 18)) if style == 0 else 0
    pen.text((x, y), text, font=font, fill=colour, stroke_width=rim, stroke_fill=(0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(image, layer).convert("RGB")), text


def row_of(*frames: np.ndarray) -> dict[str, object]:
    """Of frames two seconds apart."""
    media = media_of(frames, overlay_text.FPS)
    return dict(overlay_text.compute(media, {"faces": timeline_of(faces.compute, media)}).row)


def over_and_beside(frame: np.ndarray) -> list[tuple[float, bool]]:
    """(over_face_ratio, is over the face) of a word written over the middle of the face, and at the picture's edge."""
    import cv2

    found = timeline_of(faces.compute, media_of([frame], 1.0)).to_pylist()
    if not found:
        return []
    told = []
    height = frame.shape[0]
    edge = 0.96 * height if found[0]["y1"] < 0.85 * height else 0.09 * height
    for over, y in ((True, (found[0]["y0"] + found[0]["y1"]) / 2), (False, edge)):
        x = max(2.0, found[0]["x0"])
        shown = cv2.putText(frame.copy(), "SUBSCRIBE", (int(x), int(y)), 0, height / 420, (255, 255, 255), 2, 16)
        told.append((float(row_of(np.asarray(shown))["over_face_ratio"]), over))  # type: ignore[arg-type]
    return told


def stays_or_goes(frames: list[np.ndarray]) -> list[tuple[float, bool]]:
    """(watermark_ratio, is there all the time) of a channel's name in the corner of all frames, and of half."""
    import cv2

    height = frames[0].shape[0]
    at = (int(0.03 * frames[0].shape[1]), int(0.09 * height))
    marked = [
        np.asarray(cv2.putText(f.copy(), "News4 TV", at, 0, height / 420, (235, 235, 235), 2, 16)) for f in frames
    ]
    half = len(frames) // 2
    return [
        (float(row_of(*shown)["watermark_ratio"]), stays)  # type: ignore[arg-type]
        for shown, stays in ((marked, True), ([*marked[:half], *frames[half:]], False))
    ]


def share_read(truth: str, read: str) -> float:
    """Length of the longest common subsequence over that of the truth, letters only."""
    a, b = ("".join(c for c in s.lower() if c.isalnum()) for s in (truth, read))
    best = np.zeros(len(b) + 1, int)
    for letter in a:
        before = best.copy()
        for j, other in enumerate(b, 1):
            best[j] = before[j - 1] + 1 if letter == other else max(before[j], best[j - 1])
    return float(best[-1] / max(1, len(a)))


def edge_density(frame: np.ndarray) -> float:
    """Baseline: share of pixels on Canny edges."""
    import cv2

    return float((cv2.Canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 100, 200) > 0).mean())


def run(root: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    pairs: dict[str, list[tuple[float, bool]]] = {}
    read: dict[str, list[float]] = {}
    small: dict[str, list[float]] = {}
    silent: dict[str, list[float]] = {}
    covering: dict[str, list[tuple[float, bool]]] = {}
    staying: dict[str, list[tuple[float, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    for number, entry in enumerate(manifest(root, "talk")):
        person = entry["person"]
        frames = read_frames(entry["path"], overlay_text.FPS, max_s=6.5)[0]
        frame = frames[0]
        covering.setdefault(person, []).extend(over_and_beside(frame))
        if len(frames) >= overlay_text.WATERMARK_FRAMES + 1:
            staying.setdefault(person, []).extend(stays_or_goes(frames))
        clean = row_of(frame)
        pairs.setdefault(person, []).append((float(clean["text_ratio"]), False))  # type: ignore[arg-type]
        naive.append((edge_density(frame), False))
        if "banner_text" not in entry["tags"]:
            silent.setdefault(person, []).append(float(clean["num_boxes"] == 0))
        for style, height in ((number % 4, h) for h in HEIGHTS):
            words = str(rng.choice(CAPTIONS))
            shown, text = burned(frame, words, height, style, rng)
            made = row_of(shown)
            pairs[person].append((float(made["text_ratio"]), True))  # type: ignore[arg-type]
            naive.append((edge_density(shown), True))
            pixels = height * frame.shape[0]
            (read if pixels >= 12 else small).setdefault(person, []).append(share_read(text, str(made["text"])))
    rows = []
    for claim, measure, values, statistic, goal, baseline, name in (
        (
            "burned-in text is told from none",
            "AUC of text_ratio",
            pairs,
            auc_of_pairs,
            0.98,
            auc_of_pairs(naive),
            "edges",
        ),
        (
            "text over the face is told from text beside it",
            "AUC of over_face_ratio",
            covering,
            auc_of_pairs,
            0.95,
            0.5,
            "chance",
        ),
        (
            "a name that stays is told from one that goes",
            "AUC of watermark_ratio",
            staying,
            auc_of_pairs,
            0.95,
            0.5,
            "chance",
        ),
        ("no text is found where there is none", "share of clean frames", silent, np.mean, 0.95, None, ""),
        ("letters of 12 px and more are read", "share of characters", read, np.mean, 0.9, None, ""),
        ("letters of less than 12 px are read", "share of characters", small, np.mean, 0.8, None, ""),
    ):
        value, low, high = bootstrap_ci(values, statistic)  # type: ignore[arg-type]
        n = sum(len(v) for v in values.values())
        rows.append(
            Row("overlay_text", claim, measure, value, low, high, n, len(values), baseline, goal, baseline_name=name)
        )
    return rows


if __name__ == "__main__":
    command(run)
