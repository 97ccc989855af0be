"""Frames of a snapshot's clips as the renderer learns them: true lower faces, and what the warp of one picture makes of each.

A reference frame becomes a plate as an avatar's does (modeling/plates.py); the plate is drawn with the mesh of every other
frame (modeling/mesh_warp.py), and both are cut to the square of modeling/mouth_crop.py. Meshes are those that `landmarks`
stored; nothing is detected. A mesh is moved to where the plate's head is, by eyes and nose, so that what differs is the face.

Legend: T frames that are read, K plates, S the square's side, N mesh points, F triangles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.mesh_warp import NUM_FACE, MeshWarp, Plate
from modeling.motion import POINTS_PER_PX, Person
from modeling.motion_set import MotionClip
from modeling.mouth_crop import SIDE_PX as CROP_PX
from modeling.mouth_crop import across_px, add, crop_affine, cut, face_mask, fade, masks, placed
from modeling.mouth_inside import inside_from, own_inside, painted_inside
from modeling.plates import OPEN_GAP, SIDE_PX, best_frame, cut_square, square_of
from modeling.recipes.renderer import Renderer
from store.frozen import Frozen
from store.media import fit, read_frames
from store.timelines import read_spans

STRETCH_FRAMES, LEAST_FRAMES = 25, 10
LEAST_ACROSS_PX = 24.0
"""Between the eyes' outer corners in the proxy: a smaller face has no detail to learn."""
FIVE_POINTS = ((33, 133), (362, 263), (1,), (61,), (291,))
"""The eyes' corners, the subject's right first, the tip of the nose, the corners of the mouth: what recognition aligns by."""
AVATAR, PORTRAIT = "avatar", "portrait"
"""Kinds of plates: the best frame of a clip with the inside of its mouth from another frame, or any one frame alone."""


@dataclass(frozen=True)
class FaceClip:
    """One clip. `frames` int64 (T,) of the video's grid, ascending, all with a mesh; `true` uint8 (T, S, S, 3); `lips` uint8
    (T, 2, S, S) and `face` (T, S, S), masks of modeling/mouth_crop.py; by plate `warps` (K, T, S, S, 3), `references`
    (K, 2, S, S, 3), the kind of each and the frame it was made of; `speech` and `gap` (T,): probability of speech, and the
    normalised opening of the lips. `pictures` uint8 (K, 256, 256, 3) are the plates, `affines` (K, 2, 3) bring pixels of the
    square to theirs, and `points` (K, 5, 2) are eyes, nose and corners of the mouth in them."""

    clip_id: str
    video_id: str
    who: str
    weight: float | None
    frames: np.ndarray
    true: np.ndarray
    lips: np.ndarray
    face: np.ndarray
    warps: np.ndarray
    references: np.ndarray
    plates: Sequence[tuple[str, int]]
    speech: np.ndarray
    gap: np.ndarray
    pictures: np.ndarray
    affines: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def in_picture(self, plate: int, square_SSC: np.ndarray) -> np.ndarray:
        """The plate's picture with a lower face in it, RGB uint8 (256, 256, 3)."""
        change = fade()[..., None] * (square_SSC.astype(np.float32) - self.references[plate, 0])
        return add(self.pictures[plate], np.ascontiguousarray(change), self.affines[plate])

    def runs(self, length: int) -> np.ndarray:
        """Rows from which `length` frames of the grid follow each other, int64."""
        last = len(self.frames) - length + 1
        starts: np.ndarray = np.arange(max(0, last))
        return np.asarray(starts[self.frames[starts + length - 1] - self.frames[starts] == length - 1])


def read_faces(
    held: Frozen,
    clips: Sequence[MotionClip],
    people: Mapping[str, Person],
    triangles_F3: np.ndarray,
    recipe: Renderer,
    *,
    judged_from: Mapping[str, int] | None = None,
) -> tuple[list[FaceClip], dict[str, str]]:
    """(clips, what is left out and why). To learn from, plates are made of the frames that are learnt, one as an avatar's and
    others as portraits'. To judge, the frames of each clip from `judged_from` on are read, and its two plates, one of each
    kind, are made of those before: no frame that is judged was seen."""
    portraits = 1 if judged_from is not None else recipe.plates_per_clip - 1
    rows = {row["clip_id"]: row for row in held.clips.to_pylist()}
    made: list[FaceClip] = []
    left_out: dict[str, str] = {}
    for clip in clips:
        reader = _Reader(held, rows[clip.clip_id], clip, people[clip.who], triangles_F3, recipe)
        found = reader.read((AVATAR, *[PORTRAIT] * portraits), (judged_from or {}).get(clip.clip_id))
        if isinstance(found, str):
            left_out[clip.clip_id] = found
        else:
            made.append(found)
    return made, left_out


class _Reader:
    """Of one clip."""

    def __init__(
        self, held: Frozen, row: Mapping[str, Any], clip: MotionClip, person: Person, triangles_F3: np.ndarray,
        recipe: Renderer,
    ) -> None:  # fmt: skip
        self._held, self._row, self._clip, self._person = held, row, clip, person
        self._triangles, self._recipe = triangles_F3, recipe
        self._size = (int(row["height_px"]), int(row["width_px"]))

    def read(self, kinds: Sequence[str], judged_from: int | None) -> FaceClip | str:
        clip = self._clip
        start = clip.first_frame
        frames, points = self._meshes(start, start + len(clip))
        seen = {int(f): p for f, p in zip(frames, points, strict=True)}
        sources = [f for f in seen if judged_from is None or f < judged_from]
        rest = [f for f in seen if judged_from is None or f >= judged_from]
        wanted = _spread(rest, self._recipe.frames_per_clip)
        if not sources or len(wanted) < LEAST_FRAMES:
            return "too few frames with a mesh"
        if np.median([across_px(seen[f]) for f in wanted]) < LEAST_ACROSS_PX:
            return f"the face is small: under {LEAST_ACROSS_PX:.0f} px between the eyes"
        chosen = [self._chosen(kind, number, sources) for number, kind in enumerate(kinds)]
        pictures = self._pictures({*wanted, *(f for pair in chosen for f in pair)})
        true, lips, face, squares = [], [], [], []
        for f in wanted:
            affine = crop_affine(seen[f], across_px(seen[f]))
            square = placed(seen[f][:NUM_FACE], affine)
            true.append(cut(pictures[f], affine))
            lips.append(masks(square))
            face.append(face_mask(square))
            squares.append(square)
        drawn = [self._drawn(seen, pictures, pair, squares) for pair in chosen]
        warps, references, plates, affines, points = (np.stack(part) for part in zip(*drawn, strict=True))
        at = np.array(wanted) - start
        return FaceClip(
            clip_id=clip.clip_id, video_id=clip.video_id, who=clip.who, weight=clip.weight, frames=np.array(wanted),
            true=np.stack(true), lips=np.stack(lips), face=np.stack(face), warps=warps, references=references,
            plates=[(kind, pair[0]) for kind, pair in zip(kinds, chosen, strict=True)],
            speech=clip.speech[at], gap=clip.motion.values[at, 0], pictures=plates, affines=affines, points=points,
        )  # fmt: skip

    def _meshes(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T,) and points (T, 478, 3) in pixels of the proxy."""
        span = (self._clip.clip_id, self._clip.video_id, first, end)
        table = read_spans(self._held.record, self._held.versions, [span], ["landmarks"])[0]["landmarks"]
        flat = table["points"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return table["frame"].to_numpy(), flat.reshape(table.num_rows, -1, 3).astype(np.float64) / POINTS_PER_PX

    def _chosen(self, kind: str, number: int, sources: Sequence[int]) -> tuple[int, int]:
        """The frame of the plate, and that of the mouth's inside: the same one where it is its own, or painted."""
        clip = self._clip
        if kind == AVATAR:
            away = clip.motion.values[np.array(sources) - clip.first_frame]
            raw = self._person.raw(away)
            gap = raw[:, 0]
            steady = np.minimum(np.minimum(gap, np.roll(gap, 1)), np.roll(gap, -1))  # not a mesh that slipped
            return sources[best_frame(away, raw[:, 7])], sources[int(np.argmax(steady))]
        told = hashlib.sha256(f"{self._recipe.seed}:{clip.clip_id}:{number}".encode()).digest()
        one = sources[int.from_bytes(told[:8]) % len(sources)]
        return one, one

    def _pictures(self, frames: set[int]) -> dict[int, np.ndarray]:
        """Frames of the proxy, RGB (H, W, 3), in their own size."""
        ascending = sorted(frames)
        how = fit(self._size[1], self._size[0], self._size, cut=True)
        read = read_frames(self._held.local(self._row["proxy_uri"]), ascending, how)
        return {f: np.ascontiguousarray(p.transpose(1, 2, 0)) for f, p in zip(ascending, read, strict=True)}

    def _drawn(
        self, seen: Mapping[int, np.ndarray], pictures: Mapping[int, np.ndarray], pair: tuple[int, int],
        squares: Sequence[np.ndarray],
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        """Warps (T, S, S, 3) of one plate with the meshes of all frames, its references (2, S, S, 3), its picture, the affine
        of its square, and five points of the face."""
        own, other = pair
        picture, points = cut_square(pictures[own], seen[own], square_of(seen[own], self._size), SIDE_PX)
        if self._gap(seen[other]) >= OPEN_GAP:
            inside = (
                own_inside(picture, points)
                if other == own
                else inside_from(pictures[other], seen[other], points, SIDE_PX)
            )
        else:
            inside = painted_inside(picture, points)
        across = across_px(points)
        warp = MeshWarp(Plate(picture, points, inside), points[:, :2], self._triangles, -points[:, 2], across)
        affine = crop_affine(points, across)
        box = _box(affine, SIDE_PX)
        shifted = affine.copy()
        shifted[:, 2] -= box[:2]
        made = []
        for square in squares:
            there = square @ affine[:, :2].T + affine[:, 2]
            made.append(cut(warp.draw(warp.vertices(there), box=box), shifted))
        five = np.stack([points[list(rows), :2].mean(axis=0) for rows in FIVE_POINTS])
        return np.stack(made), np.stack([cut(picture, affine), cut(inside, affine)]), picture, affine, five

    @staticmethod
    def _gap(points_N3: np.ndarray) -> float:
        """Of the inner lips, in distances between the eyes."""
        return float(np.linalg.norm(points_N3[13] - points_N3[14])) / max(across_px(points_N3), 1e-6)


def _box(affine: np.ndarray, side_px: int) -> tuple[int, int, int, int]:
    """Around the square, with room for what the drawing smooths over, within the plate."""
    corners = (CROP_PX - 1) * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    there = corners @ affine[:, :2].T + affine[:, 2]
    x0, y0 = np.clip(np.floor(there.min(axis=0)).astype(int) - 4, 0, side_px - 8)
    x1, y1 = np.clip(np.ceil(there.max(axis=0)).astype(int) + 5, 8, side_px)
    return int(x0), int(y0), int(x1), int(y1)


def _spread(frames: Sequence[int], most: int) -> list[int]:
    """At most so many, in stretches of frames that are evenly spread."""
    if len(frames) <= most:
        return list(frames)
    num = max(1, most // STRETCH_FRAMES)
    starts = np.linspace(0, len(frames) - STRETCH_FRAMES, num).astype(int)
    return sorted({f for s in starts for f in frames[s : s + STRETCH_FRAMES]})
