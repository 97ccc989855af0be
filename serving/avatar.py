"""An avatar: whom a session shows. Made once, from a portrait or from a clip of the workspace; then only drawn.

A clip gives the best of its frames, the person's own rest and scale, and, where the person opens the mouth, its inside. A
portrait gives one frame: what the deployed identity checkpoint tells of such a face stands in for the rest, or what is usual for
people, and teeth are painted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modeling.identity import KIND, IdentityModel, identity_of, inputs, person_from, usual
from modeling.mesh_warp import Plate
from modeling.motion import HEAD, HEAD_UNIT_DEG, MOUTH, NUM_PARAMETERS, Person, mouth_of, person_of, raw_motion, upright
from modeling.mouth_inside import inside_from, own_inside, painted_inside
from modeling.plates import OPEN_GAP, SIDE_PX, best_frame, cut_square, square_of
from serving.portrait import bytes_of, decoded, mesh_of
from store import deployments, registry
from store.frozen import live
from store.media import fit, read_frames
from store.timelines import read_spans
from store.workspace import Workspace
from tasks.eye_geometry import eyes_of
from tasks.face_geometry import POINT_SCALE
from tasks.face_mesh import blendshapes
from tasks.head_geometry import angles_of, head_turns

MOST_YAW_DEG, MOST_PITCH_DEG = 25.0, 25.0


@dataclass(frozen=True)
class Avatar:
    """`key` names it: a clip's id, or the hash of the picture. `name` is for people."""

    key: str
    name: str
    plate: Plate
    person: Person


def avatar(workspace: Workspace | None, named: str, side_px: int = SIDE_PX) -> Avatar:
    """From a picture's path or a clip's id. Raises ValueError for what is neither, and what `of_picture` and `of_clip` do."""
    if Path(named).is_file():
        return of_picture(Path(named), side_px, identity_model(workspace) if workspace else None)
    if Path(named).suffix or "/" in named:
        raise ValueError(f"avatar {named}: there is no such picture; give a portrait's file or a clip's id")
    if workspace is None:
        raise ValueError(f"avatar {named}: a clip needs a workspace; give --workspace, or a picture's file")
    from tasks.trace import clip_named

    return of_clip(workspace, clip_named(workspace, named), side_px)


def identity_model(workspace: Workspace) -> IdentityModel | None:
    """Of the checkpoint that is deployed, None without. Raises ValueError for one that can't be used."""
    name = deployments.serving(workspace, KIND).stable
    return identity_of(registry.load(workspace, name)) if name else None


def of_picture(file: Path, side_px: int = SIDE_PX, model: IdentityModel | None = None) -> Avatar:
    """From a portrait. Raises ValueError for a file that is no picture, or shows no face, several, or one that is too small,
    turned away, or cut off."""
    import hashlib

    data = bytes_of(file)
    picture = decoded(file, data)
    points = mesh_of(file, picture)
    turn = head_turns(points[None])
    yaw, pitch, _ = angles_of(turn)[0]
    if abs(yaw) > MOST_YAW_DEG or abs(pitch) > MOST_PITCH_DEG:
        raise ValueError(
            f"avatar {file.name}: the head is turned by {yaw:.0f} degrees to the side and {pitch:.0f} up; an avatar needs one "
            f"that looks at the camera (at most {MOST_YAW_DEG:.0f} and {MOST_PITCH_DEG:.0f})"
        )
    square = square_of(points, picture.shape[:2])
    shown, placed = cut_square(picture, points, square, side_px)
    person = _usual(points, model)
    inside = own_inside(shown, placed) if _gap(points) >= OPEN_GAP else painted_inside(shown, placed)
    return Avatar(hashlib.sha256(data).hexdigest()[:16], file.stem, Plate(shown, placed, inside), person)


def of_clip(
    workspace: Workspace, clip_id: str, side_px: int = SIDE_PX, within: tuple[int, int] | None = None
) -> Avatar:
    """From a clip's stored timelines and its proxy, or from its frames of the video's grid in [start, end) alone: whoever judges
    the rest must not have shown it. Raises ValueError for a clip without a mesh there, or whose media are gone."""
    held = live(workspace, [clip_id])
    row = next((r for r in held.clips.to_pylist() if r["clip_id"] == clip_id), None)
    if row is None:
        raise ValueError(
            f"avatar {clip_id}: no such clip is active; headroom sql 'SELECT clip_id FROM clips' lists them"
        )
    start, end = within or (int(row["start_frame"]), int(row["end_frame"]))
    span = (clip_id, str(row["video_id"]), start, end)
    lines: dict[str, Any] = read_spans(held.record, held.versions, [span], ["landmarks", "head_pose", "gaze"])[0]
    columns = {n: _columns(table) for n, table in lines.items()}
    found = raw_motion(columns, start, end)
    if found is None:
        raise ValueError(
            f"avatar {clip_id}: no mesh is stored of it; run headroom curate --signal landmarks --signal head_pose"
        )
    person = person_of([found])
    frames = columns["landmarks"]["frame"]
    meshes = columns["landmarks"]["points"].reshape(len(frames), -1, 3).astype(np.float64) / POINT_SCALE
    motion = found.values[frames - start]
    best = best_frame((motion - person.rest) / person.scale, motion[:, 7])
    steady = np.min([motion[:-2, 0], motion[1:-1, 0], motion[2:, 0]], axis=0) if len(motion) > 2 else motion[:1, 0]
    widest = int(np.argmax(steady)) + (len(motion) > 2)  # open for three frames: not a mesh that slipped
    proxy, size = held.local(row["proxy_uri"]), (int(row["height_px"]), int(row["width_px"]))
    how = fit(size[1], size[0], size, cut=True)
    picture = read_frames(proxy, [int(frames[best])], how)[0].transpose(1, 2, 0)
    square = square_of(meshes[best], size)
    shown, placed = cut_square(picture, meshes[best], square, side_px)
    if motion[widest, 0] >= OPEN_GAP:
        other = read_frames(proxy, [int(frames[widest])], how)[0].transpose(1, 2, 0)
        inside = inside_from(other, meshes[widest], placed, side_px)
    else:
        inside = painted_inside(shown, placed)
    return Avatar(clip_id, Path(str(row["name"])).stem, Plate(shown, placed, inside), person)


def _usual(points_N3: np.ndarray, model: IdentityModel | None) -> Person:
    """The rest and scale of somebody known from one picture: told by the model, or as it is, but for lips that are open there."""
    angles = angles_of(head_turns(points_N3[None]))[:, [1, 0, 2]]
    lids = np.maximum(eyes_of(points_N3[None])[1][0], 0.05)
    rest, scale = np.zeros(NUM_PARAMETERS), np.ones(NUM_PARAMETERS)
    rest[MOUTH] = mouth_of(upright(points_N3[None], angles))[0]
    rest[4:6], scale[4:6] = (lids[1], lids[0]), (-lids[1], -lids[0])
    rest[HEAD], scale[HEAD] = angles[0], HEAD_UNIT_DEG
    given = inputs(rest[None], blendshapes(points_N3)[None])
    return person_from((model.told(given) if model else usual(given))[0], Person(rest, scale))


def _gap(points_N3: np.ndarray) -> float:
    angles = angles_of(head_turns(points_N3[None]))[:, [1, 0, 2]]
    return float(mouth_of(upright(points_N3[None], angles))[0, 0])


def _columns(table: Any) -> Mapping[str, np.ndarray]:
    """A timeline's columns; lists of one length as rows of an array."""
    made: dict[str, np.ndarray] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name == "blendshapes":
            continue
        if hasattr(column, "flatten") and str(column.type).startswith("list"):
            made[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        else:
            made[name] = column.to_numpy(zero_copy_only=False)
    return made
