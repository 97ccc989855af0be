"""People in view, for the scorecards of identity: the frames of each, relit, before another background, and their faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from tasks.face_geometry import FACE_OVAL, points_of
from tasks.signal import NotApplicable, Output
from tasks.signals import face_embedding, faces, landmarks

FPS = 1
SECONDS = 11.0
HEAD_SCALE = 1.25
"""Of the face's oval about its centre: hair and ears stay, all else is replaced."""

Frames = list[np.ndarray]


def films(root: Path, *folders: str) -> Iterator[tuple[str, Frames]]:
    """(person, frames at 1 fps) of each file that shows one known person for at least 2 s."""
    for entry in manifest(root, *folders):
        if entry.get("identity") and entry["people"] == 1:
            frames = read_frames(entry["path"], FPS, max_s=SECONDS)[0]
            if len(frames) >= 2:
                yield entry["person"], frames


def places(root: Path) -> Frames:
    """A picture of each file of neg/ that shows nobody, as background: another person's picture would bring his face."""
    empty = [e for e in manifest(root, "neg") if e["people"] == 0]
    shown = [read_frames(e["path"], FPS, max_s=0.0, start_s=1.0)[0] for e in empty]
    return [frames[0] for frames in shown if frames]


def meshes(frames: Frames) -> pa.Table:
    media = media_of(frames, FPS)
    return timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})


def faces_of(frames: Frames) -> Output | None:
    """What face_embedding makes of the frames; None where it says that there is no face."""
    try:
        return face_embedding.compute(media_of(frames, FPS), {"landmarks": meshes(frames)})
    except NotApplicable:
        return None


def relit(frames: Frames) -> Frames:
    """Lit warmly from the left: twice as bright there as on the right, with more contrast."""
    width = frames[0].shape[1]
    light = np.linspace(1.3, 0.65, width)[None, :, None] * np.array([1.1, 1.0, 0.85])
    return [np.clip(255 * (f / 255 * light) ** 1.2, 0, 255).astype(np.uint8) for f in frames]


def before_another_background(frames: Frames, background: np.ndarray) -> Frames:
    """Everything but the head replaced by another picture; frames without a mesh are left as they are."""
    import cv2

    table = meshes(frames)
    step = 25 // FPS
    points = dict(zip(table["frame"].to_pylist(), points_of(table), strict=True))
    placed = []
    for number, frame in enumerate(frames):
        mesh = points.get(number * step)
        if mesh is None:
            placed.append(frame)
            continue
        oval = mesh[list(FACE_OVAL), :2]
        head = oval.mean(axis=0) + HEAD_SCALE * (oval - oval.mean(axis=0))
        mask = np.zeros(frame.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(head).astype(np.int32)], 255)
        share = cv2.GaussianBlur(mask, (0, 0), 3)[..., None] / 255
        other = cv2.resize(background, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_AREA)
        placed.append((share * frame + (1 - share) * other).astype(np.uint8))
    return placed
