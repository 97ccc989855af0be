"""What drawn videos are measured by: their own mesh, found as in any video, the true one, and the signals of lip sync and person.

Whatever is drawn is looked at as the store looks at footage: by the signals `faces`, `landmarks` and `lip_sync`, and by SFace.

Legend: T frames, N mesh points, C coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from modeling.motion import EYES_OUTER, LIPS_INNER, LIPS_OUTER, MOUTH, Person, mouth_of, upright
from modeling.motion_metrics import SETTLE_S, pauses_of, still
from modeling.motion_set import MotionClip
from modeling.renderer_metrics import (
    BETTER_LOWER,
    IDENTITY_FRAMES,
    OURS,
    SHIFTED,
    TRUE,
    picture_measures,
)
from modeling.renderer_set import FIVE_POINTS
from modeling.true_faces import TrueFaces, mouths, squares
from store.media import GRID_FPS
from tasks.face_geometry import NUM_POINTS, POINT_SCALE, STABLE_POINTS
from tasks.head_geometry import angles_of, head_turns
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import faces, landmarks, lip_sync
from tasks.signals.face_embedding import embedding

LIP_POINTS = tuple(dict.fromkeys([*LIPS_OUTER, *(p for pair in LIPS_INNER for p in pair), 78, 308]))
SHIFT_FRAMES = 8
"""By so much the sound of `shifted` comes late."""
LEAST_FRAMES = 10
SILENCE = ("silence_open", "silence_quiver", "silence_change")
LOWER = (*BETTER_LOWER, "landmark_error", "lip_sync_off_frames", *SILENCE)
"""Of these less is better."""


def meshes_of(pictures: np.ndarray) -> np.ndarray:
    """The mesh of the face on each picture, float64 (T, N, 3) in its pixels, NaN where none is found."""
    import cv2

    num, height, width = pictures.shape[:3]
    planes = [cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2YUV_I420) for p in pictures]
    media = Media(0, num, width, height, range(num), planes)
    found = landmarks.compute(media, {"faces": _timeline(faces.compute(media, {}))})
    table = _timeline(found)
    made = np.full((num, NUM_POINTS, 3), np.nan)
    if table.num_rows:
        flat = table["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        made[table["frame"].to_numpy()] = flat.reshape(table.num_rows, -1, 3) / POINT_SCALE
    return made


def clip_measures(
    pictures: Mapping[str, np.ndarray], true: TrueFaces, clip: MotionClip, person: Person
) -> dict[str, dict[str, float]]:
    """{who: {measure: value}} of one clip, "true" and "shifted" among them. `pictures` are those of the clip's frames, and "copy"
    the one that the person is known by; what goes on beyond the clip was drawn in silence."""
    num = len(clip)
    meshes = {who: meshes_of(made) for who, made in pictures.items()}
    plate, plate_mesh = pictures["copy"][0], meshes["copy"][0]
    found: dict[str, dict[str, float]] = {TRUE: lip_sync_of(true.meshes, clip.sound, clip.speech)}
    for who, made in pictures.items():
        first = np.repeat(made, num, axis=0) if len(made) == 1 else made[:num]
        mesh = np.repeat(meshes[who], num, axis=0) if len(made) == 1 else meshes[who][:num]
        found[who] = beside_true(first, mesh, true, clip)
        if len(made) > 1:
            found[who] |= lip_sync_of(mesh, clip.sound, clip.speech)
            after = slice(num + round(SETTLE_S * GRID_FPS), None)
            found[who] |= in_silence(made[after], meshes[who][after], person)
            if np.isfinite(plate_mesh).all():
                found[who] |= identity(first, mesh, plate, plate_mesh)
    if np.isfinite(plate_mesh).all():
        found[TRUE] |= identity(true.pictures, true.meshes, plate, plate_mesh)
    pauses = pauses_of(clip)
    if pauses.sum() > 1:
        found[TRUE] |= dict(zip(SILENCE, still(clip.motion.values[:, MOUTH], pauses), strict=False))
    late = np.concatenate([np.zeros(SHIFT_FRAMES * 640, np.float32), clip.sound])[: len(clip.sound)]
    found[SHIFTED] = lip_sync_of(meshes[OURS][:num], late, clip.speech)
    return found


def beside_true(pictures: np.ndarray, meshes_TNC: np.ndarray, true: TrueFaces, clip: MotionClip) -> dict[str, float]:
    """The landmark error, and the measures of modeling/renderer_metrics.py over the lower face, on frames with both meshes."""
    both = np.isfinite(meshes_TNC).all(axis=(1, 2)) & np.isfinite(true.meshes).all(axis=(1, 2))
    rows = np.flatnonzero(both)
    if len(rows) < LEAST_FRAMES:
        return {}
    return {
        "landmark_error": landmark_error(meshes_TNC[rows], true.meshes[rows]),
        **picture_measures(squares(pictures[rows], meshes_TNC[rows]), mouths(true, clip, rows)),
    }


def landmark_error(made_TNC: np.ndarray, true_TNC: np.ndarray) -> float:
    """Mean distance of the lips' points from the true ones, in distances between the eyes' outer corners. Each frame is first
    brought onto the true one by its place, size and roll, over 18 points that speech does not move."""
    made, true = (p[..., 0] + 1j * p[..., 1] for p in (made_TNC, true_TNC))
    stable = list(STABLE_POINTS)
    from_, to = made[:, stable], true[:, stable]
    centre, there = from_.mean(axis=1, keepdims=True), to.mean(axis=1, keepdims=True)
    factor = (np.conj(from_ - centre) * (to - there)).sum(axis=1, keepdims=True)
    factor /= np.maximum((np.abs(from_ - centre) ** 2).sum(axis=1, keepdims=True), 1e-9)
    lips = list(LIP_POINTS)
    away = np.abs(factor * (made[:, lips] - centre) + there - true[:, lips])
    across = np.abs(true[:, EYES_OUTER[0]] - true[:, EYES_OUTER[1]])
    return float((away.mean(axis=1) / np.maximum(across, 1e-6)).mean())


def lip_sync_of(meshes_TNC: np.ndarray, sound_N: np.ndarray, speech_T: np.ndarray) -> dict[str, float]:
    """What the signal `lip_sync` says of lips beside a sound; nothing where it does not apply."""
    rows = np.flatnonzero(np.isfinite(meshes_TNC).all(axis=(1, 2)))
    num = len(meshes_TNC)
    if not len(rows):
        return {}
    fixed = np.clip(np.rint(meshes_TNC[rows] * POINT_SCALE), -32768, 32767).astype(np.int16)
    points = pa.array(list(fixed.reshape(len(rows), -1)), pa.list_(pa.int16()))
    needs = {
        "landmarks": pa.table({"frame": pa.array(rows, pa.int32()), "points": points}),
        "vad": pa.table({"frame": pa.array(range(num), pa.int32()), "speech_prob": pa.array(speech_T, pa.float32())}),
    }
    try:
        row = lip_sync.compute(Media(0, num, 256, 256, audio=sound_N), needs).row
    except NotApplicable:
        return {}
    assert row is not None
    return {
        "lip_sync_confidence": float(row["confidence"]),
        "lip_sync_off_frames": float(abs(row["offset_frames"])),
        "lip_sync_in_sync_ratio": float(row["in_sync_ratio"]),
    }


def identity(pictures: np.ndarray, meshes_TNC: np.ndarray, plate: np.ndarray, mesh_NC: np.ndarray) -> dict[str, float]:
    """Cosine (SFace) of the face on some frames to that on the person's picture."""
    rows = np.flatnonzero(np.isfinite(meshes_TNC).all(axis=(1, 2)))
    if not len(rows):
        return {}
    own = embedding(plate, _five(mesh_NC))
    some = rows[np.unique(np.linspace(0, len(rows) - 1, IDENTITY_FRAMES).astype(int))]
    return {"identity": float(np.mean([own @ embedding(pictures[r], _five(meshes_TNC[r])) for r in some]))}


def in_silence(pictures: np.ndarray, meshes_TNC: np.ndarray, person: Person) -> dict[str, float]:
    """Of a mouth that was drawn while nobody spoke and had the time to close: how far it stands open and how fast it moves, as in
    modeling/motion_metrics.py but by the mesh of what is seen; and by how many gray levels the mouth changes a frame."""
    rows = np.flatnonzero(np.isfinite(meshes_TNC).all(axis=(1, 2)))
    if len(rows) < LEAST_FRAMES or len(rows) < len(meshes_TNC):
        return {}
    angles = angles_of(head_turns(meshes_TNC))[:, [1, 0, 2]]
    mouth = (mouth_of(upright(meshes_TNC, angles)) - person.rest[MOUTH]) / person.scale[MOUTH]
    opened, quiver = still(mouth, np.ones(len(mouth), bool))
    drawn = squares(pictures, meshes_TNC).astype(np.float64)
    return dict(zip(SILENCE, (opened, quiver, float(np.abs(np.diff(drawn, axis=0)).mean())), strict=True))


def _five(mesh_NC: np.ndarray) -> np.ndarray:
    return np.stack([mesh_NC[list(rows), :2].mean(axis=0) for rows in FIVE_POINTS])


def _timeline(output: Any) -> pa.Table:
    assert output.timeline is not None
    return output.timeline
