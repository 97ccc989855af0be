"""The head as a rigid body: MediaPipe's canonical face in centimetres, and the turn that brings it onto a mesh.

Axes of the canonical face and of the camera alike: x to the right of the image, y up, z toward the viewer. A turn is
Rz(-roll) Ry(yaw) Rx(-pitch), in degrees: **yaw** > 0 turns the nose to the image's right (the subject's own left),
**pitch** > 0 lifts the nose, **roll** > 0 turns the head clockwise on the screen. Roll is the outermost: turning the
picture changes it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from infra import weights
from tasks.face_geometry import STABLE_POINTS

CANONICAL = "face_canonical"
NUM_CANONICAL = 468
"""The canonical face has no irises."""
MESH_FIELD, VERTEX_FIELD, INDEX_FIELD = 1, 3, 4
"""Of GeometryPipelineMetadata: canonical_mesh; of Mesh3d: vertex_buffer (floats, one by one) and index_buffer."""


@dataclass(frozen=True)
class CanonicalFace:
    """`points` (468, 3) in cm, and `triangles` (898, 3), counter-clockwise seen from outside."""

    points: np.ndarray
    triangles: np.ndarray


@cache
def canonical_face() -> CanonicalFace:
    """Read from the protobuf `face_geometry.proto.GeometryPipelineMetadata` that comes with the landmark network."""
    vertices: list[float] = []
    indices: list[int] = []
    mesh = dict(_fields(weights.path(CANONICAL).read_bytes()))[MESH_FIELD]
    assert isinstance(mesh, bytes)
    for number, value in _fields(mesh):
        if number == VERTEX_FIELD and isinstance(value, bytes):
            vertices.append(float(np.frombuffer(value, "<f4")[0]))
        elif number == INDEX_FIELD and isinstance(value, int):
            indices.append(value)
    points = np.array(vertices).reshape(NUM_CANONICAL, 5)[:, :3]  # x, y, z, and two texture coordinates
    return CanonicalFace(points, np.array(indices).reshape(-1, 3))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protobuf message: whole numbers, and bytes of all else."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        yield key >> 3, message[at : at + size]
        at += size


def turn_of(angles_deg: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of (..., 3) yaw, pitch and roll in degrees."""
    yaw, pitch, roll = np.moveaxis(np.radians(np.asarray(angles_deg, np.float64)), -1, 0)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(*entries: np.ndarray) -> np.ndarray:
        return np.stack(entries, axis=-1).reshape(*yaw.shape, 3, 3)

    about_z = matrix(cr, sr, zero, -sr, cr, zero, zero, zero, one)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_x = matrix(one, zero, zero, zero, cp, sp, zero, -sp, cp)
    return np.asarray(about_z @ about_y @ about_x)


def angles_of(turns: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees, (..., 3), of rotation matrices (..., 3, 3)."""
    yaw = np.arcsin(np.clip(-turns[..., 2, 0], -1, 1))
    pitch = np.arctan2(-turns[..., 2, 1], turns[..., 2, 2])
    roll = np.arctan2(-turns[..., 1, 0], turns[..., 0, 0])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=-1)))


def head_turns(points_TNC: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, 3, 3) of the head from mesh points (T, 478, 3) in pixels.

    Least squares over rotation, scale and shift of the canonical face onto the 18 points that speech hardly moves
    (Kabsch 1976; Umeyama 1991): on rendered heads nearer to the truth than the 33 weighted points of MediaPipe's
    own fit, and than a projective fit to x and y alone. It sees from afar, so a face at the picture's edge is not
    turned by the camera's angle of view.
    """
    stable = list(STABLE_POINTS)
    model = canonical_face().points[stable]
    seen = points_TNC[:, stable].astype(np.float64) * [1, -1, -1]
    model_away = model - model.mean(axis=0)
    seen_away = seen - seen.mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.swapaxes(seen_away, 1, 2) @ model_away)
    right[:, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return np.asarray(left @ right)
