"""How a face moves, read from timelines that lie in the store: what motion models learn, and what they give.

Nothing is detected here. The mouth comes from the mesh of `landmarks`, turned upright by the angles of `head_pose`; the
lids from `gaze`; the head's turns from `head_pose`. Axes of the upright head: x to the right of the image, y up, z toward
the viewer. "Left" is the subject's own.

Legend: T frames at 25 fps, N mesh points, P parameters in the order of PARAMETERS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PARAMETERS = (
    "jaw_open", "mouth_width", "lip_rounding", "jaw_rotation", "eye_blink_left", "eye_blink_right",
    "pitch", "yaw", "roll",
)  # fmt: skip
NUM_PARAMETERS = len(PARAMETERS)
MOUTH, BLINKS, HEAD = slice(0, 4), slice(4, 6), slice(6, 9)
TIMELINES = ("landmarks", "head_pose", "gaze", "vad")
"""What `motion_of` and the training read, by the names of the signals."""

POINTS_PER_PX = 32
EYES_OUTER = (33, 263)
CORNERS, LIPS_INNER = (61, 291), ((13, 14), (82, 87), (312, 317))
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
EARS, CHIN = (234, 454), 152

CLOSED_QUANTILE = 0.05
"""Lips count as closed, or as near to it as the person comes, at this quantile of their gap."""
REST_SHARE = 0.25
"""The mouth's rest is its mean over this share of the frames, those with the lips nearest to closed."""
OPEN_EYE_QUANTILE = 0.8
HEAD_UNIT_DEG = 10.0
LEAST_SCALE = np.array([0.01, 0.01, 0.01, 0.3])
"""A mouth that hardly moves in the footage is not blown up beyond the mesh's own jitter."""


@dataclass(frozen=True)
class Motion:
    """`values` float32 (T, P), in the units of `raw_motion` or of `Person.normalised`; `seen` bool (T, P) is False where
    the frame has no mesh, and for the lids of eyes too small to be measured: those values are filled in."""

    values: np.ndarray
    seen: np.ndarray


def raw_motion(lines: Mapping[str, Mapping[str, Any]], start_frame: int, end_frame: int) -> Motion | None:
    """The motion of one span in raw units: gap and width of the lips in distances between the eyes' outer corners, the
    roundness of the lips' outline (1 a circle), the jaw's angle and the head's in degrees, the lids' gap in widths of
    the eye. `lines` are timelines as `ClipDataset` gives them. None when no frame has a mesh and angles.
    """
    if "landmarks" not in lines or "head_pose" not in lines:
        return None
    mesh, pose = lines["landmarks"], lines["head_pose"]
    frames, at_mesh, at_pose = np.intersect1d(_array(mesh["frame"]), _array(pose["frame"]), return_indices=True)
    if len(frames) == 0:
        return None
    angles_T3 = np.stack([_array(pose[f"{n}_deg"])[at_pose] for n in ("pitch", "yaw", "roll")], axis=1)
    points_TNC = _array(mesh["points"])[at_mesh].reshape(len(frames), -1, 3) / POINTS_PER_PX
    lids_T2 = _lids(lines.get("gaze"), frames)
    values = np.concatenate(
        [mouth_of(upright(points_TNC, angles_T3)), lids_T2, np.unwrap(angles_T3, 180, 0, period=360)], 1
    )
    return _filled(frames, values, start_frame, end_frame)


def upright(points_TNC: np.ndarray, angles_T3: np.ndarray) -> np.ndarray:
    """Mesh points in pixels (y down, z away) as those of a head that looks straight ahead, in units of the distance
    between its eyes' outer corners. `angles_T3` are pitch, yaw and roll in degrees, as `head_pose` tells them."""
    turned = (points_TNC.astype(np.float64) * [1, -1, -1]) @ _turns(angles_T3)
    across = np.linalg.norm(turned[:, EYES_OUTER[0]] - turned[:, EYES_OUTER[1]], axis=-1)
    return np.asarray(turned / np.maximum(across, 1e-6)[:, None, None])


def mouth_of(upright_TNC: np.ndarray) -> np.ndarray:
    """(T, 4): gap of the inner lips, width between the corners, roundness of the outline, angle of the jaw in degrees.

    The jaw's angle is that of the line from between the ears to the chin, below the level of the head.
    """
    gap = np.mean([upright_TNC[:, a, 1] - upright_TNC[:, b, 1] for a, b in LIPS_INNER], axis=0)
    width = np.linalg.norm(upright_TNC[:, CORNERS[0]] - upright_TNC[:, CORNERS[1]], axis=-1)
    hinge, chin = upright_TNC[:, EARS].mean(axis=1), upright_TNC[:, CHIN]
    jaw = np.degrees(np.arctan2(hinge[:, 1] - chin[:, 1], chin[:, 2] - hinge[:, 2]))
    return np.stack([np.maximum(gap, 0), width, _roundness(upright_TNC[:, LIPS_OUTER, :2]), jaw], axis=1)


@dataclass(frozen=True)
class Person:
    """What is usual for one person: `rest` and `scale`, float64 (P,), in raw units."""

    rest: np.ndarray
    scale: np.ndarray

    def normalised(self, raw: Motion) -> Motion:
        """The mouth in standard deviations of the person's own motion, away from their rest (of the lips' gap: from
        closed); the lids 0 open to 1 shut; the head in units of 10 degrees away from its usual turn."""
        values = (raw.values - self.rest) / self.scale
        values[:, BLINKS] = np.clip(values[:, BLINKS], 0, 1)
        return Motion(values.astype(np.float32), raw.seen)

    def raw(self, values_TP: np.ndarray) -> np.ndarray:
        """Normalised values in the person's own raw units, float64 (T, P)."""
        return np.asarray(values_TP * self.scale + self.rest)


def person_of(motions: Sequence[Motion]) -> Person:
    """The rest and scale of one person, over all that is seen of them. Frames without a mesh take no part.

    Raises ValueError without any frame.
    """
    rows = np.concatenate([m.values[m.seen[:, 0]] for m in motions]) if motions else np.zeros((0, NUM_PARAMETERS))
    if len(rows) == 0:
        raise ValueError("person_of: no frame shows a face; leave out people without a mesh")
    mouth, head = rows[:, MOUTH], rows[:, HEAD]
    near_closed = np.argsort(mouth[:, 0], kind="stable")[: max(1, round(REST_SHARE * len(mouth)))]
    rest, scale = np.zeros(NUM_PARAMETERS), np.ones(NUM_PARAMETERS)
    rest[MOUTH] = mouth[near_closed].mean(axis=0)
    rest[0] = np.quantile(mouth[:, 0], CLOSED_QUANTILE)
    scale[MOUTH] = np.maximum(mouth.std(axis=0), LEAST_SCALE)
    lids = [np.concatenate([m.values[m.seen[:, p], p] for m in motions]) for p in (4, 5)]
    rest[BLINKS] = [max(np.quantile(v, OPEN_EYE_QUANTILE), 1e-3) if len(v) else 1.0 for v in lids]
    scale[BLINKS] = -rest[BLINKS]
    rest[HEAD] = np.median(head, axis=0)
    scale[HEAD] = HEAD_UNIT_DEG
    return Person(rest, scale)


def _lids(gaze: Mapping[str, Any] | None, frames: np.ndarray) -> np.ndarray:
    """Openings (T, 2), the subject's left eye first; NaN where they are not measured."""
    found = np.full((len(frames), 2), np.nan)
    if gaze is not None and len(gaze["frame"]):
        _, at, source = np.intersect1d(frames, _array(gaze["frame"]), return_indices=True)
        for column, side in enumerate(("left", "right")):
            found[at, column] = _array(gaze[f"opening_{side}"])[source]
    return found


def _filled(frames: np.ndarray, values_TP: np.ndarray, start_frame: int, end_frame: int) -> Motion:
    """On every frame of the span: what lies between two measured frames is interpolated."""
    wanted = np.arange(start_frame, end_frame)
    filled, seen = np.zeros((len(wanted), NUM_PARAMETERS)), np.zeros((len(wanted), NUM_PARAMETERS), bool)
    for p, column in enumerate(values_TP.T):
        have = np.isfinite(column)
        if have.any():
            filled[:, p] = np.interp(wanted, frames[have], column[have])
            seen[:, p] = np.isin(wanted, frames[have])
    return Motion(filled.astype(np.float32), seen)


def _roundness(outline_TN2: np.ndarray) -> np.ndarray:
    """4 pi area / perimeter^2 of closed outlines: 1 for a circle, 0 for a line."""
    after = np.roll(outline_TN2, -1, axis=1)
    area = np.abs((outline_TN2[..., 0] * after[..., 1] - outline_TN2[..., 1] * after[..., 0]).sum(axis=1)) / 2
    around = np.linalg.norm(after - outline_TN2, axis=-1).sum(axis=1)
    return np.asarray(4 * np.pi * area / np.maximum(around, 1e-9) ** 2)


def _turns(angles_T3: np.ndarray) -> np.ndarray:
    """Rz(-roll) Ry(yaw) Rx(-pitch) of pitch, yaw and roll in degrees, (T, 3, 3): the turns of `head_pose`."""
    pitch, yaw, roll = np.radians(angles_T3.astype(np.float64)).T
    zero, one = np.zeros_like(pitch), np.ones_like(pitch)

    def matrix(*entries: np.ndarray) -> np.ndarray:
        return np.stack(entries, axis=-1).reshape(-1, 3, 3)

    about_z = matrix(np.cos(roll), np.sin(roll), zero, -np.sin(roll), np.cos(roll), zero, zero, zero, one)
    about_y = matrix(np.cos(yaw), zero, np.sin(yaw), zero, one, zero, -np.sin(yaw), zero, np.cos(yaw))
    about_x = matrix(one, zero, zero, zero, np.cos(pitch), np.sin(pitch), zero, -np.sin(pitch), np.cos(pitch))
    return np.asarray(about_z @ about_y @ about_x)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.numpy() if hasattr(values, "numpy") else values)
