"""The frames of a clip that drawn ones are held against: a square that stands still around the head, and the mesh in it.

Legend: T frames, N mesh points, S the mouth's square, H, W the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.motion import POINTS_PER_PX
from modeling.motion_set import MotionClip
from modeling.mouth_crop import across_px, crop_affine, cut, masks, placed
from modeling.plates import SIDE_PX, cut_square, square_of
from modeling.recipes.renderer import JUDGED_FROM
from modeling.renderer_set import LEAST_ACROSS_PX
from store.frozen import Frozen
from store.media import GRID_FPS, fit, read_frames
from store.timelines import read_spans

MOST_FRAMES, LEAST_FRAMES, SYNC_FRAMES = 8 * GRID_FPS, GRID_FPS, 4 * GRID_FPS
"""So many frames of a clip are drawn; `lip_sync` wants the last."""


@dataclass(frozen=True)
class Judged:
    """A stretch of a clip that is to be drawn, and the frames before it that may be shown of the person: [start, end) of the
    video's grid."""

    clip: MotionClip
    plate: tuple[int, int]
    held_out: str


@dataclass(frozen=True)
class TrueFaces:
    """`pictures` uint8 (T, H, W, 3); `meshes` float64 (T, N, 3) in their pixels, NaN where none was found."""

    pictures: np.ndarray
    meshes: np.ndarray


@dataclass(frozen=True)
class Mouths:
    """What modeling/renderer_metrics.py holds drawn lower faces against, of the frames that both show."""

    true: np.ndarray
    lips: np.ndarray
    frames: np.ndarray
    gap: np.ndarray
    speech: np.ndarray


def stranger(clip: MotionClip) -> Judged | None:
    """Of somebody whom nothing learnt from: the later part of the clip, of 4 s where it has them; None where it is short."""
    start = min(round(JUDGED_FROM * len(clip)), max(GRID_FPS, len(clip) - SYNC_FRAMES))
    return _judged(clip, start, "people")


def later(whole: MotionClip, end: MotionClip) -> Judged | None:
    """Of somebody who is known: the end of a clip whose beginning was learnt from; of a whole clip as of a stranger."""
    start = end.first_frame - whole.first_frame
    return _judged(whole, start, "time") if start else _judged(whole, round(JUDGED_FROM * len(whole)), "time")


def _judged(clip: MotionClip, start: int, held_out: str) -> Judged | None:
    if len(clip) - start < LEAST_FRAMES or not clip.motion.seen[:start, 0].any():
        return None
    drawn = clip.cut(start, min(len(clip), start + MOST_FRAMES))
    return Judged(drawn, (clip.first_frame, clip.first_frame + start), held_out)


def read_true(held: Frozen, row: Mapping[str, Any], clip: MotionClip) -> TrueFaces | str:
    """Of a clip, `row` being its row of Frozen.clips; or why it can't be judged by its pictures.

    Raises ValueError when the proxy can't be read.
    """
    first, end = clip.first_frame, clip.first_frame + len(clip)
    table = read_spans(held.record, held.versions, [(clip.clip_id, clip.video_id, first, end)], ["landmarks"])[0][
        "landmarks"
    ]
    flat = table["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    points = flat.reshape(table.num_rows, -1, 3).astype(np.float64) / POINTS_PER_PX
    if not len(points):
        return "too few frames with a mesh"
    if np.median([across_px(p) for p in points]) < LEAST_ACROSS_PX:
        return f"the face is small: under {LEAST_ACROSS_PX:.0f} px between the eyes"
    size = (int(row["height_px"]), int(row["width_px"]))
    square = square_of(np.median(points, axis=0), size)
    how = fit(size[1], size[0], size, cut=True)
    frames = read_frames(held.local(row["proxy_uri"]), list(range(first, end)), how)
    meshes = np.full((len(clip), points.shape[1], 3), np.nan)
    meshes[table["frame"].to_numpy() - first] = points
    made = [cut_square(p.transpose(1, 2, 0), m, square, SIDE_PX) for p, m in zip(frames, meshes, strict=True)]
    return TrueFaces(np.stack([p for p, _ in made]), np.stack([m for _, m in made]))


def squares(pictures: np.ndarray, meshes_TNC: np.ndarray) -> np.ndarray:
    """The lower face of each picture, placed by its own mesh, uint8 (T, S, S, 3): wherever the head is, mouths lie alike."""
    return np.stack([cut(p, crop_affine(m, across_px(m))) for p, m in zip(pictures, meshes_TNC, strict=True)])


def mouths(true: TrueFaces, clip: MotionClip, rows: np.ndarray) -> Mouths:
    """Of some frames, int64 rows of the clip."""
    chosen = true.meshes[rows]
    lips = [masks(placed(m, crop_affine(m, across_px(m)))) for m in chosen]
    return Mouths(
        squares(true.pictures[rows], chosen), np.stack(lips), rows, clip.motion.values[rows, 0], clip.speech[rows]
    )
