"""Scorecard of anatomy: which made defects each rule finds, what it says of real footage, and of generated footage.

Defects are put where the face mesh and the hands of the clean footage are: half a face shifted, the face kneaded anew
on every frame, one eye frozen open, the mouth's inside smeared, a finger drawn out, a finger doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.body_geometry import FINGERS, hands_of
from tasks.face_geometry import CHIN, FOREHEAD, points_of
from tasks.signal import NotApplicable
from tasks.signals import anatomy, body, faces, hands, landmarks

SECONDS = 5.0
WOBBLE_FRAMES = 50
EVERY_NTH = 2
"""Of talk's files: three meshes at 25 fps of each are what this costs."""
HAND_FILES = (
    "talk/latent__demo1_video.mp4",
    "talk/latent__demo3_video.mp4",
    "neg/livep__s13.mp4",
    "neg/livep__s20.mp4",
    "neg/livep__s29.mp4",
    "synth/muse__sun.mp4",
    "synth/inft__1.mp4",
    "synth/inft__2.mp4",
    "synth/inft__6.mp4",
)
HAND_SECONDS = 6.0
PORTRAITS = "neg/livep"
"""Talking and grimacing people. The bounds were set with their clean values, and those of synth, in view."""

Pairs = dict[str, list[tuple[float, bool]]]
Defect = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""(frame, points (N, 2), random) -> frame."""


def pushed(frame: np.ndarray, centers: np.ndarray, ways: np.ndarray, radius_px: float) -> np.ndarray:
    """The frame with its content at some places moved along `ways`, smoothly, falling off over `radius_px`."""
    import cv2

    margin = 3 * radius_px + np.abs(ways).max()
    x0, y0 = np.maximum(np.floor(centers.min(axis=0) - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centers.max(axis=0) + margin), (frame.shape[1], frame.shape[0])).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return frame
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    from_x, from_y = x.copy(), y.copy()
    for (cx, cy), (dx, dy) in zip(centers.astype(np.float32), ways.astype(np.float32), strict=True):
        near = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / np.float32(2 * radius_px**2))
        from_x -= dx * near
        from_y -= dy * near
    out = frame.copy()
    out[y0:y1, x0:x1] = cv2.remap(frame, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out


def half_shifted(frame: np.ndarray, points: np.ndarray, _random: np.random.Generator) -> np.ndarray:
    """Right eye and right corner of the mouth a tenth of the face lower."""
    down = points[CHIN] - points[FOREHEAD]
    centers = np.stack([points[[33, 133]].mean(axis=0), points[61]])
    return pushed(frame, centers, np.stack([0.10 * down, 0.08 * down]), 0.12 * float(np.hypot(*down)))


def kneaded(frame: np.ndarray, points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Eyes, nose and corners of the mouth moved by 1.5 % of the face's height, another way on every frame."""
    height = float(np.hypot(*(points[CHIN] - points[FOREHEAD])))
    return pushed(frame, points[[33, 263, 61, 291, 4]], random.normal(0, 0.015 * height, (5, 2)), 0.12 * height)


def smeared(frame: np.ndarray, points: np.ndarray, _random: np.random.Generator) -> np.ndarray:
    """Inside of the mouth blurred by 3 % of the face's height."""
    import cv2

    height = float(np.hypot(*(points[CHIN] - points[FOREHEAD])))
    mask = np.zeros(frame.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[list(anatomy.INNER_LIPS)]).astype(np.int32)), 1.0)
    mask = cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3))), (0, 0), 1)[..., None]
    return np.asarray(frame * (1 - mask) + cv2.GaussianBlur(frame, (0, 0), 0.03 * height) * mask).astype(np.uint8)


def frozen_eye(frames: Sequence[np.ndarray], points_by_frame: dict[int, np.ndarray]) -> list[np.ndarray]:
    """The right eye of the frame on which it is widest open, pasted over it on all frames."""
    import cv2

    gaps = {
        f: float(np.hypot(*(p[159] - p[145]))) / float(np.hypot(*(p[33] - p[133]))) for f, p in points_by_frame.items()
    }
    source = sorted(gaps, key=lambda f: gaps[f])[int(0.8 * len(gaps))]
    still = [33, 133, 168, 6, 127]
    out = []
    for number, frame in enumerate(frames):
        if number not in points_by_frame:
            out.append(frame)
            continue
        points = points_by_frame[number]
        move, _ = cv2.estimateAffinePartial2D(points_by_frame[source][still], points[still])
        moved = cv2.warpAffine(frames[source], move, (frame.shape[1], frame.shape[0]))
        width = float(np.hypot(*(points[33] - points[133])))
        center = points[[33, 133]].mean(axis=0)
        mask = np.zeros(frame.shape[:2], np.float32)
        axes = (round(0.85 * width), round(0.55 * width))
        cv2.ellipse(mask, (round(float(center[0])), round(float(center[1]))), axes, 0, 0, 360, 1.0, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.08 * width))[..., None]
        out.append((frame * (1 - mask) + moved * mask).astype(np.uint8))
    return out


def drawn_out(frame: np.ndarray, points: np.ndarray, finger: Sequence[int]) -> np.ndarray:
    """One finger 1.6 times as long."""
    import cv2

    base, tip = points[finger[0]], points[finger[3]]
    length = max(1.0, float(np.hypot(*(tip - base))))
    along = (tip - base) / length
    x, y = np.meshgrid(np.arange(frame.shape[1], dtype=np.float32), np.arange(frame.shape[0], dtype=np.float32))
    far = (x - base[0]) * along[0] + (y - base[1]) * along[1]
    beside = (y - base[1]) * along[0] - (x - base[0]) * along[1]
    inside = np.exp(-((beside / (0.28 * length + 2)) ** 4)) * ((far > 0) & (far < 2 * length))
    back = ((far / 1.6 - far) * inside).astype(np.float32)
    from_x, from_y = (x + back * along[0]).astype(np.float32), (y + back * along[1]).astype(np.float32)
    return np.asarray(cv2.remap(frame, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def doubled(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A copy of the index finger beside it, turned about the wrist away from the middle finger."""
    import cv2

    wrist = points[0]
    angles = [np.degrees(np.arctan2(*(points[k] - wrist)[::-1])) for k in (5, 9)]
    between = (angles[0] - angles[1] + 180) % 360 - 180
    turn = cv2.getRotationMatrix2D((float(wrist[0]), float(wrist[1])), -2.0 * float(between), 1.0)
    size = (frame.shape[1], frame.shape[0])
    width = max(2, round(0.28 * float(np.hypot(*(points[5] - points[8])))))
    mask = np.zeros(frame.shape[:2], np.float32)
    cv2.polylines(mask, [np.rint(points[[5, 6, 7, 8]]).astype(np.int32)], False, 1.0, width)
    mask = cv2.GaussianBlur(cv2.warpAffine(mask, turn, size), (0, 0), 1)[..., None]
    return np.asarray(frame * (1 - mask) + cv2.warpAffine(frame, turn, size) * mask).astype(np.uint8)


def spoiled(frames: Sequence[np.ndarray], points_by_frame: dict[int, np.ndarray], defect: Defect) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [defect(f, points_by_frame[i], random) if i in points_by_frame else f for i, f in enumerate(frames)]


def mesh_of(frames: Sequence[np.ndarray], fps: float) -> pa.Table:
    media = media_of(frames, fps)
    return timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})


def row_of(
    frames: Sequence[np.ndarray], fps: float, mesh: pa.Table, people: pa.Table, seen: pa.Table
) -> dict[str, Any]:
    """Empty when the signal does not apply."""
    try:
        needs = {"landmarks": mesh, "body": people, "hands": seen}
        return dict(anatomy.compute(media_of(frames, fps), needs).row)
    except NotApplicable:
        return {}


def looks(frames: Sequence[np.ndarray]) -> tuple[pa.Table, pa.Table]:
    """Bodies and hands of frames at 5 fps."""
    media = media_of(frames, 5)
    people = timeline_of(body.compute, media)
    return people, timeline_of(hands.compute, media, {"body": people})


def face_defects(path: Path, pairs: dict[str, list[tuple[float, bool]]]) -> None:
    """Adds (value, is it spoiled) of the rule that each defect is for; mouth_detail with its sign turned."""
    frames, _ = read_frames(path, 25, max_s=SECONDS)
    mesh = mesh_of(frames, 25)
    nobody = [signal.SIGNAL.timeline for signal in (body, hands)]
    none = [pa.table({"frame": pa.array([], pa.int32()), **{c.name: pa.array([], c.dtype) for c in t}}) for t in nobody]
    clean = row_of(frames, 25, mesh, *none)
    if not clean:
        return
    at = dict(zip(mesh["frame"].to_pylist(), points_of(mesh)[..., :2].astype(np.float64), strict=True))
    at_5_fps = {f // 5: p for f, p in at.items() if f % 5 == 0}
    for rule, defect, sign in (("face_asymmetry", half_shifted, 1), ("mouth_detail", smeared, -1)):
        changed = spoiled(frames[::5], at_5_fps, defect)
        bad = row_of(changed, 5, mesh_of(changed, 5), *none)
        if bad and (rule != "mouth_detail" or min(clean["num_mouth_frames"], bad["num_mouth_frames"]) > 0):
            pairs[rule] += [(sign * clean[rule], False), (sign * bad[rule], True)]
    short = spoiled(frames[:WOBBLE_FRAMES], at, kneaded)
    bad = row_of(short, 25, mesh_of(short, 25), *none)
    if bad:
        pairs["face_jitter"] += [(clean["face_jitter"], False), (bad["face_jitter"], True)]
    if clean["num_blinks"]:
        eye = frozen_eye(frames, at)
        bad = row_of(eye, 25, mesh_of(eye, 25), *none)
        if bad:
            pairs["blink_asymmetry"] += [(clean["blink_asymmetry"], False), (bad["blink_asymmetry"], True)]


def hand_defects(path: Path, pairs: dict[str, list[tuple[float, bool]]]) -> None:
    frames, _ = read_frames(path, 5, max_s=HAND_SECONDS)
    people, seen = looks(frames)
    at, points = hands_of(seen)
    random = np.random.default_rng(0)
    changed: dict[str, list[np.ndarray]] = {k: list(frames) for k in ("growing", "long", "doubled")}
    for frame, hand in zip(at, points[..., :2], strict=True):
        i = int(frame) // 5
        changed["growing"][i] = drawn_out(changed["growing"][i], hand, FINGERS[1 + int(random.integers(3))])
        changed["long"][i] = drawn_out(changed["long"][i], hand, FINGERS[2])
        changed["doubled"][i] = doubled(changed["doubled"][i], hand)
    clean = anatomy.hand_rules(seen)
    for name, which in (("growing", 0), ("long", 1), ("doubled", 0)):
        media = media_of(changed[name], 5)
        bad = anatomy.hand_rules(timeline_of(hands.compute, media, {"body": people}))
        if clean[which] and bad[which]:
            pairs[name] += [(float(np.median(clean[which])), False), (float(np.median(bad[which])), True)]


def whole_row(path: Path) -> dict[str, Any]:
    frames, _ = read_frames(path, 25, max_s=SECONDS)
    return row_of(frames, 25, mesh_of(frames, 25), *looks(frames[::5]))


def run(root: Path) -> list[Row]:
    rules = ("face_asymmetry", "face_jitter", "blink_asymmetry", "mouth_detail")
    kinds = (*rules, "growing", "long", "doubled")
    found: dict[str, Pairs] = {kind: {} for kind in kinds}
    real: dict[str, list[float]] = {}
    portraits: dict[str, list[float]] = {}
    made: Pairs = {}
    entries = manifest(root, "talk", "neg", "synth")
    chosen = {e["file"] for e in [e for e in entries if e["file"].startswith("talk/")][::EVERY_NTH]}
    for entry in entries:
        file, person = entry["file"], entry["person"]
        pairs: dict[str, list[tuple[float, bool]]] = {kind: [] for kind in kinds}
        if file in chosen:
            face_defects(entry["path"], pairs)
        if file in HAND_FILES:
            hand_defects(entry["path"], pairs)
        for kind, values in pairs.items():
            found[kind].setdefault(person, []).extend(values)
        if (file in chosen or file.startswith((PORTRAITS, "synth/"))) and (row := whole_row(entry["path"])):
            if file in chosen:
                real.setdefault(person, []).append(float(row["num_conspicuous"] > 0))
            elif file.startswith(PORTRAITS):
                portraits.setdefault(person, []).append(float(row["num_conspicuous"] > 0))
            if not file.startswith(PORTRAITS):
                made.setdefault(person, []).append((-float(row["score"]), file.startswith("synth/")))
    claims = (
        ("half a face shifted by a tenth", "AUC of face_asymmetry", found["face_asymmetry"], auc_of_pairs, 0.9),
        ("a face kneaded anew on every frame", "AUC of face_jitter", found["face_jitter"], auc_of_pairs, 0.9),
        (
            "one eye frozen, in clips with a blink",
            "AUC of blink_asymmetry",
            found["blink_asymmetry"],
            auc_of_pairs,
            0.9,
        ),
        ("the inside of the mouth smeared", "AUC of -mouth_detail", found["mouth_detail"], auc_of_pairs, 0.9),
        ("a finger drawn out, another on every look", "AUC of hand_change", found["growing"], auc_of_pairs, 0.8),
        ("the middle finger drawn out throughout", "AUC of finger_excess", found["long"], auc_of_pairs, 0.8),
        ("a finger doubled", "AUC of hand_change", found["doubled"], auc_of_pairs, 0.8),
        ("generated footage, known when bounds were set, against real", "AUC of -score", made, auc_of_pairs, 0.7),
    )
    rows = [
        _row(claim, measure, values, stat, goal, "higher", 0.5, "chance")
        for claim, measure, values, stat, goal in claims
    ]
    for claim, alarms in (
        ("real talking heads raise no alarm", real),
        ("nor do grimacing portraits, known when bounds were set", portraits),
    ):
        measure = "share of clips with num_conspicuous > 0"
        rows.append(_row(claim, measure, alarms, np.mean, 0.05, "lower", None, ""))
    return rows


def _row(claim: str, measure: str, values: dict[str, Any], statistic: Any, goal: float, better: Any, baseline: float | None, name: str) -> Row:  # fmt: skip
    value, low, high = bootstrap_ci(values, statistic)
    n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
    return Row("anatomy", claim, measure, value, low, high, n, people, baseline, goal, better, name)


if __name__ == "__main__":
    command(run)
